"""Measure and maximise mutual information.

>>> from infomax import CPC, estimate
"""

from infomax import bounds, critics, tasks
from infomax.bounds import Bound
from infomax.bounds.contrastive import CPC, MINE, NWJ, DonskerVaradhan, InfoNCE
from infomax.bounds.variational import BA
from infomax.brackets import Bracket, bracket
from infomax.combining import Composition, Term
from infomax.compositions import (
    conditional,
    directed_information,
    interaction_information,
    total_correlation,
    transfer_entropy,
)
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
    "Bracket",
    "Composition",
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
    "Term",
    "TrainingWarning",
    "bounds",
    "bracket",
    "conditional",
    "critics",
    "directed_information",
    "estimate",
    "interaction_information",
    "read_columns",
    "tasks",
    "total_correlation",
    "transfer_entropy",
]
