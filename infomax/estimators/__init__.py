"""Estimators: one protocol for the default, closed forms, nearest neighbours, counts and bounds that are trained.

Imports :mod:`infomax.training`, :mod:`infomax.statistics` and what lies below them. A new file with a registered class
is a new estimator.
"""

from importlib import import_module
from pkgutil import iter_modules

from infomax.estimators.base import Estimator, Measurement, get, names, register
from infomax.estimators.choice import BoundLike, chosen
from infomax.estimators.gaussian_copula import gaussian_copula
from infomax.estimators.nearest_neighbours import by_neighbours, ksg
from infomax.estimators.problem import Problem
from infomax.estimators.trained import TrainedBound

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "BoundLike",
    "Estimator",
    "Measurement",
    "Problem",
    "TrainedBound",
    "by_neighbours",
    "chosen",
    "gaussian_copula",
    "get",
    "ksg",
    "names",
    "register",
]
