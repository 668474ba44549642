"""Objects on the interpreter's stack, and numpy arrays made from what a file claims about them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmim_example.reading.files import Array
from mmim_example.reading.pickles.source import refuse, shown

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,8}|O8?)")


@dataclass(slots=True, eq=False)
class Name:
    """A name that a pickle may contain, and the meaning that the interpreter gives it."""

    meaning: str
    spelling: str


@dataclass(slots=True, eq=False)
class Unfinished:
    """An array or a dtype, which takes two operations to make. The value is None after the first."""

    value: Any = None


@dataclass(slots=True, eq=False)
class LongString:
    """A long string that is still in the file."""

    data: memoryview
    is_text: bool


class Arguments(tuple[Any, ...]):
    """A tuple of arguments: it contains names, unfinished arrays or long strings, so it is not data."""

    __slots__ = ()


def dtype(spelling: Any) -> np.dtype[Any]:
    """The dtype of that name: numbers, strings or objects.

    Raises:
        DataError: for other types, as records, dates, and numbers that depend on the platform.
    """
    if not isinstance(spelling, str) or not _DTYPE.fullmatch(spelling):
        refuse(f"arrays must be of numbers or strings; got the dtype {shown(spelling)}")
    return np.dtype(spelling)


def with_order(kind: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    """The dtype with the byte order in its state. The rest of the state, as flags, is not trusted.

    Raises:
        DataError: if it is the state of a record dtype.
    """
    order: Any = state[1] if len(state) >= 5 else ""
    known = isinstance(order, str) and order in ("<", ">", "=", "|")
    if not known or any(part is not None for part in state[2:5]):
        refuse("arrays must be of numbers or strings; got records")
    return kind.newbyteorder(order)


def array(shape: Any, kind: np.dtype[Any], order: Any, data: Any) -> Array:
    """An array of bytes, which are not copied, or of the objects in a list.

    Args:
        order: "C" or "F".

    Raises:
        DataError: if the shape does not fit the data, objects come as bytes, or bytes are not valid for the dtype.
    """
    if type(shape) is not tuple or len(shape) > 32 or any(type(size) is not int or size < 0 for size in shape):
        refuse(f"arrays must have a valid shape; got {shown(shape)}")
    count = math.prod(shape)
    if kind.hasobject:
        # Bytes would be interpreted as addresses.
        if type(data) is not list or len(data) != count:
            refuse(f"an array of shape {shape} needs a list of {count} objects; got {type(data).__name__}")
        objects = np.empty(count, object)
        for i, value in enumerate(data):
            objects[i] = value
        return objects.reshape(shape, order=order)
    if not isinstance(data, (bytes, memoryview)) or count * kind.itemsize != len(data):
        have = f"{len(data)} bytes" if isinstance(data, (bytes, memoryview)) else type(data).__name__
        refuse(f"an array of shape {shape} needs {count} values of {kind}; got {have}")
    flat: Array = np.frombuffer(data, kind) if count else np.empty(0, kind)
    # Bytes that are no valid bool or character would crash later code.
    characters = np.dtype(np.uint32).newbyteorder(kind.byteorder)
    if (kind.kind == "b" and np.any(flat.view(np.uint8) > 1)) or (
        kind.kind == "U" and np.any(flat.view(characters) > 0x10FFFF)
    ):
        refuse(f"values must be valid for {kind}; got other bytes")
    return flat.reshape(shape, order=order)
