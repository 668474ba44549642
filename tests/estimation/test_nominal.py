"""Nominal columns: names of categories do not matter, and values agree with closed forms and other implementations."""

import importlib
import math
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
from sklearn.feature_selection import mutual_info_classif

from infomax import InfomaxWarning, bracket, conditional, estimate, pairwise, total_correlation, transfer_entropy
from infomax.io.stored import columns_of
from infomax.statistics import class_pvalues
from infomax.statistics.labels import indicators, labels_of

N = 600
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, N)
Y = RNG.normal(size=N) + np.array([0.0, 2.0, -1.0, 0.5])[CODES]
U = RNG.normal(size=N)
#: y is u or -u, as the category says, plus noise: I((c, u); y) = -½ log(1 - 0.8²), and each alone has none.
SIGNED = 0.8 * U * np.array([1.0, -1.0, 1.0, -1.0])[CODES] + 0.6 * RNG.normal(size=N)
TRUTH = -0.5 * math.log(1 - 0.8**2)
QUIET = {"progress": False}


def names(order, codes=CODES):
    return np.array(list(order), dtype=object)[codes]


def bits(result):
    local = None if result.local is None else result.local.tobytes()
    return result.mi, result.stderr, result.gap, result.pvalue, result.limit, result.entropy, local


@pytest.mark.parametrize("bound", ["default", "ksg", "gaussian", "plugin"])
def test_names_and_libraries_change_no_bit(bound):
    options = {"bound": bound, "quick": True, **QUIET}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)
        y = Y if bound != "plugin" else (Y > 0)
        expected = bits(estimate(CODES, y, nominal_x=True, **options))
        text = names("dbac")
        same = [names("abcd"), pd.Series(text, dtype="category"), polars.Series(list(text)), pyarrow.array(text)]
        for x in same[:1] if bound == "default" else [*same, 7.5 - CODES]:
            assert bits(estimate(x, y, nominal_x=True, **options)) == expected
        both = [
            bits(estimate(pd.DataFrame({"c": names(order), "u": U}), SIGNED, **options))
            for order in (["a", "b", "c", "d"], ["d", "b", "a", "c"])
        ]
        assert both[0] == both[1]


def test_many_categories_are_not_tested_for_an_order(monkeypatch):
    """Fifteen codes in a row carry an order, which counts only where they are numbers."""
    tested = []
    labelled = importlib.import_module("infomax.estimators.default.labelled")
    monkeypatch.setattr(labelled, "carries_order", lambda *_: bool(tested.append(1)))
    codes = RNG.integers(0, 15, 300)
    y = codes + RNG.normal(size=300)
    scrambled = RNG.permutation(15)[codes]
    one, other = (estimate(x, y, nominal_x=True, quick=True, **QUIET) for x in (codes, scrambled))
    assert bits(one) == bits(other)
    assert not tested
    estimate(codes, y, quick=True, **QUIET)
    assert tested


def test_a_category_says_how_the_other_column_counts():
    x = pd.DataFrame({"c": names("abcd"), "u": U})
    default, ksg = estimate(x, SIGNED, bound=["default", "ksg"], **QUIET)
    for result in (default, ksg):
        low, high = result.confidence_interval()
        assert low < TRUTH < high
        assert abs(result.mi - TRUTH) < 0.15
    alone, rest = estimate(U, SIGNED, bound="ksg").mi, conditional(names("abcd"), SIGNED, U, bound="ksg").mi
    assert abs(alone + rest - TRUTH) < 0.12  # the chain rule
    assert abs(conditional(U, SIGNED, names("abcd"), bound="ksg").mi - TRUTH) < 0.12


def test_equal_text_is_the_entropy_and_rare_categories_count():
    rare = np.where(np.arange(N) == 5, "once", names(["a", "b", "c", "d"]))
    for x in (names("abcd"), rare):
        counts = np.unique(x.astype(str), return_counts=True)[1] / N
        result = estimate(x, x.copy(), **QUIET)
        assert result.mi == pytest.approx(-(counts * np.log(counts)).sum(), abs=0.02)
        assert result.entropy == pytest.approx(-(counts * np.log(counts)).sum(), abs=0.01)
    assert len(labels_of(np.append(CODES, 9.0)[:, None], np.array([True])).counts) == 5
    assert indicators(np.append(CODES, 9.0)[:, None], np.array([True]))[-1].sum() == 1


