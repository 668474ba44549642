"""The default of `estimate`: what it gives, what leaves it unchanged, and its parts in one piece."""

import math
import warnings

import numpy as np
import pytest
import torch
from default_runs import BRIEF, QUICK, SHORT, SHORTER, close, draw, same
from scipy import stats

from infomax import Estimate, InfomaxWarning, TrainingWarning, estimate, tasks
from infomax.estimators.base import Measurement
from infomax.estimators.default import alternatives, estimator
from infomax.estimators.default.estimator import DefaultEstimator, default_folds, default_schedule, measure
from infomax.estimators.default.portfolio import trainings
from infomax.estimators.nearest_neighbours import NeighbourShares
from infomax.training.fit import Schedule


@pytest.fixture(autouse=True)
def quiet():
    """What estimates say of themselves is tested where it is the matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)
        yield


@pytest.fixture(scope="module")
def nonlinear():
    """400 rows, of which the network finds a part; and their estimate."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = np.column_stack([x[:, 0] ** 2 + 0.5 * rng.normal(size=400), x[:, 1] + rng.normal(size=400)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)
        return x, y, estimate(x, y, **SHORTER)


class TestNumbers:
    NAMES = (
        "normal-5d-1",
        "1v1-additive-0.75",
        "student-identity-1-1-1",
        "student-identity-3-3-3",
        "spiral-multinormal-sparse-3-3-2-2.0",
        "channel-5-1",
        "zero-inflated-poisson-0.15",
        "label-2-1d-0.3",
    )

    @pytest.mark.parametrize(
        ("name", "n", "quick"),
        [
            *((name, 900, True) for name in ("normal-5d-1", "spiral-multinormal-sparse-3-3-2-2.0", "label-2-1d-0.3")),
            *(pytest.param(name, 1000, quick, marks=pytest.mark.slow) for name in NAMES for quick in (True, False)),
        ],
    )
    def test_known_information(self, name, n, quick):
        """In an interval of 99.7 %, whose standard error is at most four times that of the log-ratio itself.

        With fewer than a thousand rows one network is trained, otherwise several are compared.
        """
        task = tasks.get(name)
        result = estimate(*task.sample(n, 0), quick=quick, progress=False)
        low, high = result.confidence_interval(0.997)
        assert low < task.mi < high
        assert result.stderr < 4 * result.local.std() / math.sqrt(n) + 1e-3
        assert high - low < 6 * result.stderr + result.gap + 1e-9
        assert result.pvalue == 1 / (100 if quick else 200)

    def test_beats_its_anchor_where_correlations_see_nothing(self):
        x = np.random.default_rng(0).normal(size=900)
        y = x**2 + 0.5 * np.random.default_rng(1).normal(size=900)
        result = estimate(x, y, **QUICK)
        assert abs(estimate(x, y, bound="gaussian").mi) < 0.02
        low, high = result.confidence_interval(0.997)
        assert low < 0.79 < high  # by quadrature
        assert result.mi > 0.6

    @pytest.mark.parametrize(
        "shape", [*(pytest.param((200, d, d), marks=pytest.mark.slow) for d in (1, 5)), (60, 20, 10)]
    )
    def test_independent_pairs_give_about_nothing(self, shape):
        n, dim_x, dim_y = shape
        rng = np.random.default_rng(0)
        results = [estimate(rng.normal(size=(n, dim_x)), rng.normal(size=(n, dim_y)), **SHORT) for _ in range(6)]
        values = np.array([result.mi for result in results])
        assert abs(values.mean()) < 4 * np.std([*values, 1 / n]) / math.sqrt(6) + 1 / n
        assert all(result.confidence_interval(0.997)[0] < 0 for result in results)
        # The chance that one of six valid p-values is 0.005, or their median below 0.1, is 3 % and 1 %.
        assert min(result.pvalue for result in results) > 1 / 200
        assert np.median([result.pvalue for result in results]) > 0.1

    @pytest.mark.slow
    def test_coverage(self):
        """The truth, 0.5 nats, in at least 33 of 40 intervals of 95 %, of 140 rows each (P < 1e-3 for valid ones)."""
        task = tasks.normal.correlated_normal(0.5, dim=2)
        covered, values = 0, []
        for seed in range(40):
            result = estimate(*task.sample(140, seed), seed=seed, **SHORT)
            low, high = result.confidence_interval()
            covered += low <= task.mi <= high
            values.append(result.mi)
        assert covered >= 33
        assert np.mean(values) == pytest.approx(0.5, abs=4 * np.std(values) / math.sqrt(40) + 0.02)

    @pytest.mark.parametrize("kind", ["counted", pytest.param("continuous", marks=pytest.mark.slow)])
    def test_pvalues_under_independence_are_uniform(self, kind):
        """Of 60 independent pairs; by Kolmogorov and Smirnov."""
        rng = np.random.default_rng(0)
        options = {"folds": 2, "schedule": Schedule(steps=10), "device": torch.device("cpu"), "draws": 99}
        found = []
        for seed in range(60):
            x, y = rng.integers(3, size=(2, 60, 1)) * 1.0 if kind == "counted" else rng.normal(size=(2, 140, 2))
            found.append(measure(x, y, seed=seed, **options).pvalue)
        # Discrete p-values with ties are larger than uniform ones, never smaller.
        assert stats.kstest(found, "uniform", alternative="greater").pvalue > 1e-3
        assert min(found) >= 0.01


