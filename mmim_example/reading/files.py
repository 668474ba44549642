"""Files as they come: mapped instead of read, tables of text, and what is said of those that are wrong."""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax import InfomaxWarning

Array = NDArray[Any]

#: Bytes that are looked at at once.
_CHUNK = 1 << 24


class DataError(ValueError):
    """What is wrong with a file: its name, the split, the field, the rule, and what came."""


class DataWarning(InfomaxWarning):
    """Data that can be used, but look like a mistake."""


class FileMap(mmap.mmap):
    """A file mapped to be read only."""

    def release(self) -> None:
        """Let go of the pages that were read: until then they count as memory of this process."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which takes such pages back when it needs them
            self.madvise(mmap.MADV_DONTNEED)


def map_file(path: Path) -> FileMap:
    """The whole file, mapped.

    Raises:
        DataError: if there is no such file, or it is empty.
    """
    try:
        with path.open("rb") as file:
            return FileMap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a file that is not empty; got: {error}") from None


def release(array: Array) -> None:
    """Let go of the pages of the file that the array is mapped from, if it is from a :class:`FileMap`."""
    owner: Any = array
    while isinstance(owner, (np.ndarray, memoryview)):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, FileMap):
        owner.release()


def chunks(array: Array) -> Iterator[tuple[slice, Array]]:
    """Some rows after others, with their places, so that a mapped array is never all in memory."""
    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        place = slice(start, start + rows)
        yield place, array[place]
        release(array)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file in UTF-8, by the names of its first line.

    Args:
        columns: names that must be there; others may be.

    Raises:
        DataError: for a file that cannot be read, columns that are not there, and rows of another length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a table (CSV, UTF-8); got: {error}") from None
    absent = [name for name in columns if name not in header]
    if absent or len(set(header)) < len(header):
        raise DataError(f"{path} must have columns {', '.join(columns)}, each once; got {', '.join(header) or 'none'}")
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"{path} must have {len(header)} fields in each row; got {len(row)} in row {i}")
    return [dict(zip(header, row, strict=True)) for row in rows]
