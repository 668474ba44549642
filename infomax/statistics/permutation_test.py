"""A permutation test of independence with several statistics, exact for every number of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.isolation import isolated
from infomax.statistics.gaussian import whiten
from infomax.statistics.row_structure import RowStructure

Floats = NDArray[np.float64]

#: Number of random cosines of each side; number of frequency bands; columns from which random projections are used.
_COSINES, _BANDS, _MOST_COLUMNS = 48, 3, 64
#: Half periods of the rapid cosines of the ranks.
_RAPID = np.arange(9, 73)
#: Ranges that a column is divided into for pairs of single columns; most pairs.
_RANGES, _MOST_PAIRS = 8, 256
#: Numbers of neighbours of each row, from few for rapid relations to many for noisy ones.
NEIGHBOURS = 3, 10
#: Noise of squared distances, as a share of their mean.
_TIES = 1e-9
#: Largest number of rows that are used; and for neighbours and rapid cosines, which need fewer.
_MOST_ROWS, MOST_NEAR = 20_000, 2_048


@isolated()
def independence_pvalue(
    x: Tensor, y: Tensor, draws: int, rng: np.random.Generator, structure: RowStructure | None = None
) -> float:
    r"""P-value of independence by permutations of the pairs.

    Four groups of statistics are tested together by :func:`permutation_pvalue`:

    - Smooth relations. Features are computed from x and from y separately: the whitened normal scores; their squares
      and squared norm; random cosines of low, middle and high frequency. For each kind of feature of x and each kind
      of feature of y, the squared covariances are summed. For cosines this is the Hilbert-Schmidt independence
      criterion (Gretton et al. 2005, doi:10.1007/11564089_7) with random features (Rahimi and Recht 2007).
    - Rapid relations. The same sums for the first two kinds of feature of one side and, on the other, cosines of 9 to
      72 half periods of the ranks of a column.
    - Single columns. Each is divided into eight ranges with equally many rows; the statistic is the largest Pearson
      :math:`\chi^2` of the tables of a column of x and one of y. It finds two related columns among many others.
    - Near rows. The mean squared distance in y of the 3, and of the 10, nearest neighbours in x; and the same with x
      and y exchanged (Friedman and Rafsky 1983, doi:10.1214/aos/1176346148; in one column close to Chatterjee 2021,
      arXiv 1909.10140). It makes no assumption about the form of the relation. Neighbours at equal distances are
      chosen at random, so that the test remains exact.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``. If there are more than 20,000 rows, 20,000 are drawn; the
            other groups use at most 2,048 of them, which are permuted among themselves.
        draws: number of permutations; the p-value is at least 1 / (1 + draws).
        structure: which rows depend on each other; they are permuted together, equally many of each group or
            block (:meth:`RowStructure.balanced`). The test is then exact for groups, and approximate for blocks.

    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> independence_pvalue(x, x**2 + 0.1 * noise, draws=99, rng=np.random.default_rng(0))
    0.01
    """
    if bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return 1.0
    structure = structure or RowStructure.independent(len(x))
    if not structure.is_independent:
        rows = structure.balanced(rng)
        x, y, structure = x[torch.from_numpy(rows)], y[torch.from_numpy(rows)], structure.take(rows)
    near = min(len(x), MOST_NEAR)
    if len(x) > near:
        near_rows, other_rows = structure.divided(np.arange(len(x)), near, rng)
        near, drawn = len(near_rows), np.concatenate([near_rows, other_rows])[:_MOST_ROWS]
        x, y, structure = x[torch.from_numpy(drawn)], y[torch.from_numpy(drawn)], structure.take(drawn)
    parts = structure.take(np.arange(near)), structure.take(np.arange(near, len(x)))
    whitened = whiten(x, y)
    features_x, starts_x = _features(x, whitened.root_x, rng)
    features_y, starts_y = _features(y, whitened.root_y, rng)
    plain_x, plain_y = features_x[:near, : starts_x[2]].contiguous(), features_y[:near, : starts_y[2]].contiguous()
    rapid_x, rapid_y = _rapid(x[:near], rng), _rapid(y[:near], rng)
    ranges_x, ranges_y = _column_ranges(x[:near], y[:near], rng)
    near_x, near_y = Near.of(x[:near], rng), Near.of(y[:near], rng)
    statistics = []
    for draw in range(draws + 1):
        order = np.arange(len(y))
        if draw:
            order = np.concatenate([parts[0].permutation(rng), near + parts[1].permutation(rng)])
        nearby = order[:near]
        paired, paired_near = torch.from_numpy(order), torch.from_numpy(nearby)
        sums = [
            _sums(features_x.T @ features_y.index_select(0, paired), starts_x, starts_y),
            _sums(rapid_x.T @ plain_y.index_select(0, paired_near), [0], starts_y[:2]),
            _sums(plain_x.T @ rapid_y.index_select(0, paired_near), starts_x[:2], [0]),
            _largest_table(ranges_x.T @ ranges_y.index_select(0, paired_near)),
        ]
        closeness = [*near_x.closeness(near_y, nearby), *near_y.closeness(near_x, np.argsort(nearby))]
        # Roots have lighter tails than squares, so that no kind of statistic dominates the largest.
        statistics.append(np.concatenate([*map(np.sqrt, sums), closeness]))
    return permutation_pvalue(np.array(statistics))


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


def _sums(covariances: Tensor, starts_x: Sequence[int], starts_y: Sequence[int]) -> Floats:
    """Sums of the squared covariances ``(Fx, Fy)`` of each kind of feature of x with each of y, from their starts."""
    rows = np.add.reduceat(covariances.square().numpy(), starts_x, axis=0)
    return np.add.reduceat(rows, starts_y, axis=1).ravel().astype(np.float64)


def _features(scores: Tensor, root: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[int]]:
    """Centred features of one side, ``(N, F)`` in float32, and where each kind of them starts."""
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
    starts = np.cumsum([0, *(kind.shape[1] for kind in kinds[:-1])])
    return (varying / math.sqrt(n)).float(), starts.tolist()


def _rapid(scores: Tensor, rng: np.random.Generator) -> Tensor:
    """Centred cosines of the ranks, of one column for each number of half periods, ``(N, F)`` in float32."""
    columns = np.resize(rng.permutation(scores.shape[1]), len(_RAPID))
    angles = math.pi * torch.special.ndtr(scores[:, torch.from_numpy(columns)]) * torch.from_numpy(_RAPID)
    cosines = torch.cos(angles)
    return ((cosines - cosines.mean(0)) / math.sqrt(len(scores))).float()


def in_ranges(scores: Tensor) -> Tensor:
    r"""Indicators of eight ranges of each column with equally many rows, ``(N, 8 D)`` in float32.

    They are divided by the roots of the numbers of their rows, so that squared products are terms of :math:`\chi^2`.
    """
    places = (torch.special.ndtr(scores) * _RANGES).long().clamp(0, _RANGES - 1)
    indicators = torch.nn.functional.one_hot(places, _RANGES).flatten(1).float()
    counts = indicators.sum(0)
    return (indicators - counts / len(scores)) / counts.clamp_min(1).sqrt()


def _column_ranges(x: Tensor, y: Tensor, rng: np.random.Generator) -> list[Tensor]:
    """:func:`in_ranges` of both sides; of some columns, drawn at random, if there are too many pairs of columns."""
    fewer = sorted((x.shape[1], y.shape[1]))[0]
    most = max(math.isqrt(_MOST_PAIRS), _MOST_PAIRS // fewer)
    return [in_ranges(side[:, torch.from_numpy(rng.permutation(side.shape[1])[:most])]) for side in (x, y)]


def _largest_table(covariances: Tensor) -> Floats:
    """The largest sum of squares of the blocks for pairs of columns, ``(1,)``."""
    rows, columns = (size // _RANGES for size in covariances.shape)
    blocks = covariances.square().view(rows, _RANGES, columns, _RANGES).sum((1, 3))
    return blocks.max().reshape(1).numpy().astype(np.float64)


@dataclass(frozen=True, eq=False)
class Near:
    """The neighbours of each row of one side, nearest first, ``(N, k)``, and all squared distances, ``(N, N)``."""

    neighbours: NDArray[np.int64]
    distances: NDArray[np.float32]

    @classmethod
    def of(cls, scores: Tensor, rng: np.random.Generator) -> Near:
        n = len(scores)
        squares = scores.square().sum(1)
        distances = (squares[:, None] + squares - 2 * scores @ scores.T).fill_diagonal_(0.0)
        # Noise far below the distance of different values draws among neighbours at equal distances.
        noisy = distances + _TIES * distances.mean() * torch.from_numpy(rng.random((n, n)))
        nearest = torch.topk(noisy.fill_diagonal_(math.inf), min(max(NEIGHBOURS), n - 1), largest=False).indices
        return cls(nearest.numpy(), distances.float().numpy())

    def closeness(self, other: Near, order: NDArray[np.int64]) -> list[float]:
        """Minus the summed distances of neighbours on the other side, whose row ``order[i]`` is paired with row i."""
        paired = order[:, None] * len(order) + order.take(self.neighbours)
        apart = other.distances.ravel().take(paired)
        return [-float(apart[:, :k].sum(dtype=np.float64)) for k in NEIGHBOURS]
