"""The 40 tasks of "Beyond Normal", with their published names.

Czyż, Grabowski, Vogt, Beerenwinkel and Marx 2023, "Beyond Normal: On the Evaluation of Mutual Information Estimators",
NeurIPS, arXiv 2306.11078. Names end in the parameters: the correlation; or the dimensions and degrees of freedom; or
the dimensions, the number of pairs and the strength λ, for a correlation of λ²/(1 + λ²).
"""

from __future__ import annotations

import math
from dataclasses import replace

from infomax.tasks.base import Task, add
from infomax.tasks.noise import smoothed_uniform
from infomax.tasks.normal import correlated_normal, dense_normal
from infomax.tasks.student import correlated_student
from infomax.tasks.transforms import (
    Transform,
    asinh,
    chain,
    half_cube,
    normal_cdf,
    sines,
    spiral,
    swiss_roll,
    transformed,
    two_normals,
)

_SOURCE = "Czyż et al. 2023, arXiv 2306.11078"


def _gaussian_mi(rho: float, pairs: int = 1) -> float:
    return -pairs / 2 * math.log1p(-(rho**2))


def _task(task: Task, name: str) -> Task:
    return add(replace(task, name=name, family="beyond-normal", reference=f"{_SOURCE}; {task.reference}"))


def _version(name: str, task: Task, x: Transform | None, y: Transform | None = None) -> Task:
    return add(transformed(task, x=x, y=y, name=f"{name}-{task.name}"))


# One dimension.
_normal = _task(correlated_normal(_gaussian_mi(0.75)), "1v1-normal-0.75")
_uniform = _version("normal_cdf", _normal, normal_cdf, normal_cdf)
for _epsilon, _mi in ((0.1, 0.1 - math.log(0.2)), (0.75, 1 / 3)):
    _task(smoothed_uniform(_mi), f"1v1-additive-{_epsilon}")
_bimodal = two_normals((0.3, 0.0), (0.7, 5.0)), two_normals((0.5, -1.0), (0.5, 3.0))
add(transformed(_normal, x=_bimodal[0], y=_bimodal[1], name="1v1-bimodal-0.75"))
_version(
    "wiggly",
    _normal,
    sines((0.4, 1.0, 0.0), (0.2, 1.7, 1.0), (0.03, 3.3, -2.5)),
    sines((-0.4, 0.4, 0.0), (0.17, 1.3, 3.5), (0.02, 4.3, -2.5)),
)
_version("half_cube", _normal, half_cube, half_cube)
_cauchy = _task(correlated_student(df=1), "student-identity-1-1-1")
_version("asinh", _cauchy, asinh, asinh)
_version("swissroll_x", _uniform, swiss_roll)

# Multivariate normal: any two coordinates have correlation 0.5, or only two pairs have correlation 0.8.
for _dim in (2, 3, 5, 25, 50):
    _rho = 0.5 * _dim / (1 + 0.5 * (_dim - 1))
    _task(dense_normal(_gaussian_mi(_rho), dim=_dim), f"multinormal-dense-{_dim}-{_dim}-0.5")
_sparse = {
    _dim: _task(correlated_normal(_gaussian_mi(0.8, 2), dim=_dim, pairs=2), f"multinormal-sparse-{_dim}-{_dim}-2-2.0")
    for _dim in (2, 3, 5, 25)
}

# Student, uncorrelated.
_student = {
    (_dim, _df): _task(correlated_student(df=_df, dim=_dim), f"student-identity-{_dim}-{_dim}-{_df}")
    for _dim, _df in ((2, 1), (2, 2), (3, 2), (3, 3), (5, 2), (5, 3))
}

# Transformed versions of these.
for _dim in (3, 5, 25):
    _task_base, _turns = _sparse[_dim], (spiral(1 / _dim, (0, 1)), spiral(1 / _dim, (1, 2)))
    _version("normal_cdf", _task_base, normal_cdf, normal_cdf)
    _version("half_cube", _task_base, half_cube, half_cube)
    _version("spiral", _task_base, *_turns)
    _both = tuple(chain(normal_cdf, turn) for turn in _turns)
    _version("spiral-normal_cdf", _task_base, *_both)
for _key in ((2, 1), (3, 2), (5, 2)):
    _version("asinh", _student[_key], asinh, asinh)
