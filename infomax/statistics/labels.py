"""Sides that are labels: distinct rows, numbered without regard to names or representation, and their entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: A side is a label if each value occurs so often on average, and if at most this share of its rows has a value that
#: occurs only once.
_ROWS_PER_VALUE, _MOST_ALONE = 5, 0.02
#: A side of nominal columns is a label with up to so many values, however few rows there are.
_FEW_VALUES = 10
#: Most indicators of a nominal column.
_MOST_INDICATORS = 128


@dataclass(frozen=True, eq=False)
class Labels:
    """The label of each row, as a number that does not depend on the names of the labels.

    Attributes:
        of_row: ``(N,)``, 0, 1, …, K - 1 in the order in which the labels first occur.
        counts: rows of each label, ``(K,)``.
    """

    of_row: Integers
    counts: Integers

    def entropies(self) -> Floats:
        r"""Each row's share of the entropy, ``(N,)``; their mean is the estimate, corrected for bias by a jackknife.

        Source: Zahl, "Jackknifing an index of diversity", 1977, doi:10.2307/1936227.
        """
        n, counts = len(self.of_row), self.counts
        own, without = np.log(n / counts), entropies_without(counts)
        plugin = float((counts * own).sum()) / n
        return np.asarray(own[self.of_row] + (n - 1) * (plugin - float((counts * without).sum()) / n))


def entropies_without(counts: Integers) -> Floats:
    """The entropy of the observed frequencies without one row, for each value that this row can have: ``(K,)``."""
    n, fewer = int(counts.sum()), counts - 1
    less = counts * np.log(counts) - fewer * np.log(np.maximum(fewer, 1))
    return np.asarray(math.log(n - 1) - (float((counts * np.log(counts)).sum()) - less) / (n - 1))


def as_labels(samples: Floats) -> Labels | None:
    """The labels, if the distinct rows of ``samples (N, D)`` repeat often enough; otherwise None.

    They repeat if each occurs five times or more on average, and if at most 2 % of the rows occur only once. One column
    of codes, indicators of the codes, and any other columns with the same equal rows give the same labels.

    >>> codes = (np.arange(300) % 3).astype(float)[:, None]
    >>> as_labels(codes) is None, as_labels(np.random.default_rng(0).normal(size=(300, 1))) is None
    (False, True)
    """
    n = len(samples)
    codes, counts = np.zeros(n, dtype=np.int64), np.array([n])
    for column in samples.T:
        _, values = np.unique(column, return_inverse=True)
        many = int(values.max()) + 1
        if many * _ROWS_PER_VALUE > n:
            return None
        _, codes, counts = np.unique(codes * many + values, return_inverse=True, return_counts=True)
        if len(counts) * _ROWS_PER_VALUE > n:
            return None
    if len(counts) < 2 or (counts == 1).sum() > _MOST_ALONE * n:
        return None
    return _numbered(codes)


def labels_of(samples: Floats, nominal: Booleans) -> Labels | None:
    """The labels of a side ``(N, D)``, if it is one: nominal columns alone, or rows that repeat (:func:`as_labels`).

    Nominal columns are a label however often their values occur, unless several of them have very many combinations.

    Args:
        nominal: which columns are nominal, ``(D,)``.
    """
    if not (len(nominal) and nominal.all()):
        return as_labels(samples)
    codes = np.zeros(len(samples), dtype=np.int64)
    for column in samples.T:
        values = np.unique(column, return_inverse=True)[1]
        codes = np.unique(codes * (int(values.max()) + 1) + values, return_inverse=True)[1]
    found = _numbered(codes)
    count = len(found.counts)
    if count < 2 or (len(nominal) > 1 and count > max(_FEW_VALUES, len(samples) / _ROWS_PER_VALUE)):
        return None
    return found


def _numbered(codes: Integers) -> Labels:
    """The labels, numbered in the order in which they first occur."""
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    of_row = place[codes]
    return Labels(of_row, np.bincount(of_row))


def indicators(samples: Floats, nominal: Booleans) -> Floats:
    """The columns ``(N, D)``, with the nominal ones replaced by an indicator of each category but the most frequent.

    A column has at most 128 indicators, those of its most frequent categories.

    >>> indicators(np.array([[0.0, 7.0], [1.0, 8.0], [2.0, 9.0], [0.0, 6.0]]), np.array([True, False])).tolist()
    [[0.0, 0.0, 7.0], [1.0, 0.0, 8.0], [0.0, 1.0, 9.0], [0.0, 0.0, 6.0]]
    """
    if not nominal.any():
        return samples
    parts = []
    for column, is_nominal in zip(samples.T, nominal, strict=True):
        if not is_nominal:
            parts.append(column[:, None])
            continue
        values, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[1 : 1 + _MOST_INDICATORS])
        parts.append((codes[:, None] == kept).astype(np.float64) if len(values) > 1 else column[:, None])
    return np.hstack(parts)
