"""The default estimator: an elliptical copula, a network that learns the residual, and their stacked log-ratio.

Imports :mod:`infomax.training` and what lies below it.
"""

from infomax.estimators.default.estimator import measure

__all__ = ["measure"]
