import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import infomax
from infomax import (
    BA,
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
from infomax.training.fit import Schedule

QUICK = {"quick": True, "progress": False}


@pytest.fixture
def few(gaussian):
    """The first of these pairs, for what is true of any number of them."""
    return tuple(side[:300] for side in gaussian)


@pytest.mark.filterwarnings("ignore:ksg. (the estimate with k = 12|nearest neighbours)")
@pytest.mark.parametrize("bound", ["default", *infomax.bounds.names(), "gaussian", "ksg"])
def test_every_name_gives_the_same_type_and_a_defensible_number(bound, quick):
    result = quick(bound)
    assert type(result) is Estimate
    assert (result.bound, result.n, result.unit) == (bound, 2000, "nats")
    low, high = result.confidence_interval()
    assert low < result.mi < high
    if bound != "club":  # 2.46 nats by theory
        assert result.mi < 1.0 + 3 * result.stderr
    # What is not tight (jsd_lb) and neighbours in ten dimensions may say too little; all others are close.
    assert result.mi > (0.4 if bound in ("cpc", "ksg", "jsd_lb") else 0.9)


@pytest.mark.slow
def test_intervals_cover():
    """The true value in at least 15 of 20 samples of 500 rows, d = 2, I = 0.5, for a trained lower bound."""
    warnings.simplefilter("ignore", TrainingWarning)
    task = infomax.tasks.normal.correlated_normal(0.5, dim=2)
    covered = 0
    for seed in range(20):
        low, high = estimate(*task.sample(500, seed), bound="infonce", seed=seed, **QUICK).confidence_interval()
        covered += low <= task.mi <= high
    assert covered >= 15


def test_nonlinear_dependence_that_correlations_cannot_see():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    y = x**2 + 0.5 * rng.normal(size=4000)
    learned, linear = estimate(x, y, bound=["infonce", "gaussian"], **QUICK)
    assert abs(linear.mi) < 0.02
    assert learned.mi > 0.7  # about 0.79 by quadrature


def test_inputs_of_all_kinds_give_one_number(gaussian):
    x, y = gaussian
    results = [
        estimate(a, b, bound="gaussian")
        for a, b in [(x, y), (torch.from_numpy(x), torch.from_numpy(y)), (pd.DataFrame(x), pd.DataFrame(y))]
    ]
    assert results[0].mi == results[1].mi == results[2].mi


@pytest.mark.parametrize("bound", ["default", "infonce"])
def test_seed_decides_everything_and_global_state_is_untouched(bound, few):
    x, y = few
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state, legacy, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    options = {"bound": bound, "schedule": Schedule(steps=20), **QUICK}
    first = estimate(x, y, seed=1, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    torch.manual_seed(6)
    assert estimate(x, y, seed=1, **options) == first
    assert estimate(x, y, seed=2, **options).mi != first.mi


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

    large, below = "overfitting: much higher on training rows", "far below 0, .* does not generalise to held-out rows"
    with pytest.warns(TrainingWarning, match=large), pytest.warns(TrainingWarning, match=below):
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


def test_what_a_module_has_learned_is_forgotten():
    """Trained on these very rows, of independent columns: the estimate must not know them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 10)), rng.normal(size=(200, 10))
    bound, pairs = InfoNCE(10, 10), [torch.from_numpy(side).float() for side in (x, y)]
    optimizer = torch.optim.Adam(bound.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        bound.loss(*pairs).backward()
        optimizer.step()
    assert bound(*pairs).item() > 3
    warnings.simplefilter("ignore", TrainingWarning)
    result = estimate(x, y, bound=bound, margins="standard", schedule=Schedule(steps=50), **QUICK)
    assert result.mi < 0.2


@pytest.mark.parametrize("name", infomax.bounds.names())
def test_reset_forgets_everything(name):
    torch.manual_seed(0)
    bound = infomax.bounds.get(name).for_estimation(3, 2, 50)
    x, y = torch.randn(50, 3), torch.randn(50, 2)
    fresh = bound.eval()(x, y).item()
    bound.train()
    bound.warm_start(x, y + 5)
    bound(x, y + 5)
    with torch.no_grad():
        for parameter in bound.parameters():
            parameter.fill_(7.0)
    infomax.critics.reset(bound)
    assert all(p.abs().max() < 3 for p in bound.parameters())
    assert bound.eval()(x, y).item() == pytest.approx(fresh, abs=0.2)


def test_a_lower_bound_is_chosen_by_its_value():
    """Fitted as a classifier, these scores come to cost NWJ its exponential; the validation rows must show it."""
    x, y = tasks.get("spiral-multinormal-sparse-3-3-2-2.0").sample(2000, 0)
    warnings.simplefilter("ignore", TrainingWarning)
    result = estimate(x, y, bound="js", **QUICK)
    assert all(fold.validation[fold.steps.index(fold.best_step)] == max(fold.validation) for fold in result.history)


def test_reset_leaves_frozen_parts():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    before = [part.weight.clone() for part in module]
    infomax.critics.reset(module)
    assert torch.equal(module[0].weight, before[0])
    assert not torch.equal(module[1].weight, before[1])


@pytest.mark.filterwarnings("ignore:default. the held-out value grows")
@pytest.mark.parametrize("bound", ["default", "infonce"])
def test_inside_no_grad_and_inference_mode(bound, few):
    options = {"bound": bound, "schedule": Schedule(steps=20), **QUICK}
    expected = estimate(*few, **options)
    with torch.no_grad():
        assert estimate(*few, **options) == expected
    with torch.inference_mode():
        assert estimate(*few, **options) == expected


def test_a_critic_with_dropout_is_as_reproducible():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.drop = nn.Linear(1, 8), nn.Dropout(0.5)

        def forward(self, x, y):
            return self.drop(self.net(x)) @ self.net(y).T

    x = np.random.default_rng(0).normal(size=200)
    bound, state = InfoNCE(1, 1, critic=Noisy()), torch.get_rng_state()
    y = x**3 + 0.5 * np.random.default_rng(1).normal(size=200)
    results = [estimate(x, y, bound=bound, seed=2**62, **QUICK) for _ in range(2)]
    assert results[0] == results[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_known_entropy_is_in_raw_units():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    y = 10 * x + rng.normal(size=2000)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 101)
    result = estimate(x, y, bound=BA(1, 1, entropy=entropy), margins="none", folds=2, progress=False)
    assert result.kind == "lower"
    assert 2.2 < result.mi < 0.5 * math.log(101) + 3 * result.stderr


def test_discrete_y_is_said_to_have_no_density():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    density = pytest.warns(infomax.InfomaxWarning, match="ba: 1 of 1 columns have fewer than 20 distinct values")
    with density, pytest.warns(SaturationWarning, match="ba: exceeds the entropy of a discrete variable"):
        estimate(y + 0.1 * rng.normal(size=400), y, bound="ba", **QUICK)


def test_repeated_rows_are_said():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 120))
    warnings.simplefilter("ignore", SaturationWarning)
    warnings.simplefilter("ignore", TrainingWarning)
    with pytest.warns(infomax.InfomaxWarning, match="480 rows are exact duplicates of others"):
        estimate(np.tile(x, 5), np.tile(y, 5), schedule=Schedule(steps=20), **QUICK)
    coarse = np.round(rng.normal(size=(2, 500)), 1)  # rounded values are no repeated rows
    estimate(*coarse, schedule=Schedule(steps=20), **QUICK)


@pytest.mark.parametrize("bound", ["default", *infomax.bounds.names()])
def test_twenty_rows_are_not_overfitted(bound):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    warnings.simplefilter("ignore", infomax.InfomaxWarning)
    assert abs(estimate(x, x + rng.normal(size=(20, 1)), bound=bound, progress=False).mi) < 2


def test_a_refusal_loses_no_work(monkeypatch):
    """More columns than rows: the Gaussian copula refuses before the first bound is trained."""
    monkeypatch.setattr("infomax.training.cross_fitting.fit", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr("infomax.estimators.default.estimator.measure", lambda *_, **__: pytest.fail("work was done"))
    x = np.random.default_rng(0).normal(size=(50, 30))
    with pytest.raises(ValueError, match="more than Dx"):
        estimate(x, x[::-1], bound=["default", "infonce", "gaussian"], **QUICK)


def test_a_list_gives_a_list(gaussian, quick):
    results = estimate(
        *gaussian, bound=["ba", "default", CPC(5, 5), "gaussian"], schedule=Schedule(steps=100, batch_size=128), **QUICK
    )
    assert [result.bound for result in results] == ["ba", "default", "cpc", "gaussian"]
    assert results[1] == quick("default")


@pytest.mark.filterwarnings("ignore:default. the held-out value grows")
def test_saturation_is_said(gaussian):
    x, noise = np.random.default_rng(0).normal(size=(2, 400))
    y = x + 0.0002 * noise
    with pytest.warns(SaturationWarning, match=r"infonce: near its ceiling \(200 rows"):
        result = estimate(x, y, bound="infonce", **QUICK)
    assert result.ceiling == pytest.approx(math.log(200))
    assert result.mi < result.ceiling
    for bound in ("ba", "default"):
        with pytest.warns(SaturationWarning, match="larger than log n"):
            assert estimate(x, y, bound=bound, **QUICK).mi > math.log(200)


def test_classical_estimators_say_where_they_fail():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 10)), rng.normal(size=(200, 10))
    with pytest.warns(infomax.InfomaxWarning, match="ksg: the estimate with k = 12 is far below that with k = 3"):
        assert estimate(x, x + y, bound="ksg").warnings
    with pytest.warns(infomax.InfomaxWarning, match="gaussian: 0.25 nats of bias were subtracted"):
        assert abs(estimate(x, y, bound="gaussian").mi) < 0.1


def test_constant_columns():
    x = np.random.default_rng(0).normal(size=100)
    warnings.filterwarnings("ignore", message=".*y is constant")
    with pytest.warns(ConstantColumnWarning, match="y has 1 constant of 1 columns"):
        result = estimate(x, np.full(100, 3.0), **QUICK)
    assert (result.mi, result.stderr) == (0.0, 0.0)
    assert "y is constant" in result.warnings[0]
    y = x + np.random.default_rng(1).normal(size=100)
    with pytest.warns(ConstantColumnWarning, match="left out: 1"):
        mixed = estimate(np.column_stack([x, np.ones(100)]), y, bound="gaussian")
    assert mixed.mi == estimate(x, y, bound="gaussian").mi


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 100)), rng.normal(size=(60, 80))
    for bound in ("default", "infonce", "ba"):
        with pytest.warns(TrainingWarning, match=f"{bound}: no network was trained"):
            assert abs(estimate(x, y, bound=bound, **QUICK).mi) < 0.3


def test_discrete_columns_stay_finite():
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=600)
    y = np.where(rng.random(600) < 0.9, x, rng.integers(3, size=600))
    for bound in ("default", "infonce", "nwj", "dv", "ba", "gaussian", "ksg", "plugin"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", infomax.InfomaxWarning)
            assert math.isfinite(estimate(x, y, bound=bound, schedule=Schedule(steps=50), **QUICK).mi)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bound": "infonc"}, ValueError, "bound 'infonc' is not known; did you mean 'infonce'"),
        ({"bound": "kgs"}, ValueError, "did you mean 'ksg'"),
        ({"bound": "defalt"}, ValueError, "did you mean 'default'"),
        ({"margins": "standard"}, ValueError, "margins must be 'normal' for 'default'; got 'standard'"),
        ({"bound": 3}, TypeError, "bound must be a name, a Bound, or a list of these; got 3"),
        ({"bound": []}, TypeError, r"got \[\]"),
        ({"bound": [nn.Identity()]}, TypeError, "bound must be a name or an infomax.Bound; got Identity"),
        ({"bound": CPC(2, 5)}, ValueError, r"bound must have dimensions \(5, 5\).*; got \(2, 5\)"),
        ({"bound": InfoNCE}, TypeError, "got <class"),
        ({"bound": [InfoNCE]}, TypeError, "got the class InfoNCE"),
        ({"bound": BA(5, 5, entropy=3.0)}, ValueError, "margins must be 'none' for a bound with a known entropy"),
        ({"bound": BA(5, 5, components=2)}, ValueError, "labels must be given"),
        ({"device": "abacus"}, ValueError, "device must be one that torch can use here; got 'abacus'"),
        ({"seed": 1.5}, ValueError, "seed must be a whole number of at least 0; got 1.5"),
        ({"folds": 2.5}, ValueError, "folds must be a whole number of at least 2; got 2.5"),
        ({"schedule": 5}, TypeError, "schedule must be an infomax.Schedule; got 5"),
        ({"folds": 1}, ValueError, "folds must be a whole number of at least 2; got 1"),
        ({"seed": -1}, ValueError, "seed must be a whole number of at least 0; got -1"),
        ({"margins": "ranks"}, ValueError, "margins must be one of"),
        ({"y": np.zeros(7)}, ValueError, "y must have as many rows as x; got 7 and 2000"),
        ({"x": np.arange(19), "y": np.arange(19)}, ValueError, "x must have at least 20 rows; got 19"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, error, message, gaussian, monkeypatch):
    monkeypatch.setattr("infomax.training.cross_fitting.fit", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr("infomax.estimators.default.estimator.measure", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=message):
        estimate(**{"x": gaussian[0], "y": gaussian[1], "progress": False, **arguments})


def test_a_critic_of_a_wrong_shape_is_named():
    class Wrong(nn.Module):
        def forward(self, x, y):
            return x.sum(1)

    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(ValueError, match="critic must return scores of shape"):
        estimate(x, x, bound=InfoNCE(2, 2, critic=Wrong()), **QUICK)
