"""Files that are replaced when they are complete, and never before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that replaces ``path`` when the ``with`` statement ends without an error.

    The content is written beside it, flushed to the disk, and renamed. After an error, for example on a full disk, or
    an interruption, what was at ``path`` is unchanged.

    Args:
        path: the file to write. Its folder must exist.

    Raises:
        OSError: if the file cannot be written; names the path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(f"{folder}/a.txt") as file:
    ...         _ = file.write(b"complete")
    ...     os.listdir(folder)
    ['a.txt']
    """
    target = Path(os.path.realpath(path))  # a link keeps pointing to the file
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.filename not in (None, str(partial)):
            raise
        state = "the previous file is kept" if target.exists() else "there is no file"
        raise OSError(error.errno, f"cannot be written: {error.strerror or error}; {state}", str(path)) from None
