"""Many dimensions, of which a few directions that no axis shows carry everything."""

from __future__ import annotations

from infomax.tasks.base import Task, register
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import rotation, transformed


def secret(mi: float, *, directions: int, dim: int, seed: int = 0) -> Task:
    """Standard normal x and y in which some hidden directions correlate, and all others are noise.

    Args:
        mi: wanted mutual information, in nats. directions: how many carry it, alike.
        dim: dimension of x, and of y. seed: of the rotations that hide the directions.

    Raises:
        ValueError: for a negative ``mi``, or ``directions`` that are not from 1 to ``dim``.
    """
    base = correlated_normal(mi, dim=dim, pairs=directions)
    name = f"secret-{directions}in{dim}-{mi:g}" + (f"-{seed}" if seed else "")
    return transformed(base, x=rotation(2 * seed), y=rotation(2 * seed + 1), name=name, family="secret")


for _directions, _dim, _mi in ((2, 50, 1.0), (5, 50, 3.0), (2, 500, 1.0), (5, 500, 3.0), (10, 500, 3.0)):
    register(secret(_mi, directions=_directions, dim=_dim))
