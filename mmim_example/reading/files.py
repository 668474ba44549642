"""Memory-mapped files, CSV tables, and the errors that name a faulty file."""

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

#: Bytes that :func:`chunks` reads at a time.
_CHUNK = 1 << 24


class DataError(ValueError):
    """Data that break a rule. The message names the file, the split, the field, the rule and the value."""


class DataWarning(InfomaxWarning):
    """Data that can be used but look like a mistake."""


class FileMap(mmap.mmap):
    """A read-only memory map of a file."""

    def release(self) -> None:
        """Return the pages that were read to the system; until then they count as memory of this process."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which reclaims such pages when it needs them
            self.madvise(mmap.MADV_DONTNEED)


def map_file(path: Path) -> FileMap:
    """Map a whole file.

    Raises:
        DataError: if there is no such file, or it is empty.
    """
    try:
        with path.open("rb") as file:
            return FileMap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a file that is not empty; got: {error}") from None


def release(array: Array) -> None:
    """Release the pages of the :class:`FileMap` behind an array, if there is one."""
    owner: Any = array
    while isinstance(owner, (np.ndarray, memoryview)):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, FileMap):
        owner.release()


def chunks(array: Array) -> Iterator[tuple[slice, Array]]:
    """Consecutive rows with their positions. A mapped array is never in memory as a whole."""
    rows = max(1, _CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        place = slice(start, start + rows)
        yield place, array[place]
        release(array)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file in UTF-8, keyed by the names in its first line.

    Args:
        columns: required names. Others are allowed.

    Raises:
        DataError: if the file cannot be read, a column is missing, or a row has another number of fields.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a table (CSV, UTF-8); got: {error}") from None
    if not set(columns) <= set(header) or len(set(header)) < len(header):
        raise DataError(f"{path} must have columns {', '.join(columns)}, each once; got {', '.join(header) or 'none'}")
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"{path} must have {len(header)} fields in each row; got {len(row)} in row {i}")
    return [dict(zip(header, row, strict=True)) for row in rows]
