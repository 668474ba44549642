"""Discrete variables: plug-in mutual information, its standard error, and an upper limit by the entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infomax.statistics.labels import Booleans, Labels, entropies_without, labels_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_Counted = tuple[tuple[Integers, Integers, Integers], Integers, Integers, Integers]

#: Columns with at most so many values necessarily have equal rows.
_FEW_VALUES = 20


def codes(samples: Floats) -> tuple[Integers, Integers]:
    """The index of the distinct row that each row of ``samples (N, D)`` equals, and the count of each distinct row.

    >>> index, counts = codes(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]]))
    >>> index.tolist(), counts.tolist()
    ([1, 0, 1], [1, 2])
    """
    rows, axis = (samples[:, 0], None) if samples.shape[1] == 1 else (samples, 0)  # one column sorts much faster
    _, inverse, counts = np.unique(rows, axis=axis, return_inverse=True, return_counts=True)
    return inverse.reshape(-1), counts


def copied_rows(x: Floats, y: Floats) -> int:
    """The number of duplicated rows, if equal values of one column imply that the whole rows are equal; otherwise 0.

    Integer codes in one column can determine a class on the other side. Such rows do not count as duplicates.

    >>> x = np.random.default_rng(0).normal(size=(100, 1))
    >>> copied_rows(x, x), copied_rows(np.tile(x, (2, 1)), np.tile(x, (2, 1)))
    (0, 100)
    """
    most, other = (max(len(np.unique(column)) for column in side.T) for side in (x, y))
    if other > most:
        return copied_rows(y, x)
    if not _FEW_VALUES < most < 0.99 * len(x) or _distinct_pairs(x, y) != most:
        return 0
    codes_of_classes = other <= _FEW_VALUES and x.shape[1] == 1 and bool((x == np.rint(x)).all())
    return 0 if codes_of_classes else len(x) - most


def _distinct_pairs(x: Floats, y: Floats) -> int:
    """The number of distinct pairs, by hashes: sorting many long rows would take minutes and much memory."""
    # A negative zero becomes zero.
    return len({hash(((a + 0.0).tobytes(), (b + 0.0).tobytes())) for a, b in zip(x, y, strict=True)})


def plugin(x: Floats, y: Floats) -> Floats:
    r"""Plug-in mutual information of discrete x and y, with a jackknife correction of its bias.

    :math:`N \hat I - (N - 1)\, \overline{\hat I_{-i}}`, where :math:`\hat I_{-i}` is the value without row i. The
    jackknife removes the bias of order 1/N, as Miller's formula does. In sparse tables it also removes most of the
    remaining bias, because Miller's formula counts only the cells that occur. Several columns are treated as one
    variable whose values are the combinations that occur.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``.

    Returns:
        the term of each pair, ``(N,)``, in nats; their mean is the estimate.

    Source: Zahl, "Jackknifing an index of diversity", 1977, doi:10.2307/1936227.

    >>> import numpy as np
    >>> x = np.repeat([0.0, 1.0], 500)[:, None]
    >>> round(float(plugin(x, x).mean()), 3)  # log 2, and 1 / 2N
    0.694
    """
    local, left_out = _plugin(_count(x, y))
    n = len(local)
    return local + (n - 1) * (float(local.mean()) - float(left_out.mean()))


def plugin_stderr(x: Floats, y: Floats) -> float:
    r"""Standard error of :func:`plugin`, in nats.

    The root of the sum of squares of four terms. The first is the jackknife's standard error,
    :math:`\sqrt{\tfrac{N-1}{N} \sum_i (\hat I_{-i} - \overline{\hat I_{-i}})^2}`. Unlike that of the rows' terms, it
    does not vanish under independence. The second allows for the remaining bias in sparse tables: it is the difference
    between the jackknife's correction and Miller's, :math:`(K_{xy} - K_x - K_y + 1) / 2N`, with the numbers :math:`K`
    of values that occur. The third is :math:`1 / N`. The fourth is the standard deviation under independence, where
    :math:`2 N \hat I` has a chi-squared distribution with :math:`(K_x - 1)(K_y - 1)` degrees of freedom: with rare
    values, the jackknife's error is far below it. The result is still too small if most rows are in few cells and
    the others are spread over many cells (a copy with 10 % noise, five rows a cell).

    Source: Efron and Stein, "The jackknife estimate of variance", 1981, doi:10.1214/aos/1176345462; Miller, "Note on
    the bias of information estimates", 1955; Panzeri and Treves, 1996, doi:10.1088/0954-898X/7/1/006.

    >>> coin = np.random.default_rng(0).integers(2, size=(1000, 1)).astype(float)
    >>> 0 < plugin_stderr(coin, coin[::-1]) < 0.01
    True
    """
    counted = _count(x, y)
    local, left_out = _plugin(counted)
    n, (_, of_x, of_y, of_pair) = len(local), counted
    miller = (len(of_pair) - len(of_x) - len(of_y) + 1) / (2 * n)
    jackknifed = (n - 1) * (float(left_out.mean()) - float(local.mean()))
    independent = math.sqrt(2 * (len(of_x) - 1) * (len(of_y) - 1)) / (2 * n)
    return math.hypot(math.sqrt((n - 1) * float(left_out.var())), jackknifed - miller, 1 / n, independent)


def _plugin(counted: _Counted) -> tuple[Floats, Floats]:
    """The log-ratio of observed frequencies of each row, and their mean without that row, ``(N,)`` each."""
    (of_x, of_y, of_pair), counts_x, counts_y, counts = counted
    local = np.log(counts[of_pair] * len(of_x) / (counts_x[of_x] * counts_y[of_y]))
    without_x, without_y, without = map(entropies_without, (counts_x, counts_y, counts))
    return np.asarray(local), without_x[of_x] + without_y[of_y] - without[of_pair]


def _count(x: Floats, y: Floats) -> _Counted:
    """:func:`codes` of x, of y and of both: the three codes, and the counts of each."""
    (of_x, counts_x), (of_y, counts_y) = codes(x), codes(y)
    of_pair, counts = codes((of_x * len(counts_y) + of_y)[:, None].astype(np.float64))
    return (of_x, of_y, of_pair), counts_x, counts_y, counts


def entropy_limit(x: Floats, y: Floats, nominal: Sequence[Booleans] = ()) -> tuple[float | None, float | None]:
    r"""The smaller entropy of the discrete sides, bias-corrected, and a limit of the mutual information, in nats.

    The limit is the smallest entropy plus two standard errors, plus :math:`\tfrac{F_1}{N} \log N`, where F₁ rows have
    a value that occurs only once. The last term allows for values that did not occur in the sample. A side is discrete
    if its rows are labels: see :func:`infomax.statistics.labels.labels_of`.

    Args:
        nominal: which columns of x and of y are nominal; by default none.

    Returns:
        entropy and limit; None for both if neither side is discrete.

    >>> coin = (np.arange(1000) % 2).astype(float)[:, None]
    >>> limit, entropy = entropy_limit(coin, np.random.default_rng(0).normal(size=(1000, 1)))
    >>> round(entropy, 2)  # log 2
    0.69
    """
    flags = nominal or [np.zeros(side.shape[1], dtype=bool) for side in (x, y)]
    found = [_entropy_limit(labels_of(side, which)) for side, which in zip((x, y), flags, strict=True)]
    limits = [pair for pair in found if pair is not None]
    if not limits:
        return None, None
    return min(entropy for entropy, _ in limits), min(limit for _, limit in limits)


def _entropy_limit(labels: Labels | None) -> tuple[float, float] | None:
    if labels is None:
        return None
    entropies, n = labels.entropies(), len(labels.of_row)
    # The jackknife's standard error: a row's share of the entropy without bias is not the one that it changes by.
    without = entropies_without(labels.counts)[labels.of_row]
    stderr = math.sqrt((n - 1) * float(without.var()))
    entropy = float(entropies.mean())
    return entropy, entropy + 2 * stderr + float((labels.counts == 1).sum()) / n * math.log(n)
