"""Densities of y: conditional and marginal models, and the Gaussian-mixture memory of its entropy.

Imports :mod:`infomax.critics` and :mod:`infomax.statistics`.
"""

from infomax.densities.conditional import ConditionalGaussian, Flow, MarginalGaussian, log_prob_matrix
from infomax.densities.memory import GaussianMixtureMemory, entropies
from infomax.densities.mixtures import Mixture, mixture_entropy_lower, mixture_entropy_upper, mixture_log_prob

__all__ = [
    "ConditionalGaussian",
    "Flow",
    "GaussianMixtureMemory",
    "MarginalGaussian",
    "Mixture",
    "entropies",
    "log_prob_matrix",
    "mixture_entropy_lower",
    "mixture_entropy_upper",
    "mixture_log_prob",
]
