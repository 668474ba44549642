"""Class probabilities by histograms of single columns, as if the columns were independent within each class."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.statistics.labels import Integers
from infomax.statistics.marginals import Floats

#: Numbers of ranges that a column is divided into, and fewest rows of a range.
_RANGES, _ROWS = (4, 16, 64, 256), 8
#: A column is used if its information exceeds so many standard errors.
_CLEARLY = 3.0


def by_columns(x: Floats, labels: Tensor, classes: int, folds: list[Tensor]) -> Tensor:
    """Held-out log-ratios of posterior and prior probability of the classes, ``(N, K)``; zero if no column is used.

    Each column is divided into ranges with equally many rows; the ratios of the columns' class frequencies are added
    ("naive Bayes"). Whether a column is used for one half of the folds, and how many ranges it has, is decided on the
    other half. It finds what a few of many columns tell, each in its own way.

    Args:
        x: ``(N, D)``. labels: ``(N,)``. folds: the rows of each; frequencies are those of the other folds.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - loaded on first use

    n, of_row = len(x), labels.numpy()
    fold_of_row = np.empty(n, dtype=np.int64)
    for place, rows in enumerate(folds):
        fold_of_row[rows.numpy()] = place
    even = fold_of_row % 2 == 0
    total = np.zeros((n, classes))
    sizes = [count for count in _RANGES if count * _ROWS <= n]
    for column in x.T:
        shares = (rankdata(column) - 0.5) / n
        ranges = [(count * shares).astype(np.int64) for count in sizes]
        tables = [_log_ratios(fold_of_row, own, of_row, len(folds), classes) for own in ranges]
        alone = [table[fold_of_row, own, of_row] for table, own in zip(tables, ranges, strict=True)]
        for half in (even, ~even):
            best = max(range(len(sizes)), key=lambda i: alone[i][~half].mean(), default=None)
            if best is not None and _clear(alone[best][~half]):
                total[half] += tables[best][fold_of_row[half], ranges[best][half]]
    return torch.from_numpy(total)


def _log_ratios(fold: Integers, own: Integers, labels: Integers, folds: int, classes: int) -> Floats:
    """Log of a class's frequency in a range over that in all rows, among the other folds: ``(folds, ranges, K)``.

    A range has one more row for each class, distributed as all rows are.
    """
    ranges = int(own.max()) + 1
    counts = np.bincount((fold * ranges + own) * classes + labels, minlength=folds * ranges * classes)
    counts = counts.reshape(folds, ranges, classes)
    others = (counts.sum(0) - counts).astype(np.float64)
    prior = others.sum(1, keepdims=True) + 0.5
    prior /= prior.sum(2, keepdims=True)
    found: NDArray[np.float64] = np.log((others / prior + classes) / (others.sum(2, keepdims=True) + classes))
    return found


def _clear(local: Floats) -> bool:
    """Whether their mean is clearly positive."""
    return float(local.mean()) > _CLEARLY * float(local.std()) / math.sqrt(len(local))
