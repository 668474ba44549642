"""Estimators that are no bounds: closed forms, nearest neighbours, counts, and the default estimator.

Imports :mod:`infomax.training`, :mod:`infomax.statistics` and what lies below them.
"""

from infomax.estimators.classical import by_neighbours, gaussian_copula, ksg

__all__ = ["by_neighbours", "gaussian_copula", "ksg"]
