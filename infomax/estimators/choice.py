"""Converts the argument ``bound=`` to an estimator."""

from __future__ import annotations

from typing import Any

from infomax.bounds import Bound
from infomax.bounds import base as bounds
from infomax.estimators import base
from infomax.estimators.base import Estimator
from infomax.estimators.trained import TrainedBound
from infomax.exceptions import warn_of_new_name
from infomax.io.naming import unknown

BoundLike = str | Bound
#: Old names, and what they are called now.
_RENAMED = {"anchored": "default"}


def chosen(bound: Any) -> Estimator:
    """The estimator of that name, or the bound as an estimator.

    Args:
        bound: a name from :func:`infomax.estimators.names` or :func:`infomax.bounds.names`, or a bound.

    Raises:
        ValueError: for an unknown name; close matches are named.
        TypeError: for anything that is neither a name nor a bound.

    >>> type(chosen("ksg")).__name__, type(chosen("infonce")).__name__
    ('KSG', 'TrainedBound')
    """
    if isinstance(bound, Bound):
        return TrainedBound(bound)
    if not isinstance(bound, str):
        came = f"the class {bound.__name__}" if isinstance(bound, type) else type(bound).__name__
        raise TypeError(f"bound must be a name or an infomax.Bound; got {came}")
    if bound in _RENAMED:
        warn_of_new_name("bound", bound, _RENAMED[bound])
        bound = _RENAMED[bound]
    if bound in base.names():
        return base.get(bound)
    try:
        return TrainedBound(bound)
    except ValueError:
        known = ["default", *bounds.names(), *(name for name in base.names() if name != "default")]
        raise ValueError(unknown("bound", bound, known)) from None
