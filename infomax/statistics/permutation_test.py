"""A permutation test of independence with several statistics, exact for every number of rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.isolation import isolated
from infomax.statistics.gaussian import whiten

#: Number of random cosines of each side; number of frequency bands; columns from which random projections are used.
_COSINES, _BANDS, _MOST_COLUMNS = 48, 3, 64
#: Largest number of rows that are used.
_MOST_ROWS = 20_000


@isolated()
def independence_pvalue(x: Tensor, y: Tensor, draws: int, rng: np.random.Generator) -> float:
    r"""P-value of independence by permutations of the pairs.

    Features are computed from x and from y separately: the whitened normal scores; their squares and squared norm;
    random cosines of low, middle and high frequency. For each kind of feature of x and each kind of feature of y, the
    squared covariances are summed. For cosines this is the Hilbert-Schmidt independence criterion (Gretton et al. 2005)
    with random features (Rahimi and Recht 2007). All sums are tested together by :func:`permutation_pvalue`.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``. If there are more than 20,000 rows, 20,000 are drawn.
        draws: number of permutations; the p-value is at least 1 / (1 + draws).
    """
    if len(x) > _MOST_ROWS:
        rows = torch.from_numpy(rng.permutation(len(x))[:_MOST_ROWS])
        x, y = x[rows], y[rows]
    whitened = whiten(x, y)
    features_x, kinds_x = _features(x, whitened.root_x, rng)
    features_y, kinds_y = _features(y, whitened.root_y, rng)
    statistics = np.empty((draws + 1, len(kinds_x) * len(kinds_y)))
    for draw in range(draws + 1):
        order = torch.from_numpy(rng.permutation(len(y))) if draw else torch.arange(len(y))
        squares = (features_x.T @ features_y[order]).square()
        sums = [part.sum() for rows in torch.split(squares, kinds_x, 0) for part in torch.split(rows, kinds_y, 1)]
        statistics[draw] = torch.stack(sums).numpy()
    return permutation_pvalue(statistics)


def permutation_pvalue(statistics: NDArray[np.float64]) -> float:
    """P-value of the maximum of several standardised statistics that are large under dependence.

    Each statistic is standardised over the sample and its permutations; the largest one is the test statistic. The test
    has its nominal level, however the statistics depend on each other (Westfall and Young 1993).

    Args:
        statistics: ``(1 + B, S)``, of the sample in the first row and of permuted samples in the others.

    Returns:
        the p-value, at least 1 / (1 + B).

    >>> statistics = np.arange(20.0)[:, None]
    >>> permutation_pvalue(statistics), permutation_pvalue(statistics[::-1])
    (1.0, 0.05)
    """
    centred = statistics - statistics.mean(0)
    spread = centred.std(0)
    largest = (centred / np.where(spread > 0, spread, 1.0)).max(1)
    # Values that differ only by rounding count as equal.
    return float((largest >= largest[0] - 1e-12).mean())


def _features(scores: Tensor, root: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[int]]:
    """Centred features of one side, ``(N, F)`` in float32, and the number of features of each kind."""
    n, dim = scores.shape
    axes = torch.eye(dim, dtype=scores.dtype)
    if dim > _MOST_COLUMNS:
        axes = torch.from_numpy(np.linalg.qr(rng.standard_normal((dim, _MOST_COLUMNS)))[0])
    white = scores @ root @ axes
    squares = torch.cat([white.square(), white.square().sum(1, keepdim=True)], 1)
    scales = 2.0 ** np.linspace(-1, 2, _COSINES) / math.sqrt(dim)
    frequencies = torch.from_numpy(rng.standard_normal((dim, _COSINES)) * scales)
    cosines = torch.cos(scores @ frequencies + torch.from_numpy(rng.uniform(0, 2 * math.pi, _COSINES)))
    kinds = [white, squares, *cosines.chunk(_BANDS, 1)]
    features = torch.cat(kinds, 1)
    features = features - features.mean(0)
    spread = features.std(0)
    varying = torch.where(spread > 1e-9, features / spread.clamp_min(1e-9), 0.0)  # rounding errors of constant features
    return (varying / math.sqrt(n)).float(), [kind.shape[1] for kind in kinds]
