"""The limit on the memory that the contents of a file may take."""

from __future__ import annotations

import os
from pathlib import Path

#: Bytes that the contents of any file may take, and bytes more for each byte of the file.
_FREE, _PER_BYTE = 2**27, 8
#: Columns of a file: each takes some hundred bytes, however short its name is.
_MOST_COLUMNS = 2**18


def check_unpacked_size(path: str | os.PathLike[str], size: int, what: str = "its contents") -> None:
    """Raise ValueError if the contents of a file take too much memory; to be called before they are read.

    A file may unpack to 128 MiB and eight times its own size. Uncompressed arrays always fit: a value takes at least
    one byte of the file and at most eight bytes of memory. A compressed file that exceeds the limit may be an attack (a
    decompression bomb).

    Args:
        path: the file. size: bytes of memory that its contents will take. what: the contents, for the message.

    Raises:
        ValueError: with the file, the size and the limit.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     check_unpacked_size(file.name, 10**8)
    ...     try:
    ...         check_unpacked_size(file.name, 10**11)
    ...     except ValueError as error:
    ...         str(error).removeprefix(file.name)[:54]
    ': its contents must take at most 134 MB of memory, for'
    """
    limit = most_unpacked(path)
    if size > limit:
        raise ValueError(
            f"{path}: {what} must take at most {limit // 10**6} MB of memory, for a file of this size; "
            f"got {size // 10**6} MB: uncompressed, the same values are within the limit"
        )


def most_unpacked(path: str | os.PathLike[str]) -> int:
    """How many bytes the contents of a file may take."""
    return _FREE + _PER_BYTE * Path(path).stat().st_size


def check_number_of_columns(path: Path, columns: int) -> None:
    """Raise ValueError for a file of more than 2¹⁸ columns."""
    if columns > _MOST_COLUMNS:
        raise ValueError(f"{path} must have at most {_MOST_COLUMNS} columns; got {columns}")
