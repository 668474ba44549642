"""Linear mixtures of independent dependent pairs: monotone maps of normal pairs, and sines."""

from __future__ import annotations

import math

import numpy as np

from infomax.tasks.base import Array, Task, add, check_dim
from infomax.tasks.normal import correlated_normal
from infomax.tasks.quadrature import location_information, noise_for, normal_nodes
from infomax.tasks.transforms import chain, exponential, rotation, spiral, transformed

_SOURCE = "as benchmarked in arXiv 2510.20968"


def wrapped_normal(mi: float, *, dim: int) -> Task:
    r"""Correlated normal pairs z and w: x is :math:`\tanh(z) A`, y is :math:`e^w A`, with running means A.

    A is lower triangular with equal entries in each row that sum to 1, and so invertible.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: for a negative ``mi``, or a ``dim`` below 1.
    """
    check_dim(dim)
    means = np.tril(np.ones((dim, dim))) / np.arange(1, dim + 1)[:, None]

    def mixed(values: Array) -> Array:
        return values @ means

    name = f"wrapped-{dim}d-{mi:g}"
    base = correlated_normal(mi, dim=dim)
    return transformed(base, x=chain(np.tanh, mixed), y=chain(exponential, mixed), name=name, family="wrapped")


def rotated_sines(mi: float, *, dim: int) -> Task:
    r"""Standard normal x; y is :math:`\sin 2x` of each column plus normal noise, all rotated.

    The columns are independent before the rotation; the information of one is that of the noisy sine and its mean, by
    quadrature. Half of the standard deviation as noise gives 0.5296 nats a column.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: for an ``mi`` outside 1e-3 to 2 nats a column, or a ``dim`` below 1.
    """
    check_dim(dim)
    nodes, weights = normal_nodes(601)
    sine = np.sin(2 * nodes)
    noise = noise_for(mi / dim, lambda scale: location_information(sine, weights, scale))
    turn = rotation(0)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.standard_normal((n, dim))
        return x, turn(np.sin(2 * x) + noise * rng.standard_normal((n, dim)))

    return Task(f"sines-{dim}d-{mi:g}", mi, dim, dim, "this library; MI by quadrature", sample, "sines")


def spiralled_normal(mi: float, *, dim: int) -> Task:
    """Correlated normal pairs; two coordinates of each side are rotated by an angle that grows with the norm.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y, 3 or more.

    Raises:
        ValueError: for a negative ``mi``, or a ``dim`` below 3.
    """
    if dim < 3:
        raise ValueError(f"dim must be at least 3; got {dim}")
    turns = spiral(1 / dim, (0, 1)), spiral(1 / dim, (1, 2))
    base = correlated_normal(mi, dim=dim)
    return transformed(base, x=turns[0], y=turns[1], name=f"spiralled-{dim}d-{mi:g}", family="spirals")


#: Nats of a normal pair with correlation 0.7, as in the source.
_PAIR = -0.5 * math.log1p(-(0.7**2))
for _dim in (4, 8, 16, 32):
    add(wrapped_normal(_PAIR * _dim, dim=_dim))
for _dim in (4, 32):
    add(spiralled_normal(_PAIR * _dim, dim=_dim))
for _dim in (2, 8):
    add(rotated_sines(0.5296 * _dim, dim=_dim))
