"""High-dimensional x and y that depend on each other in a few hidden directions only."""

from __future__ import annotations

from infomax.tasks.base import Task, add
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import rotation, transformed


def secret(mi: float, *, directions: int, dim: int, seed: int = 0) -> Task:
    """Standard normal x and y; some hidden directions are correlated, and all others are noise.

    Args:
        mi: mutual information, in nats. directions: number of correlated directions.
        dim: dimension of x, and of y. seed: seed of the rotations that hide the directions.

    Raises:
        ValueError: for a negative ``mi``, or ``directions`` that are not from 1 to ``dim``.

    >>> task = secret(1.0, directions=2, dim=50)  # of 50 columns a side, two directions are informative
    >>> task.x_dim, task.mi
    (50, 1.0)
    """
    base = correlated_normal(mi, dim=dim, pairs=directions)
    name = f"secret-{directions}in{dim}-{mi:g}" + (f"-{seed}" if seed else "")
    return transformed(base, x=rotation(2 * seed), y=rotation(2 * seed + 1), name=name, family="secret")


for _directions, _dim, _mi in ((2, 50, 1.0), (5, 50, 3.0), (2, 500, 1.0), (5, 500, 3.0), (10, 500, 3.0)):
    add(secret(_mi, directions=_directions, dim=_dim))
