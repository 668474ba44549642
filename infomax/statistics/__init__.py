"""Statistics of samples: Gaussian fits, marginals, counts, nearest neighbours, and tests of independence.

Functions of arrays, without training. Imports nothing else of infomax.
"""

from infomax.statistics.counts import codes, copied_rows, entropy_limit, plugin, plugin_stderr
from infomax.statistics.gaussian import GaussianCoupling, couple, fit_gaussian, ledoit_wolf, sample_covariance, whiten
from infomax.statistics.marginals import Margins, fit_margins, normal_scores, tabulate_margins
from infomax.statistics.neighbours import count_within, ksg_terms, near_and_far_terms, neighbour_distances, tie_breaker
from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue
from infomax.statistics.rank_tests import Correction, qvalues, rank_pvalues, table_pvalue
from infomax.statistics.relations import follow_exactly, interpolation_error, linear_residual

__all__ = [
    "Correction",
    "GaussianCoupling",
    "Margins",
    "codes",
    "copied_rows",
    "count_within",
    "couple",
    "entropy_limit",
    "fit_gaussian",
    "fit_margins",
    "follow_exactly",
    "independence_pvalue",
    "interpolation_error",
    "ksg_terms",
    "ledoit_wolf",
    "linear_residual",
    "near_and_far_terms",
    "neighbour_distances",
    "normal_scores",
    "permutation_pvalue",
    "plugin",
    "plugin_stderr",
    "qvalues",
    "rank_pvalues",
    "sample_covariance",
    "table_pvalue",
    "tabulate_margins",
    "tie_breaker",
    "whiten",
]
