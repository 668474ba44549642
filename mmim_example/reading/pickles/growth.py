"""Limits on nesting and repetition of the data that were read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mmim_example.reading.pickles.source import refuse

#: The deepest nesting.
_DEEPEST = 50


def check_growth(root: Any, most: int) -> None:
    """Refuse data that contain themselves, are nested too deeply, or repeat parts until a walk would hardly end.

    Args:
        most: the largest number of values. Those of a shared part count each time.

    Raises:
        DataError: names the limit.
    """
    known: dict[int, tuple[int, int]] = {}
    path: set[int] = set()

    def measure(value: Any) -> tuple[int, int]:
        """The number of values, and the depth."""
        parts = _parts(value)
        if parts is None:
            return 1, 0
        here = id(value)
        if here not in known:
            if here in path:
                refuse("data must not contain themselves; got some that do")
            path.add(here)
            size, depth = 1, 0
            for part in parts if len(path) <= _DEEPEST else ():
                more, below = measure(part)
                size, depth = size + more, max(depth, below)
            path.remove(here)
            if depth >= _DEEPEST or len(path) >= _DEEPEST:
                refuse(f"data must be nested at most {_DEEPEST} levels deep; got more")
            if size > most:
                refuse("must not expand far beyond its size; got too many repeats")
            known[here] = size, depth + 1
        return known[here]

    measure(root)


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    return value.flat if isinstance(value, np.ndarray) and value.dtype.hasobject else None
