"""The bytes of an untrusted file, a limit on what they may expand to, and refusals."""

from __future__ import annotations

import re
import struct
from typing import Any, NoReturn

from mmim_example.reading.files import Budget, DataError, FileMap

#: Bytes of memory of a value and its place on the stack; of a container or an array; of a place in a dict, a set or the
#: memo; of an object in an array; of a byte of UTF-8 as text; and of a byte of a line, which is copied before.
VALUE, CONTAINER, ENTRY, OBJECT, CHARACTER, _LINE = 64, 256, 100, 16, 4, 6


def refuse(why: str) -> NoReturn:
    """Refuse the file. The caller adds its name."""
    raise DataError(why)


#: What to do about objects of other libraries that users often pickle.
_ADVICE = {
    "pandas": "a table of pandas: convert each column by .to_numpy() or .tolist(), and pickle the dict of them again",
    "torch": "a tensor of PyTorch: convert it by tensor.cpu().numpy(), and pickle the dict again",
}


def refuse_name(name: str) -> NoReturn:
    """Refuse the file because of a name in it."""
    name = name if name.isprintable() and len(name) <= 100 else ascii(name)[:100]
    advice = next((f"; it is {text}" for library, text in _ADVICE.items() if re.match(rf"{library}\b", name)), "")
    refuse(f"asks for {name}, which data do not need; nothing was executed{advice}")


def shown(value: Any) -> str:
    """A value as text for a message. Containers are named only by type: their text may be endless."""
    return ascii(value)[:100] if value is None or isinstance(value, (str, bytes, int, float)) else type(value).__name__


class Source:
    """A file that is read from the beginning and never beyond its end.

    Attributes:
        at: position of the next byte.
        charge: subtracts from the memory that the file may take; see :class:`~mmim_example.reading.files.Budget`.
    """

    def __init__(self, file: FileMap) -> None:
        self.file, self.data, self.at = file, memoryview(file), 0
        self.budget = Budget(len(file))
        self.charge = self.budget.charge

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.data) - self.at:
            refuse(f"must be complete; got {size} bytes announced at byte {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def line(self) -> bytes:
        end = self.file.find(b"\n", self.at)
        if end < 0:
            refuse(f"must be complete; got an unfinished line at byte {self.at}")
        self.charge(_LINE * (end - self.at))
        line = bytes(self.take(end - self.at))
        self.at += 1
        return line

    def digits(self) -> int:
        line = self.line()
        if len(line) > 200:  # parsing an integer takes time quadratic in its digits
            refuse(f"numbers must have at most 200 digits; got {len(line)} before byte {self.at}")
        return int(line.rstrip(b"L"))
