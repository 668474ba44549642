"""One column of any kind as float64: numbers, booleans, ranks of ordered categories, dates, and codes of categories."""

from __future__ import annotations

import datetime as dates
import re
import warnings
from collections.abc import Collection, Hashable, Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.exceptions import ColumnWarning
from infomax.io.exact import LARGEST, as_integers, to_float64

Floats = NDArray[np.float64]
#: Text that is a number, also with a decimal comma; of how many different texts most may be numbers by chance.
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MANY = 20
#: The values of a column ``(N,)``, NaN where one is missing, and whether they are codes of a nominal variable.
Encoded = tuple[Floats, bool]


def encoded(column: NDArray[Any], name: str, nominal: bool | None, *, shift: bool) -> Encoded:
    """A column ``(N,)`` of an array of any type.

    Args:
        name: what error messages call it. nominal: whether its values are names without an order; None: text is. shift:
            as :func:`infomax.io.exact.to_float64`.

    Raises:
        TypeError: for values that are neither numbers, booleans, text nor dates, and values of several such kinds.
        ValueError: for text that is said to be no names, and different values that are equal in float64.
    """
    kind = column.dtype.kind
    if kind in "OT":
        return _from_objects(column.tolist(), name, nominal, shift=shift)
    if kind in "US":
        return names_of(column.tolist(), name, nominal)
    if kind in "Mm":
        missing = np.isnat(column)
        kept = column[~missing].view(np.int64)
    elif kind in "biuf":
        missing = np.isnan(column) if kind == "f" else np.zeros(len(column), bool)
        kept = column[~missing] if missing.any() else column
    else:
        raise TypeError(f"{name} must hold numbers, text or dates; got dtype {column.dtype}")
    if nominal:
        return spread(numbered(kept.tolist()), missing), True
    return spread(to_float64(kept[:, None], name, shift=shift)[:, 0], missing), False


def names_of(values: Sequence[Any], name: str, nominal: bool | None) -> tuple[Floats, bool]:
    """The codes of a column of text.

    It warns where most of many different texts are numbers, perhaps because of a single cell that is none.

    Raises:
        ValueError: if the column is said to hold numbers.
    """
    codes = _is_nominal(nominal, name)
    if nominal is None:
        _warn_of_numbers(dict.fromkeys(map(str, values)), name)
    return numbered(values), codes


def _warn_of_numbers(different: Collection[str], name: str) -> None:
    if len(different) <= _MANY:
        return
    numbers: list[str] = []
    others: list[str] = []
    for text in different:
        (numbers if _NUMBER.fullmatch(text.strip()) else others).append(text)
    if len(numbers) > len(others):
        but = f", but {others[0]!r} is not" if others else ""
        warnings.warn(
            f"{name} is text, of which {len(numbers)} of {len(different)} different values are numbers, such as "
            f"{numbers[0]!r}{but}: they are measured as names without an order; convert them to numbers, or say that "
            f"the column is nominal",
            ColumnWarning,
            stacklevel=3,
        )