class TestNearestNeighbours:
    """Where they find what a copula and a smooth network do not."""

    @pytest.mark.parametrize(
        ("n", "seeds", "quick"),
        [(900, 1, True), *(pytest.param(n, 3, n == 1001, marks=pytest.mark.slow) for n in (1000, 1001, 3000))],
    )
    def test_a_sum_of_heavy_tails(self, n, seeds, quick):
        """x + e with standard Cauchy x and e: log(4) - log(2) nats; the network alone finds 0.5."""
        covered = 0
        for seed in range(seeds):
            x, noise = np.random.default_rng(seed).standard_cauchy((2, n))
            result = estimate(x, x + noise, quick=quick, progress=False, seed=seed)
            low, high = result.confidence_interval()
            covered += low <= math.log(2) <= high
            assert result.mi == pytest.approx(math.log(2), abs=0.16 if n < 3000 else 0.08)
            assert result.local.mean() == pytest.approx(result.mi)
        assert covered >= max(1, seeds - 1)

    def test_codes_without_an_order(self):
        rng = np.random.default_rng(1)
        codes, label = rng.integers(0, 400, 3000), rng.integers(0, 2, 400)
        assert estimate(codes, label[codes], **QUICK).mi == pytest.approx(math.log(2), abs=0.05)

    @pytest.mark.parametrize(
        "name",
        ["normal-1d-1", "student-identity-1-1-1", pytest.param("multinormal-dense-3-3-0.5", marks=pytest.mark.slow)],
    )
    def test_they_change_nothing_where_they_find_no_more(self, name, monkeypatch):
        x, y = tasks.get(name).sample(600, 0)
        with_them = estimate(x, y, **QUICK)
        monkeypatch.setattr(estimator, "NEAR_DIMENSIONS", 0)
        monkeypatch.setattr(estimator, "_NEAR_DIFFERENCES", 0)
        assert same(with_them, estimate(x, y, **QUICK))

    @pytest.mark.parametrize(("far_noise", "z"), [(1.0, 0.0), (0.2, 5.02)])
    def test_twelve_tell_what_three_cannot(self, far_noise, z, monkeypatch):
        """Of 10,000 rows three find 0.02 nats more with noise of 1, so do twelve with that noise or a fifth of it."""
        n = 10_000
        noise = np.resize([-1.0, 1.0], n)
        found = Measurement(0.0, 0.01, 0.1, np.zeros(n))
        shares = NeighbourShares(0.02 + noise, 0.01, 0.0, far=0.02 + far_noise * noise[:8000], rows=np.arange(8000))
        # Standard errors: sqrt((1 + trigamma(3)) / 10,000) = 0.0118 of three, which is not clear enough; of twelve
        # sqrt((1 + trigamma(12)) / 8,000) = 0.0117, or sqrt((0.04 + 0.0869) / 8,000) = 0.00398.
        monkeypatch.setattr(alternatives, "by_neighbours", lambda *_: shares)
        column = np.random.default_rng(1).normal(size=(n, 1))
        moved = alternatives.with_neighbours(found, column, column)
        assert moved.local.mean() == pytest.approx(0.02 * (1 - 9 / z**2) if z else 0.0, abs=1e-5)

    @pytest.mark.slow
    def test_copies_of_rows_are_not_taken_for_neighbours(self):
        """300 independent rows, each four times: neighbours would find log(300) nats."""
        rows = np.random.default_rng(0).normal(size=(300, 2))
        x, y = np.tile(rows, (4, 1)).T
        assert estimate(x, y, **QUICK).mi < 0.2


