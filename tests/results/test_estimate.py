"""What an :class:`infomax.Estimate` gives."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from infomax import Estimate, Trial

QUICK = {"quick": True, "progress": False}


class TestEstimate:
    result = Estimate(0.5, 0.1, 0.05, "lower", "infonce", 100, ceiling=3.0, warnings=("mind this",))

    def test_interval(self):
        low, high = self.result.confidence_interval(0.9)
        assert low == pytest.approx(0.5 - 1.6448536 * 0.1)
        assert high == pytest.approx(0.5 + 1.6448536 * 0.1 + 0.05)
        with pytest.raises(ValueError, match=r"level must lie in \(0, 1\); got 95"):
            self.result.confidence_interval(95)

    def test_upper_end_is_never_negative(self):
        assert Estimate(-0.5, 0.1, 0.0, "lower", "infonce", 100).confidence_interval()[1] == 0.0

    def test_bits(self):
        bits = self.result.bits
        assert float(bits) == pytest.approx(0.5 / math.log(2))
        assert (bits.unit, bits.ceiling) == ("bits", pytest.approx(3.0 / math.log(2)))
        assert bits.confidence_interval()[0] == pytest.approx(self.result.confidence_interval()[0] / math.log(2))
        assert bits.bits is bits

    def test_bits_of_each_row_and_of_the_history(self, quick):
        nats = quick("default")
        np.testing.assert_allclose(nats.bits.local, nats.local / math.log(2))
        assert nats.bits.local.mean() == pytest.approx(nats.bits.mi)
        assert nats.bits.pvalue == nats.pvalue
        trained = quick("infonce")
        assert trained.bits.history[0].validation[0] == pytest.approx(trained.history[0].validation[0] / math.log(2))

    @pytest.mark.parametrize(("mi", "near"), [(0.49, False), (0.51, True)])
    def test_near_ceiling_in_either_unit(self, mi, near):
        result = Estimate(mi, 0.1, 0.0, "lower", "infonce", 100, ceiling=3.0)
        assert result.near_ceiling == result.bits.near_ceiling == near

    @pytest.mark.parametrize("bound", ["default", "infonce"])
    def test_to_dict_is_json(self, bound, quick):
        result = quick(bound)
        loaded = json.loads(json.dumps(result.to_dict()))
        assert loaded["mi"] == result.mi
        assert loaded["confidence_interval_95"] == list(result.confidence_interval())
        assert "history" not in loaded
        history = json.loads(json.dumps(result.to_dict(history=True)))["history"]
        assert [fold["steps"][0] for fold in history] == [0] * len(result.history)
        assert bound == "default" or history
        assert loaded["permutations"] == (99 if bound == "default" else None)
        assert loaded["pvalue"] == result.pvalue
        assert (result.pvalue is None) == (bound == "infonce")
        assert "local" not in loaded

    def test_repr_says_what_matters(self):
        text = repr(self.result)
        for part in (
            "0.5000 nats",
            "95 % interval [0.3040, 0.7460]",
            "lower bound by infonce",
            "100 pairs",
            "mind this",
        ):
            assert part in text

    def test_repr_says_the_test_of_independence(self):
        result = Estimate(0.5, 0.1, 0.05, "estimate", "default", 100, pvalue=0.005)
        assert "standard error 0.1000, p = 0.005 for independence" in repr(result)
        assert "p ≤ 0.005 for independence" in repr(replace(result, permutations=199))
        assert "p = 0.005 for independence" in repr(replace(result, permutations=399))

    def test_no_interval_goes_beyond_what_a_discrete_side_allows(self):
        result = Estimate(0.5, 0.1, 0.3, "estimate", "default", 100, limit=0.6)
        assert result.confidence_interval() == pytest.approx((0.304, 0.6), abs=1e-3)
        assert result.bits.confidence_interval()[1] == pytest.approx(0.6 / math.log(2))
        assert replace(result, limit=0.4).confidence_interval()[1] == 0.5  # never below the estimate
        assert replace(result, limit=2.0).confidence_interval()[1] == pytest.approx(0.996, abs=1e-3)

    candidates = (Trial("elliptical", "a copula", 0.4, 0.02, 50), Trial("mixture", "clusters", 0.5, 0.03, 50, True))

    def test_candidates_in_bits_and_as_json(self):
        result = replace(self.result, candidates=self.candidates)
        assert [trial.score for trial in result.bits.candidates] == pytest.approx(
            [0.4 / math.log(2), 0.5 / math.log(2)]
        )
        assert [trial.stderr for trial in result.bits.candidates] == pytest.approx(
            [0.02 / math.log(2), 0.03 / math.log(2)]
        )
        assert [trial.chosen for trial in result.bits.candidates] == [False, True]
        loaded = json.loads(json.dumps(result.to_dict()))["candidates"]
        assert loaded[0] == {
            "name": "elliptical",
            "assumes": "a copula",
            "score": 0.4,
            "stderr": 0.02,
            "rows": 50,
            "chosen": False,
        }
        assert [Trial(**trial) for trial in loaded] == list(self.candidates)
        assert "elliptical" not in repr(result)

    def test_candidates_of_the_default(self, quick):
        """Those for continuous columns, then networks on top of the best; one of them is chosen."""
        names = [trial.name for trial in quick("default").candidates]
        assert names[:-2] == ["elliptical", "components", "mixture", "pairs"]
        assert names[-2:] == ["elliptical + network", "elliptical + additive"]
        assert [trial.chosen for trial in quick("default").candidates].count(True) == 1
        assert quick("infonce").candidates == ()

    def test_frozen(self):
        with pytest.raises(AttributeError):
            self.result.mi = 1.0

    @pytest.mark.parametrize("bound", ["default", "infonce", "gaussian"])
    def test_plot(self, bound, quick):
        result = quick(bound)
        figure = result.plot()
        assert figure._repr_png_().startswith(b"\x89PNG")
        ax = figure.axes[0]
        assert len(figure.axes) == 2
        assert ax.get_xlabel() == "mutual information, nats"
        if bound == "infonce":
            assert len([line for line in figure.axes[1].lines if line.get_marker() == "o"]) == len(result.history)

    @pytest.mark.parametrize("bound", ["default", "infonce"])
    def test_folds(self, bound, quick):
        """Two folds of equal size: their mean is the value."""
        result = quick(bound)
        assert len(result.folds) == 2
        assert np.mean(result.folds) == pytest.approx(result.mi)
        assert result.bits.folds[0] == pytest.approx(result.folds[0] / math.log(2))
