"""An interpreter for the subset of the pickle language that data need.

A pickle is a program. Python's unpickler runs it: it imports the objects that the program names and calls them.
Restricting the names (``find_class``) is not enough: extension codes bypass it, a large memo index can fill the memory,
and a deeply nested tuple as a key crashes the process. This interpreter imports and calls nothing that a file names. It
knows the few names in numpy's pickles and makes the arrays itself. Large arrays are mapped from the file, not read.

Source of the operations: CPython's ``pickletools``, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmim_example.reading.files import Array, DataError, map_file
from mmim_example.reading.pickles import objects, source
from mmim_example.reading.pickles.growth import check_growth
from mmim_example.reading.pickles.objects import Arguments, LongString, Name, Unfinished
from mmim_example.reading.pickles.source import Source, refuse, refuse_name, shown

#: Strings of at least this many bytes stay in the file until they are needed.
_LARGE = 1 << 16
_KEYS = (str, bytes, int, float, bool, type(None))
_MULTIARRAY, _BUILTINS = ("numpy.core.multiarray", "numpy._core.multiarray"), ("builtins", "__builtin__")
#: The names that data need, and their meaning.
_NAMES = {
    (module, name): name
    for name, modules in {
        "ndarray": ("numpy",),
        "dtype": ("numpy",),
        "_reconstruct": _MULTIARRAY,
        "scalar": _MULTIARRAY,
        "_frombuffer": ("numpy.core.numeric", "numpy._core.numeric"),
        "encode": ("_codecs",),
        "bytes": _BUILTINS,
        "set": _BUILTINS,
        "frozenset": _BUILTINS,
        "OrderedDict": ("collections",),
    }.items()
    for module in modules
}


def read_pickle(path: Path | str) -> Any:
    """Read a pickle of dict, list, tuple, set, str, bytes, numbers, None and numpy arrays of these.

    An OrderedDict is read as a dict, and strings of Python 2 as Latin-1. Arrays may be read-only and mapped from the
    file.

    Raises:
        DataError: if the pickle needs anything else, which the message names; if the file is damaged or no pickle; if
            the data contain themselves or take more memory than :data:`mmim_example.reading.files.MEMORY` allows.
    """
    path = Path(path)
    file = Source(map_file(path))
    try:
        value = _Reader(file).run()
        check_growth(value, file.budget)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError, Warning, struct.error) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error)[:200].split())}"
        raise DataError(f"{path} must be a valid pickle; got, before byte {file.at}, {reason}") from None
    return value


class _Reader:
    """The state of the interpreter: a file, a stack and a memo."""

    def __init__(self, file: Source) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (operation := bytes(self.file.take(1))) != b".":
            self.file.charge(source.VALUE)
            if operation in _OPERATIONS:
                _OPERATIONS[operation](self)
            elif operation in _SIZED:
                method, kind = _SIZED[operation]
                method(self, self.file.number(kind))
            else:
                refuse(f"must be a pickle; got {operation!r} at byte {self.file.at - 1}")
        return self.datum(self.stack.pop())

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def marked(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def datum(self, value: Any) -> Any:
        """A finished value, as it enters a container or is returned."""
        if isinstance(value, Unfinished) and value.value is not None:
            return value.value
        if isinstance(value, LongString):
            self.file.charge(2 * len(value.data))
            return str(value.data, "latin-1") if value.is_text else bytes(value.data)
        if isinstance(value, Name):
            refuse_name(value.spelling)
        if isinstance(value, (Unfinished, Arguments)):
            unfinished = isinstance(value, Unfinished)
            got = "an array that contains itself or has no content" if unfinished else "a tuple of names"
            refuse(f"must contain finished values; got {got}, before byte {self.file.at}")
        return value

    def key(self, value: Any) -> Any:
        value = self.datum(value)
        # Hashing a tuple recurses into it, however deep; long integers can be chosen to collide.
        if type(value) not in _KEYS or (isinstance(value, int) and value.bit_length() > 64):
            refuse(f"keys must be strings or numbers; got {type(value).__name__} at byte {self.file.at}")
        return value

    # The operations.

    def old_string(self, size: int) -> None:
        self.string(size, is_text=True)

    def string(self, size: int, is_text: bool = False) -> None:
        data = self.file.take(size)
        self.file.charge(source.CONTAINER if size >= _LARGE else size)
        if size >= _LARGE:
            self.push(LongString(data, is_text))
        else:
            self.push(str(data, "latin-1") if is_text else bytes(data))

    def text(self, size: int) -> None:
        data = self.file.take(size)
        self.file.charge(source.CHARACTER * size)
        self.push(str(data, "utf-8", "surrogatepass"))

    def quoted(self) -> None:
        line = self.file.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise ValueError("a string without quotes")
        self.push(line[1:-1].decode("unicode_escape"))

    def integer(self) -> None:
        is_bool = bytes(self.file.data[self.file.at : self.file.at + 3]) in (b"00\n", b"01\n")
        number = self.file.digits()
        self.push(bool(number) if is_bool else number)

    def long(self, size: int) -> None:
        if size > 64:
            raise ValueError(f"an integer of {size} bytes")
        self.push(int.from_bytes(self.file.take(size), "little", signed=True))

    def empty_container(self, kind: type) -> None:
        self.file.charge(source.CONTAINER)
        self.push(kind())

    def make_list(self) -> None:
        values = self.marked()
        self.empty_container(list)
        self.append(values)

    def append(self, values: Iterable[Any]) -> None:
        self.container(list).extend([self.datum(value) for value in values])

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a key without a value")
        self.file.charge(source.ENTRY * len(values))
        pairs = zip(values[::2], values[1::2], strict=True)
        self.container(dict).update({self.key(key): self.datum(value) for key, value in pairs})

    def make_dict(self) -> None:
        values = self.marked()
        self.empty_container(dict)
        self.set_items(values)

    def make_set(self, kind: Callable[[Iterable[Any]], Any]) -> None:
        values = self.marked()
        self.file.charge(source.CONTAINER + source.ENTRY * len(values))
        self.push(kind([self.key(value) for value in values]))

    def add(self) -> None:
        values = self.marked()
        self.file.charge(source.ENTRY * len(values))
        self.container(set).update([self.key(value) for value in values])

    def container(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"{type(self.stack[-1]).__name__} instead of {kind.__name__}")
        return self.stack[-1]

    def make_tuple(self, values: list[Any]) -> None:
        self.file.charge(source.CONTAINER)
        values = [v.value if isinstance(v, Unfinished) and v.value is not None else v for v in values]
        raw = any(isinstance(value, (Name, Unfinished, LongString, Arguments)) for value in values)
        self.push(Arguments(values) if raw else tuple(values))

    def tuple_of(self, size: int) -> None:
        values = self.stack[-size:]
        if len(values) < size:
            raise IndexError("too few values on the stack")
        del self.stack[-size:]
        self.make_tuple(values)

    def put(self, index: int) -> None:
        self.file.charge(source.ENTRY)
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            refuse_name(f"the name {shown(name)} of {shown(module)}")
        if (module, name) not in _NAMES:
            refuse_name(f"{module}.{name}")
        self.push(Name(_NAMES[module, name], f"{module}.{name}"))

    def named(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def instance(self) -> None:
        module, name = self.file.line(), self.file.line()
        refuse_name(f"{module.decode('latin-1')}.{name.decode('latin-1')}")

    def make_object(self) -> None:
        kind = next((value for value in reversed(self.stack) if isinstance(value, Name)), None)
        refuse_name(f"an object of {kind.spelling if kind else 'a class'}")

    def extension(self, code: int) -> None:
        refuse_name(f"extension {code}")

    def elsewhere(self, name: Any = "a buffer") -> None:
        refuse_name(f"{shown(name)}, an object in another file")

    def reduce(self) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            refuse_name(f"a call of {type(name).__name__}")
        make = _CALLS.get(name.meaning)
        if make is None:
            refuse_name(f"a call of {name.spelling}")
        self.push(make(self, *arguments))

    def build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if not isinstance(made, Unfinished) or not isinstance(state, tuple):
            refuse_name(f"setting the state of {made.spelling if isinstance(made, Name) else type(made).__name__}")
        if isinstance(made.value, np.dtype):
            made.value = objects.with_order(made.value, state)
        elif made.value is None:
            _, shape, dtype, fortran, data = state
            made.value = self.array(shape, dtype, "F" if fortran else "C", data)
        else:
            refuse_name("setting the state of an array twice")

    # What the names mean.

    def dtype(self, spelling: Any, *_: Any) -> Unfinished:
        return Unfinished(objects.dtype(spelling))

    def empty(self, kind: Any, *_: Any) -> Unfinished:
        if not isinstance(kind, Name) or kind.meaning != "ndarray":
            raise TypeError("an array of an unknown class")
        return Unfinished()

    def from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Unfinished:
        array = self.array(shape, dtype, "F" if order == "F" else "C", data)
        return Unfinished(array.transpose(axes) if order == "K" else array)

    def scalar(self, dtype: Any, data: Any) -> Any:
        array = self.array((), dtype, "C", data)
        self.file.charge(2 * array.nbytes)
        return array[()]

    def encode(self, text: Any, codec: Any) -> bytes:
        if codec not in ("latin1", "latin-1"):
            refuse_name(f"_codecs.encode with {shown(codec)}")
        if type(text) is not str:  # the text of a container may be endless
            raise TypeError(f"_codecs.encode of {type(text).__name__}")
        self.file.charge(len(text))
        return text.encode("latin-1")

    def set_of(self, values: Any) -> set[Any]:
        self.file.charge(source.CONTAINER + source.ENTRY * len(values))
        return {self.key(value) for value in values}

    def dict_of(self, pairs: Any = ()) -> dict[Any, Any]:
        """An OrderedDict. Python 2 passes its items; Python 3 adds them afterwards."""
        if type(pairs) not in (list, tuple):
            raise TypeError(f"an OrderedDict of {type(pairs).__name__}")
        self.file.charge(source.CONTAINER + 2 * source.ENTRY * len(pairs))
        if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
            raise TypeError("an OrderedDict of items that are not pairs")
        return {self.key(key): self.datum(value) for key, value in pairs}

    def array(self, shape: Any, dtype: Any, order: str, data: Any) -> Array:
        if isinstance(data, LongString):
            data = data.data
        elif isinstance(data, str):
            data = self.encode(data, "latin1")
        if not isinstance(dtype, np.dtype):
            raise TypeError("an array without a dtype")
        if not isinstance(data, (bytes, memoryview, list)):
            raise TypeError(f"an array of {type(data).__name__}")
        self.file.charge(source.CONTAINER + (source.OBJECT if dtype.hasobject else 1) * len(data))
        return objects.array(shape, dtype, order, data)


_CALLS: dict[str, Callable[..., Any]] = {
    "dtype": _Reader.dtype,
    "_reconstruct": _Reader.empty,
    "scalar": _Reader.scalar,
    "_frombuffer": _Reader.from_buffer,
    "encode": _Reader.encode,
    "bytes": lambda _: b"",
    "set": _Reader.set_of,
    "frozenset": lambda r, values: frozenset(r.set_of(values)),
    "OrderedDict": _Reader.dict_of,
}

#: Operations that take a number, and its format.
_SIZED: dict[bytes, tuple[Callable[[_Reader, Any], None], str]] = {
    b"J": (_Reader.push, "i"),
    b"K": (_Reader.push, "B"),
    b"M": (_Reader.push, "H"),
    b"\x8a": (_Reader.long, "B"),
    b"\x8b": (_Reader.long, "i"),
    b"T": (_Reader.old_string, "i"),
    b"U": (_Reader.old_string, "B"),
    b"B": (_Reader.string, "I"),
    b"C": (_Reader.string, "B"),
    b"\x8e": (_Reader.string, "Q"),
    b"\x96": (_Reader.string, "Q"),
    b"X": (_Reader.text, "I"),
    b"\x8c": (_Reader.text, "B"),
    b"\x8d": (_Reader.text, "Q"),
    b"q": (_Reader.put, "B"),
    b"r": (_Reader.put, "I"),
    b"h": (_Reader.get, "B"),
    b"j": (_Reader.get, "I"),
    b"\x82": (_Reader.extension, "B"),
    b"\x83": (_Reader.extension, "H"),
    b"\x84": (_Reader.extension, "i"),
}

_OPERATIONS: dict[bytes, Callable[[_Reader], Any]] = {
    b"\x80": lambda r: r.file.take(1),  # protocol
    b"\x95": lambda r: r.file.take(8),  # frame
    b"(": lambda r: r.marks.append(len(r.stack)),
    b"0": lambda r: r.stack.pop(),
    b"1": lambda r: r.marked(),
    b"2": lambda r: r.push(r.stack[-1]),
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": _Reader.integer,
    b"L": _Reader.integer,
    b"F": lambda r: r.push(float(r.file.line())),
    b"G": lambda r: r.push(struct.unpack(">d", r.file.take(8))[0]),
    b"S": _Reader.quoted,
    b"V": lambda r: r.push(r.file.line().decode("raw_unicode_escape")),
    b"]": lambda r: r.empty_container(list),
    b"l": _Reader.make_list,
    b"a": lambda r: r.append([r.stack.pop()]),
    b"e": lambda r: r.append(r.marked()),
    b"}": lambda r: r.empty_container(dict),
    b"d": _Reader.make_dict,
    b"s": lambda r: r.set_items([r.stack.pop(-2), r.stack.pop()]),
    b"u": lambda r: r.set_items(r.marked()),
    b"\x8f": lambda r: r.empty_container(set),
    b"\x90": _Reader.add,
    b"\x91": lambda r: r.make_set(frozenset),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.make_tuple(r.marked()),
    b"\x85": lambda r: r.tuple_of(1),
    b"\x86": lambda r: r.tuple_of(2),
    b"\x87": lambda r: r.tuple_of(3),
    b"p": lambda r: r.put(r.file.digits()),
    b"\x94": lambda r: r.put(len(r.memo)),
    b"g": lambda r: r.get(r.file.digits()),
    b"c": lambda r: r.name(r.file.line().decode(), r.file.line().decode()),
    b"\x93": _Reader.named,
    b"R": _Reader.reduce,
    b"b": _Reader.build,
    b"i": _Reader.instance,
    b"o": _Reader.make_object,
    b"\x81": _Reader.make_object,
    b"\x92": _Reader.make_object,
    b"P": lambda r: r.elsewhere(r.file.line().decode("latin-1")),
    b"Q": lambda r: r.elsewhere(r.stack.pop()),
    b"\x97": _Reader.elsewhere,
    b"\x98": _Reader.elsewhere,
}
