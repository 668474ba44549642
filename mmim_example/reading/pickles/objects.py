"""What a stranger's file claims of an array, or of how its values are nested: checked before it is believed.

And what stands on a reader's stack that is no datum yet: names, arrays without content, strings still in the file.
"""

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