def test_identifiers_say_nothing_and_a_warning_says_so():
    ids = [f"row {i}" for i in range(N)]
    with pytest.warns(InfomaxWarning) as caught:
        result = estimate(ids, Y, **QUIET)
    assert result.mi == 0
    assert "has 600 categories in 600 rows: the 600 of them with fewer than 5 rows count as one" in str(
        caught[0].message
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize("classes", [2, 5])
def test_few_rows(classes):
    x = np.arange(24) % classes
    result = estimate(x.astype(str), x + 0.1 * RNG.normal(size=24), **QUIET)
    assert math.log(classes) - 0.7 < result.mi < math.log(classes) + 0.1


def test_rows_that_were_dropped_are_as_if_they_had_not_been_there():
    text, y = pd.Series(names("abcd")), pd.Series(Y)
    text[[3, 7]], y[[7, 9]] = None, np.nan
    whole = ~(text.isna() | y.isna())
    expected = estimate(text[whole].tolist(), y[whole].tolist(), quick=True, **QUIET)
    found = estimate(text, y, missing="drop", quick=True, **QUIET)
    assert (found.n, found.dropped, expected.dropped) == (N - 3, 3, 0)
    assert bits(found) == bits(expected)
    assert "from 597 pairs (3 with missing values dropped)" in repr(found)
    assert found.to_dict()["dropped"] == 3
    given = conditional(text, y, np.where(np.arange(N) == 0, np.nan, U), missing="drop", bound="ksg")
    assert (given.n, given.dropped, given.to_dict()["dropped"]) == (N - 4, 4, 4)
    assert "from 596 rows (4 with missing values dropped)" in repr(given)
    total = total_correlation([text, y, U], missing="drop", bound="ksg", nominal_x3=False)
    assert total.n == N - 3
    # A gap at step 7 or 9 is in two rows, as the present and as the past.
    assert transfer_entropy(U, y, missing="drop", bound="ksg").n == N - 1 - 4


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (CODES, {"nominal_x": ["a"]}, "nominal columns of x must be among its 1 columns; got 'a'"),
        (CODES, {"missing": "skip"}, "missing must be 'raise' or 'drop'; got 'skip'"),
        ([None] * N, {"missing": "drop"}, "x, y must have at least 20 rows without missing values; got 0 of 600"),
        (np.where(CODES == 1, np.nan, CODES), {}, "fill them, or leave such rows out with missing='drop'"),
        (names(["a", "b", "c", float("nan")]), {}, "x must be finite; got .* NaN"),
    ],
)
def test_bad_input(x, options, message):
    with pytest.raises(ValueError, match=message):
        estimate(x, Y, **options)


def test_tables_with_text_are_copied_however_large_they_are(monkeypatch):
    """Numbers beyond the limit stay where they are, and their options are refused by name."""
    feeding = sys.modules["infomax.io.batches"]  # the function of that name hides the module
    table = pd.DataFrame({"c": names("abcd"), "u": U})
    expected = estimate(table, SIGNED, bound="ksg").mi
    monkeypatch.setattr(feeding, "MOST_CELLS", 300)
    assert estimate(table, SIGNED, bound="ksg").mi == expected
    assert estimate(polars.from_pandas(table), SIGNED, bound="ksg").mi == expected
    gap = np.where(np.arange(N) == 3, np.nan, SIGNED)
    assert estimate(U, gap, bound="ksg", missing="drop").n == N - 1
    stored = columns_of(U[:, None], "x"), SIGNED
    with pytest.raises(ValueError, match="nominal_x must be 'auto' for samples of so many cells; got True"):
        estimate(*stored, bound="ksg", nominal_x=True)
    with pytest.raises(ValueError, match="missing must be 'raise' for samples of so many cells; got 'drop'"):
        estimate(*stored, bound="ksg", missing="drop")


def test_brackets_take_the_same_options():
    found = bracket(CODES, Y, lower="infonce", upper="ba", nominal_x=True, quick=True, **QUIET)
    text = bracket(names("abcd"), Y, lower="infonce", upper="ba", quick=True, **QUIET)
    assert found.to_dict() == text.to_dict()


# --- pairwise ---------------------------------------------------------------------------------------------------------


def frame():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"c": names("abcd"), "y": Y, "u": U, "d": names("pqrs", RNG.integers(0, 4, N))})
    table["many"] = [f"k{i}" for i in (CODES * 20 + rng.integers(0, 20, N))]
    return table


def test_pairs_of_categories_and_numbers():
    table = frame()
    found = pairwise(table, permutations=999, progress=False)
    at = {name: i for i, name in enumerate(found.names)}
    ross = mutual_info_classif(table[["y"]], table["c"], n_neighbors=3, random_state=0)[0]
    assert found.mi[at["c"], at["y"]] == pytest.approx(ross, abs=0.02)
    assert found.mi[at["c"], at["many"]] == pytest.approx(math.log(4), abs=0.1)
    assert found.mi[at["d"], at["many"]] < 0.1
    assert found.pvalue[at["c"], [at["y"], at["many"]]].max() < 0.01
    assert found.pvalue[at["d"], [at["y"], at["u"], at["c"], at["many"]]].min() > 0.01
    renamed = pairwise(table.replace({"c": {"a": "z", "d": "A"}}), permutations=999, progress=False)
    for name in ("mi", "stderr", "gap", "pvalue", "qvalue", "entropy"):
        np.testing.assert_array_equal(getattr(renamed, name), getattr(found, name))


