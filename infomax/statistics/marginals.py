"""Maps of single columns that do not change mutual information, fitted on training rows and applied to other rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Margins = Literal["normal", "standard", "none"]


def fit_margins(train: Floats, how: Margins = "normal") -> Callable[[Floats], Floats]:
    """A map that standardises each column with statistics of ``train (N, D)``.

    - ``"normal"``: normal scores. A value is mapped to the normal quantile of its mid-rank among the training values.
      All marginals become standard normal, outliers lose their leverage, and ties remain ties. Values outside the
      training range are mapped to its ends. The map is strictly increasing on the training values, so that mutual
      information does not change.
    - ``"standard"``: subtract the mean and divide by the standard deviation.
    - ``"none"``: the identity.

    With the first two, a column that is constant on the training rows becomes 0 on all rows.

    Raises:
        ValueError: for an unknown name.

    >>> scores = fit_margins(np.array([[1.0], [10.0], [100.0]]))
    >>> scores(np.array([[1.0], [10.0], [1e9]])).round(2).tolist()  # beyond the training range: its end
    [[-0.97], [0.0], [0.97]]
    """
    if how not in get_args(Margins):
        raise ValueError(f"margins must be one of {', '.join(get_args(Margins))}; got {how!r}")
    if how == "none":
        return lambda values: values
    if how == "standard":
        # A power of two, which causes no rounding: squares of very large or small values would leave float64.
        _, power = np.frexp(np.abs(train).max(0))
        train = np.ldexp(train, -power)
        mean, scale = train.mean(0), np.where(train.min(0) < train.max(0), train.std(0), np.inf)
        return lambda values: (np.ldexp(values, -power) - mean) / scale
    ordered = np.sort(train, axis=0)

    def scores(values: Floats) -> Floats:
        ranks = np.empty(values.shape)
        for j in range(values.shape[1]):
            below = np.searchsorted(ordered[:, j], values[:, j], "left")
            ranks[:, j] = 0.5 * (below + np.searchsorted(ordered[:, j], values[:, j], "right"))
        ranks[:, ordered[0] == ordered[-1]] = 0.5 * len(ordered)
        share = np.clip(ranks / len(ordered), 0.5 / len(ordered), 1 - 0.5 / len(ordered))
        return np.asarray(torch.special.ndtri(torch.from_numpy(share)).numpy())

    return scores


def normal_scores(values: Floats) -> Floats:
    """``fit_margins(values)(values)``, the normal scores of the training rows, ``(N, D)``, with one sort a column.

    >>> normal_scores(np.array([[1.0], [10.0], [100.0]])).round(2).tolist()
    [[-0.97], [0.0], [0.97]]
    """
    n, dim = values.shape
    scores = np.empty((n, dim))
    for j in range(dim):
        order = np.argsort(values[:, j])
        line = values[order, j]
        starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
        ends = np.append(starts[1:], n)
        quantiles = torch.special.ndtri(torch.from_numpy(0.5 * (starts + ends) / n)).numpy()
        scores[order, j] = np.repeat(quantiles, ends - starts)
    return scores


def tabulate_margins(train: Floats, how: Margins = "normal", knots: int = 4096) -> Callable[[Floats], Floats]:
    """:func:`fit_margins` for many more rows than ``train (N, D)`` has: normal scores by a table, several times faster.

    Between ``knots`` of the sorted training values, evenly spaced by rank, scores are interpolated linearly, so that
    the map still increases strictly within the training range.
    """
    exact = fit_margins(train, how)
    if how != "normal":
        return exact
    picked = np.unique(np.linspace(0, len(train) - 1, knots).round().astype(int))
    ordered = np.sort(train, axis=0)[picked]
    values_and_first = [np.unique(column, return_index=True) for column in ordered.T]
    tables = [(v, score[first]) for (v, first), score in zip(values_and_first, exact(ordered).T, strict=True)]

    def scores(values: Floats) -> Floats:
        columns = [np.interp(column, *table) for column, table in zip(values.T, tables, strict=True)]
        return np.stack(columns, 1)

    return scores
