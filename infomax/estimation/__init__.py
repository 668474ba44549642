"""Questions to samples: :func:`estimate`, :func:`pairwise`, compositions and brackets, with their diagnostics.

Imports all other rooms but the command line.
"""

from infomax.estimation.bracket import Bracket, bracket
from infomax.estimation.compositions import (
    conditional,
    directed_information,
    interaction_information,
    total_correlation,
    transfer_entropy,
)
from infomax.estimation.estimate import estimate
from infomax.estimation.pairwise import pairwise

__all__ = [
    "Bracket",
    "bracket",
    "conditional",
    "directed_information",
    "estimate",
    "interaction_information",
    "pairwise",
    "total_correlation",
    "transfer_entropy",
]
