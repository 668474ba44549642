"""An untrusted pickle, translated to one that ``pickle.Unpickler`` may run.

A pickle is a program. An allow-list in ``find_class`` is not enough to run it: extension codes bypass the list, a large
memo index fills the memory, and a tuple as a key is hashed, which takes as long or as deep a recursion as the file
wants. So every operation is read once before: its memory is charged, and some are refused or replaced by others with
the same meaning.

Source of the operations: CPython's ``pickletools``, protocols 0 to 5.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

from mmim_example.reading.files import Budget, DataError, FileMap

#: Bytes of memory of a value and its place on the stack; of a container or an array; of a place in a dict, a set or the
#: memo; of a byte of UTF-8 as text; of a byte of a line, which is copied before; and of other bytes, which are too.
_VALUE, CONTAINER, ENTRY, CHARACTER, _LINE, _BYTE = 64, 256, 100, 4, 6, 2
#: Bytes of an unused place in the memo.
_UNUSED = 16
#: Strings of at least this many bytes stay in the file until they are needed.
_LARGE = 1 << 16
#: The most digits and bytes of an integer: reading one takes time quadratic in its digits.
_DIGITS, _INTEGER = 200, 64

_ARGUMENTS = {ord(op.code): op.arg.n if op.arg else 0 for op in pickletools.opcodes}
#: How the size of a string is written, by the negative number that pickletools has instead of it.
_SIZES = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
#: The encoding of the strings that are text; ``None`` for bytes.
_STRINGS = dict.fromkeys(b"X\x8c\x8d", "utf-8") | dict.fromkeys(b"TU", "latin-1") | dict.fromkeys(b"BC\x8e\x96")
_COSTS = dict.fromkeys(b"]l}dt\x85\x86\x87\x8f\x91", CONTAINER) | dict.fromkeys(b"pqr\x94", ENTRY)
#: Calls that make containers which check their keys before they hash them.
_DICT, _SET = b"ccollections\nOrderedDict\n)R", b"cbuiltins\nset\n)R"
_REPLACED = {
    ord("}"): _DICT,
    0x8F: _SET,
    0x91: b"tQ",  # a frozen set: its items as a tuple, from ``persistent_load``
    0x95: b"",  # a frame: replaced operations have other lengths
}
_ADVICE = {
    "pandas": "a table of pandas: convert each column by .to_numpy() or .tolist(), and pickle the dict of them again",
    "torch": "a tensor of PyTorch: convert it by tensor.cpu().numpy(), and pickle the dict again",
}


@dataclass(slots=True, eq=False)
class LongString:
    """A long string that is still in the file: text in this encoding, or bytes."""

    data: memoryview
    encoding: str | None

    def __setstate__(self, _: Any) -> None:
        refuse_name("setting the state of a string")


def refuse(why: str) -> NoReturn:
    """Refuse the file. The caller adds its name."""
    raise DataError(why)


def refuse_name(name: str) -> NoReturn:
    """Refuse the file because of a name in it, with what to do about objects of libraries that users often pickle."""
    name = name if name.isprintable() and len(name) <= 100 else ascii(name)[:100]
    advice = next((f"; it is {text}" for library, text in _ADVICE.items() if re.match(rf"{library}\b", name)), "")
    refuse(f"asks for {name}, which data do not need; nothing was executed{advice}")


def shown(value: Any) -> str:
    """A value as text for a message. Containers are named only by type: their text may be endless."""
    return ascii(value)[:100] if value is None or isinstance(value, (str, bytes, int, float)) else type(value).__name__


class Translation:
    """Translates a file from its beginning to its first STOP, and never reads beyond its end.

    Attributes:
        program: the translated pickle. Its persistent ids are places in ``long``, or tuples of items of frozen sets.
        long: the strings that stay in the file.
    """

    def __init__(self, file: FileMap, budget: Budget) -> None:
        self.file, self.data, self.charge = file, memoryview(file), budget.charge
        self.at = self.places = 0
        self.program, self.long = io.BytesIO(), list[LongString]()
        previous = code = 0
        while code != ord("."):
            start, previous, code = self.at, code, self._take(1)[0]
            argument = _ARGUMENTS.get(code)
            if argument is None:
                refuse(f"must be a pickle; got {bytes([code])!r} at byte {start}")
            self.charge(_VALUE + _COSTS.get(code, 0))
            replacement = _REPLACED.get(code)
            if argument == pickletools.UP_TO_NEWLINE:
                self._line(code)
            elif argument < 0:
                replacement = self._string(code, self._number(_SIZES[argument]))
            elif code in b"qr":
                self._put(self._number("<B" if code == ord("q") else "<I"))
            elif code in b"\x82\x83\x84":
                refuse_name(f"extension {self._number({1: '<B', 2: '<H', 4: '<i'}[argument])}")
            elif code in b"Q\x97\x98":
                refuse_name("an object in another file")
            elif code == ord("d"):  # no library writes any but empty ones
                if previous != ord("("):
                    refuse(f"must have items of dicts one by one; got a dict of all its items at byte {start}")
                replacement = b"0" + _DICT
            else:
                self._take(argument)
            self.program.write(self.data[start : self.at] if replacement is None else replacement)
        self.program.seek(0)

    def _take(self, size: int) -> memoryview:
        if not 0 <= size <= len(self.data) - self.at:
            refuse(f"must be complete; got {size} bytes announced at byte {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def _number(self, kind: str) -> int:
        return int(struct.unpack(kind, self._take(struct.calcsize(kind)))[0])

    def _line(self, code: int) -> None:
        for _ in range(2 if code in b"ci" else 1):
            end = self.file.find(b"\n", self.at)
            if end < 0:
                refuse(f"must be complete; got an unfinished line at byte {self.at}")
            self.charge(_LINE * (end - self.at))
            line = bytes(self._take(end + 1 - self.at))[:-1]
        if code in b"ILgp" and len(line) > _DIGITS:
            refuse(f"numbers must have at most {_DIGITS} digits; got {len(line)} before byte {self.at}")
        if code == ord("p"):
            self._put(int(line))
        if code == ord("P"):
            refuse_name(f"{shown(line.decode('latin-1'))}, an object in another file")

    def _put(self, place: int) -> None:
        """The memo is an array: it has all places below the largest."""
        self.charge(_UNUSED * max(0, place - self.places))
        self.places = max(place, self.places)

    def _string(self, code: int, size: int) -> bytes | None:
        """Charge a string or an integer. One that stays in the file is replaced by a persistent id."""
        content = self._take(size)
        if code not in _STRINGS:
            if size > _INTEGER:
                refuse(f"integers must have at most {_INTEGER} bytes; got an integer of {size} bytes")
            return None
        if size < _LARGE:
            self.charge((CHARACTER if _STRINGS[code] == "utf-8" else _BYTE) * size)
            return None
        self.charge(CONTAINER)
        self.long.append(LongString(content, _STRINGS[code]))
        return struct.pack("<ci", b"J", len(self.long) - 1) + b"Q"
