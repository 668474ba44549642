"""One to ten nats in one to three dimensions: normal, uniform, Student, smoothed uniform, gamma-exponential, spirals.

The grid of the package mutinfo (Butakov et al., arXiv 2405.20063), with this library's own implementations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from infomax.tasks.base import Task, add
from infomax.tasks.noise import gamma_exponential, smoothed_uniform
from infomax.tasks.normal import correlated_normal
from infomax.tasks.student import correlated_student
from infomax.tasks.transforms import chain, normal_cdf, spiral, swiss_roll, transformed

_SOURCE = "grid of mutinfo, arXiv 2405.20063"


def _uniform(mi: float, dim: int) -> Task:
    return transformed(correlated_normal(mi, dim=dim), x=normal_cdf, y=normal_cdf, name="uniform")


def _curled(mi: float, dim: int) -> Task:
    """A swiss roll of one column; a spiral of more."""
    curl = chain(normal_cdf, swiss_roll) if dim == 1 else spiral(1 / dim)
    return transformed(correlated_normal(mi, dim=dim), x=curl, name="curled")


#: The task of so many nats and dimensions, by name.
FORMS: dict[str, Callable[[float, int], Task]] = {
    "normal": lambda mi, dim: correlated_normal(mi, dim=dim),
    "uniform": _uniform,
    "student": lambda mi, dim: correlated_student(mi, df=4, dim=dim),
    "smoothed-uniform": lambda mi, dim: smoothed_uniform(mi, dim=dim),
    "gamma-exponential": lambda mi, dim: gamma_exponential(mi, dim=dim),
    "curled": _curled,
}


def large_value(form: str, mi: float, *, dim: int) -> Task:
    """One of the grid's tasks.

    Args:
        form: one of :data:`FORMS`. mi: mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: for an unknown form, and as the form's own task.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}; got {form!r}")
    task = FORMS[form](mi, dim)
    return replace(task, name=f"grid-{form}-{dim}d-{mi:g}", family="grid", reference=f"{_SOURCE}; {task.reference}")


for _form in FORMS:
    for _dim in (1, 2, 3):
        for _mi in (1.0, 4.0, 10.0):
            add(large_value(_form, _mi, dim=_dim))
