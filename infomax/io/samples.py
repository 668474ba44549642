"""Checks of the data that users pass. Past these functions, samples are finite float64 arrays ``(N, D)``."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.exceptions import ColumnWarning, ConstantColumnWarning, IndexWarning
from infomax.io.columns import Columns, Nominal, as_columns, check_complete
from infomax.io.containers import table_names
from infomax.io.encoding import numbered

Floats = NDArray[np.float64]
#: What to do about missing values.
Missing = Literal["raise", "drop"]
#: What the error about missing values adds where they can be dropped.
ADVICE = ": fill them, or leave such rows out with missing='drop'"
#: A nominal column with more categories than these, and than rows for each, has its rare ones counted as one.
_FEW_CATEGORIES, _ROWS_OF_CATEGORY = 10, 5


def as_samples(data: Any, name: str, *, shift: bool = True) -> Floats:
    """Copy ``data`` to a finite float64 array ``(N, D)``; the samples of :class:`Columns` are not copied.

    Args:
        data: numbers, as for :func:`infomax.io.as_columns`.
        name: what error messages call it.
        shift: whether columns of integers beyond 2⁵³ are returned less their minimum; see ``to_float64``.

    Raises:
        TypeError: for columns that are not numeric.
        ValueError: for another number of dimensions, no columns, missing or infinite values (with their count and the
            first row), and different values that are equal in float64.

    >>> as_samples([1, 2, 3], "x").tolist()
    [[1.0], [2.0], [3.0]]
    """
    columns = as_columns(data, name, shift=shift)
    if columns.nominal.any():
        column = int(columns.nominal.argmax())
        label = f"column {columns.names[column]!r} of {name}" if columns.names else name
        raise TypeError(f"{label} must hold numbers; got text or categories")
    check_complete(columns, name)
    return columns.samples


@dataclass(frozen=True, eq=False)
class Paired:
    """Samples with paired rows, checked: no value is missing, and no column is constant.

    Attributes:
        columns: by the name of the sample; D may be 0.
        rows: which of the rows that were passed these are, ``(N,)``. total: how many were passed.
    """

    columns: dict[str, Columns]
    rows: NDArray[np.int64]
    total: int

    @property
    def dropped(self) -> int:
        """How many rows were left out because a value is missing."""
        return self.total - len(self.rows)


def as_aligned(
    samples: Mapping[str, Any],
    *,
    least: int,
    nominal: Mapping[str, Nominal] | None = None,
    missing: Missing = "raise",
    stacklevel: int = 4,
) -> Paired:
    """Check samples with paired rows by :func:`as_columns`, and leave out constant columns with a warning.

    A sample whose columns are all constant is returned with zero columns. Rows are paired by position; where the
    indexes of data frames or series differ, an :class:`IndexWarning` is issued.

    Args:
        samples: by the names that errors and warnings use. least: smallest number of rows. nominal: of each sample, as
            :func:`as_columns`. missing: "raise", or "drop" to leave out rows with missing values.
        stacklevel: whose line the warnings show; by default that of the caller's caller.

    Raises:
        TypeError: as :func:`as_columns`.
        ValueError: as :func:`as_columns`, for missing values unless they are dropped, for different numbers of rows,
            for fewer than ``least``, and for two indexes that hold the same labels in a different order.

    >>> pair = as_aligned({"x": [1.0, np.nan, 3.0], "y": ["a", "b", "b"]}, least=2, missing="drop")
    >>> pair.rows.tolist(), pair.dropped, pair.columns["x"].samples.tolist()
    ([0, 2], 1, [[1.0], [3.0]])
    """
    check_missing(missing)
    kinds = nominal or {}
    columns = {name: as_columns(data, name, nominal=kinds.get(name, "auto")) for name, data in samples.items()}
    if missing == "raise":
        for name, found in columns.items():
            check_complete(found, name, ADVICE)
    n, first = common_length(columns), next(iter(columns))
    if n < least:
        raise ValueError(f"{first} must have at least {least} rows; got {n}")
    check_indexes(samples, stacklevel)
    gone = np.logical_or.reduce([found.missing for found in columns.values()])
    rows = np.flatnonzero(~gone)
    if len(rows) < max(1, least):
        which = ", ".join(columns)
        raise ValueError(f"{which} must have at least {least} rows without missing values; got {len(rows)} of {n}")
    for name, found in columns.items():  # no comprehension: before Python 3.12 it would be a stack level of its own
        kept = settled(found.of_rows(rows) if len(rows) < n else found, name, stacklevel)
        constant = (kept.samples == kept.samples[0]).all(0)
        warn_of_constant(constant, name, column_labels(samples[name]), stacklevel)
        columns[name] = kept.of_columns(~constant)
    return Paired(columns, rows, n)


def check_large(nominal: Mapping[str, Nominal], missing: Missing) -> None:
    """Raise ValueError unless samples that are not copied are numbers, all of them present."""
    check_missing(missing)
    for name, kind in nominal.items():
        if kind not in ("auto", False):
            raise ValueError(
                f"nominal_{name} must be 'auto' for samples of so many cells; got {kind!r}: draw rows first"
            )
    if missing == "drop":
        raise ValueError("missing must be 'raise' for samples of so many cells; got 'drop': leave such rows out first")


def check_missing(missing: str) -> None:
    """Raise ValueError unless it is "raise" or "drop"."""
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop'; got {missing!r}")


def settled(columns: Columns, name: str, stacklevel: int) -> Columns:
    """Nominal columns with their codes numbered as they first occur, and rare ones among very many as one category.

    No estimate can tell much about categories that occur a few times among very many others. To count them as one can
    only lose information.
    """
    if not columns.nominal.any():
        return columns
    samples = columns.samples.copy()
    for j in np.flatnonzero(columns.nominal):
        present = ~np.isnan(samples[:, j])
        values, codes, counts = np.unique(samples[present, j], return_inverse=True, return_counts=True)
        if len(values) > max(_FEW_CATEGORIES, len(codes) / _ROWS_OF_CATEGORY):
            rare = counts < _ROWS_OF_CATEGORY
            codes = np.where(rare[codes], len(values), codes)
            label = f"column {columns.names[j]!r} of {name}" if columns.names else f"column {j} of {name}"
            warnings.warn(
                f"{label} is nominal and has {len(values)} categories in {len(codes)} rows: the {int(rare.sum())} of "
                f"them with fewer than {_ROWS_OF_CATEGORY} rows count as one, which can only lose information",
                ColumnWarning,
                stacklevel=stacklevel,
            )
        samples[present, j] = numbered(codes.tolist())
    return replace(columns, samples=samples)


def common_length(samples: Mapping[str, Any]) -> int:
    """The number of rows, which must be the same for all samples.

    Raises:
        ValueError: for different numbers of rows.
    """
    (first, n), *others = ((name, len(data)) for name, data in samples.items())
    for name, rows in others:
        if rows != n:
            raise ValueError(f"{name} must have as many rows as {first}; got {rows} and {n}")
    return n


def check_indexes(samples: Mapping[str, Any], stacklevel: int) -> None:
    """Compare the indexes of the samples that have one (pandas' frames and series), each with the next.

    Raises:
        ValueError: for two indexes that hold the same labels in a different order. Other differences cause a warning.
    """
    indexes = [(name, data.index) for name, data in samples.items() if hasattr(getattr(data, "index", None), "equals")]
    for (first, one), (name, other) in itertools.pairwise(indexes):
        if one.equals(other):
            continue
        if sorted(map(repr, one)) == sorted(map(repr, other)):
            raise ValueError(
                f"{name} must have its rows in the order of {first}; got indexes with the same labels in a different "
                f"order: reindex one like the other, or call reset_index(drop=True) to pair rows by position"
            )
        warnings.warn(
            f"{name} and {first} have different indexes; their rows were paired by position. To pair rows by label, "
            f"align the indexes first; to silence this warning, call reset_index(drop=True)",
            IndexWarning,
            stacklevel=stacklevel,
        )


def column_labels(data: Any) -> list[str] | None:
    """The names of the columns as messages show them; None for columns without names.

    >>> column_labels(Columns(("age", "income"), np.zeros((3, 2))))
    ["'age'", "'income'"]
    """
    if isinstance(getattr(data, "names", None), tuple):  # Columns and StoredColumns
        return [repr(name) for name in data.names] or None
    names = table_names(data)
    if names is not None:
        return [repr(column) for column in names]
    name = getattr(data, "name", None)
    return [repr(name)] if hasattr(data, "to_numpy") and name is not None else None


def warn_of_constant(constant: NDArray[np.bool_], name: str, labels: list[str] | None, stacklevel: int) -> None:
    """Issue a warning that lists the constant columns, by label or by number, if there are any."""
    if constant.any():
        some = (labels[j] if labels else str(j) for j in np.flatnonzero(constant)[:5])
        which = ", ".join(some) + (", …" if constant.sum() > 5 else "")
        warnings.warn(
            f"{name} has {int(constant.sum())} constant of {len(constant)} columns, left out: {which}",
            ConstantColumnWarning,
            stacklevel=stacklevel,
        )
