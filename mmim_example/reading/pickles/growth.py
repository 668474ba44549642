"""How far data may be nested and repeated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mmim_example.reading.pickles.source import refuse

_DEEPEST = 50


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
