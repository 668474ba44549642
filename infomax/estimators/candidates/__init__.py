"""Candidates of the default estimator: models of different structure that give the log-ratio of any pairs.

Imports :mod:`infomax.densities`, :mod:`infomax.statistics` and what lies below them. A new file with a registered class
is a new candidate.
"""

from importlib import import_module
from pkgutil import iter_modules

from infomax.estimators.candidates.base import Candidate, LogRatio, Side, get, names, register

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Candidate", "LogRatio", "Side", "get", "names", "register"]
