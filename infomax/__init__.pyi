"""The public names, as type checkers see them; ``__init__.py`` loads each on first use."""

from . import bounds, critics, datasets, distributed, tasks
from .bounds import Bound
from .bounds.difference import DoE
from .bounds.donsker_varadhan import MINE, DonskerVaradhan
from .bounds.jensen_shannon import FDIME, SMILE, JensenShannon, JSDLowerBound
from .bounds.nce import CPC, InfoNCE, InfoNCEAnchor
from .bounds.unnormalised import FLO, NWJ, TUBA, Interpolated
from .bounds.upper import CLUB, L1Out
from .bounds.variational import BA
from .densities.conditional import ConditionalGaussian, Flow, MarginalGaussian
from .densities.memory import GaussianMixtureMemory, entropies
from .distributed.global_batch import GlobalBatch
from .distributed.ranks import RankError
from .estimation.bracket import Bracket, bracket
from .estimation.compositions import (
    conditional,
    directed_information,
    interaction_information,
    total_correlation,
    transfer_entropy,
)
from .estimation.estimate import estimate
from .estimation.pairwise import pairwise
from .exceptions import (
    ConstantColumnWarning,
    IndexWarning,
    InfomaxWarning,
    SaturationWarning,
    SubsampleWarning,
    TrainingWarning,
)
from .io.batches import batches
from .io.files import open_columns, read_columns
from .io.stored import StoredColumns
from .results.composition import Composition, Term
from .results.estimate import Estimate
from .results.pairwise import Pairwise
from .scores.inner_products import InnerProducts
from .training.fit import History, Schedule

__version__: str

__all__ = [
    "BA",
    "batches",
    "Bound",
    "bounds",
    "Bracket",
    "bracket",
    "CLUB",
    "Composition",
    "conditional",
    "ConditionalGaussian",
    "ConstantColumnWarning",
    "CPC",
    "critics",
    "datasets",
    "directed_information",
    "distributed",
    "DoE",
    "DonskerVaradhan",
    "entropies",
    "estimate",
    "Estimate",
    "FDIME",
    "FLO",
    "Flow",
    "GaussianMixtureMemory",
    "GlobalBatch",
    "History",
    "IndexWarning",
    "InfomaxWarning",
    "InfoNCE",
    "InfoNCEAnchor",
    "InnerProducts",
    "interaction_information",
    "Interpolated",
    "JensenShannon",
    "JSDLowerBound",
    "L1Out",
    "MarginalGaussian",
    "MINE",
    "NWJ",
    "open_columns",
    "pairwise",
    "Pairwise",
    "RankError",
    "read_columns",
    "SaturationWarning",
    "Schedule",
    "SMILE",
    "StoredColumns",
    "SubsampleWarning",
    "tasks",
    "Term",
    "total_correlation",
    "TrainingWarning",
    "transfer_entropy",
    "TUBA",
]
