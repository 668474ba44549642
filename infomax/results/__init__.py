"""What estimates return: frozen results with intervals, and their figures.

Imports :mod:`infomax.training` for the history of a fit, and what lies below it.
"""

from infomax.results.composition import Composition, Term, combined_kind, negated_kind
from infomax.results.estimate import Estimate
from infomax.results.pairwise import Pairwise

__all__ = ["Composition", "Estimate", "Pairwise", "Term", "combined_kind", "negated_kind"]
