"""Arrays of numbers from what users pass: tensors, data frames, Arrow tables and sequences."""

from __future__ import annotations

import array as buffers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.io.exact import LARGEST, as_integers, to_float64

#: Floating-point types of torch that numpy has too.
_SHARED = (torch.float16, torch.float32, torch.float64)
#: Sequences with a type of their own, which numpy reads.
_BUFFERS = (str, bytes, bytearray, memoryview, buffers.array)
#: Most dimensions of a sequence that is searched for tensors: one more than samples may have.
_DEEPEST = 3


def table_columns(data: Any, name: str) -> list[tuple[Any, Any]] | None:
    """The name and the series of each column of a data frame, Arrow table or xarray data set; None for other objects.

    Raises:
        TypeError: for tables that are not in memory.
        ValueError: for names that appear more than once, and variables of several dimensions.
    """
    names = table_names(data)
    if names is None:
        return None
    if hasattr(data, "collect") or (hasattr(data, "compute") and not hasattr(data, "data_vars")):
        raise TypeError(f"{name} must be in memory; got a lazy {type(data).__name__}: collect or compute it first")
    if len({repr(column) for column in names}) < len(names):
        raise ValueError(f"{name} must have columns of different names; got {names}")
    if hasattr(data, "iloc"):  # by number, because names may be missing values
        return [(column, data.iloc[:, j]) for j, column in enumerate(names)]
    if hasattr(data, "data_vars"):
        dims = {data[variable].dims for variable in names}
        if len(dims) != 1 or len(next(iter(dims))) != 1:
            raise ValueError(f"{name} must have variables of one common dimension; got {sorted(dims)}")
        return [(variable, np.asarray(data[variable].to_numpy())) for variable in names]
    return [(column, data.column(column) if _is_arrow(data) else data[column]) for column in names]


def table_names(data: Any) -> list[Any] | None:
    """The names of the columns of a data frame, Arrow table or xarray data set; None for other objects."""
    if _is_arrow(data):
        return list(data.column_names)
    if hasattr(data, "data_vars"):
        return list(data.data_vars)
    if hasattr(data, "collect_schema"):  # polars warns where a lazy frame is asked for its columns
        return list(data.collect_schema())
    return list(data.columns) if hasattr(data, "dtypes") and hasattr(data, "columns") else None


def _is_arrow(data: Any) -> bool:
    return hasattr(data, "column_names") and hasattr(data, "schema")


def to_array(data: Any, name: str) -> NDArray[Any]:
    """The array of a tensor, sequence, or anything else that numpy converts; of objects where they are not all numbers.

    Raises:
        TypeError, ValueError: for objects that numpy cannot convert, rows of different lengths, and different integers
            in a sequence of several types that are equal in float64.
    """
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        exact = data.dtype.kind in "iu" and data.dtype.itemsize == 8
        plain = np.array(data.data, dtype=object if exact or data.dtype.kind not in "biuf" else np.float64)
        plain[np.ma.getmaskarray(data)] = None if plain.dtype == object else np.nan
        return plain
    if isinstance(data, torch.Tensor):
        return from_tensor(data, name)
    if hasattr(data, "to_numpy") and not isinstance(data, np.ndarray):
        return _converted(data.to_numpy(), name)
    if isinstance(data, Sequence) and not isinstance(data, _BUFFERS) and not hasattr(data, "__array__"):
        data = list(data)  # ranges and deques, too, may hold integers that numpy would round
    else:
        return _converted(data, name)
    data = _without_tensors(data, name, _DEEPEST)
    array = _converted(data, name)
    if array.dtype.kind in "USM":  # numpy turns numbers beside text, and dates of several kinds, into one kind
        array = np.asarray(_objects(data, array.shape))
    if array.dtype == np.float64 and array.size and np.abs(array).max() > LARGEST:
        # Whole numbers beyond 2⁵³ beside numbers of another type: numpy has rounded them.
        exact = np.frompyfunc(_plain, 1, 1)(np.array(data, dtype=object))
        whole = as_integers(exact)
        if whole is not None:
            return whole
        to_float64(exact.reshape(len(exact), -1), name, shift=False)
    return array


def _plain(value: Any) -> Any:
    """A scalar of numpy, or an array without dimensions, as a number of Python, which compares exactly."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and not value.shape else value


def from_tensor(tensor: torch.Tensor, name: str) -> NDArray[Any]:
    """The values of a tensor, on the CPU, in the memory of the tensor where possible.

    Raises:
        TypeError: for tensors without ordinary values: sparse, nested, quantised or complex ones, and those of torch's
            transforms or of the meta device.
    """
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "a nested tensor" if tensor.is_nested else f"layout {tensor.layout}"
        raise TypeError(f"{name} must be a dense tensor; got {kind}")
    if tensor.is_quantized:
        raise TypeError(f"{name} must hold numbers; got dtype {tensor.dtype}: call dequantize() first")
    if tensor.is_meta:
        raise TypeError(f"{name} must hold numbers; got a tensor without values, on the device meta")
    try:
        if tensor.is_floating_point() and tensor.dtype not in _SHARED:
            tensor = tensor.double()
        array: NDArray[Any] = tensor.numpy(force=True)
    except (RuntimeError, TypeError) as error:
        kind = f"{type(tensor).__name__} of dtype {tensor.dtype}"
        raise TypeError(f"{name} must hold numbers that numpy can read; got a {kind} ({error})") from None
    return array


def arrow_numbers(column: Any, name: str) -> NDArray[Any]:
    """The values of an Arrow array; missing ones become NaN.

    Raises:
        TypeError: unless they are integers, booleans or floating-point numbers.
    """
    check_arrow_type(column.type, name)
    try:
        column = column.cast("uint8") if column.type == "bool" else column
        return np.asarray(column.to_numpy(zero_copy_only=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TypeError(f"{name} must hold numbers; got {type(column).__name__} of {column.type} ({error})") from None


def check_arrow_type(kind: Any, name: str) -> None:
    """Raise TypeError for Arrow types that are not numbers."""
    from pyarrow import types  # noqa: PLC0415 - an extra

    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise TypeError(f"{name} must hold numbers; got dtype {kind}")


def _objects(data: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The values as objects, which keep their types; at most two dimensions."""
    found = np.empty(shape, dtype=object)
    if len(shape) == 1:
        found[:] = data
        return found
    for row, values in enumerate(data):
        found[row] = list(values)
    return found


def _without_tensors(data: Any, name: str, depth: int) -> Any:
    """Nested sequences, with arrays in place of tensors."""
    if isinstance(data, torch.Tensor):
        return from_tensor(data, name)
    if depth and isinstance(data, list | tuple) and any(isinstance(part, torch.Tensor | list | tuple) for part in data):
        return [_without_tensors(part, name, depth - 1) for part in data]
    return data


def _converted(data: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(data)
    except ValueError as error:
        if isinstance(data, Sequence):
            raise ValueError(f"{name} must have rows of equal length; got a ragged {type(data).__name__}") from None
        raise ValueError(f"{name} must hold numbers; got {type(data).__name__}: {error}") from error
    except Exception as error:  # whatever the object's own conversion raises
        raise TypeError(f"{name} must hold numbers; got {type(data).__name__}: {error}") from error
