"""A canonical order of two samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.statistics.marginals import normal_scores

Floats = NDArray[np.float64]

#: Rows that are compared before all ranks are computed.
_FIRST = 4


def in_order(x: Floats, y: Floats) -> bool:
    """Whether x comes before y, or equals it. Of ``in_order(x, y)`` and ``in_order(y, x)``, one is false unless x is y.

    The side of fewer columns comes first. With equal numbers, the ranks within the columns are compared row by row, so
    that increasing maps of columns, such as other units, do not change the order; and then the values.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``.

    >>> x, y = np.random.default_rng(0).normal(size=(2, 50, 3))
    >>> in_order(x, y) != in_order(y, x), in_order(x, y) == in_order(np.exp(x), 100 * y), in_order(x, x)
    (True, True, True)
    """
    if x.shape[1] != y.shape[1]:
        return bool(x.shape[1] < y.shape[1])
    for row in range(min(_FIRST, len(x))):
        ranks = (x < x[row]).sum(0), (y < y[row]).sum(0)
        if (ranks[0] != ranks[1]).any():
            return _precedes(*ranks)
    scores = normal_scores(x), normal_scores(y)
    return _precedes(x, y) if np.array_equal(*scores) else _precedes(*scores)


def _precedes(x: NDArray[Any], y: NDArray[Any]) -> bool:
    """Whether x is smaller at the first difference, in the order of rows and then of columns, or has none."""
    first = int((x != y).ravel().argmax())
    return bool(x.ravel()[first] <= y.ravel()[first])
