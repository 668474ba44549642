"""Rank tests of independence for many pairs of columns, and control of the false discovery rate."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.isolation import isolated

Floats = NDArray[np.float64]
#: Ranks 0..N-1 of columns, without ties, ``(N, D)``.
Ranks = NDArray[np.int32]
#: Methods of false-discovery control, see :func:`qvalues`.
Correction = Literal["benjamini-hochberg", "benjamini-yekutieli"]

#: Number of cosines of the ranks of a column; how many of them each statistic uses.
_COSINES, _WIDTHS = 16, (1, 2, 4, 8, 16)
#: From this number of rows on, the null distribution of ranks is that of infinitely many. Largest number of rows of
#: which that of classes is drawn.
_NULL_ROWS = 1000
#: Permutations: the least, for each pair of columns, and the most.
_LEAST_DRAWS, _DRAWS_OF_A_PAIR, _MOST_DRAWS = 9_999, 20, 99_999
#: Permutations at a time; elements of a block of features.
_DRAWS, _BLOCK = 100, 1 << 24
#: Smaller counts are distinguished exactly.
_FEW = 20
#: Null distributions, in ascending order, by what they depend on.
Nulls = dict[tuple[int, ...], Floats]
#: Largest number of columns in a block.
_COLUMNS = 64


def enough_draws(pairs: int) -> int:
    """Permutations with which few dependent pairs among so many are found: 20 for each, from 9,999 to 99,999."""
    return min(max(_LEAST_DRAWS, _DRAWS_OF_A_PAIR * pairs), _MOST_DRAWS)


def qvalues(pvalues: Floats, correction: Correction = "benjamini-hochberg") -> Floats:
    """Adjusted p-values: the smallest false discovery rate at which each test is rejected.

    Rejecting all tests with a q-value of at most q keeps the expected share of false discoveries at q or less:

    - ``"benjamini-hochberg"``: for p-values that are independent or positively dependent (PRDS: positive regression
      dependence on each true null hypothesis). Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x;
      PRDS: Benjamini and Yekutieli 2001.
    - ``"benjamini-yekutieli"``: for any dependence; the q-values are larger by a factor of about log(tests). Benjamini
      and Yekutieli 2001, doi:10.1214/aos/1013699998.

    Args:
        pvalues: ``(M,)``.

    Returns:
        ``(M,)``, in the order of the p-values.

    Raises:
        ValueError: for an unknown correction.

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


@isolated()
def rank_pvalues(x: Floats, y: Floats, *, draws: int, rng: np.random.Generator, nulls: Nulls | None = None) -> Floats:
    r"""P-values of independence of each column of x and each column of y.

    Columns are replaced by their ranks; ties are broken at random. If two columns are independent, their ranks are in
    random order relative to each other, whatever their distributions. One null distribution, drawn once by permutation,
    therefore serves all pairs, and the p-values are exact below 1,000 rows. From there on the null distribution hardly
    depends on the number of rows; its limit is used, in which covariances are normal. At 1,000 rows p-values are
    conservative by 3 to 8 %. A pair has six statistics: the squared correlation of normal scores, and the sums of
    squared covariances of the first 1, 2, 4, 8 and 16 cosines of the ranks of both columns (a smooth test of the copula
    density, Neyman 1937). Each is converted to its chi-squared tail probability; the smallest of the six is the test
    statistic.

    Random ties reduce the power for columns with few values, by about one half for two binary columns.

    Args:
        x: ``(N, D)``. y: ``(N, E)``. draws: number of permutations B; p-values are multiples of 1 / (1 + B).
        nulls: null distributions of earlier calls with the same number of draws, which are used again for a number of
            rows that differs by a few percent; to be filled.

    Returns:
        ``(D, E)``.

    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(2, 500, 1))
    >>> rank_pvalues(x, np.hstack([x**2 + noise, noise]), draws=999, rng=rng).shape
    (1, 2)
    >>> rank_pvalues(x, x**2 + 0.1 * noise, draws=999, rng=rng).item()  # dependent, not correlated
    0.001
    """
    ranks_x, ranks_y = (random_ranks(side, rng) for side in (x, y))
    null = rank_null(len(x), draws, rng, {} if nulls is None else nulls)
    return pvalues_of_ranks(ranks_x, ranks_y, null)


