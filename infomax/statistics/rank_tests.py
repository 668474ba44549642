"""Which of many pairs of columns depend on each other? Tests by ranks, and what many of them allow to say."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
#: What false-discovery control assumes of the p-values' dependence, see :func:`qvalues`.
Correction = Literal["benjamini-hochberg", "benjamini-yekutieli"]

#: Cosines of a column's ranks, and how many of them each statistic takes of either side.
_COSINES, _WIDTHS = 16, (1, 2, 4, 8, 16)
#: From how many rows on the null distribution is that of so many, scaled.
_NULL_ROWS = 1000
#: Permutations at a time, and numbers of a block of features.
_DRAWS, _BLOCK = 500, 1 << 24
#: Columns of a block, at most.
_COLUMNS = 64


def qvalues(pvalues: Floats, correction: Correction = "benjamini-hochberg") -> Floats:
    """The smallest level of false discoveries at which each of several tests is one that is reported.

    To report those of at most q keeps the expected share of false ones among them at q or less:

    - ``"benjamini-hochberg"``: where p-values are independent or depend positively (PRDS: given that one true null
      hypothesis has a large p-value, the others' are no smaller for it). Benjamini and Hochberg 1995,
      doi:10.1111/j.2517-6161.1995.tb02031.x; PRDS: Benjamini and Yekutieli 2001.
    - ``"benjamini-yekutieli"``: whatever their dependence, at the price of a factor of about log(tests). Benjamini and
      Yekutieli 2001, doi:10.1214/aos/1013699998.

    Args:
        pvalues: ``(M,)``.

    Returns:
        ``(M,)``, in the order of the p-values.

    Raises:
        ValueError: for another correction.

    >>> qvalues(np.array([0.01, 0.5, 0.02])).tolist()
    [0.03, 0.5, 0.03]
    """
    if correction not in get_args(Correction):
        raise ValueError(f"correction must be one of {', '.join(get_args(Correction))}; got {correction!r}")
    order = np.argsort(pvalues)
    ranks = np.arange(1, len(pvalues) + 1)
    price = float((1 / ranks).sum()) if correction == "benjamini-yekutieli" else 1.0
    scaled = pvalues[order] * len(pvalues) * price / ranks
    found = np.empty(len(pvalues))
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found


def rank_pvalues(x: Floats, y: Floats, *, draws: int, rng: np.random.Generator) -> Floats:
    r"""P-values of independence of every column of x and every column of y.

    Columns become ranks, equal values in random order. Independent columns then have ranks in a random order relative
    to each other, whatever their distributions: one null distribution, drawn once by permutation, serves all pairs, and
    the p-values are exact at every number of rows (beyond 1,000 rows the null distribution hardly depends on their
    number, and is that of 1,000). Six statistics are taken of a pair: the squared correlation of normal scores, and the
    sums of squared covariances of the first 1, 2, 4, 8 and 16 cosines of the ranks of either side (a smooth test of the
    copula's density in the sense of Neyman 1937). Each goes to its chi-squared tail, and the smallest of the six tails
    is the pair's statistic.

    Random order loses power on columns with few values: of two coins, about the half.

    Args:
        x: ``(N, D)``. y: ``(N, E)``. draws: permutations B; p-values are multiples of 1 / (1 + B).

    Returns:
        ``(D, E)``.
    """
    n = len(x)
    ranks_x, ranks_y = (_random_ranks(side, rng) for side in (x, y))
    null = np.sort(_null_statistics(min(n, _NULL_ROWS), draws, rng))
    basis = _basis(n)
    block = min(max(1, _BLOCK // (n * basis.shape[1])), _COLUMNS)
    found = np.empty((x.shape[1], y.shape[1]))
    for first in range(0, x.shape[1], block):
        left = _features(basis, ranks_x[:, first : first + block])
        for second in range(0, y.shape[1], block):
            right = _features(basis, ranks_y[:, second : second + block])
            products = (left.T @ right).reshape(-1, basis.shape[1], right.shape[1] // basis.shape[1], basis.shape[1])
            observed = _statistics(products.transpose(1, 2), n)
            exceeding = draws - np.searchsorted(null, observed - 1e-9, "left")  # equal but for rounding is equal
            found[first : first + block, second : second + block] = (1 + exceeding) / (1 + draws)
    return found


def _random_ranks(samples: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ranks 0..N-1 in each column, equal values in random order."""
    ranks = np.empty(samples.shape, dtype=np.int64)
    for j, column in enumerate(samples.T):
        ranks[np.lexsort((rng.random(len(column)), column)), j] = np.arange(len(column))
    return ranks


def _basis(n: int) -> Tensor:
    """Centred functions of the ranks 0..n-1, of norm one, ``(n, F)``: the normal score, then cosines."""
    share = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    scores = torch.special.ndtri(share)
    frequencies = math.pi * torch.arange(1, min(_COSINES, n - 1) + 1, dtype=torch.float64)
    cosines = torch.cos(share[:, None] * frequencies) * math.sqrt(2 / n)
    return torch.cat([(scores / scores.norm())[:, None], cosines], 1).float()


def _features(basis: Tensor, ranks: NDArray[np.int64]) -> Tensor:
    """Functions of every column, ``(N, columns * F)``."""
    return basis[torch.from_numpy(ranks)].reshape(len(ranks), -1)


def _statistics(products: Tensor, n: int) -> Floats:
    """The largest of minus the logarithms of chi-squared tails, of inner products ``(…, F, F)`` of functions."""
    from scipy.special import chdtrc  # noqa: PLC0415 - not needed by those who train

    squares = products.double().square() * (n - 1)
    sums = [squares[..., 0, 0]]
    degrees = [1]
    for width in (width for width in _WIDTHS if width < squares.shape[-1]):
        sums.append(squares[..., 1 : width + 1, 1 : width + 1].sum((-1, -2)))
        degrees.append(width**2)
    tails = [chdtrc(df, values.numpy()) for df, values in zip(degrees, sums, strict=True)]
    return np.asarray(-np.log(np.maximum(np.minimum.reduce(tails), np.finfo(float).tiny)))


def _null_statistics(n: int, draws: int, rng: np.random.Generator) -> Floats:
    """The statistic of two columns of ranks in random order, ``(draws,)``."""
    basis = _basis(n)
    found = []
    for start in range(0, draws, _DRAWS):
        count = min(_DRAWS, draws - start)
        orders = rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        shuffled = basis[torch.from_numpy(orders.reshape(-1))].reshape(count, n, -1)
        found.append(_statistics(basis.T @ shuffled, n))
    return np.concatenate(found)


def table_pvalue(codes_x: NDArray[np.int64], codes_y: NDArray[np.int64]) -> float:
    """Of independence of two discrete columns, by the chi-squared approximation to the likelihood ratio (Wilks 1938).

    Args:
        codes_x, codes_y: numbers of the values, 0, 1, …, of which every one occurs, in ``(N,)``.
    """
    from scipy.special import chdtrc  # noqa: PLC0415

    shape = codes_x.max() + 1, codes_y.max() + 1
    if 1 in shape:
        return 1.0
    counts = np.zeros(shape)
    np.add.at(counts, (codes_x, codes_y), 1)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / len(codes_x)
    full = counts > 0
    ratio = 2 * (counts[full] * np.log(counts[full] / expected[full])).sum()
    return float(chdtrc((shape[0] - 1) * (shape[1] - 1), max(ratio, 0.0)))
