"""Training: one fit, cross-fitting over folds, and samples larger than memory.

Imports :mod:`infomax.bounds`, :mod:`infomax.distributed` and what lies below them.
"""

from infomax.training.cross_fitting import Fold, cross_fit
from infomax.training.fit import History, Schedule, fit

__all__ = ["Fold", "History", "Schedule", "cross_fit", "fit"]
