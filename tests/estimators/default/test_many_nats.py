"""Where pairs are separable, residuals of regressions move the default's estimate."""

import numpy as np
import pytest
from default_runs import QUICK

from infomax import estimate
from infomax.estimators.base import Measurement
from infomax.estimators.default import alternatives, estimator
from infomax.estimators.default.folds import Side
from infomax.statistics.residuals import residual_terms
from infomax.tasks.noise import gamma_exponential, smoothed_uniform
from infomax.tasks.normal import correlated_normal
from infomax.tasks.student import correlated_student


def with_residuals(found, x, y):
    sides = Side.of(x), Side.of(y)
    return alternatives.with_residuals(found, sides, np.random.default_rng(0))


def saturated(value, n):
    return Measurement(value, 0.05, 0.5, np.full(n, value))


def test_a_saturated_estimate_is_moved():
    x, y = gamma_exponential(10, dim=2).sample(1000, seed=0)
    moved, confirmed = with_residuals(saturated(6.0, 1000), x, y)
    assert confirmed
    assert moved.value == pytest.approx(10, abs=0.2)
    assert moved.local.mean() == pytest.approx(moved.value, abs=1e-12)
    assert 0.03 < moved.stderr < 0.1
    assert 0.5 < moved.gap < 0.6


def test_by_the_share_that_is_not_noise():
    x, y = correlated_student(4, df=4, dim=2).sample(600, seed=0)
    terms = residual_terms(Side.of(x).values.numpy(), Side.of(y).values.numpy(), np.random.default_rng(0))
    value = terms.mean() - 0.5
    z = 0.5 / np.sqrt((terms.var() + 0.56764591) / 600)
    moved, _ = with_residuals(saturated(value, 600), x, y)
    assert moved.value == pytest.approx(value + 0.5 * (1 - 9 / z**2), abs=1e-6)
    assert with_residuals(still := saturated(terms.mean() - 0.05, 600), x, y)[0] is still


@pytest.mark.parametrize(("kind", "confirmed"), [("right", True), ("larger", False), ("ties", False)])
def test_others_stay(kind, confirmed):
    x, y = correlated_normal(4.0, dim=2).sample(1000, seed=0)
    rho = np.sqrt(-np.expm1(-4.0))
    density = ((x - rho * y) ** 2 / np.exp(-4.0) - x**2).sum(1) / 2
    local = 4.0 - density + (2 if kind == "larger" else 0)
    found = Measurement(float(local.mean()), 0.05, 0.5, local)
    if kind == "ties":
        found, y = saturated(2.0, 1000), y.round(2)
    assert with_residuals(found, x, y) == (found, confirmed)


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
@pytest.mark.parametrize(("n", "dim", "mi"), [(600, 2, 0.5), (300, 2, 8.0), (600, 4, 8.0)])
def test_not_computed_for_few_nats_few_rows_or_many_columns(n, dim, mi, monkeypatch):
    def refuse(*_):
        raise AssertionError("it must not be computed")

    monkeypatch.setattr(estimator, "with_residuals", refuse)
    assert estimate(*correlated_normal(mi, dim=dim).sample(n, seed=0), **QUICK).mi > mi / 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
@pytest.mark.parametrize("task", [gamma_exponential(10, dim=1), smoothed_uniform(10, dim=2)], ids=lambda t: t.name)
def test_ten_nats(task):
    result = estimate(*task.sample(2000, seed=0), progress=False)
    low, high = result.confidence_interval()
    assert result.mi == pytest.approx(10, abs=0.3)
    assert low < 10 < high
