import math

import numpy as np
import pytest
from scipy import stats

from mmim_example.results import comparison


def test_a_paired_comparison_agrees_with_scipy_and_with_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.1, 1, 20), rng.normal(0, 1, 20)
    found = comparison.paired(a, b, level=0.9)
    d = a - b
    half = stats.t.ppf(0.95, 19) * d.std(ddof=1) / math.sqrt(20)
    assert (found.difference, found.low, found.high) == pytest.approx((d.mean(), d.mean() - half, d.mean() + half))
    assert found.t_pvalue == pytest.approx(2 * stats.t.sf(abs(d.mean()) / (d.std(ddof=1) / math.sqrt(20)), 19))
    assert found.wilcoxon_pvalue == stats.wilcoxon(a, b).pvalue
    assert found.n == 20


def test_the_other_way_round_only_the_sign_changes():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 9))
    one, other = comparison.paired(a, b), comparison.paired(b, a)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.t_pvalue == pytest.approx(other.t_pvalue)
    assert one.wilcoxon_pvalue == pytest.approx(other.wilcoxon_pvalue)


def test_equal_arms_are_not_different():
    values = [0.7, 0.71, 0.69]
    assert comparison.paired(values, values) == comparison.Paired(0, 0, 0, 1, 1, 3)
    assert comparison.paired([0.1 + 0.2, 1.0], [0.3, 1.0]).t_pvalue == 1  # equal but for rounding


def test_without_spread_the_signed_ranks_decide():
    b = np.array([0.7, 0.71, 0.69, 0.75])
    found = comparison.paired(b + 0.01, b)
    assert found.low == found.high == found.difference == pytest.approx(0.01)
    assert found.t_pvalue == found.wilcoxon_pvalue == pytest.approx(2 / 2**4)


def test_some_seeds_may_tie():
    found = comparison.paired([1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 3.5, 4.0])
    assert found.difference == pytest.approx(0.125)
    assert 0 < found.wilcoxon_pvalue <= 1


def test_intervals_hold_the_truth_and_the_test_errs_as_often_as_it_says():
    rng = np.random.default_rng(2)
    found = [comparison.paired(*rng.normal(size=(2, 8))) for _ in range(400)]
    error = 3.3 * math.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean([c.low <= 0 <= c.high for c in found]) - 0.95) < error
    assert abs(np.mean([c.t_pvalue < 0.05 for c in found]) - 0.05) < error


@pytest.mark.parametrize(
    ("a", "b", "level", "text"),
    [
        ([1, 2, 3], [1, 2], 0.95, "a must have as many values as b; got 3 and 2"),
        ([1], [1], 0.95, "a must have at least two values; got 1"),
        ([], [], 0.95, "a must have at least two values; got 0"),
        ([1, math.nan], [1, 2], 0.95, "a must be finite; got nan"),
        ([1, 2], [1, math.inf], 0.95, "b must be finite; got inf"),
        ([[1, 2]], [1, 2], 0.95, r"a must be one-dimensional; got shape \(1, 2\)"),
        ([1, 2], [1, 3], 0, "level must lie between 0 and 1; got 0"),
    ],
)
def test_what_cannot_be_paired_is_refused(a, b, level, text):
    with pytest.raises(ValueError, match=text):
        comparison.paired(a, b, level=level)


def test_holm_on_a_worked_example():
    """By hand, sorted: 0.001 · 5, 0.008 · 4, 0.02 · 3, then 0.025 · 2 < 0.06 and 0.03 · 1 < 0.06 are raised to 0.06."""
    assert comparison.holm([0.02, 0.001, 0.03, 0.008, 0.025]) == pytest.approx([0.06, 0.005, 0.06, 0.032, 0.06])


@pytest.mark.parametrize("seed", range(20))
def test_holm_rejects_what_the_step_down_procedure_does(seed):
    """The procedure as published: go up the sorted values, stop at the first above α / (m − i + 1)."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(0.3, 3, size=rng.integers(1, 9)), 2)
    adjusted = comparison.holm(p)
    for alpha in (0.0104, 0.0503, 0.2007):
        rejected = set()
        for i, place in enumerate(np.argsort(p, kind="stable")):
            if p[place] > alpha / (len(p) - i):
                break
            rejected.add(int(place))
        assert rejected == {i for i, value in enumerate(adjusted) if value <= alpha}
    assert all(raw <= value <= 1 for raw, value in zip(p, adjusted, strict=True))
    order = np.argsort(p)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_never_exceeds_one_and_leaves_a_single_value_alone():
    assert comparison.holm([0.6, 0.9, 1.0]) == [1, 1, 1]
    assert comparison.holm([0.03]) == [0.03]


@pytest.mark.parametrize("pvalues", [[], [0.1, 1.2], [-0.1], [math.nan]])
def test_what_is_no_p_value_is_refused(pvalues):
    with pytest.raises(ValueError, match="pvalues must be"):
        comparison.holm(pvalues)


@pytest.mark.parametrize(("n", "power", "alpha"), [(2, 0.8, 0.05), (5, 0.8, 0.05), (20, 0.9, 0.01), (20, 0.06, 0.05)])
def test_the_detectable_difference_is_detected_as_often_as_promised(n, power, alpha):
    difference = comparison.detectable(0.3, n, power, alpha)
    draws = np.random.default_rng(0).normal(difference, 0.3, size=(20_000, n))
    detected = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < alpha)
    assert abs(detected - power) < 3.3 * math.sqrt(power * (1 - power) / 20_000)


def test_twenty_seeds_detect_a_hundredth_of_mae():
    """Standard deviation 0.016: what the literature's 0.011 for 20 MOSI seeds rests on."""
    assert comparison.detectable(0.016, 20) == pytest.approx(0.0106, abs=1e-4)


