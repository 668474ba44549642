"""What is said of a result, for results made up to be just inside and just outside each rule."""

import math
import warnings

import numpy as np
import pytest

from infomax import Estimate, SaturationWarning, Schedule, TrainingWarning, estimate
from infomax.estimation.diagnostics import judge_result


def said(mi, *, stderr=0.01, gap=0.0, kind="lower", measured=100, pvalue=None):
    result = Estimate(mi, stderr, gap, kind, bound="b", n=100, pvalue=pvalue)
    return [str(caution) for caution in judge_result(result, measured)]


@pytest.mark.parametrize(
    ("mi", "stderr", "kind"), [(-0.04, 0.001, "lower"), (-0.2, 0.1, "estimate"), (-1.0, 0.1, "upper")]
)
def test_slightly_below_zero_is_what_independence_looks_like(mi, stderr, kind):
    assert said(mi, stderr=stderr, kind=kind) == []


@pytest.mark.parametrize("mi", [-0.06, -87.5])
def test_far_below_zero_is_said(mi):
    (text,) = said(mi)
    assert text.startswith("far below 0, which is impossible for mutual information")


def test_what_no_sample_certifies_is_said_of_classical_estimators_too():
    assert said(math.log(100) - 0.01) == []
    assert "larger than log n (100 rows" in said(math.log(100) + 0.01)[0]
    x = np.random.default_rng(0).normal(size=(100, 3))
    with pytest.warns(SaturationWarning, match="gaussian: larger than log n"):
        assert estimate(x, x + 1e-3 * np.random.default_rng(1).normal(size=x.shape), bound="gaussian").mi > 10


def test_gaps_are_said():
    assert said(1.0, gap=0.19) == said(1.0, gap=-0.19) == []
    assert "overfitting: much higher on training rows" in said(1.0, gap=0.21)[0]
    assert "a negative gap" in said(1.0, gap=-0.21)[0]
    assert all(
        isinstance(c, TrainingWarning) for c in judge_result(Estimate(1.0, 0.1, 0.5, "lower", bound="b", n=9), 9)
    )


def test_a_pvalue_that_contradicts_the_value_is_said():
    assert (
        said(0.02, pvalue=0.005) == said(0.01, pvalue=0.02) == said(0.02, pvalue=0.9) == said(0.04, pvalue=0.05) == []
    )
    (text,) = said(0.01, pvalue=0.005)
    assert text.startswith("the test of independence finds a dependence (p = 0.005) that the value does not show")
    (text,) = said(0.031, pvalue=0.06)
    assert text.startswith("the interval excludes 0, but the test of independence finds no dependence (p = 0.06)")


@pytest.mark.parametrize(
    ("n", "folds", "bound", "few"),
    [
        (71, 10, "default", True),  # 63 or 64 rows to learn from: the largest fold decides
        (70, 10, "infonce", True),
        (120, 2, "default", True),
        (72, 10, "default", False),
        (71, 10, "infonce", False),  # 63 or 64 rows to learn from: the smallest fold decides
    ],
)
def test_too_few_rows_to_train_on_are_said(n, folds, bound, few):
    x, y = np.random.default_rng(0).normal(size=(2, n))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = estimate(x, y, bound=bound, folds=folds, schedule=Schedule(steps=20), progress=False)
    said = [warning for warning in caught if "no network was trained" in str(warning.message)]
    assert [warning.category for warning in said] == [TrainingWarning] * few
    assert any(text.startswith("no network was trained: too few rows") for text in result.warnings) == few
    if bound == "default":  # which need not keep its networks
        assert any(trial.name.endswith(" + network") for trial in result.candidates) != few
    else:
        assert sum(model.steps[-1] > 0 for model in result.history) == (0 if few else folds)


def test_counting_and_a_schedule_without_steps_need_no_rows_to_train_on():
    rng = np.random.default_rng(0)
    assert estimate(*rng.integers(2, size=(2, 40)), progress=False).warnings == ()
    x, y = rng.normal(size=(2, 60))
    assert estimate(x, y, schedule=Schedule(steps=0), progress=False).warnings == ()
