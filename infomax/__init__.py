"""Measure and maximise mutual information.

>>> from infomax import CPC, estimate
"""

from infomax import bounds, critics, tasks
from infomax.bounds import Bound
from infomax.bounds.donsker_varadhan import MINE, DonskerVaradhan
from infomax.bounds.nce import CPC, InfoNCE
from infomax.bounds.unnormalised import NWJ
from infomax.bounds.variational import BA
from infomax.densities import ConditionalGaussian
from infomax.entropy import GaussianMixtureMemory
from infomax.estimation import estimate
from infomax.fitting import History, Schedule
from infomax.io import ConstantColumnWarning, InfomaxWarning, read_columns
from infomax.judging import SaturationWarning, TrainingWarning
from infomax.result import Estimate

__version__ = "0.1.0"

__all__ = [
    "BA",
    "CPC",
    "MINE",
    "NWJ",
    "Bound",
    "ConditionalGaussian",
    "ConstantColumnWarning",
    "DonskerVaradhan",
    "Estimate",
    "GaussianMixtureMemory",
    "History",
    "InfoNCE",
    "InfomaxWarning",
    "SaturationWarning",
    "Schedule",
    "TrainingWarning",
    "bounds",
    "critics",
    "estimate",
    "read_columns",
    "tasks",
]