def pvalues_of_ranks(ranks_x: Ranks, ranks_y: Ranks, null: Floats) -> Floats:
    """:func:`rank_pvalues` of ranks ``(N, D)`` and ``(N, E)``, with their null distribution in ascending order."""
    n, draws, basis = len(ranks_x), len(null), _basis(len(ranks_x))
    block = min(max(1, _BLOCK // (n * basis.shape[1])), _COLUMNS)
    found = np.empty((ranks_x.shape[1], ranks_y.shape[1]))
    for first in range(0, ranks_x.shape[1], block):
        left = _features(basis, ranks_x[:, first : first + block])
        for second in range(0, ranks_y.shape[1], block):
            right = _features(basis, ranks_y[:, second : second + block])
            products = (left.T @ right).reshape(-1, basis.shape[1], right.shape[1] // basis.shape[1], basis.shape[1])
            observed = _statistics(products.transpose(1, 2), n)
            exceeding = draws - np.searchsorted(null, observed - 1e-9, "left")  # equal up to rounding
            found[first : first + block, second : second + block] = (1 + exceeding) / (1 + draws)
    return found


@isolated()
def rank_null(n: int, draws: int, rng: np.random.Generator, nulls: Nulls) -> Floats:
    """The null distribution of :func:`rank_pvalues`, in ascending order, from or added to ``nulls``: ``(draws,)``."""
    key = (_coarse(n),) if n < _NULL_ROWS else (-1,)
    if key not in nulls:
        nulls[key] = np.sort(_null_statistics(n, draws, rng) if n < _NULL_ROWS else _limit_statistics(draws, rng))
    return nulls[key]


@isolated()
def class_pvalues(
    classes: NDArray[np.int64], y: Floats, *, draws: int, rng: np.random.Generator, nulls: Nulls | None = None
) -> Floats:
    r"""P-values of independence of a nominal variable and each column of y.

    As :func:`rank_pvalues`, with the classes in place of the functions of one column: the statistics are the sums of
    squares between classes of the normal scores (a test of Kruskal and Wallis's kind, 1952) and of the first 1, 2, 4, 8
    and 16 cosines of the ranks, and the smallest of their chi-squared tails is compared with that of permuted classes.

    Args:
        classes: 0, 1, …, ``(N,)``. y: ``(N, E)``. draws: number of permutations B; p-values are multiples of
            1 / (1 + B). nulls: as :func:`rank_pvalues`, of classes with about the same numbers of rows.

    Returns:
        ``(E,)``.

    >>> rng = np.random.default_rng(0)
    >>> classes = np.arange(300) % 3
    >>> class_pvalues(classes, classes[:, None] + rng.normal(size=(300, 1)), draws=999, rng=rng).tolist()
    [0.001]
    """
    ranks = random_ranks(y, rng)
    return pvalues_of_classes(classes, ranks, class_null(classes, draws, rng, {} if nulls is None else nulls))


def pvalues_of_classes(classes: NDArray[np.int64], ranks: Ranks, null: Floats) -> Floats:
    """:func:`class_pvalues` with the ranks ``(N, E)`` of the columns and the null distribution in ascending order."""
    basis, classes = _basis(len(classes)), np.unique(classes, return_inverse=True)[1]
    observed = [_between(classes, basis[torch.tensor(column, dtype=torch.int64)][None])[0] for column in ranks.T]
    exceeding = len(null) - np.searchsorted(null, np.array(observed) - 1e-9, "left")
    return np.asarray((1 + exceeding) / (1 + len(null)))


@isolated()
def class_null(classes: NDArray[np.int64], draws: int, rng: np.random.Generator, nulls: Nulls) -> Floats:
    """The null distribution of :func:`class_pvalues`, in ascending order, from or added to ``nulls``: ``(draws,)``."""
    some = classes if len(classes) <= _NULL_ROWS else rng.permutation(classes)[:_NULL_ROWS]
    _, some = np.unique(some, return_inverse=True)
    key = (0, *sorted(map(_coarse, np.bincount(some).tolist())))
    if key not in nulls:
        nulls[key] = np.sort(_null_between(some, draws, rng))
    return nulls[key]


def _null_between(classes: NDArray[np.int64], draws: int, rng: np.random.Generator) -> Floats:
    """The statistic of ranks in random order, ``(draws,)``."""
    n, basis, found = len(classes), _basis(len(classes)), []
    most = min(_DRAWS, max(1, _BLOCK // (n * basis.shape[1])))
    for start in range(0, draws, most):
        count = min(most, draws - start)
        orders = rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        found.append(_between(classes, basis[torch.from_numpy(orders.reshape(-1))].reshape(count, n, -1)))
    return np.concatenate(found)


def _coarse(count: int) -> int:
    """The same number for counts that differ by less than a tenth; small ones as they are."""
    return count if count < _FEW else _FEW + int(math.log(count / _FEW) / math.log(1.1))


def _between(classes: NDArray[np.int64], functions: Tensor) -> Floats:
    """The largest negative log of the tails of the sums of squares between classes.

    Args:
        classes: ``(N,)``. functions: of the ranks, centred, with unit norm, in B orders of the rows, ``(B, N, F)``.
    """
    counts = np.bincount(classes)
    own = torch.zeros(len(counts), len(classes))
    own[torch.from_numpy(classes), torch.arange(len(classes))] = torch.from_numpy(1 / np.sqrt(counts[classes])).float()
    squares = (own @ functions).square().sum(1).double() * (len(classes) - 1)
    sums, degrees = [squares[:, 0]], [len(counts) - 1]
    for width in (width for width in _WIDTHS if width < squares.shape[1]):
        sums.append(squares[:, 1 : width + 1].sum(1))
        degrees.append((len(counts) - 1) * width)
    return _largest(sums, degrees)


def _largest(sums: list[Tensor], degrees: list[int]) -> Floats:
    """The negative log of the smallest of the chi-squared tails of sums of squares."""
    from scipy.special import chdtrc  # noqa: PLC0415 - not needed for training

    tails = [chdtrc(df, values.numpy()) for df, values in zip(degrees, sums, strict=True)]
    return np.asarray(-np.log(np.maximum(np.minimum.reduce(tails), np.finfo(float).tiny)))


def random_ranks(samples: Floats, rng: np.random.Generator) -> Ranks:
    """Ranks 0..N-1 in each column, ties in random order."""
    ranks = np.empty(samples.shape, dtype=np.int32, order="F")
    for j, column in enumerate(samples.T):
        ranks[np.lexsort((rng.random(len(column)), column)), j] = np.arange(len(column))
    return ranks


@lru_cache(maxsize=2)
def _basis(n: int) -> Tensor:
    """Centred functions of the ranks 0..n-1 with unit norm, ``(n, F)``: the normal score, then cosines."""
    share = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    scores = torch.special.ndtri(share)
    frequencies = math.pi * torch.arange(1, min(_COSINES, n - 1) + 1, dtype=torch.float64)
    cosines = torch.cos(share[:, None] * frequencies) * math.sqrt(2 / n)
    return torch.cat([(scores / scores.norm())[:, None], cosines], 1).float()


def _features(basis: Tensor, ranks: Ranks) -> Tensor:
    """The functions of the ranks of every column, ``(N, columns * F)``."""
    return basis[torch.tensor(ranks, dtype=torch.int64)].reshape(len(ranks), -1)


def _statistics(products: Tensor, n: int) -> Floats:
    """The largest negative log of the chi-squared tails, from inner products ``(…, F, F)`` of the functions."""
    squares = products.double().square() * (n - 1)
    sums = [squares[..., 0, 0]]
    degrees = [1]
    for width in (width for width in _WIDTHS if width < squares.shape[-1]):
        sums.append(squares[..., 1 : width + 1, 1 : width + 1].sum((-1, -2)))
        degrees.append(width**2)
    return _largest(sums, degrees)


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


def _limit_statistics(draws: int, rng: np.random.Generator) -> Floats:
    """The statistic of two independent columns of very many rows, ``(draws,)``.

    The covariances of the cosines, times the root of the number of rows, become independent standard normal numbers.
    The correlation of normal scores is a sum of them, weighted by the products of the scores' own coefficients, and of
    a remainder. Each sum of squares is the one before it plus a part: the square of that part's share in the
    correlation, and a chi-squared number for the other directions.
    """
    basis = _basis(_NULL_ROWS).double()
    coefficients = (basis[:, 1:].T @ basis[:, 0]).numpy()
    squares, correlation = np.zeros(draws), np.zeros(draws)
    sums, weight, before = [], 0.0, 0
    for width in _WIDTHS:
        more = float((coefficients[:width] ** 2).sum()) ** 2 - weight
        own = rng.standard_normal(draws)
        squares = squares + own**2
        if width**2 - before > 1:
            squares += rng.chisquare(width**2 - before - 1, draws)
        correlation += math.sqrt(more) * own
        weight, before = weight + more, width**2
        sums.append(torch.from_numpy(squares))
    correlation += math.sqrt(1 - weight) * rng.standard_normal(draws)
    return _largest([torch.from_numpy(correlation**2), *sums], [1, *(width**2 for width in _WIDTHS)])


def table_pvalue(codes_x: NDArray[np.int64], codes_y: NDArray[np.int64]) -> float:
    """P-value of independence of two discrete columns by a likelihood-ratio test (chi-squared: Wilks 1938).

    Args:
        codes_x, codes_y: the values as integers 0, 1, …, each of which occurs, ``(N,)``.
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
