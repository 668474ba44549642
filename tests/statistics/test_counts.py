import math

import naive
import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.metrics import mutual_info_score

from infomax import SaturationWarning, Schedule, estimate
from infomax.estimation.diagnostics import judge_result
from infomax.statistics.counts import codes, entropy_limit, plugin, plugin_stderr

RNG = np.random.default_rng(0)


def column(values):
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def test_codes_are_numbers_of_distinct_rows():
    samples = np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0], [0.0, 3.0]])
    values, counts = codes(samples)
    assert values.tolist() == [1, 2, 1, 0]
    assert counts.tolist() == [1, 2, 1]


@pytest.mark.parametrize("n", [30, 150])
def test_plugin_is_the_naive_jackknife(n):
    x, y = RNG.integers(3, size=n), RNG.integers(6, size=n)
    y = np.where(RNG.random(n) < 0.5, x, y)
    value, scatter = naive.jackknife(naive.counted, x.tolist(), y.tolist())
    assert plugin(column(x), column(2.5 * y)).mean() == pytest.approx(value, abs=1e-12)
    sides = (x.tolist(), y.tolist(), list(zip(x.tolist(), y.tolist(), strict=True)))
    kinds_x, kinds_y, kinds = (len(set(side)) for side in sides)
    left = naive.counted(*sides[:2]) - (kinds - kinds_x - kinds_y + 1) / (2 * n) - value
    chance = chi2.std((kinds_x - 1) * (kinds_y - 1)) / (2 * n)
    expected = math.hypot(scatter, left, 1 / n, chance)
    assert plugin_stderr(column(x), column(2.5 * y)) == pytest.approx(expected, abs=1e-12)


def test_plugin_is_scikit_learns_score_less_the_bias_and_each_row_has_its_share():
    x, y = RNG.integers(3, size=5000), RNG.integers(5, size=5000)
    local = plugin(column(x), column(y))
    assert local.mean() == pytest.approx(mutual_info_score(x, y) - 2 * 4 / 10_000, abs=1e-5)  # Miller's, to 1/N²
    both = np.histogram2d(x, y, bins=[3, 5])[0] / 5000
    expected = np.log(both / both.sum(1, keepdims=True) / both.sum(0))[x, y] - 2 * 4 / 10_000
    np.testing.assert_allclose(local, expected, atol=1e-5)


def test_plugin_of_several_columns_counts_their_combinations():
    x, y = RNG.integers(2, size=(400, 2)) * 1.0, RNG.integers(2, size=(400, 1)) * 1.0
    y[:, 0] = np.where(RNG.random(400) < 0.8, (x[:, 0] != x[:, 1]), y[:, 0])  # no column of x tells it alone
    np.testing.assert_allclose(plugin(x, y), plugin(2 * x[:, [0]] + x[:, [1]], y))
    assert plugin(x, y).mean() > 0.2
    assert abs(plugin(x[:, [0]], y).mean()) < 0.02


def test_plugin_has_no_bias_left_of_the_first_order():
    """Independent tables of 4 x 5 and 200 rows: without the correction the mean would be 12 / 400 = 0.03."""
    values = [plugin(*RNG.integers([[4], [5]], size=(2, 200))[:, :, None]).mean() for _ in range(400)]
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / 20 + 1e-3)


