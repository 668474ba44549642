"""What users pass, turned once into columns of float64 that know their names and which of them are nominal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.io.containers import table_columns, table_names, to_array
from infomax.io.encoding import encoded, from_series
from infomax.io.exact import to_float64
from infomax.io.naming import unknown

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
#: Which columns are nominal: those of text and of categories without an order ("auto"), all, none, or these as well.
Nominal = str | int | bool | Sequence[str | int]


@dataclass(frozen=True, eq=False)
class Columns:
    """Samples ``(N, D)`` with the names of their columns; NaN where a value is missing, and no infinite values.

    Attributes:
        names: of the columns, or none.
        samples: ``(N, D)``; of a nominal column, codes of its categories.
        nominal: which columns are names without an order, ``(D,)``; by default none.

    >>> import pandas as pd
    >>> columns = as_columns(pd.DataFrame({"age": [31, 52], "ward": ["A", "B"]}), "x")
    >>> columns.names, columns.samples.tolist(), columns.nominal.tolist()
    (('age', 'ward'), [[31.0, 0.0], [52.0, 1.0]], [False, True])
    """

    names: tuple[str, ...]
    samples: Floats
    nominal: Booleans = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if len(self.nominal) != self.samples.shape[1]:
            object.__setattr__(self, "nominal", np.zeros(self.samples.shape[1], dtype=bool))

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, D)``."""
        return self.samples.shape[0], self.samples.shape[1]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def missing(self) -> Booleans:
        """Which rows lack a value, ``(N,)``."""
        return np.asarray(np.isnan(self.samples).any(1))

    def of_rows(self, rows: NDArray[Any] | slice) -> Columns:
        """These rows only."""
        return replace(self, samples=self.samples[rows])

    def of_columns(self, kept: Booleans) -> Columns:
        """These columns only."""
        if kept.all():
            return self
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep) if self.names else ()
        return Columns(names, self.samples[:, kept], self.nominal[kept])


def as_columns(data: Any, name: str, *, nominal: Nominal = "auto", shift: bool = True) -> Columns:
    """Copy ``data`` to columns of float64; :class:`Columns` are not copied.

    Numbers and booleans stay what they are; dates and times become numbers, ordered categories their ranks. Text and
    categories without an order become codes, numbered as they first occur: their names do not matter.

    Args:
        data: a numpy array, torch tensor, pandas, polars, pyarrow or xarray object, :class:`Columns`, or nested
            sequence; 1-D ``(N,)`` or 2-D ``(N, D)``. None, NaN, NaT, NA and masked values are missing.
        name: what error messages call it.
        nominal: "auto"; a bool for all columns; or the names or numbers of columns that are nominal as well.
        shift: whether columns of integers beyond 2⁵³ are returned less their minimum; see :func:`to_float64`.

    Raises:
        TypeError: for values that are neither numbers, text, booleans nor dates, and columns of several such kinds.
        ValueError: for another number of dimensions, no columns, infinite values, different values that are equal in
            float64, text where ``nominal`` is False, and an unknown column in ``nominal``.

    >>> as_columns(["no", "yes", "no"], "y").samples.tolist()
    [[0.0], [1.0], [0.0]]
    """
    if isinstance(data, Columns):
        which = _which(nominal, data.names, data.shape[1], name)
        return _recoded(data, which, name)
    table = table_columns(data, name)
    if table is not None and not table:
        raise ValueError(f"{name} must have at least one column; got {type(data).__name__} of shape {data.shape}")
    if table is not None:
        names = tuple(str(column) for column, _ in table)
        parts = [
            _column(series, f"column {column!r} of {name}", which, shift=shift)
            for (column, series), which in zip(table, _which(nominal, names, len(table), name), strict=True)
        ]
        return _joined(names, parts, name)
    if hasattr(data, "singly"):  # StoredColumns
        arrays = [to_float64(_two_dimensional(np.asarray(part), name), name, shift=shift) for part in data.singly()]
        whole = Columns(data.names or (), arrays[0] if len(arrays) == 1 else np.hstack(arrays))
        _check_finite(whole.samples, name)
        return _recoded(whole, _which(nominal, whole.names, whole.shape[1], name), name)
    found = from_series(data, name, _which(nominal, (), 1, name)[0], shift=shift) if _is_series(data) else None
    if found is not None:
        return _joined((), [found], name)
    array = _two_dimensional(to_array(data, name), name)
    kinds = _which(nominal, (), array.shape[1], name)
    if array.dtype.kind not in "biufOTUSMm":
        raise TypeError(f"{name} must hold numbers, text or dates; got dtype {array.dtype}")
    if array.dtype.kind in "biuf" and not any(kinds):
        samples = to_float64(array, name, shift=shift)
        _check_finite(samples, name)
        return Columns((), samples)
    several = array.shape[1] > 1
    labels = [f"column {j} of {name}" if several else name for j in range(array.shape[1])]
    parts = [
        encoded(column, label, kind, shift=shift) for column, label, kind in zip(array.T, labels, kinds, strict=True)
    ]
    return _joined((), parts, name)


