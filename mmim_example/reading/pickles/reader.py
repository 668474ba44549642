"""The standard library's unpickler, which knows the few names that data need and runs code of this file for each."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmim_example.reading.files import Budget, DataError, map_file
from mmim_example.reading.pickles import values
from mmim_example.reading.pickles.translation import CONTAINER, LongString, Translation, refuse_name, shown
from mmim_example.reading.pickles.values import ArrayPart, Dict, Name

_MULTIARRAY, _BUILTINS = ("numpy.core.multiarray", "numpy._core.multiarray"), ("builtins", "__builtin__")
#: The names that data need, and the modules in which they may be.
_NAMES = {
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
}
_FAULTS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    Warning,
)


def read_pickle(path: Path | str) -> Any:
    """Read a pickle of dict, list, tuple, set, str, bytes, numbers, None and numpy arrays of these.

    An OrderedDict is read as a dict, and strings of Python 2 as Latin-1. Arrays may be read-only and mapped from the
    file.

    Raises:
        DataError: if the pickle needs anything else, which the message names; if the file is damaged or no pickle; if
            the data contain themselves or take more memory than :data:`mmim_example.reading.files.MEMORY` allows.
    """
    path = Path(path)
    file = map_file(path)
    budget = Budget(len(file))
    try:
        return values.finished(_Reader(Translation(file, budget), budget).load(), budget)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except _FAULTS as error:
        reason = f"{type(error).__name__}: {' '.join(str(error)[:200].split())}"
        raise DataError(f"{path} must be a valid pickle; got {reason}") from None


class _Reader(pickle.Unpickler):
    """Runs a translated program. Nothing that a file can name or reach is a function or a class of a library."""

    def __init__(self, translation: Translation, budget: Budget) -> None:
        super().__init__(io.BufferedReader(translation.program), encoding="latin1")
        self.long, self.budget = translation.long, budget
        self.makers: dict[str, Callable[..., Any]] = {
            "dtype": values.dtype,
            "_reconstruct": self._reconstruct,
            "scalar": self._scalar,
            "_frombuffer": self._from_buffer,
            "encode": self._encode,
            "bytes": lambda: b"",
            "set": self._set,
            "frozenset": self._frozen,
            "OrderedDict": self._dict,
        }

    def find_class(self, module: str, name: str) -> Name:
        """The meaning of a name."""
        if module not in _NAMES.get(name, ()):
            refuse_name(f"{module}.{name}")
        return Name(f"{module}.{name}", self.makers.get(name))

    def persistent_load(self, pid: Any) -> Any:
        """What the translation replaced: a frozen set, or a string that is still in the file."""
        return self._frozen(pid) if isinstance(pid, tuple) else self.long[pid]

    def _reconstruct(self, kind: Any, *_: Any) -> ArrayPart:
        if not isinstance(kind, Name) or not kind.spelling.endswith(".ndarray"):
            raise TypeError("an array of an unknown class")
        self.budget.charge(CONTAINER)
        return ArrayPart(self.budget)

    def _from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> ArrayPart:
        array = values.array(shape, dtype, "F" if order == "F" else "C", data, self.budget)
        return ArrayPart(self.budget, array.transpose(axes) if order == "K" else array)

    def _scalar(self, dtype: Any, data: Any) -> Any:
        array = values.array((), dtype, "C", data, self.budget)
        self.budget.charge(2 * array.nbytes)
        return array[()]

    def _encode(self, text: Any, codec: Any) -> bytes:
        if codec not in ("latin1", "latin-1"):
            refuse_name(f"_codecs.encode with {shown(codec)}")
        if isinstance(text, LongString):
            text = values.decoded(text, self.budget)
        if type(text) is not str:  # the text of a container may be endless
            raise TypeError(f"_codecs.encode of {type(text).__name__}")
        self.budget.charge(len(text))
        return text.encode("latin-1")

    def _set(self, items: Any = ()) -> Dict:
        self.budget.charge(CONTAINER)
        made = Dict(set(), self.budget)
        for item in items:
            made.add(item)
        return made

    def _frozen(self, items: Any) -> frozenset[Any]:
        return frozenset(self._set(items).value)

    def _dict(self, pairs: Any = ()) -> Dict:
        """An OrderedDict. Python 2 passes its items; Python 3 adds them afterwards."""
        if not isinstance(pairs, (list, tuple)):
            raise TypeError(f"an OrderedDict of {type(pairs).__name__}")
        self.budget.charge(CONTAINER)
        made = Dict({}, self.budget)
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise TypeError("an OrderedDict of items that are not pairs")
            made[pair[0]] = pair[1]
        return made
