"""Columns of files, by name: read whole and checked, or opened to be read in parts."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from infomax.io.csv_tables import read_csv
from infomax.io.naming import select_columns
from infomax.io.parquet import ParquetColumns
from infomax.io.samples import Columns, Floats, as_samples
from infomax.io.stored import MappedColumns, StoredColumns

#: Endings of the files that :func:`open_columns` opens.
MAPPED = (".npy", ".parquet")
#: What numpy raises for damaged files.
_NUMPY_ERRORS = (EOFError, OSError, ValueError, zipfile.BadZipFile, zlib.error)


def read_columns(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[Floats]:
    """The arrays of :func:`read_named`, without the names.

    Raises:
        FileNotFoundError, ValueError, TypeError: as :func:`read_named`.
    """
    return [columns.samples for columns in read_named(path, *selections)]


def read_named(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[Columns]:
    """Read columns of a file, once for each selection.

    The format follows from the ending: ``.csv`` and ``.tsv`` (a header line; UTF-8; fields may be quoted), ``.npz``
    (arrays by name, 1-D or 2-D), ``.npy`` (a 2-D array, columns by number), ``.parquet`` (needs pyarrow).

    Args:
        path: the file. selections: column names; ``*`` and ``?`` match as in a shell.

    Returns:
        for each selection, samples ``(N, D)`` with the columns in the order of the selection, and their names: those
        in the file, and ``name[j]`` for column j of a 2-D array in an archive.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an empty or damaged file, one of another format, an unknown column (with close matches), and
            missing or non-numeric values (with their row).
        TypeError: for columns of a Parquet file or arrays of an archive that are not numeric.
    """
    path = check_file(path, (".csv", ".tsv", ".npz", *MAPPED))
    ending = path.suffix.lower()
    if ending in MAPPED:
        stored = open_columns(path, *selections)
        return [Columns(columns.names or (), as_samples(np.asarray(columns), str(path))) for columns in stored]
    return (_read_archive if ending == ".npz" else read_csv)(path, selections)


def open_columns(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[StoredColumns]:
    """Open columns of a file that may be larger than memory, once for each selection.

    The format follows from the ending: ``.npy`` (a 2-D array, columns by number) or ``.parquet`` (needs pyarrow). Rows
    are read when they are needed.

    Args:
        path: the file. selections: column names; ``*`` and ``?`` match as in a shell.

    Returns:
        :class:`StoredColumns` for each selection, with the columns in the order of the selection.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an empty or damaged file, one of another format, and an unknown column.
        TypeError: for columns that are not numeric.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/large.npy", np.arange(12.0).reshape(4, 3))
    ...     x, y = open_columns(f"{folder}/large.npy", ["0", "1"], ["2"])
    ...     x.shape, y.read(1, 3).tolist()
    ((4, 2), [[5.0], [8.0]])
    """
    path = check_file(path, MAPPED)
    return (_open_npy if path.suffix.lower() == ".npy" else _open_parquet)(path, selections)


def check_file(path: str | os.PathLike[str], endings: Collection[str]) -> Path:
    """The path, if it is a file that is not empty and has one of these endings.

    Raises:
        FileNotFoundError, ValueError: otherwise.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: the ending must be one of {', '.join(endings)}; got {path.suffix!r}")
    return path


@contextmanager
def _readable(path: Path, kind: str, errors: tuple[type[Exception], ...] = _NUMPY_ERRORS) -> Iterator[None]:
    """Raise ValueError, with the path and the kind of file, for errors of the library that reads it."""
    try:
        yield
    except errors as error:
        raise ValueError(f"{path} cannot be read as {kind}: {error}") from None


def _read_archive(path: Path, selections: Sequence[Sequence[str]]) -> list[Columns]:
    """Arrays of an ``.npz`` file; those of a selection side by side."""
    with _readable(path, "a numpy file"):
        archive = np.load(path, allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise ValueError(f"{path} must hold arrays by name; got one array: let its name end in .npy")
    with archive:
        selected = select_columns(path, archive.files, selections)
        with _readable(path, "a numpy file"):
            arrays = {name: archive[name] for names in selected for name in names}
    read: list[Columns] = []
    for names in selected:
        parts = {name: as_samples(arrays[name], f"array {name!r} of {path}") for name in names}
        lengths = sorted({len(part) for part in parts.values()})
        if len(lengths) > 1:
            raise ValueError(f"{path}: arrays of one side must have equally many rows; got {lengths}")
        labels = [
            name if part.shape[1] == 1 else f"{name}[{j}]" for name, part in parts.items() for j in range(part.shape[1])
        ]
        read.append(Columns(tuple(labels), np.hstack(list(parts.values()))))
    return read


def _open_npy(path: Path, selections: Sequence[Sequence[str]]) -> list[StoredColumns]:
    with _readable(path, "a numpy file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.memmap) or array.ndim != 2:
        raise ValueError(f"{path} must hold a 2-D array; got {getattr(array, 'shape', 'an archive')}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{path} must hold numbers; got dtype {array.dtype}")
    selected = select_columns(path, [str(column) for column in range(array.shape[1])], selections)
    contents: Any = getattr(array, "_mmap")  # noqa: B009 - unknown to type checkers
    return [MappedColumns(str(path), array, contents, [int(name) for name in names]) for names in selected]


def _open_parquet(path: Path, selections: Sequence[Sequence[str]]) -> list[StoredColumns]:
    try:
        from pyarrow import lib, parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(f"{path}: Parquet needs pyarrow; pip install 'infomax[parquet]'") from None
    with _readable(path, "Parquet", (lib.ArrowException, OSError)):
        selected = select_columns(path, parquet.read_schema(path).names, selections)
        return [ParquetColumns(path, names) for names in selected]


def check_writable(path: str | os.PathLike[str]) -> Path:
    """The path, if a file can be written there. Nothing is created or changed.

    Raises:
        ValueError: if the folder is missing or read-only, or the path is a folder or a read-only file.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} cannot be written: it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: no permission")
    return path
