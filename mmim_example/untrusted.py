"""What a stranger's file claims of an array, or of how its values are nested: checked before it is believed.

And what stands on a reader's stack that is no datum yet: names, arrays without content, strings still in the file.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from mmim_example.files import Array, DataError, FileMap

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,8}|O8?)")
_DEEPEST = 50
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


@dataclass(slots=True, eq=False)
class Name:
    """A name that a pickle may have: what it stands for is decided by whoever reads it."""

    meaning: str
    spelling: str


@dataclass(slots=True, eq=False)
class Unfinished:
    """An array, or a type of numbers, that takes two operations to make: None after the first."""

    value: Any = None


@dataclass(slots=True, eq=False)
class LongString:
    """A long string, still in the file."""

    data: memoryview
    is_text: bool


class Arguments(tuple[Any, ...]):
    """A tuple that is no datum, for it has names, unfinished arrays or long strings in it."""

    __slots__ = ()


def dtype(spelling: Any) -> np.dtype[Any]:
    """The type of numbers, strings or objects that goes by that name.

    Raises:
        DataError: for other types: records, dates, and what no computer but the writer's has.
    """
    if not isinstance(spelling, str) or not _DTYPE.fullmatch(spelling):
        refuse(f"must have arrays of numbers and strings; got the type {shown(spelling)}")
    return np.dtype(spelling)


def with_order(kind: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    """The type in the byte order of its state: that is all that is read of it, its flags are never trusted.

    Raises:
        DataError: for the state of a type of records.
    """
    order: Any = state[1] if len(state) >= 5 else ""
    known = isinstance(order, str) and order in ("<", ">", "=", "|")
    if not known or any(part is not None for part in state[2:5]):
        refuse("must have arrays of numbers and strings; got records")
    return kind.newbyteorder(order)


def array(shape: Any, kind: np.dtype[Any], order: Any, data: Any) -> Array:
    """An array of the bytes that there are, not copied, or of the objects of a list.

    Args:
        order: "C" or "F".

    Raises:
        DataError: for a shape that does not fit the data, objects from bytes, and bytes that are no value of the type.
    """
    if type(shape) is not tuple or len(shape) > 32 or any(type(size) is not int or size < 0 for size in shape):
        refuse(f"must have arrays with a shape; got {shown(shape)}")
    count = math.prod(shape)
    if kind.hasobject:
        # Bytes would be taken for addresses.
        if type(data) is not list or len(data) != count:
            refuse(f"must have the {count} objects of shape {shape} in a list; got {type(data).__name__}")
        objects = np.empty(count, object)
        for i, value in enumerate(data):
            objects[i] = value
        return objects.reshape(shape, order=order)
    if not isinstance(data, (bytes, memoryview)) or count * kind.itemsize != len(data):
        have = f"{len(data)} bytes" if isinstance(data, (bytes, memoryview)) else type(data).__name__
        refuse(f"must have the {count} values of shape {shape}, {kind}; got {have}")
    flat: Array = np.frombuffer(data, kind) if count else np.empty(0, kind)
    # Bytes that are no truth value, or no character, would break who reads them.
    characters = np.dtype(np.uint32).newbyteorder(kind.byteorder)
    if (kind.kind == "b" and np.any(flat.view(np.uint8) > 1)) or (
        kind.kind == "U" and np.any(flat.view(characters) > 0x10FFFF)
    ):
        refuse(f"must have values of {kind}; got bytes that are none")
    return flat.reshape(shape, order=order)


def check_growth(root: Any, most: int) -> None:
    """Refuse data within themselves, nested too deep, or sharing parts so that a walk over them would hardly end.

    Args:
        most: values there may be, those of a shared part counted each time.

    Raises:
        DataError: if so.
    """
    known: dict[int, tuple[int, int]] = {}
    path: set[int] = set()

    def measure(value: Any) -> tuple[int, int]:
        """How many values, and how deep."""
        parts = _parts(value)
        if parts is None:
            return 1, 0
        here = id(value)
        if here not in known:
            if here in path:
                refuse("must hold data that do not contain themselves; got some that do")
            path.add(here)
            size, depth = 1, 0
            for part in parts if len(path) <= _DEEPEST else ():
                more, below = measure(part)
                size, depth = size + more, max(depth, below)
            path.remove(here)
            if depth >= _DEEPEST or len(path) >= _DEEPEST:
                refuse(f"must be nested at most {_DEEPEST} deep; got more")
            if size > most:
                refuse("must hold what its size allows; got repeats that grow far beyond it")
            known[here] = size, depth + 1
        return known[here]

    measure(root)


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    return value.flat if isinstance(value, np.ndarray) and value.dtype.hasobject else None
