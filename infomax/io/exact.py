"""Conversion to float64 in which different values stay different, for integers beyond 2⁵³ and extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Whole numbers up to this magnitude are exact in float64.
LARGEST = 2**53


def to_float64(array: NDArray[Any], name: str, *, shift: bool) -> Floats:
    """A copy of ``array (N, D)`` as float64.

    A column of integers beyond 2⁵³ would be rounded, so that different values become equal. Its minimum is subtracted
    first, without rounding: mutual information does not change, and a column that spans at most 2⁵³ becomes exact. The
    same applies to other types where rounding makes values equal.

    Args:
        array: integers, booleans, floating-point numbers, or objects that are all Decimals or all integers. name: what
            error messages call it. shift: whether a minimum may be subtracted.

    Raises:
        ValueError: for different values that would become equal.
    """
    with np.errstate(over="ignore"):  # an extended number beyond float64 becomes infinite, which the caller refuses
        rounded = array.astype(np.float64)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if not len(array) or not (kind == "O" or (kind in "iuf" and size * 8 > (64 if kind == "f" else 32))):
        return rounded
    for j, column in enumerate(array.T):
        if kind in "iu":
            inexact = column.min() < -LARGEST or column.max() > LARGEST
        else:
            plain = rounded[:, j].astype(array.dtype)  # objects and extended numbers compare exactly
            inexact = np.isfinite(rounded[:, j]).all() and (plain != column).any()
        if inexact:
            label = f"column {j} of {name}" if len(array.T) > 1 else name
            rounded[:, j] = _distinct(column, rounded[:, j], label, shift)
    return rounded


def _distinct(column: NDArray[Any], rounded: Floats, name: str, shift: bool) -> Floats:
    """A column ``(N,)`` as float64, less its minimum where needed."""
    values, first = np.unique(column, return_index=True)
    if shift and column.dtype.kind in "iu":
        unsigned = column.astype(np.uint64)  # modulo 2⁶⁴, and so is the difference, which is exact
        rounded = (unsigned - values[:1].astype(np.uint64)).astype(np.float64)
    elif shift and not np.diff(rounded[first]).all():
        rounded = (column - values[0]).astype(np.float64)
    equal = np.flatnonzero(rounded[first][1:] == rounded[first][:-1])
    if len(equal):
        one, other = values[equal[0]], values[equal[0] + 1]
        raise ValueError(
            f"{name} must hold values that remain different in float64; got {one} and {other}: subtract an offset first"
        )
    return rounded


def as_integers(values: NDArray[Any]) -> NDArray[Any] | None:
    """Integers and Decimals ``(N, …)`` as integers of 64 bits, if all of them are such."""
    low, high = values.min(), values.max()
    if low < -(2**63) or high >= 2**64 or (low < 0 and high >= 2**63) or any(value % 1 for value in values.flat):
        return None
    return values.astype(np.int64 if high < 2**63 else np.uint64)


def offsets_of(first: NDArray[Any]) -> NDArray[Any]:
    """What :func:`less_offsets` subtracts from each column, given the first row ``(1, D)``: 0 for moderate numbers."""
    if not _is_wide(first):
        return np.zeros_like(first)
    far = (first > LARGEST // 2) | (first < -(LARGEST // 2)) if first.dtype.kind == "i" else first > LARGEST // 2
    return np.where(far, first, np.zeros_like(first))


def less_offsets(rows: NDArray[Any], offsets: NDArray[Any], name: str, start: int) -> NDArray[Any]:
    """Rows less the offsets of their columns, exact in float64; rows of other types than 64-bit integers as they are.

    Args:
        rows: ``(n, D)``, the first of which is number ``start``. offsets: ``(1, D)``.

    Raises:
        ValueError: for differences beyond 2⁵³.
    """
    if not _is_wide(rows) or not len(rows):
        return rows
    about = rows.astype(np.float64) - offsets.astype(np.float64)
    exact = (rows.astype(np.uint64) - offsets.astype(np.uint64)).view(np.int64)
    far = (np.abs(about) > 2.0 * LARGEST) | (np.abs(exact) > LARGEST)
    if far.any():
        row, column = np.argwhere(far)[0]
        raise ValueError(
            f"{name} must hold whole numbers within 2**53 of {offsets[0, column]}, so that float64 is exact; got "
            f"{rows[row, column]} in row {start + row}, column {column}: subtract an offset first"
        )
    return exact.astype(np.float64) if offsets.any() else rows


def _is_wide(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iu" and array.dtype.itemsize == 8
