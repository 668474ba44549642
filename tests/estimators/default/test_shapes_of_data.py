"""The default of `estimate` on small, discrete, wide and constant samples."""

import math
import warnings

import numpy as np
import pytest
import torch
from default_runs import QUICK, SHORT, close, draw
from scipy import stats

from infomax import ConstantColumnWarning, InfomaxWarning, estimate
from infomax.estimators.default.estimator import measure
from infomax.statistics.counts import plugin
from infomax.training.fit import Schedule


@pytest.fixture(autouse=True)
def quiet():
    """What estimates say of themselves is tested where it is the matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)
        yield


class TestShapesOfData:
    @pytest.mark.parametrize("dims", [(1, 1), (3, 2), (30, 1)])
    def test_twenty_rows(self, dims):
        result = estimate(*draw(20, *dims), progress=False)
        assert math.isfinite(result.mi)
        assert abs(result.mi) < 1.5
        assert len(result.local) == 20
        assert result.history == ()  # too few rows to say when to stop a network

    def test_twenty_one_rows_in_two_folds(self):
        assert math.isfinite(estimate(*draw(21), folds=2, progress=False).mi)

    def test_fewer_rows_than_columns(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(50, 80)), rng.normal(size=(50, 60))
        result = estimate(x, y, **SHORT)
        assert abs(result.mi) < 3 * result.stderr + 0.05
        assert result.pvalue > 0.005
        shared = np.random.default_rng(1).normal(size=(50, 1)) * np.ones(10)
        x[:, :10] += 3 * shared
        y[:, :10] += 3 * shared
        assert estimate(x, y, **SHORT).mi > 0.2

    def test_equal_sides_are_finite_and_large(self):
        x = np.random.default_rng(0).normal(size=(300, 1))
        result = estimate(x, x, **SHORT)
        assert math.log(300) - 1 < result.mi < 15
        assert np.isfinite(result.local).all()
        assert math.isfinite(estimate(x, -x, **SHORT).mi)
        wide = np.random.default_rng(0).normal(size=(100, 12))
        assert math.isfinite(estimate(wide, wide, **SHORT).mi)

    def test_constant_columns_are_left_out(self):
        x, y = draw(80, 2)
        with pytest.warns(ConstantColumnWarning, match="left out: 1"):
            found = estimate(np.column_stack([x[:, 0], np.ones(80), x[:, 1]]), y, **SHORT)
        assert found.mi == estimate(x, y, **SHORT).mi
        nothing = estimate(x, np.ones(80), **SHORT)
        assert (nothing.mi, nothing.stderr, nothing.pvalue, nothing.local) == (0.0, 0.0, None, None)

    def test_a_column_that_is_constant_on_most_rows(self):
        x, y = draw(120)
        rare = np.zeros((120, 1))
        rare[:2] = 1
        result = estimate(np.hstack([x, rare]), y, **SHORT)
        assert close(result, estimate(x, y, **SHORT))

    def test_a_column_given_twice(self):
        x, y = draw(200)
        result = estimate(np.hstack([x, x]), y, **SHORT)
        assert close(result, estimate(x, y, **SHORT))

    @pytest.mark.parametrize(("quick", "tolerance"), [(True, 0.04), pytest.param(False, 0.02, marks=pytest.mark.slow)])
    def test_a_label_and_a_measurement(self, quick, tolerance):
        """y uniform on [label, label + 2), two labels: a row tells log 2 outside of the overlap, and nothing in it."""
        rng = np.random.default_rng(0)
        label = rng.integers(2, size=1000)
        y = label + 2 * rng.random(1000)
        result = estimate(label, y, quick=quick, progress=False)
        low, high = result.confidence_interval(0.997)
        assert low < 0.5 * math.log(2) < high
        of_these_rows = math.log(2) * ((y < 1) | (y > 2)).mean()
        assert result.mi == pytest.approx(of_these_rows, abs=tolerance)
        assert estimate(y, label, **QUICK).mi > 0.25

    def test_a_mixture_of_atoms_and_a_density(self):
        """y is 0 on half of the rows, whatever x is, and x + noise on the others: half of log(2) / 2."""
        rng = np.random.default_rng(0)
        x, y = draw(1000)
        silent = rng.random((1000, 1)) < 0.5
        result = estimate(x, np.where(silent, 0.0, y), **QUICK)
        low, high = result.confidence_interval(0.997)
        assert low < 0.25 * math.log(2) < high
        assert result.pvalue == 1 / 100  # the smallest of 99 permutations


class TestTables:
    """Both sides discrete, with many rows for each combination: counted."""

    rng = np.random.default_rng(0)
    x = rng.integers(3, size=(400, 1)) * 1.0
    y = np.where(rng.random((400, 1)) < 0.3, x, rng.integers(4, size=(400, 1)))

    def test_the_value_is_counted(self):
        result = estimate(self.x, self.y, progress=False)
        assert result.mi == estimate(self.x, self.y, bound="plugin").mi
        assert result.stderr == estimate(self.x, self.y, bound="plugin").stderr
        assert np.array_equal(result.local, plugin(self.x, self.y))
        assert (result.history, result.gap, result.bound) == ((), 0.0, "default")

    def test_names_of_the_values_do_not_matter(self):
        renamed = np.array([7.0, -1.0, 0.5])[self.x.astype(int)]
        result = estimate(self.x, self.y, progress=False)
        assert estimate(renamed, self.y, progress=False).mi == pytest.approx(result.mi, rel=1e-12)
        assert estimate(self.y, self.x, progress=False).mi == pytest.approx(result.mi, rel=1e-12)

    def test_few_rows_for_many_combinations_are_not_counted(self):
        few = estimate(self.x[:50], self.y[:50], progress=False)  # 12 combinations, 60 rows wanted
        assert few.local.mean() != plugin(self.x[:50], self.y[:50]).mean()
        assert estimate(self.x[:60], self.y[:60], progress=False).mi == plugin(self.x[:60], self.y[:60]).mean()

    def test_the_pvalue_is_that_of_the_chi_squared_test(self):
        """Of tables near the edge, by permutations and by the asymptotic test of the same statistic."""
        rng = np.random.default_rng(1)
        for _ in range(5):
            x = rng.integers(3, size=(300, 1)) * 1.0
            y = np.where(rng.random((300, 1)) < 0.12, x, rng.integers(3, size=(300, 1)))
            table = np.histogram2d(x[:, 0], y[:, 0], bins=3)[0]
            expected = stats.chi2_contingency(table, lambda_="log-likelihood").pvalue
            found = estimate(x, y, progress=False).pvalue
            assert found == pytest.approx(expected, abs=4 * math.sqrt(max(expected, 0.005) / 199) + 0.01)

    @pytest.mark.parametrize("kept", [0.0, 0.6])
    def test_the_standard_error_is_the_scatter_of_the_values(self, kept):
        rng = np.random.default_rng(2)
        values, errors = [], []
        for _ in range(150):
            x = rng.integers(3, size=(200, 1)) * 1.0
            y = np.where(rng.random((200, 1)) < kept, x, rng.integers(4, size=(200, 1)))
            found = measure(x, y, seed=0, folds=2, schedule=Schedule(), device=torch.device("cpu"), draws=1)
            values.append(found.local.mean())
            errors.append(found.stderr)
        # For dependent sides exact to the first order; for independent ones on the safe side.
        assert np.std(values) * (1 - 0.15) < np.mean(errors) < np.std(values) * (1.15 if kept else 2.2)
