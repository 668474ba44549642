"""Clusters in many columns: a mixture of five correlated normal distributions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import logsumexp

from infomax.tasks.base import Array, Task, add, check_dim
from infomax.tasks.mixtures import normal_mixture
from infomax.tasks.quadrature import location_information

_CORRELATIONS = (-0.3, 0.5, 0.2, 0.4, 0.9)
_MEANS = (-0.2, -0.1, 0.0, 0.3, 0.4)


def clusters(dim: int, mi: tuple[float, float] | None = None) -> Task:
    r"""Five components of equal weight; each has its own mean and its own correlation of the ``dim`` pairs.

    With the component K, :math:`I(X; Y) = I(X; Y \mid K) + I(X; K) + I(Y; K) - I((X, Y); K)`: a closed form, two
    quadratures, since only the sum of the columns tells the components apart, and a Monte Carlo mean.

    Args:
        dim: dimension of x, and of y.
        mi: mutual information in nats and its standard error, if known; by default the above with a million rows.

    Raises:
        ValueError: for a ``dim`` below 1.

    Source: as benchmarked in arXiv 2510.20968.
    """
    check_dim(dim)
    eye = np.eye(dim)
    covariances = [np.block([[eye, rho * eye], [rho * eye, eye]]) for rho in _CORRELATIONS]
    means = [np.full(2 * dim, mean) for mean in _MEANS]
    reference = "as benchmarked in arXiv 2510.20968"
    known = mi or information(dim)
    name, weights = f"clusters-{dim}d", np.full(5, 0.2)
    return replace(
        normal_mixture(name, weights, means, covariances, x_dim=dim, mi=known, reference=reference), family="clusters"
    )


def information(dim: int, rows: int = 1_000_000, seed: int = 1) -> tuple[float, float]:
    """Mutual information of :func:`clusters` in nats, and its standard error."""
    rng, most = np.random.default_rng(seed), 2_000_000 // dim
    own = -0.5 * dim * float(np.mean(np.log1p(-np.square(_CORRELATIONS))))
    side = location_information(math.sqrt(dim) * np.array(_MEANS), np.full(5, 0.2), 1.0)
    total, squares = 0.0, 0.0
    for start in range(0, rows, most):
        n = min(most, rows - start)
        component = rng.integers(5, size=n)
        rho, mean = np.array(_CORRELATIONS)[component, None], np.array(_MEANS)[component, None]
        x, noise = rng.standard_normal((2, n, dim))
        y = mean + rho * x + np.sqrt(1 - rho**2) * noise
        densities = np.stack([_log_density(x + mean, y, k) for k in range(5)])
        local = densities[component, np.arange(n)] - logsumexp(densities, axis=0) + math.log(5)
        total, squares = total + local.sum(), squares + np.square(local).sum()
    both = total / rows
    return own + 2 * side - float(both), math.sqrt(float(squares / rows - both**2) / rows)


def _log_density(x: Array, y: Array, k: int) -> Array:
    """Of component k, without the constant that all components have: ``(n,)``."""
    rho, a, b = _CORRELATIONS[k], x - _MEANS[k], y - _MEANS[k]
    squares: Array = (np.square(a) + np.square(b) - 2 * rho * a * b).sum(1) / (1 - rho**2)
    return np.asarray(-0.5 * (squares + x.shape[1] * math.log1p(-(rho**2))))


# With four million rows; a test repeats them from other rows and densities.
for _dim, _mi in (
    (4, (0.57002, 3.7e-4)),
    (8, (1.37258, 3.9e-4)),
    (16, (3.17247, 3.7e-4)),
    (32, (6.89305, 3.2e-4)),
):
    add(clusters(_dim, mi=_mi))
