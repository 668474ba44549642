"""Limits on nesting and repetition of the data that were read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from mmim_example.reading.files import Budget
from mmim_example.reading.pickles.source import refuse

#: The deepest nesting.
_DEEPEST = 50
#: Bytes of a place in a container, and of a number in an array that later code converts to float32 or int64.
_PLACE, _CONVERTED = 16, 8


def check_growth(root: Any, budget: Budget) -> None:
    """Refuse data that contain themselves, are nested too deeply, or repeat parts beyond the memory of the file.

    Later code copies and converts them, so a part that is shared is charged each time.

    Raises:
        DataError: names the limit.
    """
    known: dict[int, tuple[int, int]] = {}
    path: set[int] = set()

    def measure(value: Any) -> tuple[int, int]:
        """The bytes of a copy, and the depth."""
        parts = _parts(value)
        if parts is None:
            return _size(value), 0
        here = id(value)
        if here not in known:
            if here in path:
                refuse("data must not contain themselves; got some that do")
            path.add(here)
            size, depth = _PLACE, 0
            for part in parts if len(path) <= _DEEPEST else ():
                more, below = measure(part)
                size, depth = size + more, max(depth, below)
            path.remove(here)
            if depth >= _DEEPEST or len(path) >= _DEEPEST:
                refuse(f"data must be nested at most {_DEEPEST} levels deep; got more")
            if size > budget.left:
                budget.charge(size)
            known[here] = size, depth + 1
        return known[here]

    budget.charge(measure(root)[0])


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        count: int = math.prod(max(1, length) for length in value.shape)  # an axis of size 0 does not hide the others
        return _PLACE + count * (int(value.dtype.itemsize) + _CONVERTED)
    return _PLACE + (len(value) if isinstance(value, (str, bytes)) else 0)


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return chain(value, value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    return value.flat if isinstance(value, np.ndarray) and value.dtype.hasobject else None
