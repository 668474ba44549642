"""Signs of rows that depend on each other: similar consecutive rows, wandering series, and near copies of rows."""

from __future__ import annotations

import math

import numpy as np

from infomax.statistics.marginals import Floats, normal_scores

#: Standard errors from which an autocorrelation is no chance; lags of consecutive rows.
_CLEARLY, _LAGS = 4.5, (1, 2)
#: Fewest rows of a moving average, and how many of its windows all rows are.
_WINDOW, _WINDOWS = 11, 8
#: A trend: the correlation of the windows' means with time, and standard errors of the median of that within them.
_DRIFT, _TREND = 0.9, 2.0
#: Most columns and rows that are examined.
_COLUMNS, _ROWS = 64, 20_000
#: Near copies: rows whose neighbours are looked for, in how many columns at most, and the number of neighbours.
_EXAMINED, _NEAR_COLUMNS, _NEIGHBOURS = 1_000, 16, 32
#: A distance to the next neighbour so many times that to the one before is a jump: after the first, and after others.
_FIRST_JUMP, _JUMP = 30.0, 4.0
#: Largest distance of a row from the median, in interquartile ranges.
_FARTHEST = 1e6
#: Rows with a jump from which most rows have near copies.
_SHARE = 0.4
#: Differences before a step in the test of a unit root, and its 5 % quantile.
_PAST, _UNIT_ROOT = 4, -2.86
#: Fewest rows that are examined.
_LEAST = 20


def serially_dependent(x: Floats, y: Floats) -> bool:
    """Whether consecutive rows are clearly similar on both sides, ``(N, Dx)`` and ``(N, Dy)``.

    Rows that are sorted by a column of either side are not: their order says nothing of how they were sampled.

    >>> x, y = np.random.default_rng(0).normal(size=(2, 1000, 1))
    >>> serially_dependent(x, y), serially_dependent(x.cumsum(0), y.cumsum(0))
    (False, True)
    """
    return all(autocorrelated(side) or trending(side) for side in (x, y))


def autocorrelated(side: Floats) -> bool:
    """Whether consecutive rows ``(N, D)`` are clearly similar, and no column is sorted.

    >>> steps = np.random.default_rng(0).normal(size=(1000, 1))
    >>> autocorrelated(steps), autocorrelated(steps.cumsum(0))
    (False, True)
    """
    if len(side) < _LEAST or _is_sorted(side):
        return False
    return _autocorrelation(side[:_ROWS, :_COLUMNS]) > _CLEARLY


def trending(side: Floats) -> bool:
    """Whether a column of ``(N, D)``, rows in the order of time, rises or falls all along, and none is sorted.

    The means of eight windows do so, and the rows within them as well. Rows that are sorted by a few categories rise
    within a few windows only.
    """
    side = side[:_ROWS, :_COLUMNS]
    if _is_sorted(side):
        return False
    windows = _windows(side)
    rows = windows.shape[1]
    slopes = math.sqrt(rows) * np.median(_with_time(windows.transpose(1, 0, 2)), axis=0)
    spread = math.sqrt(math.pi / 2 / _WINDOWS)  # of the median of standard normal numbers
    between = _with_time(windows.mean(1))
    return bool(((np.abs(between) > _DRIFT) & (np.sign(between) * slopes > _TREND * spread)).any())


def drifting(side: Floats) -> bool:
    """Whether the means of eight windows of a column of ``(N, D)`` rise or fall all along."""
    return bool((np.abs(_with_time(_windows(side[:_ROWS, :_COLUMNS]).mean(1))) > _DRIFT).any())


def _windows(side: Floats) -> Floats:
    """The normal scores of eight windows of consecutive rows, ``(8, rows, D)``."""
    rows = len(side) // _WINDOWS
    return normal_scores(side)[: rows * _WINDOWS].reshape(_WINDOWS, rows, -1)


def _with_time(values: Floats) -> Floats:
    """The correlations of values ``(T, …)`` with time; 0 for constant ones."""
    time = np.arange(len(values)) - (len(values) - 1) / 2
    centred = values - values.mean(0)
    norms = np.sqrt((centred**2).sum(0) * (time**2).sum())
    return np.asarray(np.tensordot(time, centred, 1) / np.where(norms > 0, norms, np.inf))


