"""Normal copulas with other marginals: maps of single coordinates do not change mutual information."""

from __future__ import annotations

from infomax.tasks.base import Task, add
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import (
    Transform,
    asinh,
    chain,
    coupling,
    embedding,
    exponential,
    normal_cdf,
    rotation,
    transformed,
)


def correlated_uniform(mi: float, *, dim: int = 1) -> Task:
    """Uniform coordinates on (0, 1) with the copula of :func:`~infomax.tasks.normal.correlated_normal`.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.
    """
    return _with_marginals(mi, dim, normal_cdf, "uniform")


def exponentiated_normal(mi: float, *, dim: int = 1) -> Task:
    """Log-normal coordinates with the copula of :func:`~infomax.tasks.normal.correlated_normal`.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.
    """
    return _with_marginals(mi, dim, exponential, "lognormal")


def _with_marginals(mi: float, dim: int, margin: Transform, name: str) -> Task:
    base = correlated_normal(mi, dim=dim)
    return transformed(base, x=margin, y=margin, name=f"{name}-{dim}d-{mi:g}", family="margins")


for _make in (correlated_uniform, exponentiated_normal):
    for _dim, _mi in ((1, 0.5), (5, 1.0), (20, 2.0)):
        add(_make(_mi, dim=_dim))

# Compositions: couplings and a rotation; other marginals and rotations; embeddings in more dimensions.
for _dim, _mi in ((2, 1.0), (5, 1.0), (20, 2.0)):
    _base = correlated_normal(_mi, dim=_dim)
    for _name, _x, _y in (
        ("coupled", coupling(0), rotation(1)),
        ("mixed", chain(normal_cdf, rotation(2)), chain(exponential, rotation(3))),
        ("embedded", embedding(2 * _dim, 4), chain(embedding(3 * _dim, 5), asinh)),
    ):
        add(transformed(_base, x=_x, y=_y, name=f"{_name}-{_base.name}", family="margins"))
