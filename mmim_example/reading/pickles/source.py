"""The bytes of a file of unknown origin, and what is refused of it."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from mmim_example.reading.files import DataError, FileMap

#: What may be made of each byte of a file, and of none: more is a bomb.
_PER_BYTE, _FREE = 4, 1 << 20


def refuse(why: str) -> NoReturn:
    """Whoever knows the file's name puts it in front."""
    raise DataError(why)


def refuse_name(name: str) -> NoReturn:
    """Say what the file wanted."""
    name = name if name.isprintable() and len(name) <= 100 else ascii(name)[:100]
    refuse(f"asks for {name}, which a data file has no need of; nothing was executed")


def shown(value: Any) -> str:
    """A value in a message: containers only by their kind, for their text may have no end."""
    return ascii(value)[:100] if value is None or isinstance(value, (str, bytes, int, float)) else type(value).__name__


class Source:
    """A file read from its beginning, never beyond its end.

    Attributes:
        at: the next byte. limit: how much may be made of the whole; what repeats is charged.
    """

    def __init__(self, file: FileMap) -> None:
        self.file, self.data, self.at = file, memoryview(file), 0
        self.limit = _FREE + _PER_BYTE * len(file)
        self._left = self.limit

    def charge(self, size: int) -> None:
        """What repeats cost: a file of n bytes that makes far more than n values or bytes is refused."""
        self._left -= size
        if self._left < 0:
            refuse("must hold what its size allows; got repeats that grow far beyond it")

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.data) - self.at:
            refuse(f"must be whole; got {size} bytes announced at byte {self.at}, of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def line(self) -> bytes:
        end = self.file.find(b"\n", self.at)
        if end < 0:
            refuse(f"must be whole; got a line without an end at byte {self.at}")
        line = bytes(self.take(end - self.at))
        self.at += 1
        return line

    def digits(self) -> int:
        line = self.line()
        if len(line) > 200:  # the time that an integer takes grows with the square of its digits
            refuse(f"must have numbers of fewer digits; got {len(line)} before byte {self.at}")
        return int(line.rstrip(b"L"))
