"""Discrete variables, whose values are counted: mutual information, its standard error, and what it cannot exceed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_Counted = tuple[tuple[Integers, Integers, Integers], Integers, Integers, Integers]

#: A side is counted if its values occur so often on average, in at most so many columns, and if at most this share of
#: its rows has a value of its own.
_ROWS_PER_VALUE, _MOST_COLUMNS, _MOST_ALONE = 5, 8, 0.02
#: Rows of columns with no more values than this are bound to repeat each other.
_FEW_VALUES = 20


def codes(samples: Floats) -> tuple[Integers, Integers]:
    """Which of the distinct rows each row of ``samples (N, D)`` is, and how often each distinct row occurs."""
    rows, axis = (samples[:, 0], None) if samples.shape[1] == 1 else (samples, 0)  # one column sorts much faster
    _, inverse, counts = np.unique(rows, axis=axis, return_inverse=True, return_counts=True)
    return inverse.reshape(-1), counts


def copied_rows(x: Floats, y: Floats) -> int:
    """How many rows repeat others exactly, where that is no coincidence: one column's value tells the whole row.

    Codes, whole numbers in one column, may tell a class on the other side: then nothing is taken for a copy.
    """
    most, other = (max(len(np.unique(column)) for column in side.T) for side in (x, y))
    if other > most:
        return copied_rows(y, x)
    if not _FEW_VALUES < most < 0.99 * len(x) or _distinct_pairs(x, y) != most:
        return 0
    codes_of_classes = other <= _FEW_VALUES and x.shape[1] == 1 and bool((x == np.rint(x)).all())
    return 0 if codes_of_classes else len(x) - most


def _distinct_pairs(x: Floats, y: Floats) -> int:
    """By their hashes: sorting long rows takes minutes where there are many, and several times their memory."""
    # A negative zero becomes zero.
    return len({hash(((a + 0.0).tobytes(), (b + 0.0).tobytes())) for a, b in zip(x, y, strict=True)})


def plugin(x: Floats, y: Floats) -> Floats:
    r"""Mutual information of the observed frequencies, for discrete x and y, less its bias by a jackknife.

    :math:`N \hat I - (N - 1)\, \overline{\hat I_{-i}}`, where :math:`\hat I_{-i}` is the value without row i. It takes
    away the bias of order 1/N, as Miller's formula does, and in sparse tables, where that formula counts only the cells
    that occur, most of the rest too. Rows are values: of several columns, what counts is which combinations occur.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``.

    Returns:
        each pair's share of the estimate, ``(N,)``, in nats.

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

    Of the jackknife, :math:`\sqrt{\tfrac{N-1}{N} \sum_i (\hat I_{-i} - \overline{\hat I_{-i}})^2}`, which does not
    vanish under independence as that of the rows' shares does; and, for the bias that is left in sparse tables, what
    the jackknife takes away more than Miller's formula, :math:`(K_{xy} - K_x - K_y + 1) / 2N` with :math:`K` the
    numbers of values that occur. It is still too small where most rows stand in few cells and the others are spread
    thinly over many (a copy with a tenth of noise, five rows a cell).

    Source: Efron and Stein, "The jackknife estimate of variance", 1981, doi:10.1214/aos/1176345462; Miller, "Note on
    the bias of information estimates", 1955; Panzeri and Treves, 1996, doi:10.1088/0954-898X/7/1/006.
    """
    counted = _count(x, y)
    local, left_out = _plugin(counted)
    n, (_, of_x, of_y, of_pair) = len(local), counted
    miller = (len(of_pair) - len(of_x) - len(of_y) + 1) / (2 * n)
    jackknifed = (n - 1) * (float(left_out.mean()) - float(local.mean()))
    return math.hypot(math.sqrt((n - 1) * float(left_out.var())), jackknifed - miller, 1 / n)


def _plugin(counted: _Counted) -> tuple[Floats, Floats]:
    """Each row's log-ratio of observed frequencies, and their mean without that row, ``(N,)`` each."""
    (of_x, of_y, of_pair), counts_x, counts_y, counts = counted
    local = np.log(counts[of_pair] * len(of_x) / (counts_x[of_x] * counts_y[of_y]))
    without_x, without_y, without = map(_entropies_without, (counts_x, counts_y, counts))
    return np.asarray(local), without_x[of_x] + without_y[of_y] - without[of_pair]


def _count(x: Floats, y: Floats) -> _Counted:
    """:func:`codes` of x, of y and of both: the three codes, and the counts of each."""
    (of_x, counts_x), (of_y, counts_y) = codes(x), codes(y)
    of_pair, counts = codes((of_x * len(counts_y) + of_y)[:, None].astype(np.float64))
    return (of_x, of_y, of_pair), counts_x, counts_y, counts


def _entropy(counts: Integers) -> float:
    """Of the observed frequencies, in nats."""
    n = int(counts.sum())
    return math.log(n) - float((counts * np.log(counts)).sum()) / n


def _entropies_without(counts: Integers) -> Floats:
    """The same without one row, by which value that row has: ``(K,)``."""
    n, fewer = int(counts.sum()), counts - 1
    less = counts * np.log(counts) - fewer * np.log(np.maximum(fewer, 1))
    return np.asarray(math.log(n - 1) - (float((counts * np.log(counts)).sum()) - less) / (n - 1))


def entropy_limit(x: Floats, y: Floats) -> float | None:
    r"""What the mutual information cannot exceed because a side is discrete, in nats; None if neither is.

    The smaller entropy of the sides that can be counted: jackknifed, and raised by two standard errors and by
    :math:`\tfrac{F_1}{N} \log N`, where F₁ rows have a value of their own, for what values may be there that did not
    occur. Counted are sides of at most eight columns whose (joint) values occur five times or more on average, with at
    most 2 % of the rows alone.
    """
    limits = [limit for limit in map(_entropy_limit, (x, y)) if limit is not None]
    return min(limits, default=None)


def _entropy_limit(samples: Floats) -> float | None:
    n, most = len(samples), len(samples) / _ROWS_PER_VALUE
    if samples.shape[1] > _MOST_COLUMNS or any(len(np.unique(column)) > most for column in samples.T):
        return None
    _, counts = codes(samples)
    alone = float((counts == 1).sum()) / n
    if len(counts) > most or alone > _MOST_ALONE:
        return None
    without, weights = _entropies_without(counts), counts / n
    mean = float(weights @ without)
    stderr = math.sqrt((n - 1) * float(weights @ (without - mean) ** 2))
    return n * _entropy(counts) - (n - 1) * mean + 2 * stderr + alone * math.log(n)
