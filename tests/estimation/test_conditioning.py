"""Conditional mutual information where the chain rule fails, and by neighbours, which need no chain rule."""

import math

import numpy as np
import pytest

from infomax import InfomaxWarning, SaturationWarning, Schedule, conditional, transfer_entropy

GAUSSIAN = {"bound": "gaussian"}


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
@pytest.mark.parametrize("bound", ["default", "gaussian", "ksg"])
def test_given_what_determines_a_side_nothing_remains(bound):
    """A conditional information of a function of the condition is 0; both terms of the chain rule are infinite."""
    rng = np.random.default_rng(0)
    x, noise, other = rng.normal(size=(3, 400))
    options = {"bound": bound, "progress": False, "quick": True}
    for left, right, given in (
        (x, np.sign(x), x),
        (np.sign(x), x, x),
        (x, x + noise, np.exp(-x)),
        (x, x + noise, np.column_stack([other, x + other])),
        (x**2, x + noise, np.column_stack([x, other])),
    ):
        result = conditional(left, right, given, **options)
        assert (result.mi, result.stderr, result.confidence_interval()) == (0.0, 0.0, (0.0, 0.0))
        assert result.bound == bound
        assert "is an exact function of z: the conditional mutual information is 0" in result.warnings[0]
    past = np.column_stack([x, noise])
    assert transfer_entropy(past, past, **options).mi == 0.0


def test_columns_that_the_condition_determines_are_left_out():
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(3, 500))
    y = x + y + z
    with pytest.warns(InfomaxWarning, match="1 of 2 columns of y are exact functions of z: they add nothing") as caught:
        result = conditional(x, np.column_stack([y, 3 * z]), z, **GAUSSIAN)
    assert caught[0].filename == __file__
    assert result.mi == conditional(x, y, z, **GAUSSIAN).mi == pytest.approx(0.5 * math.log(2), abs=0.15)


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
def test_the_side_that_follows_the_condition_is_not_subtracted():
    """z is x with a little noise. I(x; z) is 6.9 nats, and its error large; I(y; z) is log 2 and I(x; y | z) 0 nats."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 400))
    z, options = x + 1e-3 * noise, {"progress": False, "schedule": Schedule(steps=100), "folds": 2}
    result = conditional(x, np.sign(x), z, **options)
    assert [term.of for term in result.terms] == ["I(y; x, z)", "I(y; z)"]
    low, high = result.confidence_interval()
    assert low <= 0.001 <= high
    assert abs(result.mi) < 0.05
    assert high - low < 0.5
    (direct,) = conditional(x, np.sign(x), z, bound="ksg", margins="none").terms
    assert direct.of == "I(x; y | z)"
    assert direct.estimate.mi == pytest.approx(0.0, abs=0.02)


def labels(rng):
    """Two labels on disjoint ranges: log 2, whatever z."""
    y = rng.choice([0.0, 2.0], size=800)
    return rng.uniform(y, y + 1), y, rng.beta(2, 3, size=800)


def revealed(rng):
    """x is a signal plus z, y the sign of the signal: log 2 given z."""
    signal, z = rng.normal(size=(2, 1500)) * [[1.0], [0.3]]
    return signal + z, np.sign(signal), z


def normal_pair(rng):
    """Correlation 0.6, and z independent."""
    x, noise, z = rng.normal(size=(3, 1000))
    return x, 0.6 * x + 0.8 * noise, z


def common_cause(rng):
    """Partial correlation 0.5 given two columns."""
    z, noise = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2))
    return z[:, 0] + noise[:, 0], z[:, 1] + 0.5 * noise[:, 0] + math.sqrt(0.75) * noise[:, 1], z


@pytest.mark.filterwarnings("ignore:.* exceeds the entropy")
@pytest.mark.parametrize(
    ("draw_three", "truth", "tolerance"),
    [
        (labels, math.log(2), 0.01),
        (revealed, math.log(2), 0.025),
        (normal_pair, -0.5 * math.log(0.64), 0.035),
        (common_cause, -0.5 * math.log(0.75), 0.03),
    ],
)
def test_neighbours_measure_conditional_information_directly(draw_three, truth, tolerance):
    """The mean of ten samples; single ones have standard deviations of 0.005 (labels) to 0.04 (normal columns)."""
    options = {"bound": "ksg", "margins": "none"}
    results = [conditional(*draw_three(np.random.default_rng(seed)), **options) for seed in range(10)]
    assert {len(result.terms) for result in results} == {1}
    assert np.mean([result.mi for result in results]) == pytest.approx(truth, abs=tolerance)
    covered = [low <= truth <= high for low, high in (result.confidence_interval() for result in results)]
    assert sum(covered) >= 8


def test_neighbours_in_transfer_entropy():
    rng = np.random.default_rng(0)
    source, noise = rng.normal(size=(2, 3000))
    target = np.roll(source, 1) + noise
    result = transfer_entropy(source, target, bound="ksg")
    assert [term.of for term in result.terms] == ["I(target now; source past | target past)"]
    assert result.mi == pytest.approx(0.5 * math.log(2), abs=3 * result.stderr)


@pytest.mark.filterwarnings("ignore:I.x; (y, z|z). gaussian")
def test_a_saturated_term_that_is_subtracted_is_said():
    """x and y both follow z, and share more: the difference of two large values."""
    rng = np.random.default_rng(0)
    z, common = rng.normal(size=(2, 300))
    x, y = (z + 1e-5 * (common + rng.normal(size=300)) for _ in range(2))
    with pytest.warns(SaturationWarning) as caught:
        result = conditional(x, y, z, **GAUSSIAN)
    assert "I(x; y | z): I(x; z), which is subtracted, is saturated" in str(caught[-1].message)
    assert "which is subtracted, is saturated" in result.warnings[0]
