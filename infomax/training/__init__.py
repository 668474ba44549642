"""Training: one fit, cross-fitting over folds, samples and batches larger than memory, and queues of earlier batches.

Imports :mod:`infomax.bounds`, :mod:`infomax.distributed` and what lies below them.
"""

from infomax.training.cached_gradients import cached_backward
from infomax.training.cross_fitting import Fold, cross_fit
from infomax.training.fit import History, Schedule, fit
from infomax.training.queues import Queue

__all__ = ["Fold", "History", "Queue", "Schedule", "cached_backward", "cross_fit", "fit"]