def _is_sorted(side: Floats) -> bool:
    steps = np.diff(side, axis=0)
    return bool(((steps >= 0).all(0) | (steps <= 0).all(0)).any())


def _autocorrelation(side: Floats) -> float:
    """The autocorrelation of normal scores, or of their absolute values, at the first lags, in standard errors.

    A moving average over an eighth of the rows is subtracted first: rows that are sorted by a few categories differ by
    their means, and not from one row to the next. The products of consecutive rows are summed over the columns. For
    independent rows with correlation matrix C their variance is the squared norm of C.
    """
    from scipy.ndimage import uniform_filter1d  # noqa: PLC0415 - loaded on first use

    scores, found = normal_scores(side), [0.0]
    for values in (scores, np.abs(scores)):
        smooth = uniform_filter1d(values, max(_WINDOW, len(values) // _WINDOWS), axis=0, mode="reflect")
        centred = values - smooth
        norm = math.sqrt(float(((centred.T @ centred / len(centred)) ** 2).sum()))
        products = sum(float((centred[lag:] * centred[:-lag]).sum()) for lag in _LAGS)
        found.append(products / (norm * math.sqrt(len(_LAGS) * len(centred))) if norm > 0 else 0.0)
    return max(found)


def wanders(side: Floats) -> bool:
    """Whether a column of ``(N, D)``, rows in the order of time, may have no fixed mean, as a random walk.

    It may if the augmented Dickey-Fuller test, at a level of 5 %, does not reject a unit root. Of stationary series it
    says so too, where they return to their mean slowly for their length.

    Source: Said and Dickey 1984, doi:10.1093/biomet/71.3.599.

    >>> steps = np.random.default_rng(0).normal(size=(1000, 1))
    >>> wanders(steps), wanders(steps.cumsum(0))
    (False, True)
    """
    return any(_unit_root(column) > _UNIT_ROOT for column in side[:_ROWS, :_COLUMNS].T)


def _unit_root(column: Floats) -> float:
    """The t statistic of the last level, in a regression of a step on it and on the four steps before."""
    steps = np.diff(column)
    before = [steps[_PAST - lag : len(steps) - lag] for lag in range(1, _PAST + 1)]
    design = np.column_stack([column[_PAST:-1], np.ones(len(steps) - _PAST), *before])
    gram, target = design.T @ design, steps[_PAST:]
    slopes = np.linalg.pinv(gram) @ design.T @ target
    variance = float(((target - design @ slopes) ** 2).sum()) / max(1, len(target) - design.shape[1])
    spread = math.sqrt(variance * float(np.linalg.pinv(gram)[0, 0]))
    return float(slopes[0]) / spread if spread > 0 else -math.inf


def near_copies(x: Floats, y: Floats) -> bool:
    """Whether most rows ``(N, Dx)``, ``(N, Dy)`` have others that are far nearer than the rest on both sides together.

    The distances of a row to its neighbours grow slowly where the density is smooth; where rows are nearly equal to
    some others, they jump. Columns with ties are not examined.

    >>> x, y, noise = np.random.default_rng(0).normal(size=(3, 500, 2))
    >>> near_copies(x, y), near_copies(*(np.vstack([side, side + 1e-6 * noise]) for side in (x, y)))
    (False, True)
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - loaded on first use

    columns = np.hstack([x[:, :_NEAR_COLUMNS], y[:, :_NEAR_COLUMNS]])
    columns = columns[:, [len(np.unique(column)) == len(column) for column in columns.T]]
    n = len(columns)
    if n < 2 * _LEAST or columns.shape[1] < 2:
        return False
    rng = np.random.default_rng(0)
    # Ranks, and so normal scores, would spread rows that are nearly equal over the whole range.
    low, middle, high = np.quantile(columns, [0.25, 0.5, 0.75], axis=0)
    scaled = np.clip((columns - middle) / (high - low), -_FARTHEST, _FARTHEST)
    rows = rng.permutation(n)[:_EXAMINED]
    distances = cKDTree(scaled).query(scaled[rows], k=min(_NEIGHBOURS, n // 2) + 1)[0][:, 1:]
    jumps = distances[:, 1:] / np.maximum(distances[:, :-1], 1e-12)
    jumped = (jumps[:, 0] > _FIRST_JUMP) | (jumps[:, 1:] > _JUMP).any(1)
    return float(jumped.mean()) > _SHARE