class TestWhatChangesNothing:
    def test_the_same_seed(self, nonlinear):
        x, y, result = nonlinear
        assert same(estimate(x, y, **SHORTER), result)
        other = estimate(x, y, seed=1, **SHORTER)
        assert other.mi != result.mi
        assert close(other, result)

    @pytest.mark.parametrize(
        "increasing", [np.exp, lambda v: v**3, lambda v: 1e-6 * v - 1e3, lambda v: np.sign(v) * np.log1p(1e6 * abs(v))]
    )
    def test_increasing_maps_of_columns(self, increasing, nonlinear):
        x, y, result = nonlinear
        assert same(estimate(increasing(x), np.column_stack([increasing(y[:, 0]), y[:, 1]]), **SHORTER), result)

    def test_decreasing_maps_change_little(self, nonlinear):
        x, y, result = nonlinear
        assert close(estimate(-x, y, **SHORTER), result)

    def test_a_far_outlier(self, nonlinear):
        x, y, result = nonlinear
        far = x.copy()
        far[x[:, 0].argmax(), 0] = 1e300
        assert same(estimate(far, y, **SHORTER), result)
        moved = y.copy()
        moved[0] = -1e300  # of one row, the ranks change too
        assert close(estimate(x, moved, **SHORTER), result)

    def test_the_order_of_rows_changes_little(self, nonlinear):
        x, y, result = nonlinear
        order = np.random.default_rng(1).permutation(400)
        assert close(estimate(x[order], y[order], **SHORTER), result)

    def test_sides_and_columns_that_change_places_change_little(self, nonlinear):
        x, y, result = nonlinear
        assert close(estimate(y, x, **SHORTER), result)
        assert close(estimate(x[:, ::-1], y, **SHORTER), result)

    @pytest.mark.parametrize("kind", [np.float32, np.float16, int, bool])
    def test_the_type_of_numbers(self, kind):
        x, y = draw(140, 2)
        x = np.round(2 * x).astype(kind)
        expected = estimate(x.astype(float), y, **BRIEF)
        assert same(estimate(x, y, **BRIEF), expected)
        assert same(estimate(torch.from_numpy(x), y, **BRIEF), expected)

    def test_inputs_are_left_as_they_are(self):
        x, y = draw(60)
        before = x.copy(), y.copy()
        estimate(x, y, **SHORT)
        assert np.array_equal(x, before[0])
        assert np.array_equal(y, before[1])

    def test_global_state(self):
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        state, legacy, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
        expected = estimate(*draw(140), **BRIEF)
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
        assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)
        assert torch.is_grad_enabled()
        try:
            torch.set_num_threads(2)
            torch.set_default_dtype(torch.float64)
            other = estimate(*draw(140), **BRIEF)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(torch.float32)
        assert same(other, expected)


