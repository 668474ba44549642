"""Sums over the matrix of inner-product scores, computed in tiles with O(N) memory, and their gradients.

Imports nothing else of infomax.
"""

from infomax.scores.inner_products import InnerProducts

__all__ = ["InnerProducts"]
