"""The border: data come in here, are checked once, and are float64 arrays of samples from then on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.exceptions import ConstantColumnWarning, IndexWarning, InfomaxWarning
from infomax.io.frames import Columns, column_labels, differing_indexes

Floats = NDArray[np.float64]


@contextmanager
def labelled_warnings(label: str, *, depth: int) -> Iterator[None]:
    """Give this library's warnings with ``label:`` in front, and others as they come, when the block is left.

    Args:
        label: what they are about. depth: how many calls above this block the line is that they should show.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InfomaxWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, InfomaxWarning):
            warnings.warn(f"{label}: {warning.message}", warning.category, stacklevel=depth + 3)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def as_samples(data: Any, name: str) -> Floats:
    """``data`` as a finite float64 array ``(N, D)``, a copy.

    Args:
        data: a numpy array, torch tensor, pandas or polars object, :class:`Columns`, or nested sequence; 1-D ``(N,)``
            or 2-D ``(N, D)``; boolean, integer or real.
        name: what to call it in errors.

    Raises:
        TypeError: for columns that are not numbers.
        ValueError: for another number of dimensions, no columns, and values that are missing or not finite (with their
            number and the first row).
    """
    data = data.samples if isinstance(data, Columns) else data
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise ValueError(f"{name} must have no missing values; got {int(np.ma.getmaskarray(data).sum())} masked ones")
    if isinstance(data, torch.Tensor):
        if data.layout != torch.strided:
            raise TypeError(f"{name} must be a dense tensor; got layout {data.layout}")
        data = data.detach().cpu()
        data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
    elif hasattr(data, "dtypes") and hasattr(data, "columns"):
        if len(set(data.columns)) < len(data.columns):
            raise ValueError(f"{name} must have columns of different names; got {list(data.columns)}")
        columns = [_column(data[column], f"column {column!r} of {name}") for column in data.columns]
        data = np.stack(columns, 1) if columns else np.empty((len(data), 0))
    elif hasattr(data, "to_numpy"):
        data = _column(data, name)
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(f"{name} must have rows of equal length; got a ragged {type(data).__name__}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers; got dtype {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must be 1-D (N,) or 2-D (N, D); got {array.ndim}-D of shape {array.shape}")
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column; got shape {array.shape}")
    array = np.array(array, dtype=np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        row = int(np.flatnonzero(bad.any(1))[0])
        nans = int(np.isnan(array).sum())
        raise ValueError(
            f"{name} must be finite; got {nans} NaN and {int(bad.sum()) - nans} infinite values in "
            f"{int(bad.any(1).sum())} rows, the first of them row {row}"
        )
    return array


def _column(series: Any, name: str) -> NDArray[Any]:
    """One column of a data frame as a numeric array; missing entries become NaN."""
    kind = getattr(series.dtype, "kind", "?")
    array = np.asarray(series.to_numpy())
    if array.dtype.kind == "O" and kind in "biuf":  # pandas' nullable numbers
        array = np.asarray(series.to_numpy(dtype="float64", na_value=np.nan))
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers; got dtype {series.dtype}")
    return array


def as_pair(x: Any, y: Any, *, least: int, stacklevel: int = 5) -> tuple[Floats, Floats]:
    """Both sides by :func:`as_aligned`."""
    aligned = as_aligned({"x": x, "y": y}, least=least, stacklevel=stacklevel)
    return aligned["x"], aligned["y"]


def as_aligned(samples: Mapping[str, Any], *, least: int, stacklevel: int = 4) -> dict[str, Floats]:
    """All by :func:`as_samples`, of equally many rows, constant columns left out with a warning.

    What is constant altogether comes back with zero columns. Row i of one belongs to row i of another, whatever index
    data frames and series carry; where these indexes differ, :class:`IndexWarning` says so.

    Args:
        samples: by the names that errors and warnings call them. least: fewest rows. stacklevel: whose line the
            warnings show; by default that of the caller's caller.

    Raises:
        TypeError: as :func:`as_samples`.
        ValueError: as :func:`as_samples`, and for rows that differ, or fewer than ``least``, and for two indexes with
            the same labels in another order.
    """
    arrays = {name: as_samples(data, name) for name, data in samples.items()}
    first = next(iter(arrays))
    n = len(arrays[first])
    for name, array in arrays.items():
        if len(array) != n:
            raise ValueError(f"{name} must have as many rows as {first}; got {len(array)} and {n}")
    if n < least:
        raise ValueError(f"{first} must have at least {least} rows; got {n}")
    check_indexes(samples, stacklevel)
    for name, array in arrays.items():  # no comprehension, which before Python 3.12 is a frame of its own
        arrays[name] = _drop_constant(array, name, column_labels(samples[name]), stacklevel)
    return arrays


def check_indexes(samples: Mapping[str, Any], stacklevel: int) -> None:
    """Raise, or warn, if two of the samples carry labels of their rows that differ."""
    for first, name, reordered in differing_indexes(samples):
        if reordered:
            raise ValueError(
                f"{name} must have its rows in the order of {first}: their indexes hold the same labels in another "
                f"order; reindex one like the other, or, if rows belong together as they stand, reset_index(drop=True)"
            )
        warnings.warn(
            f"{name} and {first} have different indexes: row 0 of one was paired with row 0 of the other, and so on; "
            f"if labels should decide, align them first, and if not, reset_index(drop=True)",
            IndexWarning,
            stacklevel=stacklevel,
        )


def _drop_constant(samples: Floats, name: str, labels: list[str] | None, stacklevel: int) -> Floats:
    constant = (samples == samples[0]).all(0)
    warn_of_constant(constant, name, labels, stacklevel + 1)
    return samples[:, ~constant]


def warn_of_constant(constant: NDArray[np.bool_], name: str, labels: list[str] | None, stacklevel: int) -> None:
    """Say which columns are left out, if any are constant, by label or by number."""
    if constant.any():
        some = (labels[j] if labels else str(j) for j in np.flatnonzero(constant)[:5])
        which = ", ".join(some) + (", …" if constant.sum() > 5 else "")
        warnings.warn(
            f"{name} has {int(constant.sum())} constant of {len(constant)} columns, left out: {which}",
            ConstantColumnWarning,
            stacklevel=stacklevel,
        )
