import json
import math
import sys
import warnings

import numpy as np
import pytest

import infomax
from infomax import Bracket, Estimate, InfomaxWarning, Schedule, TrainingWarning, bracket, estimate
from infomax.bounds import base

QUICK = {"quick": True, "progress": False}


def draw(n=100):
    return np.random.default_rng(n).normal(size=n)


class Above(infomax.BA):
    """An upper bound of kind "upper", for the sake of the test: Barber-Agakov plus a tenth."""

    kind = "upper"

    def forward(self, x, y, *rest):
        return super().forward(x, y, *rest) + 0.1


@pytest.fixture
def club(monkeypatch):
    """Any bound under the default's name."""
    monkeypatch.setitem(base._REGISTRY, "club", Above)
    monkeypatch.setattr(Above, "name", "club")


@pytest.mark.usefixtures("club")
def test_bracket_holds_the_truth():
    x, noise = np.random.default_rng(0).normal(size=(2, 1000))
    options = {"seed": 2, "schedule": Schedule(steps=60), **QUICK}
    result = bracket(x, x + noise, **options)
    assert type(result) is Bracket
    assert (result.lower.bound, result.upper.bound) == ("infonce", "club")
    assert (result.lower.kind, result.upper.kind, result.assumption) == ("lower", "upper", "")
    assert result.lower == estimate(x, x + noise, bound="infonce", **options)
    assert result.lower.mi < result.upper.mi
    low, high = result.confidence_interval()
    assert (low, high) == (result.lower.confidence_interval()[0], result.upper.confidence_interval()[1])
    assert low < 0.5 * math.log(2) < high
    bits = result.bits
    assert bits.confidence_interval() == pytest.approx((low / math.log(2), high / math.log(2)))
    loaded = json.loads(json.dumps(bits.to_dict()))
    assert (loaded["unit"], loaded["n"], loaded["lower"]["mi"]) == ("bits", 1000, bits.lower.mi)
    assert "assumption" not in repr(result)
    assert f"{result.lower.mi:.4f} to {result.upper.mi:.4f} nats" in repr(result)


def test_bracket_says_what_its_upper_end_assumes():
    x, noise = np.random.default_rng(0).normal(size=(2, 300))
    result = bracket(x, x + noise, lower="nwj", upper=infomax.BA(1, 1), **QUICK)
    assert result.assumption == "the upper end is a bound only if q(y | x) of ba is the true conditional density"
    assert result.assumption in repr(result)
    assert result.to_dict()["assumption"] == result.assumption


def test_bracket_without_its_default(monkeypatch):
    monkeypatch.delitem(base._REGISTRY, "club", raising=False)
    with pytest.raises(ValueError, match="upper must be a known bound: bound 'club' is not known"):
        bracket(draw(), draw())


def test_bracket_of_constants_is_exact():
    warnings.simplefilter("ignore", InfomaxWarning)
    result = bracket(draw(), np.ones(100), upper="ba", **QUICK)
    assert (result.confidence_interval(), result.assumption) == ((0.0, 0.0), "")
    assert [text.split(":")[0] for text in result.warnings] == ["lower", "upper"]


def test_crossing_ends_are_said(monkeypatch):
    """A Gaussian q(y | x) cannot see what y does with the sign of x alone."""
    ends = [Estimate(0.5, 0.01, 0.0, "lower", "infonce", 100), Estimate(0.1, 0.01, 0.0, "estimate", "ba", 100)]
    judged = [(end, []) for end in ends]
    monkeypatch.setattr(sys.modules["infomax.estimation.bracket"], "estimates", lambda *_, **__: judged)
    with pytest.warns(TrainingWarning, match="bracket: the lower bound exceeds the upper bound") as caught:
        result = bracket(draw(), draw(), upper="ba")
    assert caught[0].filename == __file__
    assert "exceeds the upper bound" in result.warnings[0]
    assert result.confidence_interval() == pytest.approx((0.1 - 1.96 * 0.01, 0.5 + 1.96 * 0.01), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bracket(draw(), draw(99), upper="ba"), ValueError, "y must have as many rows as x; got 99 and 100"),
        (lambda: bracket(draw(), draw(), lower="ba", upper="ba"), ValueError, "lower must be .* 'lower'; got 'ba'"),
        (lambda: bracket(draw(), draw(), lower="ksg", upper="ba"), ValueError, "lower must be .*; got 'ksg'"),
        (lambda: bracket(draw(), draw(), lower="default"), ValueError, "'lower'; got 'default', of kind 'estimate'"),
        (lambda: bracket(draw(), draw(), upper="default"), ValueError, "upper must be .*; got 'default'"),
        (lambda: bracket(draw(), draw(), upper="nwj"), ValueError, "upper must be .*; got 'nwj', of kind 'lower'"),
        (lambda: bracket(draw(), draw(), upper="dv"), ValueError, "upper must be .*; got 'dv', of kind 'estimate'"),
        (lambda: bracket(draw(), draw(), upper="gaussian"), ValueError, "upper must be .*; got 'gaussian'"),
        (lambda: bracket(draw(), draw(), upper="bb"), ValueError, "upper must be a known bound: bound 'bb' is"),
        (lambda: bracket(draw(), draw(), bound="ksg"), TypeError, "two bounds, lower and upper; got bound='ksg'"),
        (lambda: bracket(draw(), draw(), upper=3), TypeError, "upper must be a name or an infomax.Bound; got 3"),
    ],
)
def test_bad_input_is_refused_before_any_work(call, error, message, monkeypatch):
    monkeypatch.setattr("infomax.training.cross_fitting.fit", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=message):
        call()
