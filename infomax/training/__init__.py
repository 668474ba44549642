"""Training: one fit, cross-fitting over folds, samples larger than memory, and losses of batches larger than memory.

Imports :mod:`infomax.bounds`, :mod:`infomax.distributed` and what lies below them.
"""

from infomax.training.cached_gradients import cached_backward
from infomax.training.cross_fitting import Fold, cross_fit
from infomax.training.fit import History, Schedule, fit

__all__ = ["Fold", "History", "Schedule", "cached_backward", "cross_fit", "fit"]
