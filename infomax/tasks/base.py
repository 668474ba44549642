"""What a task is, and the registry that lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infomax.naming import unknown

Sampler = Callable[[int, np.random.Generator], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Task:
    """A joint distribution of x and y with known mutual information.

    Attributes:
        name: unique, readable. mi: the mutual information in nats. reference: where that number comes from.
        x_dim, y_dim: dimensions of x and y.
        sampler: draws ``n`` pairs from a generator.
    """

    name: str
    mi: float
    x_dim: int
    y_dim: int
    reference: str
    sampler: Sampler

    def sample(self, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two float64 arrays ``(n, x_dim)`` and ``(n, y_dim)``; the same seed gives the same bytes.

        Raises:
            ValueError: if ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        x, y = self.sampler(n, np.random.default_rng(seed))
        return np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)


_REGISTRY: dict[str, Task] = {}


def register(task: Task) -> Task:
    """List a task under its name, and return it."""
    if task.name in _REGISTRY:
        raise ValueError(f"a task named {task.name!r} is registered already")
    _REGISTRY[task.name] = task
    return task


def names() -> list[str]:
    """Names of the registered tasks, in the order of their registration."""
    return list(_REGISTRY)


def get(name: str) -> Task:
    """The registered task of that name.

    Raises:
        ValueError: if there is none; close matches are named.
    """
    if name not in _REGISTRY:
        raise ValueError(unknown("task", name, names()))
    return _REGISTRY[name]
