"""Sums over the matrix of inner-product scores in tiles, in O(N) memory, with their gradients.

Imports nothing else of infomax.
"""

from infomax.scores.inner_products import InnerProducts

__all__ = ["InnerProducts"]
