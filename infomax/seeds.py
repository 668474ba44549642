"""The seed of a call, from ``seed=`` or from ``random_state=`` as users of scikit-learn pass it."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

#: What ``random_state=`` accepts.
RandomState = int | np.random.Generator | np.random.RandomState | None

_LARGEST = 2**31 - 1


def seed_of(seed: Any = None, random_state: Any = None) -> int:
    """The seed: ``seed``, or the whole number ``random_state``, or one drawn from that generator; 0 without either.

    Raises:
        ValueError: for both, and for other values.

    >>> seed_of(), seed_of(3), seed_of(random_state=3)
    (0, 3, 3)
    """
    if seed is not None and random_state is not None:
        raise ValueError(f"seed and random_state must not both be given; got {seed!r} and {random_state!r}")
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(_LARGEST))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(_LARGEST))
    if random_state is not None:
        if not _is_seed(random_state):
            raise ValueError(
                "random_state must be a whole number of at least 0, a numpy.random.Generator or a "
                f"numpy.random.RandomState; got {random_state!r}"
            )
        return int(random_state)
    if seed is not None and not _is_seed(seed):
        raise ValueError(f"seed must be a whole number of at least 0; got {seed!r}")
    return 0 if seed is None else int(seed)


def _is_seed(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) >= 0
