"""Are x and y independent? A permutation test of several statistics at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Random features of each side for :func:`dependence_of_features`.
_FEATURES = 48


def permutation_pvalue(statistics: NDArray[np.float64]) -> float:
    """Of several statistics, large under dependence, of the sample as it is and of permuted ones.

    The smallest of the statistics' own permutation p-values is itself a statistic, and is ranked among the same
    permutations: one test of the level that it claims (Westfall and Young 1993).

    Args:
        statistics: ``(1 + B, S)``; the first row is the sample's.

    Returns:
        a p-value, at least 1 / (1 + B).

    >>> statistics = np.arange(20.0)[:, None]
    >>> permutation_pvalue(statistics), permutation_pvalue(statistics[::-1])
    (1.0, 0.05)
    """
    count = len(statistics)
    ordered = np.sort(statistics, axis=0)
    exceeding = np.stack([count - np.searchsorted(ordered[:, s], statistics[:, s]) for s in range(ordered.shape[1])])
    smallest = exceeding.min(0)
    return float((smallest <= smallest[0]).mean())


def permutations(blocks: Sequence[NDArray[np.int64]], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` permutations of all rows that keep each within its block, after the identity: ``(1 + count, N)``."""
    n = sum(map(len, blocks))
    orders = np.tile(np.arange(n), (count + 1, 1))
    for block in blocks:
        shuffled = rng.permuted(np.tile(block, (count, 1)), axis=1)
        orders[1:, block] = shuffled
    return orders


def dependence_of_features(x: Tensor, y: Tensor, orders: Tensor, rng: np.random.Generator) -> Tensor:
    r"""How far random cosines of x and of y covary, for each order of the rows of y: ``(len(orders),)``.

    :math:`\sum_{kl} \mathrm{cov}(\cos(\omega_k^\top x + \beta_k), \cos(\nu_l^\top y + \gamma_l))^2`, the
    Hilbert-Schmidt independence criterion by random features (Gretton et al. 2005; Rahimi and Recht 2007), over several
    bandwidths at once.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``. orders: ``(B, N)``.
    """
    features_x, features_y = (_cosines(side, rng) for side in (x, y))
    return torch.stack([(features_x.T @ features_y[order]).square().sum() for order in orders])


def _cosines(side: Tensor, rng: np.random.Generator) -> Tensor:
    """Centred random cosines, ``(N, features)``; their frequencies have scales from 1/2 to 4, over the root of D."""
    dim = side.shape[1]
    scales = 2.0 ** np.linspace(-1, 2, _FEATURES) / math.sqrt(dim)
    frequencies = torch.from_numpy(rng.standard_normal((dim, _FEATURES)) * scales).to(side)
    phases = torch.from_numpy(rng.uniform(0, 2 * math.pi, _FEATURES)).to(side)
    features = torch.cos(side @ frequencies + phases)
    centred: Tensor = features - features.mean(0)
    return centred
