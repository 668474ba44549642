"""Checks of the data that users pass. Past these functions, samples are finite float64 arrays ``(N, D)``."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.exceptions import ConstantColumnWarning, IndexWarning
from infomax.io.containers import table_columns, table_names, to_array
from infomax.io.exact import to_float64

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Columns:
    """Samples ``(N, D)``, already checked, with the names of their columns."""

    names: tuple[str, ...]
    samples: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, D)``."""
        return self.samples.shape[0], self.samples.shape[1]


def as_samples(data: Any, name: str, *, shift: bool = True) -> Floats:
    """Copy ``data`` to a finite float64 array ``(N, D)``; :class:`Columns`, which are such, are not copied.

    Args:
        data: a numpy array, torch tensor, pandas, polars or pyarrow object, :class:`Columns`, or nested sequence; 1-D
            ``(N,)`` or 2-D ``(N, D)``; boolean, integer or real.
        name: what error messages call it.
        shift: whether columns of integers beyond 2⁵³ are returned less their minimum; see :func:`to_float64`.

    Raises:
        TypeError: for columns that are not numeric.
        ValueError: for another number of dimensions, no columns, missing or infinite values (with their count and the
            first row), and different values that are equal in float64.
    """
    if isinstance(data, Columns):
        return data.samples
    parts = data.singly() if hasattr(data, "singly") else [data]  # StoredColumns
    arrays = [array for part in parts for array in _arrays(part, name, shift)]
    array = arrays[0] if len(arrays) == 1 else np.hstack(arrays)
    bad = ~np.isfinite(array)
    if bad.any():
        rows = bad.any(1)
        nans = int(np.isnan(array).sum())
        raise ValueError(
            f"{name} must be finite; got {nans} NaN and {int(bad.sum()) - nans} infinite values in "
            f"{int(rows.sum())} rows, the first of them row {int(rows.argmax())}"
        )
    return array


def _arrays(data: Any, name: str, shift: bool) -> list[Floats]:
    """The data as arrays ``(N, D)`` to stand side by side: one array, or one for each column of a table."""
    table = table_columns(data, name)
    if table is None:
        table = [(name, to_array(data, name))]
    elif not table:
        raise ValueError(f"{name} must have at least one column; got {type(data).__name__} of shape {data.shape}")
    return [to_float64(_two_dimensional(array, label), label, shift=shift) for label, array in table]


def _two_dimensional(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The array as ``(N, D)``, if it holds numbers."""
    if array.dtype.kind not in "biuf":
        kind = f", of {type(array.flat[0]).__name__}" if array.dtype.kind == "O" and array.size else ""
        raise TypeError(f"{name} must hold numbers; got dtype {array.dtype}{kind}")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must be 1-D (N,) or 2-D (N, D); got {array.ndim}-D of shape {array.shape}")
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column; got shape {array.shape}")
    return array


def as_aligned(samples: Mapping[str, Any], *, least: int, stacklevel: int = 4) -> dict[str, Floats]:
    """Check samples with paired rows by :func:`as_samples`, and leave out constant columns with a warning.

    A sample whose columns are all constant is returned with zero columns. Rows are paired by position; where the
    indexes of data frames or series differ, an :class:`IndexWarning` is issued.

    Args:
        samples: by the names that errors and warnings use. least: smallest number of rows. stacklevel: whose line the
            warnings show; by default that of the caller's caller.

    Raises:
        TypeError: as :func:`as_samples`.
        ValueError: as :func:`as_samples`, for different numbers of rows, for fewer than ``least``, and for two indexes
            that hold the same labels in a different order.
    """
    arrays = {name: as_samples(data, name) for name, data in samples.items()}
    n = common_length(arrays)
    if n < least:
        raise ValueError(f"{next(iter(arrays))} must have at least {least} rows; got {n}")
    check_indexes(samples, stacklevel)
    for name, array in arrays.items():  # no comprehension: before Python 3.12 it would be a stack level of its own
        constant = (array == array[0]).all(0)
        warn_of_constant(constant, name, column_labels(samples[name]), stacklevel)
        arrays[name] = array[:, ~constant] if constant.any() else array
    return arrays


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
        return [repr(name) for name in data.names]
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
