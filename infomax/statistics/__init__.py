"""Statistics of samples: Gaussian fits, marginals, counts, nearest neighbours, and tests of independence.

Functions of arrays, without training. Imports nothing else of infomax.
"""

from infomax.statistics.counts import codes, plugin
from infomax.statistics.gaussian import couple, fit_gaussian, ledoit_wolf, sample_covariance, whiten
from infomax.statistics.marginals import Margins, fit_margins, normal_scores
from infomax.statistics.neighbours import ksg_terms
from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue
from infomax.statistics.rank_tests import Correction, class_pvalues, qvalues, rank_pvalues
from infomax.statistics.relations import follow_exactly
from infomax.statistics.row_structure import RowStructure, block_length
from infomax.statistics.surrogate_test import surrogate_pvalue

__all__ = [
    "Correction",
    "Margins",
    "RowStructure",
    "block_length",
    "class_pvalues",
    "codes",
    "couple",
    "fit_gaussian",
    "fit_margins",
    "follow_exactly",
    "independence_pvalue",
    "ksg_terms",
    "ledoit_wolf",
    "normal_scores",
    "permutation_pvalue",
    "plugin",
    "qvalues",
    "rank_pvalues",
    "sample_covariance",
    "surrogate_pvalue",
    "whiten",
]