def test_more_seeds_and_less_spread_detect_less():
    found = [comparison.detectable(0.02, n) for n in (2, 3, 5, 10, 20, 50, 1000)]
    assert found == sorted(found, reverse=True)
    assert comparison.detectable(0.04, 20) == pytest.approx(2 * comparison.detectable(0.02, 20))
    assert comparison.detectable(0.0, 20) == 0
    normal = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * 0.02 / math.sqrt(1000)
    assert found[-1] == pytest.approx(normal, rel=0.005)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((-1.0, 20), "sd_of_differences must be at least 0 and finite; got -1.0"),
        ((math.nan, 20), "sd_of_differences must be at least 0 and finite; got nan"),
        ((1.0, 1), "n must be at least 2; got 1"),
        ((1.0, 20, 0.04), "alpha and power must satisfy 0 < alpha < power < 1; got 0.05 and 0.04"),
        ((1.0, 20, 1.0), "got 0.05 and 1.0"),
    ],
)
def test_what_has_no_power_is_refused(given, text):
    with pytest.raises(ValueError, match=text):
        comparison.detectable(*given)


def arms():
    rng = np.random.default_rng(0)
    base = rng.normal(0.75, 0.01, 6)
    return {
        "task only": {"mae": list(base), "corr": [0.8] * 6},
        "worse": {"mae": list(base + rng.normal(0.02, 0.002, 6)), "corr": [0.7] * 6, "I(text;Z)": [1.5] * 6},
        "same|as": {"mae": list(base + rng.normal(0, 0.002, 6)), "corr": [math.nan, *[0.8] * 5]},
    }


def cells(text):
    return [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in text.splitlines()]


def test_the_table_holds_the_numbers():
    results = arms()
    header, rule, base, worse, same = cells(comparison.table(results, "task only", ["mae", "corr", "I(text;Z)"]))
    first = ["arm", "MAE", "Corr", "I(text;Z)"]
    assert header == [*first, "MAE: difference to task only [95 %]", "p", "p (Holm)"]
    assert rule == [":---", *["---:"] * 6]
    mae = results["task only"]["mae"]
    assert base == ["task only", f"{np.mean(mae):.3f} ± {np.std(mae, ddof=1):.3f}", "0.800 ± 0.000", *["–"] * 4]
    found = [comparison.paired(results[arm]["mae"], mae) for arm in ("worse", "same|as")]
    c = found[0]
    assert worse[3:5] == ["1.500 ± 0.000", f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"]
    assert worse[5] == "< 0.001"
    assert same[:1] + same[2:4] == ["same¦as", "–", "–"]
    assert same[4].count("−") >= 1
    assert same[5:] == [f"{found[1].t_pvalue:.3f}", f"{comparison.holm([c.t_pvalue for c in found])[1]:.3f}"]


def test_one_seed_has_no_spread_and_no_test():
    results = {"a": {"mae": [0.7]}, "b": {"mae": [-0.6]}}
    assert cells(comparison.table(results, "a", ["mae"]))[2:] == [["a", "0.700", *"–––"], ["b", "−0.600", *"–––"]]


def test_a_run_without_a_value_leaves_the_comparison_out():
    results = {"a": {"mae": [0.7, 0.8]}, "b": {"mae": [0.6, math.nan]}, "c": {}}
    assert [row[1:] for row in cells(comparison.table(results, "a", ["mae"]))[3:]] == [[*"––––"], [*"––––"]]


@pytest.mark.parametrize(
    ("baseline", "metrics", "text"),
    [
        ("task onyl", ["mae"], "baseline must be one of task only, .*; got 'task onyl'"),
        ("task only", ["mea"], "metrics must be among .*mae.*; got 'mea'"),
        ("task only", [], "metrics must name at least one; got none"),
        ("task only", ["corr", "mae"], "every arm must have the same number of seeds; got .*'short': 2"),
    ],
)
def test_a_table_of_what_is_not_there_is_refused(baseline, metrics, text):
    results = arms() | {"short": {"mae": [1, 2]}}
    if metrics == ["mae"]:
        del results["short"]
    with pytest.raises(ValueError, match=text):
        comparison.table(results, baseline, metrics)
