"""Columns of files, by name: read whole and checked, or opened to be read in parts."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infomax.io.archives import read_archive, read_header
from infomax.io.columns import Columns, as_columns, check_complete
from infomax.io.csv_tables import COMPRESSED, TextFormat, read_csv
from infomax.io.limits import check_number_of_columns
from infomax.io.naming import select_columns, unknown
from infomax.io.parquet import ParquetColumns, is_numeric_file, read_names
from infomax.io.samples import ADVICE, Floats
from infomax.io.stored import MappedColumns, StoredColumns

#: Endings of the files that :func:`open_columns` opens.
MAPPED = (".npy", ".parquet")
#: Endings of compressed text files, after .csv or .tsv.
_TEXT = tuple(COMPRESSED)


def read_columns(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[Floats]:
    """The arrays of :func:`read_named`, without the names.

    Raises:
        FileNotFoundError, ValueError, TypeError: as :func:`read_named`, and for different values that are equal in
            float64.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = [[31, 170, 65], [52, 180, 80]]
    ...     np.savetxt(f"{folder}/table.csv", rows, delimiter=",", header="age,height,weight", comments="")
    ...     x, y = read_columns(f"{folder}/table.csv", ["age", "h*"], ["weight"])
    >>> x.tolist(), y.tolist()
    ([[31.0, 170.0], [52.0, 180.0]], [[65.0], [80.0]])
    """
    return [columns.samples for columns in read_named(path, *selections, shift=False, text=TextFormat(numbers=True))]


def read_named(
    path: str | os.PathLike[str], *selections: Sequence[str], shift: bool = True, text: TextFormat | None = None
) -> list[Columns]:
    """Read columns of a file, once for each selection.

    The format follows from the ending: ``.csv`` and ``.tsv`` (a header line; UTF-8; fields may be quoted; also
    with ``.gz``, ``.bz2`` or ``.xz``; "-" is standard input), ``.npz``
    (arrays by name, 1-D or 2-D), ``.npy`` (a 2-D array, columns by number), ``.parquet`` (needs pyarrow).

    Args:
        path: the file. selections: column names; ``*`` and ``?`` match as in a shell.
        text: how text files are read, which columns are nominal, and what to do about missing values.
        shift: whether columns are returned less their minimum where float64 would make different values equal.

    Returns:
        for each selection, samples ``(N, D)`` with the columns in the order of the selection, and their names: those
        in the file, and ``name[j]`` for column j of a 2-D array in an archive.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an empty or damaged file, one of another format, an unknown column (with close matches),
            missing or non-numeric values (with their row), and contents that are too large for the file's size
            (128 MiB and eight times the file).
        TypeError: for columns of a Parquet file or arrays of an archive that are not numeric.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/pairs.npz", x=np.zeros((5, 2)), y=np.ones(5))
    ...     x, y = read_named(f"{folder}/pairs.npz", ["x"], ["y"])
    >>> x.names, x.samples.shape, y.names
    (('x[0]', 'x[1]'), (5, 2), ('y',))
    """
    text = text or TextFormat()
    if str(path) == "-":
        found = read_csv(Path(path), selections, shift=shift, text=text)
    else:
        path = check_file(path, (".csv", ".tsv", ".npz", *MAPPED, *_TEXT))
        ending = path.suffix.lower()
        if ending == ".parquet":
            found = _read_parquet(path, selections, shift, text)
        elif ending == ".npy":
            stored = open_columns(path, *selections)
            found = [as_columns(columns, str(path), shift=shift) for columns in stored]
        elif ending == ".npz":
            found = read_archive(path, selections, shift=shift)
        else:
            found = read_csv(path, selections, shift=shift, text=text)
    known = [name for columns in found for name in columns.names]
    for name in text.nominal:
        if name not in known:
            raise ValueError(f"{path}: nominal: {unknown('column', name, known)}")
    if text.missing == "raise":
        for columns in found:
            check_complete(columns, str(path), ADVICE)
    chosen = [[name for name in text.nominal if name in columns.names] for columns in found]
    return [as_columns(columns, str(path), nominal=names) for columns, names in zip(found, chosen, strict=True)]


def _read_parquet(path: Path, selections: Sequence[Sequence[str]], shift: bool, text: TextFormat) -> list[Columns]:
    """Columns of any kind of a Parquet file, in memory."""
    stored = _parquet_names(path, selections)
    if text.numbers or is_numeric_file(path, stored):
        return [as_columns(columns, str(path), shift=shift) for columns in _open_parquet(path, selections)]
    import pyarrow.parquet  # noqa: PLC0415 - an extra

    try:
        whole = pyarrow.parquet.read_table(path, columns=[name for names in stored for name in names])
    except Exception as error:  # a damaged file raises many kinds
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from None
    return [as_columns(whole.select(names), str(path), shift=shift) for names in stored]


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


def is_numeric(path: str | os.PathLike[str], *selections: Sequence[str]) -> bool:
    """Whether the selected columns of a file for :func:`open_columns` are all numbers.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_columns`.
    """
    path = check_file(path, MAPPED)
    return path.suffix.lower() == ".npy" or is_numeric_file(path, _parquet_names(path, selections))


def check_file(path: str | os.PathLike[str], endings: Collection[str]) -> Path:
    """The path, if it is a file that is not empty and has one of these endings.

    Raises:
        FileNotFoundError, ValueError: otherwise.
    """
    path = Path(path)
    try:
        exists = path.is_file()
    except OSError as error:  # a name that is too long
        raise ValueError(f"no file {str(path)!r}: {error.strerror}") from None
    if not exists:
        raise FileNotFoundError(f"no file {str(path)!r}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path}: the ending must be one of {', '.join(endings)}; got {path.suffix!r}")
    return path


def _open_npy(path: Path, selections: Sequence[Sequence[str]]) -> list[StoredColumns]:
    with path.open("rb") as file:
        shape, fortran, dtype = read_header(file, str(path), path.stat().st_size)
        start = file.tell()
    if len(shape) != 2:
        raise ValueError(f"{path} must hold a 2-D array; got {shape}")
    check_number_of_columns(path, shape[1])
    array: Any = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
    selected = select_columns(path, [str(column) for column in range(shape[1])], selections)
    return [MappedColumns(str(path), array, array._mmap, [int(name) for name in names]) for names in selected]


def _open_parquet(path: Path, selections: Sequence[Sequence[str]]) -> list[StoredColumns]:
    return [ParquetColumns(path, names) for names in _parquet_names(path, selections)]


def _parquet_names(path: Path, selections: Sequence[Sequence[str]]) -> list[list[str]]:
    """The names of the selected columns of a Parquet file."""
    try:
        import pyarrow  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise ValueError(f"{path}: Parquet needs pyarrow; pip install 'infomax[parquet]'") from None
    return select_columns(path, read_names(path), selections)


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
