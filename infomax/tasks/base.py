"""What a task is, and the registry that lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
from numpy.typing import NDArray

from infomax.naming import unknown

Array = NDArray[np.float64]
Sampler = Callable[[int, np.random.Generator], tuple[Array, Array]]


@dataclass(frozen=True)
class Task:
    """A joint distribution of x and y with known mutual information.

    Attributes:
        name: unique, readable. mi: the mutual information in nats.
        x_dim, y_dim: dimensions of x and y.
        reference: where the distribution and its ``mi`` come from.
        sampler: draws ``n`` pairs from a generator.
        family: tasks that belong together have the same.
        mi_error: standard error of ``mi`` where it is a Monte Carlo mean; 0 where it is exact (closed forms, and
            integrals solved to 1e-6 or better).
    """

    name: str
    mi: float
    x_dim: int
    y_dim: int
    reference: str
    sampler: Sampler
    family: str = "other"
    mi_error: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.mi < np.inf and 0 <= self.mi_error < np.inf):
            raise ValueError(f"mi must be finite and at least 0, and so its error; got {self.mi} ± {self.mi_error}")

    def sample(self, n: int, seed: int) -> tuple[Array, Array]:
        """Two float64 arrays ``(n, x_dim)`` and ``(n, y_dim)``; the same seed gives the same bytes.

        Raises:
            ValueError: if ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        x, y = self.sampler(n, np.random.default_rng(seed))
        return np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)


_REGISTRY: dict[str, Task] = {}
_loaded = False


def register(task: Task) -> Task:
    """List a task under its name, and return it."""
    if task.name in _REGISTRY:
        raise ValueError(f"a task named {task.name!r} is registered already")
    _REGISTRY[task.name] = task
    return task


def _load() -> None:
    """Import every module of this folder, which registers its tasks: on first use, for ``import infomax`` is light."""
    global _loaded  # noqa: PLW0603
    if not _loaded:
        _loaded = True
        for module in iter_modules([str(Path(__file__).parent)]):
            import_module(f"{__package__}.{module.name}")


def names(family: str | None = None) -> list[str]:
    """Names of the registered tasks, of one family or of all, in the order of their registration.

    Raises:
        ValueError: for a family that no task belongs to; close matches are named.
    """
    _load()
    if family is not None and family not in families():
        raise ValueError(unknown("family", family, families()))
    return [name for name, task in _REGISTRY.items() if family in (None, task.family)]


def families() -> list[str]:
    """Families of the registered tasks, in the order of their registration."""
    _load()
    return list(dict.fromkeys(task.family for task in _REGISTRY.values()))


def get(name: str) -> Task:
    """The registered task of that name.

    Raises:
        ValueError: if there is none; close matches are named.
    """
    _load()
    if name not in _REGISTRY:
        raise ValueError(unknown("task", name, names()))
    return _REGISTRY[name]
