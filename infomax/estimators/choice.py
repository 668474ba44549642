"""From what a user passes as ``bound=`` to an estimator."""

from __future__ import annotations

import warnings
from typing import Any

from infomax import bounds
from infomax.bounds import Bound
from infomax.estimators import base
from infomax.estimators.base import Estimator
from infomax.estimators.trained import TrainedBound
from infomax.io.naming import unknown

BoundLike = str | Bound
#: Old names, and what they are called now.
_RENAMED = {"anchored": "default"}


def chosen(bound: Any, *, stacklevel: int = 2) -> Estimator:
    """The estimator of that name, or the bound as an estimator.

    Args:
        bound: a name from :func:`infomax.estimators.names` or :func:`infomax.bounds.names`, or a bound. stacklevel:
            whose line the warning of an old name shows.

    Raises:
        ValueError: for an unknown name; close matches are named.
        TypeError: for anything that is neither a name nor a bound.
    """
    if isinstance(bound, Bound):
        return TrainedBound(bound)
    if not isinstance(bound, str):
        came = f"the class {bound.__name__}" if isinstance(bound, type) else type(bound).__name__
        raise TypeError(f"bound must be a name or an infomax.Bound; got {came}")
    if bound in _RENAMED:
        new = _RENAMED[bound]
        warnings.warn(f"bound {bound!r} is now called {new!r}", DeprecationWarning, stacklevel=stacklevel + 1)
        bound = new
    if bound in base.names():
        return base.get(bound)
    try:
        return TrainedBound(bound)
    except ValueError:
        known = ["default", *bounds.names(), *(name for name in base.names() if name != "default")]
        raise ValueError(unknown("bound", bound, known)) from None
