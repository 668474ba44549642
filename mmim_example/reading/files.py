"""Memory-mapped files, CSV tables, and the errors that name a faulty file."""

from __future__ import annotations

import csv
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax import InfomaxWarning, atomic_write

Array = NDArray[Any]

#: Bytes that :func:`chunks` reads at a time.
_CHUNK = 1 << 24
#: Memory in bytes that a file may take when it is read: ``MEMORY`` for any file, or ``PER_BYTE`` for each of its bytes,
#: if that is more. Raise them for a file that you trust. Uncompressed arrays are mapped and need little of it.
MEMORY, PER_BYTE = 400 << 20, 40


class DataError(ValueError):
    """Data that break a rule. The message names the file, the split, the field, the rule and the value."""


class DataWarning(InfomaxWarning):
    """Data that can be used but look like a mistake."""


class Budget:
    """The memory that reading one file may take. Whatever the file asks for is charged before it is made.

    Args:
        size: of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.limit = self.left = max(MEMORY, PER_BYTE * size)

    def charge(self, size: int) -> None:
        """Subtract this number of bytes.

        Raises:
            DataError: if less is left. The caller adds the name of the file.
        """
        self.left -= size
        if self.left < 0:
            raise DataError(
                f"must not expand far beyond its size: at most {self.limit >> 20} MiB, by MEMORY and PER_BYTE of "
                f"{__name__}; got more"
            )


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


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, which replaces the previous one only when it is complete."""
    with atomic_write(path) as file:
        file.write(text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        DataError: if it cannot be read, as :func:`parse_json`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be JSON; got: {error}") from None
    return parse_json(text, str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse a JSON document.

    Args:
        where: its name for messages.

    Raises:
        DataError: if it is not valid, is nested too deeply, or an object has a name twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) < len(pairs):
            raise ValueError("a name occurs twice in an object")
        return plain

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be JSON; got: {str(error)[:200]}") from None


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
    """Read columns of a CSV file in UTF-8, by the names in its first line. Blank lines are skipped.

    Args:
        columns: required names.
        optional: names that are read if the file has them. All others are left out.

    Raises:
        DataError: if the file cannot be read, a column is missing, or a row has another number of fields.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = (row for row in csv.reader(file, strict=True) if row)
            header = next(rows, [])
            if not set(columns) <= set(header) or len(set(header)) < len(header):
                got = ", ".join(header)[:200] or "none"
                raise DataError(f"{path} must have columns {', '.join(columns)}, each once; got {got}")
            places = {name: header.index(name) for name in (*columns, *optional) if name in header}
            table: dict[str, list[str]] = {name: [] for name in places}
            for i, row in enumerate(rows):
                if len(row) != len(header):
                    raise DataError(f"{path} must have {len(header)} fields in each row; got {len(row)} in row {i}")
                for name, place in places.items():
                    table[name].append(row[place])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a table (CSV, UTF-8); got: {error}") from None
    return table