def test_pairs_lose_only_their_own_gaps():
    table = frame()[["c", "y", "u"]]
    table.loc[:9, "c"], table.loc[5:29, "u"] = None, np.nan
    found = pairwise(table, permutations=99, missing="drop", progress=False)
    assert found.rows.tolist() == [[600, 590, 570], [590, 600, 575], [570, 575, 600]]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        alone = pairwise(table.iloc[:, [i, j]].dropna(), permutations=99, progress=False)
        assert (found.mi[i, j], found.stderr[i, j]) == (alone.mi[0, 1], alone.stderr[0, 1])
        assert found.mi[j, i] == found.mi[i, j]
    across = pairwise(table[["c"]], table[["y", "u"]], permutations=99, missing="drop", progress=False)
    np.testing.assert_array_equal(across.mi[0], found.mi[0, 1:])
    assert across.rows.tolist() == [[590, 570]]
    assert found.pairs[0]["n"] == 590
    with pytest.raises(ValueError, match=r"x must be finite; got 35 NaN .*missing='drop'"):
        pairwise(table, progress=False)
    table["v"] = np.where(np.arange(N) < 25, U, np.nan)
    with pytest.raises(
        ValueError, match="columns 'c' and 'v' must have at least 20 rows without missing values; got 15"
    ):
        pairwise(table, missing="drop", progress=False)


def test_columns_that_the_user_calls_nominal():
    table = pd.DataFrame({"code": RNG.permutation(4)[CODES], "y": Y})
    text = table.assign(code=table["code"].astype(str))
    options = {"permutations": 99, "progress": False}
    expected = pairwise(text, **options)
    assert pairwise(table, nominal=["code"], **options).mi[0, 1] == expected.mi[0, 1]
    assert pairwise(table[["code"]], table[["y"]], nominal=["code"], **options).mi[0, 0] == expected.mi[0, 1]
    with pytest.raises(ValueError, match="column 'kode' is not known; did you mean 'code'"):
        pairwise(table, nominal=["kode"], **options)
    with pytest.raises(ValueError, match="nominal: column 'kode' is not known; did you mean 'code'"):
        pairwise(table[["code"]], table[["y"]], nominal=["kode"], **options)


def test_ranks_in_classes_have_the_level_of_the_test_and_power():
    rejected = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        classes = rng.choice(4, p=[0.6, 0.3, 0.07, 0.03], size=150)
        rejected.append(class_pvalues(classes, rng.exponential(size=(150, 1)), draws=99, rng=rng)[0])
    assert 0.01 <= np.mean(np.array(rejected) <= 0.05) <= 0.10
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, 300)
    scale = rng.normal(size=300) * np.array([0.5, 1.0, 2.0])[classes]  # equal means and medians
    assert class_pvalues(classes, scale[:, None], draws=999, rng=rng)[0] <= 0.002


# --- coefficients -----------------------------------------------------------------------------------------------------


def test_coefficients():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    y = 0.6 * x + 0.8 * rng.normal(size=5000)
    result = estimate(x, y, bound="gaussian")
    assert result.correlation == pytest.approx(0.6, abs=0.02)
    assert result.bits.correlation == pytest.approx(result.correlation, rel=1e-12)
    assert (result.normalized, result.entropy) == (None, None)
    coin = rng.integers(0, 2, 5000)
    copied = np.where(rng.random(5000) < 0.9, coin, 1 - coin)
    channel = estimate(coin.astype(str), copied, bound="plugin")
    share = 1 + (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert channel.normalized == pytest.approx(share, abs=0.03)
    assert channel.bits.normalized == pytest.approx(channel.normalized, rel=1e-12)
    assert channel.to_dict()["normalized"] == channel.normalized
    below = replace(channel, mi=-0.01)
    assert (below.correlation, below.normalized) == (0.0, 0.0)
    table = pairwise(
        pd.DataFrame({"x": x, "y": y, "coin": coin.astype(str), "copied": copied}), permutations=99, **QUIET
    )
    assert table.correlation[0, 1] == pytest.approx(0.6, abs=0.03)
    assert table.normalized[2, 3] == pytest.approx(channel.normalized, abs=1e-9)
    assert np.isnan(table.normalized[0, 1])
    assert table.pairs[0]["correlation"] == table.bits.pairs[0]["correlation"]
    np.testing.assert_allclose(table.bits.normalized, table.normalized)
    for value in ("mi", "correlation", "normalized"):
        assert table.plot(value=value).axes
    with pytest.raises(ValueError, match="value must be one of mi, correlation, normalized; got 'rho'"):
        table.plot(value="rho")
