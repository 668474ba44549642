import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import infomax
from infomax import (
    CPC,
    NWJ,
    ConstantColumnWarning,
    Estimate,
    InfoNCE,
    SaturationWarning,
    TrainingWarning,
    estimate,
    tasks,
)
from infomax.fitting import Schedule, fit

QUICK = {"quick": True, "progress": False}


@pytest.fixture(scope="module")
def gaussian():
    return tasks.get("normal-5d-1").sample(2000, 0)


@pytest.mark.filterwarnings("ignore:ksg. neighbours")
@pytest.mark.parametrize("bound", [*infomax.bounds.names(), "gaussian", "ksg"])
def test_every_name_gives_the_same_type_and_a_defensible_number(bound, gaussian):
    result = estimate(*gaussian, bound=bound, **QUICK)
    assert type(result) is Estimate
    assert (result.bound, result.n, result.unit) == (bound, 2000, "nats")
    low, high = result.confidence_interval()
    assert low < result.mi < high
    assert result.mi < 1.0 + 3 * result.stderr
    # A loose critic (cpc) and neighbours in ten dimensions may say too little; all others are close.
    assert result.mi > (0.4 if bound in ("cpc", "ksg") else 0.9)


def test_intervals_cover(gaussian):
    """The true value in at least 15 of 20 samples of 500 rows, d = 2, I = 0.5, for a trained lower bound."""
    warnings.simplefilter("ignore", TrainingWarning)
    task = infomax.tasks.normal.correlated_normal(0.5, dim=2)
    covered = 0
    for seed in range(20):
        low, high = estimate(*task.sample(500, seed), seed=seed, **QUICK).confidence_interval()
        covered += low <= task.mi <= high
    assert covered >= 15


def test_nonlinear_dependence_that_correlations_cannot_see():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    y = x**2 + 0.5 * rng.normal(size=4000)
    learned, linear = estimate(x, y, bound=["infonce", "gaussian"], progress=False)
    assert abs(linear.mi) < 0.02
    assert learned.mi > 0.7  # about 0.79 by quadrature


def test_inputs_of_all_kinds_give_one_number(gaussian):
    x, y = gaussian
    results = [
        estimate(a, b, bound="gaussian")
        for a, b in [(x, y), (torch.from_numpy(x), torch.from_numpy(y)), (pd.DataFrame(x), pd.DataFrame(y))]
    ]
    assert results[0].mi == results[1].mi == results[2].mi


