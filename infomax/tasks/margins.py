"""Normal pairs behind other margins: what changes each coordinate alone changes no information."""

from __future__ import annotations

from dataclasses import replace

from infomax.tasks.base import Task, register
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import Transform, chain, coupling, exponential, normal_cdf, rotation, transformed


def correlated_uniform(mi: float, *, dim: int = 1) -> Task:
    """Uniform coordinates on (0, 1), joined by the copula of :func:`~infomax.tasks.normal.correlated_normal`.

    Args:
        mi: wanted mutual information, in nats. dim: dimension of x, and of y.
    """
    return _renamed(mi, dim, normal_cdf, "uniform")


def exponentiated_normal(mi: float, *, dim: int = 1) -> Task:
    """Log-normal coordinates, joined by the copula of :func:`~infomax.tasks.normal.correlated_normal`.

    Args:
        mi: wanted mutual information, in nats. dim: dimension of x, and of y.
    """
    return _renamed(mi, dim, exponential, "lognormal")


def _renamed(mi: float, dim: int, margin: Transform, name: str) -> Task:
    task = transformed(correlated_normal(mi, dim=dim), x=margin, y=margin, name=name)
    return replace(task, name=f"{name}-{dim}d-{mi:g}", family="margins")


for _make in (correlated_uniform, exponentiated_normal):
    for _dim, _mi in ((1, 0.5), (5, 1.0), (20, 2.0)):
        register(_make(_mi, dim=_dim))

# Composed: rotated on one side, bent by couplings on the other.
for _dim, _mi in ((2, 1.0), (5, 1.0), (20, 2.0)):
    _base = correlated_normal(_mi, dim=_dim)
    register(replace(transformed(_base, x=coupling(0), y=rotation(1), name="coupled"), family="margins"))
    register(
        replace(
            transformed(_base, x=chain(normal_cdf, rotation(2)), y=chain(exponential, rotation(3)), name="mixed"),
            family="margins",
        )
    )