def numbered(values: Iterable[Hashable]) -> Floats:
    """The number of each value, 0, 1, … in the order in which they first occur.

    >>> numbered(["b", "a", "b"]).tolist()
    [0.0, 1.0, 0.0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.float64)


def spread(kept: Floats, missing: NDArray[np.bool_]) -> Floats:
    """The values of the rows that are not missing, and NaN in the others."""
    if not missing.any():
        return kept
    found = np.full(len(missing), np.nan)
    found[~missing] = kept
    return found


def from_series(series: Any, name: str, nominal: bool | None, *, shift: bool) -> Encoded | None:
    """A series of pandas, polars, pyarrow and the like, by narwhals; None for objects that it does not know.

    Raises:
        TypeError, ValueError: as :func:`encoded`.
    """
    import narwhals as nw  # noqa: PLC0415 - only for tables

    if hasattr(series, "type") and not hasattr(series, "chunks") and hasattr(series, "null_count"):
        import pyarrow  # noqa: PLC0415 - it made this array

        series = pyarrow.chunked_array([series])
    known = nw.from_native(series, series_only=True, pass_through=True)
    if not isinstance(known, nw.Series):
        return None
    kind = known.dtype
    missing = np.asarray(known.is_null().to_numpy(), dtype=bool)
    kept = known.filter(~known.is_null()) if missing.any() else known
    if isinstance(kind, nw.Categorical | nw.Enum | nw.String):
        values = kept.to_list()
        ordered = isinstance(kind, nw.Enum) or bool(getattr(getattr(series, "type", None), "ordered", False))
        if ordered and not nominal:
            ranks = {value: rank for rank, value in enumerate(_categories(series, kind))}
            return spread(np.array([ranks[value] for value in values], dtype=np.float64), missing), False
        if not isinstance(kind, nw.String):
            return spread(numbered(values), missing), _is_nominal(nominal, name)
        numbers, named = names_of(values, name, nominal)
        return spread(numbers, missing), named
    if isinstance(kind, nw.List | nw.Array | nw.Struct | nw.Unknown | nw.Binary | nw.Time):
        array = _to_numpy(kept, name)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold numbers, text or dates; got dtype {series_type(series)}")
    else:
        array = _to_numpy(kept, name)
    found, codes = encoded(array, name, nominal, shift=shift)
    return spread(found, missing), codes


def _to_numpy(series: Any, name: str) -> NDArray[Any]:
    import narwhals as nw  # noqa: PLC0415 - only for tables

    if isinstance(series.dtype, nw.Int128 | nw.UInt128):  # numpy has none, and polars before 2.1 panics
        raise TypeError(f"{name} must hold numbers, text or dates; got dtype {series_type(series.to_native())}")
    try:
        return np.asarray(series.to_numpy())
    except Exception as error:  # every library raises its own kinds
        kind = series_type(series.to_native())
        raise TypeError(f"{name} must hold numbers, text or dates; got dtype {kind} ({error})") from None


def series_type(series: Any) -> Any:
    """The type of a column as its library calls it."""
    return getattr(series, "dtype", getattr(series, "type", type(series).__name__))


def _categories(series: Any, kind: Any) -> Sequence[Hashable]:
    """All categories of an ordered categorical column, the lowest first."""
    if hasattr(series, "cat") and hasattr(series.cat, "categories"):  # pandas, whose categories need not be text
        return list(series.cat.categories)
    if hasattr(series, "unify_dictionaries"):
        return list(series.unify_dictionaries().chunk(0).dictionary.to_pylist()) if series.num_chunks else []
    return list(kind.categories)


def _is_nominal(nominal: bool | None, name: str) -> bool:
    if nominal is False:
        raise ValueError(f"{name} must hold numbers where it is not nominal; got text or categories without an order")
    return True


def _from_objects(values: list[Any], name: str, nominal: bool | None, *, shift: bool) -> Encoded:
    """A column of Python objects, all of one kind, with None, NaN, NA and NaT for missing ones."""
    missing = np.array([is_missing(value) for value in values], dtype=bool)
    kept = [value for value, gone in zip(values, missing, strict=True) if not gone]
    kinds: dict[str, tuple[int, Any]] = {}
    for row, value in zip(np.flatnonzero(~missing).tolist(), kept, strict=True):
        kinds.setdefault(_kind(value), (row, value))
    if len(kinds) > 1:
        (_, (row, one)), (_, (other_row, other)) = list(kinds.items())[:2]
        raise TypeError(
            f"{name} must hold values of one kind; got {one!r} in row {row} and {other!r} in row {other_row}"
        )
    kind = next(iter(kinds), "numbers")
    if kind not in ("numbers", "text", "dates", "durations"):
        raise TypeError(f"{name} must hold numbers, text or dates; got {kind}")
    if kind == "text" or nominal:
        codes, named = names_of(kept, name, nominal)
        return spread(codes, missing), named
    if kind == "dates":
        return spread(to_float64(_instants(kept, name)[:, None], name, shift=shift)[:, 0], missing), False
    if kind == "durations":
        array = np.array([np.timedelta64(value, "us") for value in kept], dtype="m8[us]").view(np.int64)
        return spread(to_float64(array[:, None], name, shift=shift)[:, 0], missing), False
    return spread(_numbers(kept, name, shift=shift), missing), False


def _numbers(values: list[Any], name: str, *, shift: bool) -> Floats:
    """Numbers of any types, exactly: whole ones and decimals beyond 2⁵³ remain different or are refused."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    try:
        rounded = np.array([float(value) for value in plain], dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{name} must hold numbers within the range of float64") from None
    if not np.isfinite(rounded).all():
        return rounded
    if np.abs(rounded).max(initial=0.0) <= LARGEST and (not plain or any(isinstance(value, float) for value in plain)):
        return rounded
    exact = np.empty((len(plain), 1), dtype=object)
    exact[:, 0] = [int(value) if isinstance(value, bool) else value for value in plain]
    whole = as_integers(exact)
    return to_float64(exact if whole is None else whole, name, shift=shift)[:, 0]


def _instants(values: list[Any], name: str) -> NDArray[np.int64]:
    """Dates and times as numbers of microseconds, those with a time zone in UTC."""
    zoned = {getattr(value, "tzinfo", None) is not None for value in values}
    if len(zoned) > 1:
        raise TypeError(f"{name} must hold dates that all have a time zone, or none; got both")
    if zoned == {True}:
        values = [value.astimezone(dates.timezone.utc).replace(tzinfo=None) for value in values]
    return np.array([np.datetime64(value, "us") for value in values], dtype="M8[us]").view(np.int64)


def _kind(value: Any) -> str:
    if isinstance(value, Real | Decimal | np.bool_):
        return "numbers"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, dates.date | np.datetime64):
        return "dates"
    return "durations" if isinstance(value, dates.timedelta | np.timedelta64) else type(value).__name__


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT, or pandas' NA."""
    if value is None or type(value).__name__ == "NAType":
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - only NaN and NaT differ from themselves
    except (TypeError, ValueError):
        return False