def test_seed_decides_everything_and_global_state_is_untouched(gaussian):
    x, y = (side[:300] for side in gaussian)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state, legacy, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    first = estimate(x, y, seed=1, **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert torch.get_num_threads() == threads
    torch.manual_seed(6)
    assert estimate(x, y, seed=1, **QUICK) == first
    assert estimate(x, y, seed=2, **QUICK).mi != first.mi


def test_rows_are_measured_by_bounds_that_never_saw_them(gaussian):
    """Pure noise and a critic that can memorise it: held-out value at or below zero, in-sample far above."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))

    class Overfitting(InfoNCE):
        """Asks to keep the last parameters: its validation loss always falls."""

        checks = 0

        def loss(self, a, b):
            if self.training:
                return super().loss(a, b)
            self.checks += 1
            return torch.tensor(-float(self.checks))

    with pytest.warns(TrainingWarning, match="training rows give"):
        result = estimate(x, y, bound=Overfitting(5, 5), progress=False, schedule=Schedule(steps=200))
    assert result.gap > 1.0
    assert result.mi < 0.1


def test_a_module_is_fitted_in_copies(gaussian):
    torch.manual_seed(0)
    bound = NWJ(5, 5, critic="bilinear")
    before = {key: value.clone() for key, value in bound.state_dict().items()}
    result = estimate(*gaussian, bound=bound, **QUICK)
    assert result.bound == "nwj"
    assert result.mi > 0.1
    assert all(torch.equal(value, bound.state_dict()[key]) for key, value in before.items())


def test_a_list_gives_a_list(gaussian):
    results = estimate(*gaussian, bound=["ba", CPC(5, 5), "gaussian"], **QUICK)
    assert [result.bound for result in results] == ["ba", "cpc", "gaussian"]


def test_saturation_is_said(gaussian):
    x = np.random.default_rng(0).normal(size=(400, 4))
    with pytest.warns(SaturationWarning, match=r"infonce: near its ceiling of 5.30 nats"):
        result = estimate(x, x + 1e-3, **QUICK)
    assert result.ceiling == pytest.approx(math.log(200))
    assert result.mi < result.ceiling
    with pytest.warns(SaturationWarning, match="larger than log n"):
        assert estimate(x, x + 1e-3, bound="ba", **QUICK).mi > math.log(200)


def test_classical_estimators_say_where_they_fail():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 10)), rng.normal(size=(200, 10))
    with pytest.warns(infomax.InfomaxWarning, match="ksg: neighbours in 10 [+] 10 dimensions are far away"):
        assert estimate(x, y, bound="ksg").warnings
    with pytest.warns(infomax.InfomaxWarning, match="gaussian: 0.25 nats of bias were subtracted"):
        assert abs(estimate(x, y, bound="gaussian").mi) < 0.1


def test_constant_columns():
    x = np.random.default_rng(0).normal(size=100)
    warnings.filterwarnings("ignore", message=".*y is constant")
    with pytest.warns(ConstantColumnWarning, match="y has 1 constant of 1 columns"):
        result = estimate(x, np.full(100, 3.0), **QUICK)
    assert (result.mi, result.stderr) == (0.0, 0.0)
    assert "y is constant" in result.warnings[0]
    with pytest.warns(ConstantColumnWarning, match="left out: 1"):
        mixed = estimate(np.column_stack([x, np.ones(100)]), x + 1.0, bound="gaussian")
    assert mixed.mi == estimate(x, x + 1.0, bound="gaussian").mi


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 100)), rng.normal(size=(60, 80))
    for bound in ("infonce", "ba"):
        assert abs(estimate(x, y, bound=bound, **QUICK).mi) < 0.3


def test_discrete_columns_stay_finite():
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=600)
    y = np.where(rng.random(600) < 0.9, x, rng.integers(3, size=600))
    for bound in ("infonce", "nwj", "dv", "ba", "gaussian", "ksg"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", infomax.InfomaxWarning)
            assert math.isfinite(estimate(x, y, bound=bound, **QUICK).mi)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bound": "infonc"}, ValueError, "bound 'infonc' is not known; did you mean 'infonce'"),
        ({"bound": "kgs"}, ValueError, "did you mean 'ksg'"),
        ({"bound": 3}, TypeError, "bound must be a name, a Bound, or a list of these; got int"),
        ({"bound": []}, TypeError, "got list"),
        ({"bound": [nn.Identity()]}, TypeError, "bound must be a name or an infomax.Bound; got Identity"),
        ({"bound": CPC(2, 5)}, ValueError, r"bound must have dimensions \(5, 5\); got \(2, 5\)"),
        ({"folds": 1}, ValueError, "folds must be at least 2; got 1"),
        ({"seed": -1}, ValueError, "seed must not be negative; got -1"),
        ({"margins": "ranks"}, ValueError, "margins must be one of"),
        ({"y": np.zeros(7)}, ValueError, "y must have as many rows as x; got 7 and 2000"),
        ({"x": np.arange(19), "y": np.arange(19)}, ValueError, "x must have at least 20 rows; got 19"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, error, message, gaussian, monkeypatch):
    monkeypatch.setattr("infomax.estimation.fit", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=message):
        estimate(**{"x": gaussian[0], "y": gaussian[1], "progress": False, **arguments})


def test_a_critic_of_a_wrong_shape_is_named():
    class Wrong(nn.Module):
        def forward(self, x, y):
            return x.sum(1)

    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match="critic must return scores of shape"):
        estimate(x, x, bound=InfoNCE(2, 2, critic=Wrong()), **QUICK)


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

    def test_to_dict_is_json(self, gaussian):
        result = estimate(*gaussian, **QUICK)
        loaded = json.loads(json.dumps(result.to_dict()))
        assert loaded["mi"] == result.mi
        assert loaded["confidence_interval_95"] == list(result.confidence_interval())
        assert loaded["history"][0]["steps"][0] == 0
        assert loaded["pvalue"] is None

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

    def test_frozen(self):
        with pytest.raises(AttributeError):
            self.result.mi = 1.0

    @pytest.mark.parametrize("bound", ["infonce", "gaussian"])
    def test_plot(self, bound, gaussian):
        result = estimate(*gaussian, bound=bound, **QUICK)
        figure = result.plot()
        assert figure._repr_png_().startswith(b"\x89PNG")
        (ax,) = figure.axes
        assert "mutual information, nats" in ax.get_ylabel()
        assert len([line for line in ax.lines if line.get_marker() == "."]) == len(result.history)


class TestFit:
    def pairs(self, n=400):
        x, y = (torch.from_numpy(side).float() for side in tasks.get("normal-1d-1").sample(n, 0))
        return (x[: n // 2], y[: n // 2]), (x[n // 2 :], y[n // 2 :])

    def test_keeps_the_best_state_and_stops(self):
        torch.manual_seed(0)
        bound = InfoNCE(1, 1)
        schedule = Schedule(steps=400, check_every=10, patience=3)
        history = fit(bound, *self.pairs(), schedule=schedule, generator=torch.Generator().manual_seed(0))
        assert not bound.training
        best = history.validation[history.steps.index(history.best_step)]
        assert best == pytest.approx(max(history.validation))
        assert bound(*self.pairs()[1]).item() == pytest.approx(best, abs=1e-6)
        assert history.steps[-1] == 400 or history.steps[-1] - history.best_step == 30

    def test_divergence_is_survived_and_said(self):
        class Diverging(NWJ):
            def loss(self, x, y):
                return super().loss(x, y) * (1.0 if self.calls() < 3 else torch.nan)

            def calls(self):
                self.count = getattr(self, "count", 0) + (not self.training)
                return self.count

        bound = Diverging(1, 1)
        schedule = Schedule(steps=100, check_every=10)
        history = fit(bound, *self.pairs(), schedule=schedule, generator=torch.Generator())
        assert history.diverged
        assert all(p.isfinite().all() for p in bound.parameters())

    def test_every_row_is_drawn_once_a_pass(self):
        seen = []

        class Spy(InfoNCE):
            def loss(self, x, y):
                if self.training:
                    seen.append(x[:, 0])
                return super().loss(x, y)

        train, validation = self.pairs(120)
        schedule = Schedule(steps=5, batch_size=24, check_every=5)
        fit(Spy(1, 1), train, validation, schedule=schedule, generator=torch.Generator().manual_seed(0))
        drawn = torch.cat(seen[: 60 // 24])
        assert len(drawn.unique()) == 48
        assert len(torch.cat(seen).unique()) == 60