@pytest.mark.parametrize(
    ("shape", "kept", "n"), [((2, 2), 0.6, 100), ((5, 5), 0.3, 250), ((40, 3), 0.4, 600), ((15, 15), 0.5, 1200)]
)
def test_intervals_cover_on_dense_and_on_sparse_tables(shape, kept, n):
    """120 draws of a noisy copy of x, modulo the values of y: 95 % but for chance, and what Miller's formula misses."""
    rng, (of_x, of_y) = np.random.default_rng(1), shape
    joint = np.full(shape, (1 - kept) / of_x / of_y)
    joint[np.arange(of_x), np.arange(of_x) % of_y] += kept / of_x
    product = joint.sum(1, keepdims=True) * joint.sum(0)
    truth = float((joint * np.log(joint / product)).sum())
    covered = 0
    for _ in range(120):
        cells = rng.choice(of_x * of_y, size=n, p=joint.ravel())
        x, y = column(cells // of_y), column(cells % of_y)
        covered += abs(plugin(x, y).mean() - truth) < 1.96 * plugin_stderr(x, y)
    assert covered >= 0.88 * 120


@pytest.mark.parametrize(("of_x", "rare", "n"), [(30, [0.98, 0.01, 0.01], 600), (40, [0.99, 0.01], 2000)])
def test_intervals_cover_zero_with_rare_values(of_x, rare, n):
    """The jackknife's error alone excludes 0 in 24 % and 9 % of such independent draws."""
    above = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        x, y = column(rng.integers(of_x, size=n)), column(rng.choice(len(rare), n, p=rare))
        above += plugin(x, y).mean() > 1.96 * plugin_stderr(x, y)
    assert above <= 0.06 * 120


class TestLimits:
    def test_the_entropy_of_the_side_that_is_counted_and_smaller(self):
        x, y = RNG.integers(4, size=120), RNG.integers(3, size=120)
        value, scatter = naive.jackknife(naive.entropy, y.tolist())
        assert entropy_limit(column(x), column(y))[1] == pytest.approx(value + 2 * scatter, abs=1e-12)
        assert entropy_limit(RNG.normal(size=(120, 2)), column(y))[1] == pytest.approx(value + 2 * scatter, abs=1e-12)
        one_hot = np.repeat(np.eye(3), 7, axis=1)[y]  # 21 columns
        assert entropy_limit(RNG.normal(size=(120, 2)), one_hot)[1] == pytest.approx(value + 2 * scatter, abs=1e-12)
        both = np.stack([y, y % 2], 1) * 1.0
        assert entropy_limit(both, column(y))[1] == pytest.approx(value + 2 * scatter, abs=1e-12)

    def test_it_is_above_the_entropy_in_nearly_all_draws(self):
        p = 0.7 ** np.arange(25)
        p /= p.sum()
        truth = -(p * np.log(p)).sum()
        limits = [
            entropy_limit(RNG.normal(size=(500, 1)), column(RNG.choice(25, size=500, p=p)))[1] for _ in range(300)
        ]
        assert 0.94 < np.mean(np.array(limits) > truth) <= 1.0
        assert np.mean(limits) < truth + 0.15

    @pytest.mark.parametrize(
        "y",
        [
            RNG.normal(size=(400, 1)),
            RNG.integers(200, size=(400, 1)),  # counted twice on average
            RNG.integers(2, size=(400, 9)),  # 512 combinations
            RNG.integers(10, size=(400, 3)),  # few values each, many combinations
            np.where(RNG.random((400, 1)) < 0.95, 0, RNG.normal(size=(400, 1))),  # an atom, and a density
        ],
    )
    def test_what_cannot_be_counted_limits_nothing(self, y):
        assert entropy_limit(RNG.normal(size=(400, 1)), y * 1.0) == (None, None)

    def test_no_interval_exceeds_it(self):
        x = RNG.normal(size=300)
        y = (x + 0.1 * RNG.normal(size=300)) > 0
        options = {"quick": True, "schedule": Schedule(steps=50), "progress": False}
        for result in estimate(x, y, bound=["default", "infonce", "ksg"], **options):
            assert result.limit == entropy_limit(column(x), column(y))[1] < math.log(2) + 0.01
            assert result.confidence_interval(0.999999)[1] == max(result.limit, result.mi)

    def test_a_value_above_it_is_said(self):
        x = RNG.normal(size=300)
        result = estimate(x, x > 0, bound="ksg")
        (text,) = judge_result(type(result)(0.8, 0.01, 0.0, "estimate", "b", 300, limit=0.7), 300)
        assert isinstance(text, SaturationWarning)
        assert "exceeds the entropy of a discrete variable (0.700 nats" in str(text)
        assert not list(judge_result(type(result)(0.8, 0.01, 0.0, "upper", "b", 300, limit=0.7), 300))
