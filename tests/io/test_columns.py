"""Columns of any kind: text, categories, dates, booleans and gaps, from every library."""

import datetime
import sys
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow
import pytest

from infomax import ColumnWarning
from infomax.io.columns import Columns, as_columns
from infomax.io.samples import as_aligned

COLOURS = ["red", "blue", None, "red", "green"]
CODES = [0.0, 1.0, np.nan, 0.0, 2.0]
MIDNIGHT = datetime.datetime(2020, 1, 1)
polars = pytest.importorskip("polars")
xarray = pytest.importorskip("xarray")


@pytest.mark.parametrize(
    "data",
    [
        COLOURS,
        np.array(COLOURS, dtype=object),
        pd.Series(COLOURS),
        pd.Series(COLOURS, dtype="string"),
        pd.Series(COLOURS, dtype="category"),
        pd.Series(pd.Categorical(COLOURS, categories=["red", "green", "blue", "white"])),
        pd.Series(COLOURS, dtype=pd.ArrowDtype(pyarrow.string())),
        pd.DataFrame({"c": COLOURS}),
        polars.Series(COLOURS),
        polars.Series(COLOURS, dtype=polars.Categorical),
        polars.DataFrame({"c": COLOURS}),
        pyarrow.array(COLOURS),
        pyarrow.array(COLOURS).dictionary_encode(),
        pyarrow.chunked_array(
            [pyarrow.array(COLOURS[:2]).dictionary_encode(), pyarrow.array(COLOURS[2:]).dictionary_encode()]
        ),
        pyarrow.table({"c": COLOURS}),
        xarray.DataArray(np.array(COLOURS, dtype=object)),
        xarray.Dataset({"c": ("row", np.array(COLOURS, dtype=object))}),
    ],
)
def test_text_is_codes_in_the_order_of_first_occurrence(data):
    columns = as_columns(data, "x")
    assert columns.nominal.tolist() == [True]
    np.testing.assert_array_equal(columns.samples[:, 0], CODES)


@pytest.mark.parametrize(
    "data",
    [
        [True, False, None],
        pd.Series([True, False, None]),
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series([1, 0, None], dtype="Int8"),
        pd.Series([1, 0, None], dtype=pd.ArrowDtype(pyarrow.int64())),
        polars.Series([True, False, None]),
        pyarrow.array([True, False, None]),
        np.ma.array([1, 0, 5], mask=[0, 0, 1]),
        np.array([Decimal(1), 0.0, pd.NA], dtype=object),
        np.array([1, np.float32(0), float("nan")], dtype=object),
    ],
)
def test_booleans_and_objects_are_numbers(data):
    columns = as_columns(data, "x")
    assert not columns.nominal.any()
    np.testing.assert_array_equal(columns.samples[:, 0], [1.0, 0.0, np.nan])


def test_ordered_categories_are_ranks():
    values, order = ["mid", "low", None, "high"], ["low", "mid", "high"]
    dictionary = pyarrow.DictionaryArray.from_arrays(pyarrow.array([1, 0, None, 2]), order, ordered=True)
    for data in (
        pd.Series(pd.Categorical(values, categories=order, ordered=True)),
        polars.Series(values, dtype=polars.Enum(order)),
        dictionary,
        pyarrow.table({"c": dictionary}),
    ):
        columns = as_columns(data, "x")
        assert not columns.nominal.any()
        np.testing.assert_array_equal(columns.samples[:, 0], [1.0, 0.0, np.nan, 2.0])
        assert as_columns(data, "x", nominal=True).nominal.all()


def test_dates_are_numbers():
    days = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 3), None, datetime.date(2021, 1, 1)]
    stamps = pd.Series(pd.to_datetime(days))
    for data in (
        days,
        stamps,
        stamps.dt.tz_localize("Europe/Rome"),
        polars.Series(days),
        polars.Series(days).cast(polars.Datetime("ms")),
        pyarrow.array(days),
        pyarrow.array(stamps, pyarrow.timestamp("ns")),
        np.array(days, dtype="M8[s]"),
        [
            None if day is None else datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)
            for day in days
        ],
        stamps - stamps[0],
        [None if day is None else day - days[0] for day in days],
    ):
        (found,) = as_columns(data, "x").samples.T
        assert (found[1] - found[0]) / (found[3] - found[0]) == 2 / 366
        assert np.isnan(found[2])


def test_rows_of_several_kinds_have_columns_of_one_kind_each():
    columns = as_columns([["a", 1.5, True], ["b", 2, False], ["a", None, True]], "x")
    assert columns.nominal.tolist() == [True, False, False]
    np.testing.assert_array_equal(columns.samples, [[0, 1.5, 1], [1, 2, 0], [0, np.nan, 1]])


