"""Detect columns that are exact functions of others: the mutual information of continuous columns is then infinite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Largest number of rows that are used; of pairs of columns; of columns in total, for linear relations.
_MOST_ROWS, _MOST_PAIRS, _MOST_COLUMNS = 2_000, 64, 200
#: A column is continuous if the number of its distinct values is at least this share of its rows.
_DISTINCT = 0.9
#: Thresholds below which a relation is exact: interpolation error relative to the step between neighbours, and
#: residuals relative to the interquartile range. Noise of e^-8 standard deviations has an interpolation error of 0.01
#: with 200 rows; the second threshold allows for values that were stored in float32.
_NO_STEP, _NO_RESIDUAL = 0.01, 1e-5
#: The same where a column is left out because it is exact: room for the rounding of float32, but not for noise.
_NO_STEP_AT_ALL, _NO_RESIDUAL_AT_ALL = 1e-4, 2e-7


def follow_exactly(x: Floats, y: Floats) -> bool:
    """Whether a continuous column of one side is an exact function of the other side, judged by these rows.

    Two kinds of relation are detected: a column that is a (piecewise) smooth function of another one
    (:func:`interpolation_error`; for at most 64 pairs of columns), and a column that is a linear combination of several
    (:func:`linear_residuals`; for at most 200 columns in total). Nonlinear functions of several columns, and functions
    that vary faster than the spacing of the rows, are not detected.

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)`` without constant columns.

    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> noise = np.random.default_rng(1).normal(size=(200, 1))
    >>> follow_exactly(x, np.sin(3 * x)), follow_exactly(x, np.sin(3 * x) + 0.003 * noise)
    (True, False)
    """
    stride = -(-len(x) // _MOST_ROWS)
    x, y = x[::stride], y[::stride]
    distinct = [np.array([_is_continuous(column) for column in side.T], dtype=bool) for side in (x, y)]
    continuous = x[:, distinct[0]], y[:, distinct[1]]
    if _is_linear(x, continuous[1]) or _is_linear(y, continuous[0]):
        return True
    if continuous[0].shape[1] * continuous[1].shape[1] > _MOST_PAIRS:
        return False
    return any(
        interpolation_error(this, other) < _NO_STEP
        for sides in (continuous, continuous[::-1])
        for this in sides[0].T
        for other in sides[1].T
    )


def determined_columns(x: Floats, z: Floats) -> NDArray[np.bool_]:
    """Which columns of x are exact functions of z, judged by these rows.

    These are detected: a copy of a column, or one with other codes for the same values in the same or the opposite
    order; a linear combination of columns (:func:`linear_residuals`); a piecewise smooth function of one column
    (:func:`interpolation_error`; for at most 64 pairs of columns). Labels that depend on a continuous column, such as
    its sign, are not detected: with different values in every row any label would be a function of it.

    Noise of 1e-6 standard deviations is enough that a column is not determined: it can carry any information.

    Args:
        x, z: finite samples ``(N, Dx)``, ``(N, Dz)`` without constant columns.

    Returns:
        ``(Dx,)``.

    >>> z = np.random.default_rng(0).normal(size=(200, 2))
    >>> determined_columns(np.column_stack([np.exp(-z[:, 0]), z.sum(1), z[:, 0] ** 2, z.prod(1)]), z).tolist()
    [True, True, True, False]
    """
    copies = {copy.tobytes() for column in z.T for copy in _copies(column)}
    found = np.array([_copies(column)[0].tobytes() in copies for column in x.T], dtype=bool)
    stride = -(-len(x) // _MOST_ROWS)
    x, z = x[::stride], z[::stride]
    continuous = np.array([_is_continuous(column) for column in x.T], dtype=bool)
    rest = np.flatnonzero(continuous & ~found)
    if len(rest) and _can_be_linear(z, x[:, rest]):
        found[rest] = linear_residuals(z, x[:, rest]) < _NO_RESIDUAL_AT_ALL
    rest = np.flatnonzero(continuous & ~found)
    if len(rest) * z.shape[1] <= _MOST_PAIRS:
        for j in rest:
            found[j] = any(interpolation_error(column, x[:, j]) < _NO_STEP_AT_ALL for column in z.T)
    return found


def _is_continuous(column: Floats) -> bool:
    return len(np.unique(column)) >= _DISTINCT * len(column)


def _copies(column: Floats) -> list[NDArray[np.generic]]:
    """The values of a continuous column; of others the ranks of the values that occur, ascending and descending."""
    if _is_continuous(column):
        return [column + 0.0]  # a negative zero becomes zero
    ranks = np.unique(column, return_inverse=True)[1].astype(np.int64)
    return [ranks, ranks.max() - ranks]


def _is_linear(x: Floats, y: Floats) -> bool:
    """Whether a column of y is a linear combination of those of x; false if there are too few rows to tell."""
    return _can_be_linear(x, y) and float(linear_residuals(x, y).min()) < _NO_RESIDUAL


def _can_be_linear(x: Floats, y: Floats) -> bool:
    """Whether there are columns, and enough rows to tell."""
    columns = x.shape[1] + y.shape[1]
    return bool(y.shape[1]) and columns <= _MOST_COLUMNS and len(x) > 2 * x.shape[1] + 20


def interpolation_error(x: Floats, y: Floats) -> float:
    """Median distance of y from the cubic through its neighbours in x, relative to the step between them.

    The cubic uses two neighbours on each side. The error is 0 for cubic functions, at least quadratic in the spacing
    for smooth functions, and about 1 if the noise in y exceeds its change from one row to the next. It is 1 for rows
    with equal x.

    Args:
        x, y: ``(N,)``.

    >>> x = np.random.default_rng(0).normal(size=200)
    >>> interpolation_error(x, x**2) < 1e-9
    True
    """
    order = np.argsort(x, kind="stable")
    n = len(x) - 4
    if n < 1:
        return 1.0
    at, values = ([side[order][k : n + k] for k in range(5)] for side in (x, y))
    around = (0, 1, 3, 4)
    expected = np.zeros(n)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for i in around:
            weight = np.ones(n)
            for j in around:
                if j != i:
                    weight = weight * (at[2] - at[j]) / (at[i] - at[j])
            expected += weight * values[i]
        errors = np.abs(values[2] - expected) / np.abs(values[3] - values[1])
    return float(np.median(np.where(np.isfinite(errors), errors, 1.0)))


def linear_residuals(x: Floats, y: Floats) -> Floats:
    """The residual of each column of y from a linear combination of those of x, relative to its spread, ``(Dy,)``.

    The median absolute residual divided by the interquartile range, which are robust to a few large values.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``, continuous columns.

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> bool(np.allclose(linear_residuals(x, x @ np.ones((3, 1))), 0))
    True
    """
    basis = np.linalg.qr(np.hstack([np.ones((len(x), 1)), _scaled(x)]))[0]
    scaled = _scaled(y)
    left = np.median(np.abs(scaled - basis @ (basis.T @ scaled)), axis=0)
    lower, upper = np.quantile(scaled, [0.25, 0.75], axis=0)
    return np.asarray(left / np.maximum(upper - lower, np.finfo(np.float64).tiny))


def _scaled(values: Floats) -> Floats:
    """Columns with mean 0 and variance 1; constant columns become 0."""
    values = values / np.abs(values).max(0).clip(min=np.finfo(np.float64).tiny)  # so that squares do not overflow
    spread = values.std(0)
    return np.asarray((values - values.mean(0)) / np.where(spread > 0, spread, 1.0))
