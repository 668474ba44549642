"""The class of tasks, and their registry."""

from __future__ import annotations

import math
import sys
import threading
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
        name: a unique, readable name. mi: the mutual information in nats.
        x_dim, y_dim: dimensions of x and y.
        reference: the source of the distribution and of ``mi``.
        sampler: draws ``n`` pairs with a generator.
        family: a name for a group of related tasks.
        mi_error: standard error of ``mi`` if it is a Monte Carlo mean; 0 if it is exact (closed forms, and integrals
            with an error of at most 1e-6).

    >>> task = get("normal-5d-1")
    >>> x, y = task.sample(100, seed=0)
    >>> x.shape, y.shape, task.mi  # 1 nat exactly
    ((100, 5), (100, 5), 1.0)
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
            raise ValueError(f"mi and its error must be finite and at least 0; got {self.mi} ± {self.mi_error}")

    def sample(self, n: int, seed: int) -> tuple[Array, Array]:
        """Two float64 arrays ``(n, x_dim)`` and ``(n, y_dim)``; equal seeds give equal bytes.

        Raises:
            ValueError: if ``n`` is less than 1.

        >>> x, y = get("normal-5d-1").sample(100, seed=0)
        >>> x.shape, y.shape
        ((100, 5), (100, 5))
        """
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        x, y = self.sampler(n, np.random.default_rng(seed))
        return np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)


_REGISTRY: dict[str, Task] = {}
_loaded, _lock = threading.Event(), threading.Lock()


def register(task: Task) -> Task:
    """Register a task under its name, and return it.

    Raises:
        ValueError: if the name is already registered.

    >>> def copies(n, rng):
    ...     coin = rng.integers(2, size=(n, 1)).astype(float)
    ...     return coin, coin
    >>> task = register(Task("coin", float(np.log(2)), 1, 1, "entropy of a fair coin", copies))
    >>> get("coin") is task
    True
    >>> del _REGISTRY["coin"]
    """
    _load()
    return add(task)


def add(task: Task) -> Task:
    """:func:`register` for the modules of this folder, which runs while they are loaded."""
    if task.name in _REGISTRY:
        raise ValueError(f"a task named {task.name!r} is registered already")
    _REGISTRY[task.name] = task
    return task


def _load() -> None:
    """Import all modules of this folder, which register their tasks, on first use, so that ``import infomax`` is fast.

    If one import fails, no task is registered, and the next call tries again.
    """
    if _loaded.is_set():
        return
    with _lock:
        if _loaded.is_set():  # by another thread
            return
        modules = [f"{__package__}.{module.name}" for module in iter_modules([str(Path(__file__).parent)])]
        try:
            for name in modules:
                import_module(name)
            _loaded.set()
        finally:
            if not _loaded.is_set():
                _REGISTRY.clear()
                for name in set(modules) - {__name__}:
                    sys.modules.pop(name, None)


def names(family: str | None = None) -> list[str]:
    """The names of the registered tasks, of one family or of all, sorted by family.

    Raises:
        ValueError: for an unknown family; the message names close matches.

    >>> names("normal")[:2]
    ['normal-1d-0', 'normal-1d-0.5']
    """
    _load()
    if family is not None and family not in families():
        raise ValueError(unknown("family", family, families()))
    ordered = sorted(_REGISTRY.values(), key=lambda task: task.family)
    return [task.name for task in ordered if family in (None, task.family)]


def families() -> list[str]:
    """The families of the registered tasks, in alphabetical order.

    >>> "normal" in families()
    True
    """
    _load()
    return sorted({task.family for task in _REGISTRY.values()})


def get(name: str) -> Task:
    """The registered task with that name.

    Raises:
        ValueError: if there is none; the message names close matches.

    >>> get("normal-20d-4").mi
    4.0
    """
    _load()
    if name not in _REGISTRY:
        raise ValueError(unknown("task", name, names()))
    return _REGISTRY[name]


#: Largest mutual information of a pair of coordinates, in nats. Above it x and y differ by less than the precision.
MOST = 25.0


def check_mi(mi: float, pairs: int = 1) -> None:
    """Raise unless ``mi`` nats are possible with so many pairs of coordinates."""
    if not 0 <= mi <= MOST * pairs:
        raise ValueError(f"mi must be from 0 to {MOST * pairs:g} nats, {MOST:g} a pair; got {mi}")


def check_dim(dim: int) -> None:
    """Raise unless the dimension is at least 1."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1; got {dim}")


def correlation(mi: float) -> tuple[float, float]:
    r"""Correlation :math:`\rho` of two normal variables with ``mi`` nats, and :math:`\sqrt{1 - \rho^2}`."""
    return math.sqrt(-math.expm1(-2 * mi)), math.exp(-mi)