def test_codes_that_the_user_calls_nominal():
    frame = pd.DataFrame({"a": [3, 1, 3], "b": [0.5, 0.25, 0.5], "c": ["u", "v", "w"]})
    for nominal, expected in (
        ("auto", [False, False, True]),
        (True, [True] * 3),
        (["a"], [True, False, True]),
        ("b", [False, True, True]),
        ([0, "b"], [True] * 3),
    ):
        assert as_columns(frame, "x", nominal=nominal).nominal.tolist() == expected
    assert as_columns(frame, "x", nominal=["a"]).samples[:, 0].tolist() == [0, 1, 0]
    assert as_columns(np.array([[3, 1], [1, 1]]), "x", nominal=[1]).nominal.tolist() == [False, True]
    assert as_columns(Columns(("p", "q"), np.zeros((3, 2))), "x", nominal="q").nominal.tolist() == [False, True]


@pytest.mark.parametrize(
    ("data", "nominal", "error", "message"),
    [
        ([datetime.date(2020, 1, 1), "soon"], "auto", TypeError, "of one kind; got .* in row 0 and 'soon' in row 1"),
        (pd.DataFrame({"a": [1, "b"]}), "auto", TypeError, "'a' of x must .*; got 1 in row 0 and 'b' in row 1"),
        (["1", 1], True, TypeError, "x must hold values of one kind"),
        ([object(), object()], "auto", TypeError, "x must hold numbers, text or dates; got object"),
        (pd.Series(pd.period_range("2020", periods=3)), "auto", TypeError, r"x must hold .*; got dtype period"),
        ([MIDNIGHT, MIDNIGHT.replace(tzinfo=datetime.timezone.utc)], "auto", TypeError, "time zone, or none; got both"),
        (pd.DataFrame({"age": [1, 2]}), ["aeg"], ValueError, "column 'aeg' is not known; did you mean 'age'"),
        (np.zeros((3, 2)), [2], ValueError, "nominal columns of x must be among its 2 columns; got 2"),
        (np.zeros((3, 2)), ["a"], ValueError, "nominal columns of x must be among its 2 columns; got 'a'"),
        (np.zeros((3, 2)), 1.5, TypeError, "nominal_x must be 'auto', a bool, or columns; got 1.5"),
        (["a", "b"], False, ValueError, "x must hold numbers where it is not nominal; got text"),
        (Columns(("c",), np.zeros((2, 1)), np.array([True])), False, ValueError, "column 'c' of x must hold numbers"),
        ([Decimal("Infinity"), Decimal(1)], "auto", ValueError, "x must be finite; got 0 NaN and 1 infinite"),
        ([1.0, float("inf")], "auto", ValueError, "x must be finite; got 0 NaN and 1 infinite values in 1 rows"),
        (xarray.Dataset({"a": ("row", [1, 2]), "b": ("line", [1, 2])}), "auto", ValueError, "variables of one common"),
    ],
)  # fmt: skip
def test_bad_columns(data, nominal, error, message):
    with pytest.raises(error, match=message):
        as_columns(data, "x", nominal=nominal)


def test_rows_with_gaps_are_dropped_together():
    x = pd.DataFrame({"a": [1.0, 2, np.nan, 4, 5], "c": ["u", None, "v", "v", "u"]})
    y = polars.Series([datetime.date(2020, 1, 1)] * 2 + [datetime.date(2020, 1, 2)] * 2 + [None])
    found = as_aligned({"x": x, "y": y}, least=2, missing="drop")
    assert (found.rows.tolist(), found.total, found.dropped) == ([0, 3], 5, 3)
    assert found.columns["x"].samples.tolist() == [[1, 0], [4, 1]]
    with pytest.raises(
        ValueError, match=r"x must be finite; got 2 NaN .* row 1, column 'c': fill them, or .*missing='drop'"
    ):
        as_aligned({"x": x, "y": y}, least=2)
    with pytest.raises(ValueError, match="x, y must have at least 2 rows without missing values; got 0 of 5"):
        as_aligned({"x": x, "y": [None] * 5}, least=2, missing="drop")
    with pytest.raises(ValueError, match="missing must be 'raise' or 'drop'; got 'fill'"):
        as_aligned({"x": x, "y": y}, least=2, missing="fill")


def test_numbers_load_no_table_library():
    """Arrays take the fast way."""
    before = sys.modules.get("narwhals")
    assert as_columns(np.zeros((3, 2)), "x").shape == (3, 2)
    assert sys.modules.get("narwhals") is before


@pytest.mark.parametrize(
    "library", [list, np.array, pd.Series, polars.Series, lambda text: pd.Series(text, dtype=object)]
)
def test_text_that_is_mostly_numbers_is_told(library):
    """One cell that is no number makes text of a column of a data frame; its values are then names without an order."""
    numbers = [f"{number:.3f}" for number in np.random.default_rng(0).normal(size=50)]
    for text, said in (
        ([*numbers, "n.m."], r"50 of 51 different values are numbers, such as '0.126', but 'n.m.' is not: they are"),
        (
            [number.replace(".", ",") for number in numbers],
            "50 of 50 different values are numbers, such as '0,126': they",
        ),
    ):
        with pytest.warns(ColumnWarning, match=said):
            as_columns(library(text), "x")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            as_columns(library(text), "x", nominal=True)
            as_columns(library(["1", "2", "3"] * 20), "x")  # codes
            as_columns(library([f"{name}-{number}" for name, number in zip("ab" * 25, numbers, strict=True)]), "x")
