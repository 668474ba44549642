"""Correlated normal pairs, with closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from infomax.tasks.base import Array, Task, add, check_dim, check_mi, correlation
from infomax.tasks.transforms import cube, transformed

_COVER = "closed form: Cover and Thomas 2006, eq. 8.56"


def correlated_normal(mi: float, *, dim: int = 1, x_dim: int | None = None, pairs: int | None = None) -> Task:
    r"""Standard normal x and y; some pairs of coordinates have equal correlations, and all others are independent.

    With k pairs, :math:`I = -\tfrac{k}{2} \log(1 - \rho^2)`, so :math:`\rho = \sqrt{1 - e^{-2I/k}}`.

    Args:
        mi: mutual information, in nats. dim: dimension of y, and of x unless ``x_dim`` is given.
        x_dim: dimension of x, at least ``dim``. pairs: number of correlated pairs; by default ``dim``.

    Raises:
        ValueError: for an ``mi`` that is negative or above 25 nats a pair, an ``x_dim`` below ``dim``, or ``pairs``
            that are not from 1 to ``dim``.

    >>> task = correlated_normal(1.0, dim=3)  # 1 nat in three pairs of columns
    >>> task.x_dim, task.y_dim, task.mi
    (3, 3, 1.0)
    """
    width, pairs = dim if x_dim is None else x_dim, dim if pairs is None else pairs
    if not 1 <= dim <= width:
        raise ValueError(f"x_dim must be at least dim, and dim at least 1; got {width} and {dim}")
    if not 1 <= pairs <= dim:
        raise ValueError(f"pairs must be from 1 to dim = {dim}; got {pairs}")
    check_mi(mi, pairs)
    rho, rest = correlation(mi / pairs)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x, y = rng.standard_normal((n, width)), rng.standard_normal((n, dim))
        y[:, :pairs] = rho * x[:, :pairs] + rest * y[:, :pairs]
        return x, y

    shape = (f"{width}x{dim}" if width != dim else f"{dim}d") + (f"-{pairs}pairs" if pairs != dim else "")
    return Task(f"normal-{shape}-{mi:g}", mi, width, dim, _COVER, sample, "normal")


def dense_normal(mi: float, *, dim: int) -> Task:
    r"""Standard normal coordinates, ``dim`` of x and ``dim`` of y; any two have the same correlation r.

    Only the sums over x and over y are dependent, with correlation :math:`\rho = dr / (1 + (d - 1) r)`, so
    :math:`I = -\tfrac12 \log(1 - \rho^2)`.

    Raises:
        ValueError: for an ``mi`` that is negative or above 25 nats, or ``dim`` below 1.

    >>> task = dense_normal(1.0, dim=3)
    >>> task.x_dim, task.y_dim, round(task.mi, 6)
    (3, 3, 1.0)
    """
    check_mi(mi)
    check_dim(dim)
    rho, rest = correlation(mi)
    r = rho / (dim - (dim - 1) * rho)
    own_part = math.sqrt(dim * rest**2 / (1 + rho) / (dim - (dim - 1) * rho))  # √(1 - r), with 1 - ρ = rest² / (1 + ρ)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, 2 * dim))
        both = math.sqrt(r) * shared + own_part * own
        return both[:, :dim], both[:, dim:]

    return Task(f"normal-dense-{dim}d-{mi:g}", mi, dim, dim, _COVER, sample, "normal")


for _dim in (1, 5, 20):
    for _mi in (0.0, 0.5, 1.0, 2.0):
        if (_dim, _mi) != (20, 2.0):  # part of the staircase below
            add(correlated_normal(_mi, dim=_dim))
# A reference for Barber-Agakov: rho = 0.8 in 16 pairs.
add(correlated_normal(-8 * math.log(1 - 0.8**2), dim=16, x_dim=32))

# The staircases: 20 pairs, without and with a cubed y.
for _mi in (2.0, 4.0, 6.0, 8.0, 10.0):
    _stair = replace(
        correlated_normal(_mi, dim=20),
        family="staircase",
        reference="Poole et al. 2019, arXiv 1905.06922; Song and Ermon 2020, arXiv 1910.06222; closed form",
    )
    add(_stair)
    add(transformed(_stair, y=cube, name=f"cubed-{_stair.name}"))
