"""Rows that depend on each other: the user's groups and blocks, and warnings where they are missing."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.estimators import BoundLike, Estimator, Problem
from infomax.estimators import get as estimator_of
from infomax.estimators import names as estimator_names
from infomax.exceptions import DependenceWarning
from infomax.io.encoding import is_missing
from infomax.io.naming import unknown
from infomax.statistics.counts import copied_rows
from infomax.statistics.marginals import Floats
from infomax.statistics.row_dependence import (
    autocorrelated,
    drifting,
    near_copies,
    serially_dependent,
    trending,
    wanders,
)
from infomax.statistics.row_structure import RowStructure, block_length

#: Fewest groups, or blocks, that can be split into folds with validation rows.
_FEWEST = 4


def row_structure(
    problem: Problem, groups: Any, length: int | Literal["auto"] | None, estimators: Sequence[Estimator]
) -> RowStructure | None:
    """What ``groups`` or ``block_length`` say of the rows of a problem; None if neither is given.

    Raises:
        ValueError: if both are given, an estimator takes only independent rows, the samples are too large to be copied,
            or there are too few groups or blocks.
        TypeError: for labels of groups that are missing or not one for each row.
    """
    if groups is None and length is None:
        return None
    name = "groups" if length is None else "block_length"
    if groups is not None and length is not None:
        raise ValueError("groups and block_length must not both be given; got both")
    n = len(problem.x)
    kept, total = np.arange(n) if problem.kept is None else problem.kept, problem.rows + problem.dropped
    if isinstance(length, int | np.integer) and not isinstance(length, bool) and length == 1:
        return RowStructure.independent(n)  # the user says so
    refusing = [estimator.name for estimator in estimators if not estimator.takes_dependent_rows]
    if refusing:
        known = ", ".join(repr(one) for one in estimator_names() if estimator_of(one).takes_dependent_rows)
        raise ValueError(f"{name} must be None unless the bound is {known}; got it with {refusing[0]!r}")
    if problem.sampled is not None:
        raise ValueError(f"{name} must be None for samples that are too large to be copied")
    if groups is not None:
        labels = group_labels(groups, total, kept)
        return grouped([labels[row] for row in kept.tolist()])
    if length == "auto":
        length = block_length(problem.x, problem.y) if all(problem.dims) else 1
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise ValueError(f"block_length must be 'auto' or a whole number of at least 1; got {length!r}")
    if length * _FEWEST > n:
        raise ValueError(
            f"block_length must be at most a quarter of the {n} rows, so that some blocks can be held out; got {length}"
        )
    return RowStructure.of_blocks(total, int(length)).take(kept)


def grouped(labels: Sequence[Hashable]) -> RowStructure:
    """Groups of rows, of which some can be held out.

    Raises:
        ValueError: for fewer than four groups, and for groups of one row each.
    """
    found = RowStructure.of_groups(labels)
    if found.is_independent:
        n = len(labels)
        raise ValueError(f"groups must have several rows each; got {n} groups of {n} rows, which need no groups")
    if found.units < _FEWEST:
        raise ValueError(f"groups must be at least {_FEWEST}, so that some can be held out; got {found.units}")
    return found


#: Keywords of :func:`infomax.estimate` that other functions hand on.
_HANDED_ON = [
    "bound", "seed", "random_state", "device", "progress", "quick", "folds", "margins", "schedule", "n_neighbors",
    "groups", "block_length", "shared",
]  # fmt: skip


def check_keywords(options: Collection[str]) -> None:
    """Check keywords that are handed on to :func:`infomax.estimate`.

    Raises:
        TypeError: for one that it does not have.
    """
    for name in options:
        if name not in _HANDED_ON:
            raise TypeError(unknown("keyword", name, _HANDED_ON))


def bound_of_pairs(bound: BoundLike | None, options: Mapping[str, Any]) -> tuple[BoundLike | None, dict[str, Any]]:
    """The bound that measures pairs of columns, and its options: the default where rows depend on each other.

    Raises:
        TypeError: for unknown options, and for those that only a bound has.
    """
    check_keywords(options)
    if bound is not None:
        return bound, dict(options)
    if options.get("groups") is not None or options.get("block_length", 1) not in {None, 1}:
        return "default", dict(options)
    rest = [name for name in options if name not in {"groups", "block_length"}]
    if rest:
        raise TypeError(f"without a bound there are no further keywords; got {', '.join(rest)}")
    return None, {}


def group_labels(groups: Any, n: int, used: NDArray[np.int64] | None = None) -> Sequence[Hashable]:
    """One label for each row.

    Args:
        used: the rows that must have one; None: all.

    Raises:
        ValueError: for labels that are missing or not one for each row.
        TypeError: for labels that have no hash.
    """
    if isinstance(groups, list | tuple):  # numpy would make text of numbers beside text, and of NaN
        shape, labels = (len(groups),), list(groups)
    else:
        values = np.asarray(groups)
        if np.ma.isMaskedArray(groups):
            values = values.astype(object)
            values[np.ma.getmaskarray(groups)] = None
        shape, labels = values.shape, values.reshape(-1).tolist()
    if isinstance(groups, str):
        raise TypeError(f"groups must be the labels of the rows and not the name of a column; got {groups!r}")
    if shape not in {(n,), (n, 1)}:
        raise ValueError(f"groups must have one label for each of the {n} rows; got shape {shape}")
    for row in range(n) if used is None else used.tolist():
        label = labels[row]
        if is_missing(label):
            raise ValueError(f"groups must have a label in every row; got {label!r} in row {row}")
        if not isinstance(label, Hashable):
            raise TypeError(f"groups must have labels that can be compared, such as numbers or text; got {label!r}")
    return labels


#: What is said of consecutive rows that are similar.
_SERIAL = (
    "consecutive rows are similar on both sides, as in time series, or where the rows of a subject follow each other; "
    "the value, its interval and the p-value hold for independent rows only. If the rows are in the order of time, "
    "pass block_length='auto'; if several rows belong to one subject, pass groups=; if their order means nothing, "
    "pass block_length=1"
)


def judge_rows(x: Floats, y: Floats) -> Iterator[DependenceWarning]:
    """Warnings where the rows seem to depend on each other."""
    if serially_dependent(x, y):
        yield DependenceWarning(_SERIAL)
    elif near_copies(x, y):
        yield DependenceWarning(
            "most rows have others that are nearly equal on both sides, as several rows of one subject have; the "
            "value, its interval and the p-value hold for independent rows only. Pass groups=, a label for each row, "
            "or keep one row of each subject"
        )


def judge_structure(structure: RowStructure, x: Floats, y: Floats) -> Iterator[DependenceWarning]:
    """Warnings where groups or blocks cannot give a valid interval."""
    effective = structure.effective_units
    if not structure.is_independent and effective < _FEWEST:
        largest = int(np.bincount(structure.unit).max())
        yield DependenceWarning(
            f"the largest of {structure.units} groups has {largest} of {len(x)} rows, so that they are worth "
            f"{effective:.1f} groups of equal size; the interval and the p-value are not reliable"
        )
    if structure.block_length is not None and all(wanders(side) or drifting(side) for side in (x, y)):
        yield DependenceWarning(
            "both sides may wander without a fixed mean, as trends and random walks do: they have too few independent "
            "blocks, and the p-value may be too small. Use more rows, or differences of consecutive rows (numpy.diff)"
        )


def judge_columns(x: Floats, y: Floats | None) -> Iterator[DependenceWarning]:
    """The same for a table of pairs of columns of x and y, or of columns of x alone, measured without groups.

    A missing value is NaN.
    """
    sides = [x] if y is None else [x, y]
    if not all(side.shape[1] for side in sides):
        return
    complete = np.isfinite(np.hstack(sides)).all(1)
    columns = [[column[~np.isnan(column), None] for column in side.T] for side in sides]
    serial = [sum(autocorrelated(column) or trending(column) for column in side) for side in columns]
    if min(serial) >= (2 if y is None else 1):
        yield DependenceWarning(f"in {sum(serial)} columns {_SERIAL}")
    copies = copied_rows(x[complete], (x if y is None else y)[complete]) if complete.any() else 0
    if copies:
        yield DependenceWarning(
            f"{copies} rows are exact duplicates of others: copies are taken for neighbours, and values may be far too "
            f"large; remove them, or pass groups=, a label for each row"
        )