class TestResult:
    def test_every_row_has_its_share(self, nonlinear):
        result = nonlinear[2]
        assert type(result) is Estimate
        assert (result.bound, result.kind, result.n, result.ceiling) == ("default", "estimate", 400, None)
        assert result.local.shape == (400,)
        assert result.local.dtype == np.float64
        assert result.local.mean() == pytest.approx(result.mi, rel=1e-12)
        assert len(result.history) == 2
        assert 0 < result.pvalue <= 0.01
        assert result.gap > 0

    def test_shares_stand_in_the_order_of_the_rows(self):
        """Beside the exact log-ratio of each row, of two normal columns."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(600, 1))
        y = x + rng.normal(size=(600, 1))
        exact = 0.5 * math.log(2) - 0.5 * (y - x)[:, 0] ** 2 + 0.25 * y[:, 0] ** 2
        result = estimate(x, y, **QUICK)
        assert np.corrcoef(result.local, exact)[0, 1] > 0.97
        assert np.abs(result.local - exact).mean() < 0.1

    def test_stderr_is_at_least_that_of_the_shares(self, nonlinear):
        result = nonlinear[2]
        assert result.stderr >= result.local.std() / 20
        assert result.stderr >= 1 / 400

    def test_the_smallest_pvalue_is_that_of_the_permutations(self):
        x, y = draw(80)
        options = {"seed": 0, "folds": 2, "schedule": Schedule(steps=0), "device": torch.device("cpu")}
        assert measure(x, y, draws=49, **options).pvalue == 1 / 50
        assert measure(x, y, draws=9, **options).pvalue == 1 / 10
        assert measure(x, y[::-1].copy(), draws=49, **options).pvalue > 1 / 50

    @pytest.mark.slow
    def test_what_the_network_may_have_missed_is_no_large_gap(self, monkeypatch):
        """All of the information is found by the network, a quarter of it is in the gap, and no rows are too few."""
        monkeypatch.setattr(estimator, "NEAR_DIMENSIONS", 0)
        monkeypatch.setattr(estimator, "_NEAR_DIFFERENCES", 0)
        x = np.random.default_rng(0).normal(size=900)
        y = np.abs(x) + 0.1 * np.random.default_rng(1).normal(size=900)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = estimate(x, y, folds=3, **QUICK)
        assert result.mi > 1
        assert result.gap > 0.2 * result.mi
        assert not [w for w in caught if "gap" in str(w.message)]

    @pytest.mark.parametrize(("r", "dim", "said"), [(0.95, 4, True), (0.6, 4, False), (0.95, 1, False)])
    def test_values_near_what_the_rows_show(self, r, dim, said):
        """4.7 nats of 300 rows, whose logarithm is 5.7; not 0.9 nats, nor 1.2."""
        x, noise = np.random.default_rng(0).normal(size=(2, 300, dim))
        y = r * x + math.sqrt(1 - r * r) * noise
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimate(x, y, **BRIEF)
        assert any("near what 300 rows can show" in str(w.message) for w in caught) == said

    def test_overfitting_is_said(self):
        """Relations of five columns, of which 200 rows teach a part, and much that is not so."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 5))
        y = np.cos(1.5 * x) + 0.2 * rng.normal(size=(400, 5))
        schedule = Schedule(steps=200, batch_size=64, learning_rate=1.5e-2)
        found = measure(x, y, seed=0, folds=2, schedule=schedule, device=torch.device("cpu"), replicas=2)
        assert found.overfitting > 0.2 * found.local.mean() > 0.2
        assert found.gap >= 0.5 * found.overfitting
        with pytest.warns(TrainingWarning, match="overfitting: much higher on training rows than on held-out rows"):
            result = estimate(x, y, folds=2, schedule=schedule, progress=False)
        assert (result.mi, result.gap, result.pvalue) == (found.local.mean(), found.gap, found.pvalue)

    def test_facts(self):
        assert (DefaultEstimator.name, DefaultEstimator.kind, DefaultEstimator.ceiling_formula) == (
            "default",
            "estimate",
            "none",
        )

    @pytest.mark.parametrize(
        ("n", "quick", "folds", "check_every"),
        [(200, False, 10, 10), (1000, False, 5, 10), (3999, True, 2, 10), (4000, False, 5, 25)],
    )
    def test_defaults(self, n, quick, folds, check_every):
        assert default_folds(n, quick=quick) == folds
        assert default_schedule(n, quick=quick).check_every == check_every
        assert default_schedule(n, quick=True).steps < default_schedule(n, quick=False).steps

    def test_folds_and_ticks(self):
        x = draw(140)[0]
        found = estimate(x, x**2, **{**SHORT, "folds": 3})  # which no elliptical copula expresses
        assert len(found.history) == 2 * 3  # two networks each, of few rows
        options = {"seed": 0, "folds": 2, "schedule": Schedule(steps=40, check_every=10, patience=1)}
        for x, y in (draw(140), draw(60), (self.discrete, self.discrete)):  # trained, too few rows, counted
            ticks = []
            measure(x, y, device=torch.device("cpu"), draws=9, tick=ticks.append, **options)
            assert sum(ticks) == 40 * trainings(len(x))

    discrete = np.arange(60.0)[:, None] % 2


@pytest.mark.slow
def test_columns_with_two_branches_warn_that_rows_cannot_show_the_value():
    """About 15 nats of 600 rows in three columns a side: residuals of a regression do not show them either."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    y = rng.choice([-1.0, 1.0], (600, 3)) * x + 0.003 * rng.normal(size=(600, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimate(x, y, progress=False)
    assert any("near what 600 rows can show" in str(w.message) for w in caught)
