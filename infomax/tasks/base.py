"""What a task is, and the registry that lists them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
from numpy.typing import NDArray

from infomax.io.naming import unknown

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
_loading = _loaded = False


def register(task: Task) -> Task:
    """List a task under its name, and return it.

    Raises:
        ValueError: if that name is taken.
    """
    _load()
    if task.name in _REGISTRY:
        raise ValueError(f"a task named {task.name!r} is registered already")
    _REGISTRY[task.name] = task
    return task


def _load() -> None:
    """Import every module of this folder, which registers its tasks: on first use, for ``import infomax`` is light.

    If one of them fails nothing is listed, and the next call tries again.
    """
    global _loading, _loaded  # noqa: PLW0603
    if _loading or _loaded:
        return
    modules = [f"{__package__}.{module.name}" for module in iter_modules([str(Path(__file__).parent)])]
    _loading = True
    try:
        for name in modules:
            import_module(name)
        _loaded = True
    finally:
        _loading = False
        if not _loaded:
            _REGISTRY.clear()
            for name in set(modules) - {__name__}:
                sys.modules.pop(name, None)


def names(family: str | None = None) -> list[str]:
    """Names of the registered tasks, of one family or of all; families by letter, each in its own order.

    Raises:
        ValueError: for a family that no task belongs to; close matches are named.
    """
    _load()
    if family is not None and family not in families():
        raise ValueError(unknown("family", family, families()))
    ordered = sorted(_REGISTRY.values(), key=lambda task: task.family)
    return [task.name for task in ordered if family in (None, task.family)]


def families() -> list[str]:
    """Families of the registered tasks, by letter."""
    _load()
    return sorted({task.family for task in _REGISTRY.values()})


def get(name: str) -> Task:
    """The registered task of that name.

    Raises:
        ValueError: if there is none; close matches are named.
    """
    _load()
    if name not in _REGISTRY:
        raise ValueError(unknown("task", name, names()))
    return _REGISTRY[name]


#: Nats that one pair of coordinates may share: beyond it x and y differ by less than a computer can tell.
MOST = 25.0


def check_mi(mi: float, pairs: int = 1) -> None:
    """Raise unless ``mi`` nats can be wanted of so many pairs of coordinates."""
    if not 0 <= mi <= MOST * pairs:
        raise ValueError(f"mi must be from 0 to {MOST * pairs:g} nats, {MOST:g} a pair; got {mi}")


def check_dim(dim: int) -> None:
    """Raise unless there is a coordinate."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1; got {dim}")


def correlation(mi: float) -> tuple[float, float]:
    r"""Correlation :math:`\rho` of two normal variables that share ``mi`` nats, and :math:`\sqrt{1 - \rho^2}`."""
    return math.sqrt(-math.expm1(-2 * mi)), math.exp(-mi)
