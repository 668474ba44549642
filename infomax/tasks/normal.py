"""Correlated normal pairs: the one family in which everything is known in closed form."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from infomax.tasks.base import Task, register


def correlated_normal(mi: float, *, dim: int = 1, x_dim: int | None = None) -> Task:
    r"""Standard normal x and y in which ``dim`` pairs of coordinates correlate equally, and no others.

    :math:`I = -\tfrac{d}{2} \log(1 - \rho^2)`, so :math:`\rho = \sqrt{1 - e^{-2I/d}}`.

    Args:
        mi: wanted mutual information, in nats. dim: dimension of y, and number of correlated pairs.
        x_dim: dimension of x, at least ``dim``; further coordinates are independent of all others.

    Raises:
        ValueError: for a negative ``mi``, or an ``x_dim`` below ``dim``.
    """
    if not mi >= 0:
        raise ValueError(f"mi must not be negative; got {mi}")
    width = dim if x_dim is None else x_dim
    if not 1 <= dim <= width:
        raise ValueError(f"x_dim must be at least dim, and dim at least 1; got {width} and {dim}")
    rho = math.sqrt(-math.expm1(-2 * mi / dim))

    def sample(n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, noise = rng.standard_normal((n, width)), rng.standard_normal((n, dim))
        return x, rho * x[:, :dim] + math.sqrt(1 - rho**2) * noise

    shape = f"{width}x{dim}" if width != dim else f"{dim}d"
    return Task(f"normal-{shape}-{mi:g}", mi, width, dim, "closed form: Cover and Thomas 2006, eq. 8.56", sample)


for _dim in (1, 5, 20):
    for _mi in (0.0, 0.5, 1.0, 2.0):
        register(correlated_normal(_mi, dim=_dim))
# The oracle for Barber-Agakov: rho = 0.8 in 16 pairs.
register(correlated_normal(-8 * math.log(1 - 0.8**2), dim=16, x_dim=32))
