"""Measure and maximise mutual information.

>>> from infomax import CPC, estimate
"""

from infomax import bounds, critics, distributed, tasks
from infomax.bounds import Bound
from infomax.bounds.difference import DoE
from infomax.bounds.donsker_varadhan import MINE, DonskerVaradhan
from infomax.bounds.jensen_shannon import FDIME, SMILE, JensenShannon, JSDLowerBound
from infomax.bounds.nce import CPC, InfoNCE, InfoNCEAnchor
from infomax.bounds.unnormalised import FLO, NWJ, TUBA, Interpolated
from infomax.bounds.upper import CLUB, L1Out
from infomax.bounds.variational import BA
from infomax.brackets import Bracket, bracket
from infomax.columns import pairwise
from infomax.combining import Composition, Term
from infomax.compositions import (
    conditional,
    directed_information,
    interaction_information,
    total_correlation,
    transfer_entropy,
)
from infomax.densities import ConditionalGaussian, Flow, MarginalGaussian
from infomax.distributed import RankError
from infomax.entropy import GaussianMixtureMemory, entropies
from infomax.estimation import estimate
from infomax.feeding import batches
from infomax.files import read_columns
from infomax.fitting import History, Schedule
from infomax.global_batch import GlobalBatch
from infomax.inner_products import InnerProducts
from infomax.io import ConstantColumnWarning, IndexWarning, InfomaxWarning
from infomax.judging import SaturationWarning, SubsampleWarning, TrainingWarning
from infomax.matrix import Pairwise
from infomax.result import Estimate
from infomax.stored import StoredColumns, open_columns

__version__ = "0.1.0"

__all__ = [
    "BA",
    "Bound",
    "Bracket",
    "CLUB",
    "CPC",
    "Composition",
    "ConditionalGaussian",
    "ConstantColumnWarning",
    "DoE",
    "DonskerVaradhan",
    "Estimate",
    "FDIME",
    "FLO",
    "Flow",
    "GaussianMixtureMemory",
    "GlobalBatch",
    "History",
    "IndexWarning",
    "InfoNCE",
    "InfoNCEAnchor",
    "InfomaxWarning",
    "InnerProducts",
    "Interpolated",
    "JSDLowerBound",
    "JensenShannon",
    "L1Out",
    "MINE",
    "MarginalGaussian",
    "NWJ",
    "Pairwise",
    "RankError",
    "SMILE",
    "SaturationWarning",
    "Schedule",
    "StoredColumns",
    "SubsampleWarning",
    "TUBA",
    "Term",
    "TrainingWarning",
    "batches",
    "bounds",
    "bracket",
    "conditional",
    "critics",
    "directed_information",
    "distributed",
    "entropies",
    "estimate",
    "interaction_information",
    "open_columns",
    "pairwise",
    "read_columns",
    "tasks",
    "total_correlation",
    "transfer_entropy",
]
