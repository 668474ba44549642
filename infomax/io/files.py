"""Tables in files: columns by name from CSV, Parquet and numpy files, checked, as arrays of samples."""

from __future__ import annotations

import csv
import fnmatch
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from infomax.exceptions import InfomaxWarning
from infomax.io.frames import Columns
from infomax.io.naming import unknown
from infomax.io.samples import Floats, as_samples

T = TypeVar("T")

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


def read_columns(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[Floats]:
    """The arrays of :func:`read_named`, without the names.

    Raises:
        FileNotFoundError, ValueError, TypeError: as :func:`read_named`.
    """
    return [columns.samples for columns in read_named(path, *selections)]


def read_named(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[Columns]:
    """Read a table and select columns from it, once for each selection.

    By the name's ending: ``.csv`` and ``.tsv`` (a header line; UTF-8; quoted fields), ``.npz`` (arrays by name, 1-D or
    2-D), ``.npy`` (a 2-D array, columns by number), ``.parquet`` (with pandas and pyarrow).

    Args:
        path: the file. selections: column names each; ``*`` and ``?`` match as in a shell.

    Returns:
        samples ``(N, D)`` for each selection, with the columns in the order that was asked for, and their names: the
        file's, and ``name[j]`` for column j of a 2-D array of an archive.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an empty file, one that is not what its name says, an unknown column (close matches are named),
            and missing or non-numeric values, with their row.
        TypeError: for columns of a Parquet file or arrays of an archive that are not numbers.
    """
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".npz": _read_numpy,
        ".npy": _read_numpy,
        ".parquet": _read_parquet,
    }
    path = check_file(path, readers)
    return readers[path.suffix.lower()](path, stripped(selections))


def check_file(path: str | os.PathLike[str], endings: Collection[str]) -> Path:
    """The path, if there is such a file, not empty, with one of these endings."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: the ending must be one of {', '.join(endings)}; got {path.suffix!r}")
    return path


def stripped(selections: Sequence[Sequence[str]]) -> list[list[str]]:
    """The names of each selection without the space around them; empty ones are left out."""
    return [[column.strip() for column in selection if column.strip()] for selection in selections]


def select_columns(path: Path, known: list[str], wanted: list[list[str]], hint: str = "") -> list[list[str]]:
    """For each selection the names in ``known`` that it asks for, in its order, each once; none in two selections.

    What is not known is refused, with the hint.
    """
    selected: list[list[str]] = []
    for names in wanted:
        if not names:
            raise ValueError(f"{path}: name at least one column; known: {', '.join(known[:20])}")
        matched: dict[str, None] = {}
        for name in names:
            hits = [name] if name in known else fnmatch.filter(known, name)
            if not hits:
                raise ValueError(f"{path}: {unknown('column', name, known)}{hint}")
            matched.update(dict.fromkeys(hits))
        twice = [name for name in matched for other in selected if name in other]
        if twice:
            raise ValueError(f"{path}: a column must stand on one side only; got {', '.join(twice)} on both")
        selected.append(list(matched))
    return selected


def _read_csv(path: Path, wanted: list[list[str]]) -> list[Columns]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            hint = _doubts(header, delimiter)
            repeated = sorted({name for name in header if header.count(name) > 1})
            if repeated:
                raise ValueError(f"{path}: column names must differ; got {', '.join(repeated)} more than once{hint}")
            selected = select_columns(path, header, wanted, hint)
            if header and all(map(_is_number, header)) and any(set(names) - set(header) for names in wanted):
                _check_number_names(path, header)
            needed = {name: header.index(name) for names in selected for name in names}
            rows: list[list[float]] = []
            for cells in reader:
                if not cells:
                    continue
                where = f"{path}, row {len(rows) + 1} (line {reader.line_num})"
                if len(cells) != len(header):
                    raise ValueError(f"{where}: must have {len(header)} fields, as the header; got {len(cells)}")
                rows.append([_number(cells[index], f"{where}, column {name!r}") for name, index in needed.items()])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text; byte {error.start} is not") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a well-formed table, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path} must have rows below its header; got none")
    table = np.array(rows, dtype=np.float64)
    position = {name: i for i, name in enumerate(needed)}
    return [Columns(tuple(names), table[:, [position[name] for name in names]]) for names in selected]


def _doubts(header: Sequence[str], delimiter: str) -> str:
    """What a first line looks like that is no header with this delimiter, and what to do; else nothing."""
    between = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    other = next((mark for mark in between if mark != delimiter and any(mark in cell for cell in header)), "")
    if other:
        return (
            f"; the first line looks like one with {between[other]} between its fields: save the table with "
            f"{between[delimiter]}{'' if other == ',' else ', and points in its numbers'}"
        )
    if header and all(map(_is_number, header)):
        return "; the first line holds numbers only: write a line above it that names the columns"
    return ""


def _check_number_names(path: Path, header: Sequence[str]) -> None:
    """A first line of numbers, and columns asked for by a pattern, which fits whatever stands there."""
    if not all(name.lstrip("+-").isdigit() for name in header):
        raise ValueError(f"{path} must name its columns; got numbers in its first line: write a line above that does")
    warnings.warn(
        f"{path}: the first line holds whole numbers only, and is taken for names of columns: {', '.join(header[:5])}",
        InfomaxWarning,
        stacklevel=5,
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str) -> float:
    if cell.strip().lower() in _MISSING:
        raise ValueError(f"{where}: the value is missing ({cell!r}); remove or fill such rows first")
    try:
        number = float(cell)
    except ValueError:
        raise ValueError(f"{where}: must be a number; got {cell!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{where}: must be finite; got {cell!r}")
    return number


def _read_numpy(path: Path, wanted: list[list[str]]) -> list[Columns]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if loaded.ndim != 2:
                raise ValueError(f"{path} must hold a 2-D array, or arrays by name; got {loaded.shape}")
            arrays = {str(i): column for i, column in enumerate(loaded.T)}
            selected = select_columns(path, list(arrays), wanted)
        else:
            with loaded as archive:
                selected = select_columns(path, archive.files, wanted)
                arrays = {name: archive[name] for names in selected for name in names}
    except (EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise ValueError(f"{path} cannot be read as a numpy file: {error}") from None
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read as a numpy file: {error}") from None
    return [_side(path, arrays, names) for names in selected]


def _side(path: Path, arrays: Mapping[str, Any], names: list[str]) -> Columns:
    """The named arrays side by side."""
    parts = [as_samples(arrays[name], f"array {name!r} of {path}") for name in names]
    lengths = sorted({len(part) for part in parts})
    if len(lengths) > 1:
        raise ValueError(f"{path}: arrays of one side must have equally many rows; got {lengths}")
    labels: list[str] = []
    for name, part in zip(names, parts, strict=True):
        labels += [name] if part.shape[1] == 1 else [f"{name}[{j}]" for j in range(part.shape[1])]
    return Columns(tuple(labels), np.hstack(parts))


def _read_parquet(path: Path, wanted: list[list[str]]) -> list[Columns]:
    def read(selected: list[list[str]]) -> list[Any]:
        import pandas  # noqa: PLC0415

        frame = pandas.read_parquet(path, columns=list(dict.fromkeys(name for names in selected for name in names)))
        return [frame[names] for names in selected]

    frames = from_parquet(path, wanted, read, needs=("pandas", "pyarrow"))
    return [Columns(tuple(frame.columns), as_samples(frame, str(path))) for frame in frames]


def from_parquet(
    path: Path, wanted: list[list[str]], read: Callable[[list[list[str]]], list[T]], *, needs: Sequence[str]
) -> list[T]:
    """What ``read`` returns for the names that are selected in a Parquet file; it may raise pyarrow's exceptions."""
    try:
        for package in needs:
            import_module(package)
        from pyarrow import lib, parquet  # noqa: PLC0415
    except ImportError:
        raise ValueError(f"{path}: Parquet needs {' and '.join(needs)}; pip install 'infomax[parquet]'") from None
    try:
        return read(select_columns(path, parquet.read_schema(path).names, wanted))
    except lib.ArrowException as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from None


def check_writable(path: str | os.PathLike[str]) -> Path:
    """The path, if a file can be written there; nothing is created or changed.

    Raises:
        ValueError: if the folder is missing or closed, or the path is a folder or a closed file.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: no permission")
    return path
