"""Do columns follow exactly from others? Then the mutual information of continuous columns is infinite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Rows that are looked at, at most; pairs of columns; columns in all for linear relations.
_MOST_ROWS, _MOST_PAIRS, _MOST_COLUMNS = 2_000, 64, 200
#: A column with fewer distinct values than this share of its rows is not continuous.
_DISTINCT = 0.9
#: What counts as none: of the error of interpolation, relative to the step between the neighbours; and of residuals,
#: relative to the interquartile range. Noise that leaves e^-8 of a normal column has 0.01 of the first in 200 rows, and
#: the second holds for what float32 stores.
_NO_STEP, _NO_RESIDUAL = 0.01, 1e-5


def follow_exactly(x: Floats, y: Floats) -> bool:
    """Whether a continuous column of one side follows exactly from the other side, as far as these rows show.

    Two kinds of relation are seen: one column is a smooth function, or one of smooth pieces, of another
    (:func:`interpolation_error`; looked for among at most 64 pairs), and one is a linear combination of several
    (:func:`linear_residual`; of at most 200 columns in all). A curved function of several columns is not seen, nor one
    that is rougher than the rows are dense.

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)``, no constant column.

    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> noise = np.random.default_rng(1).normal(size=(200, 1))
    >>> follow_exactly(x, np.sin(3 * x)), follow_exactly(x, np.sin(3 * x) + 0.003 * noise)
    (True, False)
    """
    stride = -(-len(x) // _MOST_ROWS)
    x, y = x[::stride], y[::stride]
    distinct = [np.array([len(np.unique(column)) for column in side.T]) >= _DISTINCT * len(x) for side in (x, y)]
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


def _is_linear(x: Floats, y: Floats) -> bool:
    """Whether a column of y is a linear combination of those of x; no, if these are many beside the rows."""
    columns = x.shape[1] + y.shape[1]
    possible = y.shape[1] and columns <= _MOST_COLUMNS and len(x) > 2 * x.shape[1] + 20
    return bool(possible) and linear_residual(x, y) < _NO_RESIDUAL


def interpolation_error(x: Floats, y: Floats) -> float:
    """How far y is from a cubic through its neighbours in x, relative to the step between them; a median.

    Two neighbours on either side. Of the order of the squared or a higher power of the spacing for smooth functions, 0
    for cubic ones, and about 1 where noise in y exceeds its change from one row to the next. Where several rows share
    an x it counts as 1.

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


def linear_residual(x: Floats, y: Floats) -> float:
    """Of the column of y that is nearest to a linear combination of those of x: what is left, relative to its spread.

    The median size of the residuals over the interquartile range; medians, lest a few large values decide.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``, continuous columns.
    """
    basis = np.linalg.qr(np.hstack([np.ones((len(x), 1)), _scaled(x)]))[0]
    scaled = _scaled(y)
    left = np.median(np.abs(scaled - basis @ (basis.T @ scaled)), axis=0)
    lower, upper = np.quantile(scaled, [0.25, 0.75], axis=0)
    return float((left / np.maximum(upper - lower, np.finfo(np.float64).tiny)).min())


def _scaled(values: Floats) -> Floats:
    """Columns of mean 0 and variance 1; those that are constant become 0."""
    values = values / np.abs(values).max(0).clip(min=np.finfo(np.float64).tiny)  # lest squares overflow
    spread = values.std(0)
    return np.asarray((values - values.mean(0)) / np.where(spread > 0, spread, 1.0))
