"""What a pickle's program has on its stack while it runs, and the data that become of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mmim_example.reading.files import Array, Budget
from mmim_example.reading.pickles.translation import CHARACTER, CONTAINER, ENTRY, LongString, refuse, refuse_name, shown

_KEYS = (str, bytes, int, float, bool, type(None))
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,8}|O8?)")
#: The deepest nesting.
_DEEPEST = 50
#: Bytes of an object in an array, of a place in a container, and of a number in an array that later code converts to
#: float32 or int64.
_OBJECT, _PLACE, _CONVERTED = 16, 16, 8


class _Part:
    """Something that a file may put on the stack, but that is no datum yet."""

    __slots__ = ()

    def __setstate__(self, _: Any) -> None:
        refuse_name(f"setting the state of {getattr(self, 'spelling', type(self).__name__.lower())}")


@dataclass(slots=True, eq=False)
class Name(_Part):
    """A name that a pickle may contain, and what this example does when it is called."""

    spelling: str
    make: Callable[..., Any] | None

    def __call__(self, *arguments: Any) -> Any:
        if self.make is None:
            refuse_name(f"a call of {self.spelling}")
        return self.make(*arguments)


@dataclass(slots=True, eq=False)
class Dict(_Part):
    """A dict or a set that checks its keys, and charges their places."""

    value: Any
    budget: Budget

    def __setitem__(self, key: Any, value: Any) -> None:
        self.budget.charge(ENTRY)
        self.value[checked_key(key)] = value

    def add(self, item: Any) -> None:
        """Add an item to a set. The unpickler calls this."""
        self.budget.charge(ENTRY)
        self.value.add(checked_key(item))


@dataclass(slots=True, eq=False)
class Dtype(_Part):
    """A dtype, whose byte order comes with its state."""

    value: np.dtype[Any]

    def __setstate__(self, state: Any) -> None:
        """The rest of the state, as flags, is not trusted."""
        order: Any = state[1] if isinstance(state, tuple) and len(state) >= 5 else ""
        known = isinstance(order, str) and order in ("<", ">", "=", "|")
        if not known or any(part is not None for part in state[2:5]):
            refuse("arrays must be of numbers or strings; got records")
        self.value = self.value.newbyteorder(order)


@dataclass(slots=True, eq=False)
class ArrayPart(_Part):
    """An array, whose content comes with its state."""

    budget: Budget
    value: Array | None = None

    def __setstate__(self, state: Any) -> None:
        if self.value is not None or not isinstance(state, tuple):
            refuse_name(f"setting the state of an array {'from ' + shown(state) if self.value is None else 'twice'}")
        _, shape, dtype, fortran, data = state
        self.value = array(shape, dtype, "F" if fortran else "C", data, self.budget)


def checked_key(key: Any) -> Any:
    """A key or an item of a set, which is about to be hashed.

    Raises:
        DataError: for tuples, whose hash takes a recursion, and for long integers, which can be chosen to collide.
    """
    if type(key) not in _KEYS or (isinstance(key, int) and key.bit_length() > 64):
        refuse(f"keys must be strings or numbers; got {type(key).__name__}")
    return key


def dtype(spelling: Any, *_: Any) -> Dtype:
    """The dtype of that name: numbers, strings or objects.

    Raises:
        DataError: for other types, as records, dates, and numbers that depend on the platform.
    """
    if not isinstance(spelling, str) or not _DTYPE.fullmatch(spelling):
        refuse(f"arrays must be of numbers or strings; got the dtype {shown(spelling)}")
    return Dtype(np.dtype(spelling))


def array(shape: Any, dtype: Any, order: str, data: Any, budget: Budget) -> Array:
    """An array of bytes, which are not copied, or of the objects in a list.

    Args:
        order: "C" or "F".

    Raises:
        DataError: if the shape does not fit the data, objects come as bytes, or bytes are not valid for the dtype.
    """
    if not isinstance(dtype, Dtype):
        refuse(f"arrays must have a dtype; got {shown(dtype)}")
    kind = dtype.value
    if isinstance(data, LongString):
        data = data.data if data.encoding in (None, "latin-1") else decoded(data, budget)
    if isinstance(data, str):  # of Python 2
        budget.charge(len(data))
        data = data.encode("latin-1")
    is_bytes = isinstance(data, (bytes, bytearray, memoryview))
    if type(shape) is not tuple or len(shape) > 32 or any(type(size) is not int or size < 0 for size in shape):
        refuse(f"arrays must have a valid shape; got {shown(shape)}")
    count = math.prod(shape)
    budget.charge(CONTAINER)
    if kind.hasobject:
        # Bytes would be interpreted as addresses.
        if type(data) is not list or len(data) != count:
            refuse(f"an array of shape {shape} needs a list of {count} objects; got {type(data).__name__}")
        budget.charge(_OBJECT * count)
        objects = np.empty(count, object)
        for i, value in enumerate(data):
            objects[i] = value
        return objects.reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]
    if not is_bytes or count * kind.itemsize != len(data):
        have = f"{len(data)} bytes" if is_bytes else type(data).__name__
        refuse(f"an array of shape {shape} needs {count} values of {kind}; got {have}")
    budget.charge(len(data))
    flat: Array = np.frombuffer(data, kind) if count else np.empty(0, kind)
    # Bytes that are no valid bool or character would crash later code.
    characters = np.dtype(np.uint32).newbyteorder(kind.byteorder)
    if (kind.kind == "b" and np.any(flat.view(np.uint8) > 1)) or (
        kind.kind == "U" and np.any(flat.view(characters) > 0x10FFFF)
    ):
        refuse(f"values must be valid for {kind}; got other bytes")
    return flat.reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def decoded(string: LongString, budget: Budget) -> Any:
    """The text or the bytes of a long string, in memory."""
    budget.charge((CHARACTER if string.encoding == "utf-8" else 2) * len(string.data))
    if string.encoding is None:
        return bytes(string.data)
    return str(string.data, string.encoding, "surrogatepass" if string.encoding == "utf-8" else "strict")


def finished(root: Any, budget: Budget) -> Any:
    """The data of a program that has ended: plain containers, in which what was shared is shared.

    Later code copies and converts them, so a part that is shared is charged each time.

    Raises:
        DataError: if they contain names or unfinished arrays, contain themselves, are nested too deeply, or repeat
            parts beyond the memory of the file.
    """
    known: dict[int, tuple[Any, Any, int, int]] = {}
    path: set[int] = set()

    def visit(value: Any) -> tuple[Any, int, int]:
        """The datum, the bytes of a copy, and the depth."""
        if isinstance(value, Name):
            refuse_name(value.spelling)
        if isinstance(value, ArrayPart) and value.value is None:
            refuse("must contain finished values; got an array that has no content")
        if isinstance(value, (Dict, Dtype, ArrayPart)):
            value = value.value
        if isinstance(value, LongString):
            value = decoded(value, budget)
        parts = _parts(value)
        if parts is None:
            return value if not isinstance(value, bytearray) else bytes(value), _size(value), 0
        here = id(value)
        if here not in known:
            if here in path:
                refuse("data must not contain themselves; got some that do")
            if len(path) >= _DEEPEST:
                refuse(f"data must be nested at most {_DEEPEST} levels deep; got more")
            path.add(here)
            size, depth, items = _PLACE, 0, []
            for part in parts:
                item, more, below = visit(part)
                items.append(item)
                size, depth = size + more, max(depth, below)
            path.remove(here)
            if depth >= _DEEPEST:
                refuse(f"data must be nested at most {_DEEPEST} levels deep; got more")
            if size > budget.left:
                budget.charge(size)
            known[here] = value, _with(value, items), size, depth + 1
        return known[here][1:]

    datum, size, _ = visit(root)
    budget.charge(size)
    return datum


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        count: int = math.prod(max(1, length) for length in value.shape)  # an axis of size 0 does not hide the others
        return _PLACE + count * (int(value.dtype.itemsize) + _CONVERTED)
    return _PLACE + (len(value) if isinstance(value, (str, bytes, bytearray)) else 0)


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return chain(value, value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    return value.ravel("K") if isinstance(value, np.ndarray) and value.dtype.hasobject else None


def _with(value: Any, items: list[Any]) -> Any:
    """The container with finished items, the same one if it can be changed."""
    if isinstance(value, tuple):
        return tuple(items)
    if isinstance(value, dict):
        value.update(zip(list(value), items[len(value) :], strict=True))
    elif isinstance(value, list):
        value[:] = items
    elif isinstance(value, np.ndarray):
        flat = value.ravel("K")  # not a copy: the array is contiguous
        for i, item in enumerate(items):
            flat[i] = item
    return value
