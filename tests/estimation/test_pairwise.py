import json
import math
import warnings

import numpy as np
import pandas
import pytest
import torch
from scipy.special import digamma

import infomax
from infomax import Pairwise, Schedule, estimate, pairwise, tasks
from infomax.statistics import plugin


def table(n=400, seed=0):
    """Columns 0 to 2 alone; 3 a parabola of 0; 4 and 5 discrete, 5 often 4."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    x[:, 3] = x[:, 0] ** 2 + 0.3 * x[:, 3]
    x[:, 4] = rng.integers(3, size=n)
    x[:, 5] = np.where(rng.random(n) < 0.5, x[:, 4], rng.integers(2, size=n))
    return x


@pytest.fixture(scope="module")
def found():
    return pairwise(table(), progress=False)


def test_values_are_those_of_estimate(found):
    x = table()
    for i, j in ((0, 1), (0, 3), (2, 4)):
        single = estimate(x[:, i], x[:, j], bound="ksg", progress=False)
        assert found.mi[i, j] == found.mi[j, i] == single.mi
        assert (found.stderr[i, j], found.gap[i, j]) == pytest.approx((single.stderr, single.gap))
    counted = estimate(x[:, 4], x[:, 5], bound="plugin", progress=False)
    assert (found.mi[4, 5], found.stderr[4, 5], found.gap[4, 5]) == (counted.mi, counted.stderr, 0.0)
    assert found.mi[4, 5] == pytest.approx(plugin(x[:, [4]], x[:, [5]]).mean())


def test_the_matrix_is_symmetric_with_nothing_on_the_diagonal(found):
    for name in ("mi", "stderr", "gap", "pvalue", "qvalue"):
        matrix = getattr(found, name)
        assert np.isnan(np.diag(matrix)).all()
        np.testing.assert_array_equal(matrix, matrix.T)
        assert np.isfinite(matrix[~np.eye(6, dtype=bool)]).all()


def test_what_depends_is_found_and_nothing_else(found):
    dependent = {(i, j) for i in range(6) for j in range(i) if found.qvalue[i, j] <= 0.05}
    assert dependent == {(3, 0), (5, 4)}
    assert "15 pairs of 6 columns, 400 rows, by neighbours and counts: 2 with q ≤ 0.05" in repr(found)


def test_qvalues_count_each_pair_once(found):
    from scipy.stats import false_discovery_control

    upper = np.triu_indices(6, 1)
    np.testing.assert_allclose(found.qvalue[upper], false_discovery_control(found.pvalue[upper]))
    careful = pairwise(table(), correction="benjamini-yekutieli", progress=False)
    np.testing.assert_array_equal(careful.pvalue, found.pvalue)
    np.testing.assert_allclose(careful.qvalue[upper], false_discovery_control(found.pvalue[upper], method="by"))


def test_values_alone_are_the_same(found):
    alone = pairwise(table(), values_only=True, progress=False)
    np.testing.assert_array_equal(alone.mi, found.mi)
    for name in ("stderr", "gap", "pvalue", "qvalue"):
        assert np.isnan(getattr(alone, name)).all()
    assert alone.values_only
    assert not found.values_only
    assert "15 pairs of 6 columns, 400 rows, by neighbours and counts: values alone\n" in repr(alone)
    assert "[" not in repr(alone)
    assert json.loads(json.dumps(alone.to_dict()))["qvalue"][0][1] is None
    assert "dots" not in alone.plot().axes[0].get_title(loc="left")


def test_two_sets(found):
    x = table()
    both = pairwise(x[:, :3], x[:, 3:5], progress=False)
    assert both.mi.shape == both.qvalue.shape == (3, 2)
    assert not both.symmetric
    np.testing.assert_array_equal(both.mi, found.mi[:3, 3:5])
    assert both.qvalue[0, 0] <= 0.05
    assert len(both.pairs) == 6


def test_the_pairs_are_the_matrix_by_size(found):
    values = [pair["mi"] for pair in found.pairs]
    assert values == sorted(values, reverse=True)
    assert len(values) == 15
    low, high = found.confidence_interval()
    for pair in found.pairs:
        i, j = int(pair["x"]), int(pair["y"])
        assert (pair["mi"], pair["low"], pair["high"]) == (found.mi[i, j], low[i, j], high[i, j])
    frame = found.to_frame()
    assert frame["mi"].tolist() == values


def test_intervals_nest_and_bits_are_nats_over_log_2(found):
    (low, high), (lower, higher) = found.confidence_interval(0.9), found.confidence_interval(0.99)
    off = ~np.eye(6, dtype=bool)
    assert (lower[off] < low[off]).all()
    assert (higher[off] >= high[off]).all()
    np.testing.assert_allclose(found.bits.mi * math.log(2), found.mi)
    np.testing.assert_allclose(found.bits.confidence_interval(0.9)[0] * math.log(2), low)
    assert found.bits.bits is found.bits or found.bits.bits.unit == "bits"
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\); got 95"):
        found.confidence_interval(95)


@pytest.mark.parametrize("name", ["1v1-normal-0.75", "1v1-additive-0.1", "student-identity-1-1-1", "normal-1d-0"])
def test_intervals_cover_the_truth(name):
    """95 % intervals, 60 samples of 300 rows; without the two corrections 0.07 to 0.9 of them cover."""
    task = tasks.get(name)
    hits = 0
    for seed in range(60):
        low, high = pairwise(*task.sample(300, seed), permutations=1, progress=False).confidence_interval()
        hits += low[0, 0] <= task.mi <= high[0, 0]
    assert hits >= (45 if name == "1v1-additive-0.1" else 51)


def test_false_discoveries_are_controlled_and_nonlinear_pairs_found():
    """30 tables of 12 columns, 100 rows; 3 pairs of 66 depend, by a parabola, a wave and a changing spread."""
    shares, powers = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(100, 12))
        x[:, 9] = x[:, 0] ** 2 + 0.3 * x[:, 9]
        x[:, 10] = np.cos(3 * x[:, 1]) + 0.3 * x[:, 10]
        x[:, 11] *= np.exp(x[:, 2])
        found = pairwise(x, seed=seed, permutations=1999, progress=False)
        reported = {(i, j) for i in range(12) for j in range(i + 1, 12) if found.qvalue[i, j] <= 0.1}
        true = {(0, 9), (1, 10), (2, 11)}
        shares.append(len(reported - true) / max(1, len(reported)))
        powers.append(len(reported & true) / 3)
    assert np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(30)
    assert np.mean(powers) > 0.9


def test_independent_columns_are_seldom_reported():
    """Under the null hypothesis alone, the false discovery rate is the chance of any report: 60 tables."""
    reports = []
    for seed in range(60):
        x = np.random.default_rng(seed).normal(size=(50, 8))
        reports.append(np.nanmin(pairwise(x, seed=seed, permutations=999, progress=False).qvalue) <= 0.2)
    assert np.mean(reports) < 0.2 + 3 * np.sqrt(0.16 / 60)


def test_any_bound_gives_the_values_of_estimate():
    x = table(n=150)[:, [0, 3, 1]]
    warnings.simplefilter("ignore", infomax.InfomaxWarning)  # of so few rows
    options = {"bound": "infonce", "quick": True, "schedule": Schedule(steps=20), "seed": 2, "progress": False}
    found = pairwise(x, **options)
    single = estimate(x[:, 0], x[:, 1], **options)
    assert (found.mi[0, 1], found.stderr[0, 1], found.gap[0, 1]) == (single.mi, single.stderr, single.gap)
    assert (found.bound, found.kind) == ("infonce", "lower")
    np.testing.assert_allclose(found.confidence_interval()[1][0, 1], single.confidence_interval()[1])


def test_what_estimates_say_is_said_once_with_the_pairs():
    x = np.round(table(n=60)[:, :3])
    with pytest.warns(infomax.InfomaxWarning, match=r"3 pairs \(0, 1; 0, 2; 1, 2\): 2 of 2 columns have fewer than 20"):
        found = pairwise(x, bound="gaussian", progress=False)
    assert len(found.warnings) == 1


def test_copies_are_said_to_be_at_the_end_of_what_rows_show():
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.warns(infomax.InfomaxWarning, match=r"1 pair \(0, 2\): within a nat of the largest value"):
        found = pairwise(np.column_stack([x, x[:, 0]]), progress=False)
    assert found.mi[0, 2] < digamma(50) - digamma(3)
    assert found.warnings[0].startswith("1 pair (0, 2): within a nat")


def test_constant_columns_tell_nothing():
    x = table(n=50)[:, :3]
    x[:, 1] = 7.0
    with pytest.warns(infomax.ConstantColumnWarning, match="x has 1 constant of 3 columns, which carry no"):
        found = pairwise(x, progress=False)
    for j in (0, 2):
        assert (found.mi[1, j], found.stderr[1, j], found.gap[1, j], found.pvalue[1, j]) == (0.0, 0.0, 0.0, 1.0)
    assert found.pvalue[0, 2] < 1


def test_names_of_frames_are_kept_and_tensors_taken():
    frame = pandas.DataFrame(table(n=60)[:, :3], columns=["age", "income", "height"])
    found = pairwise(frame, progress=False)
    assert found.names == found.columns == ("age", "income", "height")
    numbers = pairwise(torch.from_numpy(frame.to_numpy(copy=True)), progress=False)
    np.testing.assert_array_equal(numbers.mi, found.mi)
    assert numbers.names == ("0", "1", "2")


def test_the_seed_decides():
    x = table(n=80)
    again, other = pairwise(x, seed=3, progress=False), pairwise(x, seed=4, progress=False)
    np.testing.assert_array_equal(pairwise(x, seed=3, progress=False).pvalue, again.pvalue)
    assert (other.pvalue != again.pvalue).any()


def test_dict_is_json_with_none_where_nothing_is_known(found):
    printed = json.loads(json.dumps(found.to_dict()))
    assert printed["mi"][0][0] is None
    assert printed["mi"][0][3] == found.mi[0, 3]
    assert printed["high_95"][3][0] == found.confidence_interval()[1][3, 0]


@pytest.mark.parametrize("columns", [3, 15, 70])
def test_plot(columns):
    x = np.random.default_rng(0).normal(size=(columns, columns))
    matrices = [np.where(np.eye(columns), np.nan, (x + x.T) ** 2) for _ in range(5)]
    names = tuple(f"column {i}" for i in range(columns))
    found = Pairwise(*matrices, names, names, True, "b", "estimate", 100, 0, "benjamini-hochberg")
    figure = found.plot()
    (line,) = figure.axes[0].lines
    assert len(line.get_xdata()) == (found.qvalue <= 0.05).sum()
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (table()[:, :1], None, {}, ValueError, "x must have at least two columns; got one"),
        (table()[:, 0], None, {}, ValueError, "x must have at least two columns; got one"),
        (table(n=19), None, {}, ValueError, "x must have at least 20 rows; got 19"),
        (np.where(table() > 2, np.nan, table()), None, {}, ValueError, "x must be finite; got .* NaN"),
        (table(), table(n=399), {}, ValueError, "y must have as many rows as x; got 399 and 400"),
        (table(), None, {"bound": "kgs"}, ValueError, "did you mean 'ksg'"),
        (table(), None, {"bound": 3}, TypeError, "bound must be a name or an infomax.Bound; got int"),
        (table(), None, {"correction": "bh"}, ValueError, "correction must be one of benjamini-hochberg, .*; got 'bh'"),
        (table(), None, {"permutations": 0}, ValueError, "permutations must be at least 1; got 0"),
        (table(), None, {"seed": -1}, ValueError, "seed must be a whole number of at least 0; got -1"),
        (table(), None, {"quick": True}, TypeError, "without a bound there are no further keywords; got quick"),
        (pandas.DataFrame(table(), columns=list("aabcde")), None, {}, ValueError, "columns of different names"),
        (np.array([[1j] * 2] * 30), None, {}, TypeError, "x must hold numbers, text or dates"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        pairwise(x, y, progress=False, **options)


def test_nothing_is_said_of_good_columns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairwise(table(n=60), progress=False)