def is_numeric(data: Any) -> bool:
    """Whether the types of the columns of a table, or of an array, are numbers or booleans."""
    if isinstance(data, Columns):
        return not data.nominal.any()
    if table_names(data) is None:
        return not isinstance(data, np.ndarray) or data.dtype.kind in "biuf"
    if hasattr(data, "data_vars"):
        return all(data[name].dtype.kind in "biuf" for name in data.data_vars)
    import narwhals as nw  # noqa: PLC0415 - only for tables

    types = nw.from_native(data).schema.values()
    return all(kind.is_numeric() or kind == nw.Boolean for kind in types)


def beside(parts: Sequence[Columns]) -> Columns:
    """Columns side by side, without names."""
    return Columns((), np.hstack([part.samples for part in parts]), np.hstack([part.nominal for part in parts]))


def check_complete(columns: Columns, name: str, advice: str = "") -> None:
    """Raise ValueError where a value is missing.

    Args:
        advice: appended to the message.
    """
    gaps = np.isnan(columns.samples)
    if gaps.any():
        rows = gaps.any(1)
        raise ValueError(
            f"{name} must be finite; got {int(gaps.sum())} NaN and 0 infinite values in {int(rows.sum())} rows, the "
            f"first of them row {int(rows.argmax())}{_column_of(columns, gaps)}{advice}"
        )


def _column_of(columns: Columns, gaps: Booleans) -> str:
    """The name of the column of the first gap, as text."""
    return f", column {columns.names[int(np.argwhere(gaps)[0, 1])]!r}" if columns.names else ""


def _check_finite(samples: Floats, name: str) -> None:
    """Raise ValueError for infinite values."""
    infinite = np.isinf(samples)
    if infinite.any():
        nans, rows = int(np.isnan(samples).sum()), ~np.isfinite(samples).all(1)
        raise ValueError(
            f"{name} must be finite; got {nans} NaN and {int(infinite.sum())} infinite values in {int(rows.sum())} "
            f"rows, the first of them row {int(rows.argmax())}"
        )


def _which(nominal: Nominal, names: Sequence[str], columns: int, name: str) -> list[bool | None]:
    """For each column whether it is nominal; None: as its type says.

    Raises:
        ValueError: for a column that is not known.
        TypeError: for anything else than "auto", a bool, and names or numbers of columns.
    """
    if isinstance(nominal, bool | np.bool_):
        return [bool(nominal)] * columns
    found: list[bool | None] = [None] * columns
    if isinstance(nominal, str) and nominal == "auto":
        return found
    chosen = [nominal] if isinstance(nominal, str | int | np.integer) else nominal
    if not isinstance(chosen, Iterable):
        raise TypeError(f"nominal_{name} must be 'auto', a bool, or columns; got {nominal!r}")
    for column in chosen:
        if column in names:
            found[names.index(column)] = True
        elif isinstance(column, int | np.integer) and not isinstance(column, bool) and 0 <= column < columns:
            found[int(column)] = True
        elif isinstance(column, str) and names:
            raise ValueError(f"nominal columns of {name}: {unknown('column', column, list(names))}")
        else:
            raise ValueError(f"nominal columns of {name} must be among its {columns} columns; got {column!r}")
    return found


def _recoded(columns: Columns, which: Sequence[bool | None], name: str) -> Columns:
    """Columns whose numbers are also codes where the user says so."""
    refused = [j for j, kind in enumerate(which) if kind is False and columns.nominal[j]]
    if refused:
        label = f"column {columns.names[refused[0]]!r} of {name}" if columns.names else name
        raise ValueError(f"{label} must hold numbers where it is not nominal; got text or categories without an order")
    nominal = np.array([bool(known or kind) for known, kind in zip(columns.nominal, which, strict=True)], dtype=bool)
    return replace(columns, nominal=nominal)


def _column(series: Any, label: str, nominal: bool | None, *, shift: bool) -> tuple[Floats, bool]:
    """One column of a table."""
    found = None if isinstance(series, np.ndarray) else from_series(series, label, nominal, shift=shift)
    if found is None:
        array = np.asarray(series if isinstance(series, np.ndarray) else series.to_numpy())
        found = encoded(array, label, nominal, shift=shift)
    return found


def _is_series(data: Any) -> bool:
    return hasattr(data, "to_numpy") and not isinstance(data, np.ndarray)


def _joined(names: tuple[str, ...], parts: Sequence[tuple[Floats, bool]], name: str) -> Columns:
    samples = np.stack([values for values, _ in parts], 1)
    _check_finite(samples, name)
    return Columns(names, samples, np.array([codes for _, codes in parts], dtype=bool))


def _two_dimensional(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The array as ``(N, D)``."""
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must be 1-D (N,) or 2-D (N, D); got {array.ndim}-D of shape {array.shape}")
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column; got shape {array.shape}")
    return array
