import itertools
import json
import math
import warnings

import numpy as np
import pytest
import torch

from infomax import (
    ConstantColumnWarning,
    Estimate,
    InfomaxWarning,
    Schedule,
    TrainingWarning,
    conditional,
    directed_information,
    estimate,
    interaction_information,
    total_correlation,
    transfer_entropy,
)
from infomax.estimation.compositions import without
from infomax.estimation.estimate import estimates
from infomax.estimation.histories import embed

QUICK = {"quick": True, "progress": False}
GAUSSIAN = {"bound": "gaussian"}


def log_det(covariance, *groups):
    rows = [i for group in groups for i in group]
    return np.linalg.slogdet(covariance[np.ix_(rows, rows)])[1]


def normal_mi(covariance, a, b, given=()):
    """I(a; b | given) of jointly normal columns, by determinants."""
    numerator = log_det(covariance, a, given) + log_det(covariance, b, given)
    return 0.5 * (numerator - log_det(covariance, given) - log_det(covariance, a, b, given))


@pytest.fixture(scope="module")
def normal():
    """Seven correlated columns of 4,000 rows, and their covariance."""
    rng = np.random.default_rng(1)
    mix = np.eye(7) + 0.4 * rng.normal(size=(7, 7))
    return rng.normal(size=(4000, 7)) @ mix.T, mix @ mix.T


def near(result, truth):
    """Whether the interval covers the truth and is no wider than a few standard errors."""
    low, high = result.confidence_interval()
    return low < truth < high and abs(result.mi - truth) < 3 * result.stderr < 0.2


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_conditional_is_that_of_the_partial_correlation():
    rng = np.random.default_rng(0)
    z = rng.normal(size=4000)
    x, y = (z + rng.normal(size=4000) for _ in range(2))
    y = y + 0.7 * x
    # By hand: residuals of regressions on z, and their correlation.
    residuals = [side - z * (side @ z) / (z @ z) for side in (x, y)]
    partial = np.corrcoef(residuals)[0, 1]
    result = conditional(x, y, z, **GAUSSIAN)
    assert result.mi == pytest.approx(-0.5 * math.log(1 - partial**2), abs=0.01)
    assert near(result, 0.5 * math.log(1 + 0.7**2))


def test_conditional_of_several_columns(normal):
    samples, covariance = normal
    x, y, z = [0, 1], [2, 3], [4, 5, 6]
    result = conditional(samples[:, x], samples[:, y], samples[:, z], **GAUSSIAN)
    assert near(result, normal_mi(covariance, x, y, z))


def test_total_correlation_is_the_log_determinant(normal):
    samples, covariance = normal
    groups = [[0, 1], [2], [3, 4], [5, 6]]
    truth = 0.5 * (sum(log_det(covariance, group) for group in groups) - log_det(covariance, *groups))
    result = total_correlation([samples[:, group] for group in groups], **GAUSSIAN)
    assert near(result, truth)
    assert [term.of for term in result.terms] == ["I(x1; x2)", "I(x1, x2; x3)", "I(x1, x2, x3; x4)"]


def test_interaction_information_of_normal_columns(normal):
    samples, covariance = normal
    x, y, z = [0], [1], [2]
    truth = normal_mi(covariance, x, y, z) - normal_mi(covariance, x, y)
    assert near(interaction_information(*(samples[:, side] for side in (x, y, z)), **GAUSSIAN), truth)


def var(transition, noise, steps, seed):
    """A stationary vector autoregression of order 1, and its covariance with itself one step earlier, beside it."""
    dim, rng = len(transition), np.random.default_rng(seed)
    now = np.linalg.solve(np.eye(dim**2) - np.kron(transition, transition), noise.ravel()).reshape(dim, dim)
    assert now == pytest.approx(transition @ now @ transition.T + noise)
    series, root = [np.linalg.cholesky(now) @ rng.normal(size=dim)], np.linalg.cholesky(noise)
    for _ in range(steps - 1):
        series.append(transition @ series[-1] + root @ rng.normal(size=dim))
    return np.array(series), np.block([[now, transition @ now], [now @ transition.T, now]])


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_transfer_entropy_and_directed_information_of_a_vector_autoregression(correlation):
    transition = np.array([[0.6, 0.0], [0.5, 0.4]])
    noise = np.array([[1.0, correlation], [correlation, 1.0]])
    series, covariance = var(transition, noise, 6000, seed=3)
    x, y, x_past, y_past = [0], [1], [2], [3]  # of the covariance
    source, target = series.T
    forward = transfer_entropy(source, target, **GAUSSIAN)
    backward = transfer_entropy(target, source, **GAUSSIAN)
    assert forward.n == 5999
    assert near(forward, normal_mi(covariance, y, x_past, y_past))
    assert abs(backward.mi) < 0.002  # x does not listen to y
    present = directed_information(source, target, **GAUSSIAN)
    assert near(present, normal_mi(covariance, y, x + x_past, y_past))
    assert (present.mi - forward.mi > 0.1) == (correlation > 0)


def test_transfer_entropy_at_a_lag_is_seen_with_enough_lags():
    """y follows white noise three steps later: nothing with two lags, all of it with three."""
    source, noise = np.random.default_rng(0).normal(size=(2, 4000))
    target = np.concatenate([noise[:3], source[:-3] + noise[3:]])
    values = [transfer_entropy(source, target, lags=lags, target_lags=1, **GAUSSIAN) for lags in (2, 3)]
    assert abs(values[0].mi) < 0.005
    assert near(values[1], 0.5 * math.log(2))
    assert (values[0].n, values[1].n) == (3998, 3997)


def test_exclusive_or():
    """Each alone tells nothing; two tell all of the third: log 2, and that much synergy."""
    x, y = np.random.default_rng(0).integers(2, size=(2, 600))
    options = {"bound": "infonce", "schedule": Schedule(steps=100, batch_size=64), **QUICK}
    synergy = interaction_information(x, y, x ^ y, **options)
    assert [round(term.estimate.mi, 1) for term in synergy.terms] == [0.7, 0.0, 0.0]
    assert synergy.mi == pytest.approx(math.log(2), abs=0.03)
    given = conditional(x, y, x ^ y, **options)
    assert given.mi == pytest.approx(math.log(2), abs=0.03)
    assert (given.kind, synergy.kind) == ("estimate", "estimate")


def test_redundancy_is_negative():
    coin = np.random.default_rng(0).integers(2, size=2000)
    copies = [coin + 0.1 * np.random.default_rng(i).random(2000) for i in range(1, 4)]
    result = interaction_information(*copies, bound="ksg")
    assert result.mi == pytest.approx(-math.log(2), abs=0.1)
    assert result.confidence_interval()[1] < 0  # not moved up to 0, as it may be negative


def test_a_markov_chain_leaves_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    z = x + rng.normal(size=(2000, 2))
    y = z**3 + rng.normal(size=(2000, 2))
    result = conditional(x, y, z, bound="infonce", **QUICK)
    low, high = result.confidence_interval()
    assert low < 0 < high
    assert abs(result.mi) < 0.05
    assert result.terms[1].estimate.mi > 0.5


# --- identities -------------------------------------------------------------------------------------------------------


def test_chain_rule_and_symmetries(normal):
    x, y, z, w = normal[0][:, :4].T
    both = np.column_stack([y, z])
    joint = estimate(x, both, **GAUSSIAN).mi
    assert conditional(x, y, z, **GAUSSIAN).mi + estimate(x, z, **GAUSSIAN).mi == pytest.approx(joint, abs=1e-9)
    assert conditional(y, x, z, **GAUSSIAN).mi == pytest.approx(conditional(x, y, z, **GAUSSIAN).mi, abs=1e-9)
    values = [interaction_information(*order, **GAUSSIAN).mi for order in itertools.permutations([x, y, z])]
    assert values == pytest.approx([values[0]] * 6, abs=1e-9)
    orders = [total_correlation(order, **GAUSSIAN).mi for order in itertools.permutations([x, y, z, w])]
    assert orders == pytest.approx([orders[0]] * 24, abs=1e-9)
    assert total_correlation([x, y], **GAUSSIAN).mi == estimate(x, y, **GAUSSIAN).mi


def test_data_processing():
    """x → y → noisier y: what the second tells beyond the first is nothing; the first beyond the second is not."""
    x, first, second = np.random.default_rng(0).normal(size=(3, 4000))
    y = x + first
    worse = y + second
    assert conditional(x, worse, y, **GAUSSIAN).mi == pytest.approx(0, abs=0.002)
    assert near(conditional(x, y, worse, **GAUSSIAN), 0.5 * math.log(2) - 0.5 * math.log(3 / 2))


def test_intervals_cover_whatever_the_correlation_of_the_errors():
    covered = 0
    for seed in range(40):
        z, first, second = np.random.default_rng(seed).normal(size=(3, 300))
        low, high = conditional(z + first, z + first + second, z, **GAUSSIAN).confidence_interval()
        covered += low < 0.5 * math.log(2) < high
    assert covered >= 36


def test_bits_dict_and_repr(normal):
    x, y, z = normal[0][:300, :3].T
    result = conditional(x, y, z, bound="infonce", seed=4, schedule=Schedule(steps=10), **QUICK)
    bits = result.bits
    assert (bits.unit, bits.mi) == ("bits", pytest.approx(result.mi / math.log(2)))
    assert bits.confidence_interval() == pytest.approx([end / math.log(2) for end in result.confidence_interval()])
    assert (float(result), result.seed, result.n, result.bound) == (result.mi, 4, 300, "infonce")
    loaded = json.loads(json.dumps(result.to_dict()))
    assert loaded["mi"] == result.mi
    assert loaded["confidence_interval_95"] == list(result.confidence_interval())
    assert [(term["sign"], term["of"]) for term in loaded["terms"]] == [(1, "I(x; y, z)"), (-1, "I(x; z)")]
    assert "history" not in loaded["terms"][0]
    assert result.to_dict(history=True)["terms"][0]["history"]
    text = repr(result)
    for part in (f"{result.mi:.4f} nats, 95 % interval", "estimate of I(x; y | z) by infonce from 300", "- I(x; z): "):
        assert part in text
    with pytest.raises(AttributeError):
        result.quantity = "other"


# --- what goes in -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::infomax.TrainingWarning")  # few rows
def test_seed_decides_everything_and_options_are_passed_on(normal):
    x, y, z = normal[0][:200, :3].T
    options = {"bound": "infonce", "margins": "standard", "folds": 2, "schedule": Schedule(steps=10), **QUICK}
    first = conditional(x, y, z, seed=1, **options)
    assert conditional(x, y, z, seed=1, **options) == first
    assert conditional(x, y, z, seed=2, **options).mi != first.mi
    assert first.terms[1].estimate == estimate(x, z, seed=1, **options)
    with pytest.raises(TypeError, match="folders"):
        conditional(x, y, z, folders=2)


def test_a_tensor_decides_the_device(normal, monkeypatch):
    seen = []

    def spy(x, y, **options):
        seen.append(options)
        return estimates(x, y, **options)

    monkeypatch.setattr("infomax.estimation.compositions.estimates", spy)
    x, y, z = (torch.from_numpy(column) for column in normal[0][:100, :3].T.copy())
    with_tensors = conditional(x.numpy(), y, z, **GAUSSIAN)
    assert seen[0]["device"] == y.device
    assert with_tensors == conditional(x.numpy(), y.numpy(), z.numpy(), **GAUSSIAN)
    assert "device" not in seen[-1]


def test_constant_variables_are_left_out_exactly(normal):
    warnings.simplefilter("ignore", ConstantColumnWarning)
    x, y, z = normal[0][:300, :3].T
    one, brief = np.ones(300), {"bound": "infonce", "schedule": Schedule(steps=10), **QUICK}
    with pytest.warns(ConstantColumnWarning, match="z has 1 constant of 1 columns") as caught:
        given = conditional(x, y, one, **brief)
    assert caught[0].filename == __file__
    assert given.kind == "lower"
    assert [term.estimate for term in given.terms] == [estimate(x, y, **brief)]
    assert given.warnings[0] == "z is constant: it carries no information and was dropped"
    for nothing in (
        conditional(x, one, z, **GAUSSIAN),
        conditional(one, y, z, **GAUSSIAN),
        interaction_information(x, y, one, **GAUSSIAN),
        total_correlation([x, one], **GAUSSIAN),
        transfer_entropy(one, y, **GAUSSIAN),
    ):
        assert (nothing.mi, nothing.stderr, nothing.confidence_interval()) == (0.0, 0.0, (0.0, 0.0))
        assert (nothing.bound, nothing.n) == ("gaussian", 300 - ("transfer" in nothing.quantity))
        assert "is constant" in repr(nothing)
    assert total_correlation([one, x, y], **GAUSSIAN).mi == estimate(x, y, **GAUSSIAN).mi
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        conditional(one, y, z, bound="gausian")


def test_constants_cancel():
    terms = {(("x",), ("y", "z")): 1, (("x",), ("z",)): -1, (("x",), ("y",)): -1}
    assert without(terms, []) == terms
    assert without(terms, ["z"]) == without(terms, ["y"]) == without(terms, ["x"]) == {}


def test_warnings_say_which_term_they_belong_to_and_show_the_callers_line(normal):
    x, y = normal[0][:200, :2].T
    z = np.tile([0.0, 1.0], 100)
    with pytest.warns(InfomaxWarning) as caught:
        result = conditional(x, y, z, **GAUSSIAN)
    assert result.warnings[0].startswith("I(x; y, z): 1 of 3 columns have fewer than 20 distinct values")
    assert result.warnings[1].startswith("I(x; z): 1 of 2 columns have fewer")
    assert [warning.filename for warning in caught] == [__file__] * 2
    assert str(caught[1].message).startswith("I(x; z): gaussian: 1 of 2 columns")


def test_a_value_that_cannot_be_is_said(monkeypatch):
    """A bound that loses in more columns what it found in some."""
    values = iter([0.1, 0.5, 0.1, 0.5, 0.0])

    def worse(x, y, **options):
        return [(Estimate(next(values), 0.01, 0.0, "lower", "infonce", len(x)), [])]

    monkeypatch.setattr("infomax.estimation.compositions.estimates", worse)
    x, y, z = np.random.default_rng(0).normal(size=(3, 100))
    with pytest.warns(TrainingWarning, match="far below 0, which is impossible") as caught:
        result = conditional(x, y, z)
    assert caught[0].filename == __file__
    assert "far below 0" in result.warnings[0]
    assert not interaction_information(x, y, z).warnings  # may be negative


def draw(n=100):
    return np.random.default_rng(n).normal(size=n)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conditional(draw(), draw(99), draw()), ValueError, "y must have as many rows as x; got 99 and 100"),
        (lambda: conditional(draw(), draw(), draw(98)), ValueError, "z must have as many rows as x; got 98 and 100"),
        (lambda: conditional(draw(19), draw(19), draw(19)), ValueError, "x must have at least 20 rows; got 19"),
        (lambda: conditional(draw(), draw(), [math.nan] * 100), ValueError, "z must be finite; got 100 NaN"),
        (lambda: conditional(draw(), draw(), ["a", 1] * 50), TypeError, "z must hold values of one kind"),
        (lambda: conditional(draw(), draw(), draw(), bound=["nwj"]), TypeError, r"bound must be one name.*\['nwj'\]"),
        (lambda: interaction_information(draw(), draw(), draw(), seed=-1), ValueError, "seed must be a whole number"),
        (lambda: interaction_information(draw(), draw(), draw(7)), ValueError, "z must have as many rows as x; got 7"),
        (lambda: total_correlation([draw()]), ValueError, "variables must be at least two; got 1"),
        (lambda: total_correlation([]), ValueError, "variables must be at least two; got 0"),
        (lambda: total_correlation(np.zeros((100, 3))), TypeError, "variables must be a list.*got ndarray"),
        (lambda: total_correlation([draw(), draw(), draw(99)]), ValueError, "x3 must have as many rows as x1; got 99"),
        (lambda: transfer_entropy(draw(), draw(99)), ValueError, "target must have as many rows as source; got 99"),
        (lambda: transfer_entropy(draw(), draw(), lags=0), ValueError, "lags must be a whole number .* 1; got 0"),
        (lambda: transfer_entropy(draw(), draw(), lags=1.5), ValueError, "lags must be a whole number .* 1; got 1.5"),
        (lambda: transfer_entropy(draw(), draw(), lags=True), ValueError, "lags must be a whole number .*; got True"),
        (lambda: transfer_entropy(draw(), draw(), target_lags=-1), ValueError, "target_lags must be .* 1; got -1"),
        (lambda: directed_information(draw(), draw(), lags=0), ValueError, "lags must be a whole number .* 1; got 0"),
        (lambda: transfer_entropy(draw(25), draw(25), lags=6), ValueError, "source .* 26 rows for lags of 6 steps"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_any_work(call, error, message, monkeypatch):
    monkeypatch.setattr("infomax.training.cross_fitting.fit", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr("infomax.estimators.default.estimator.measure", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=message):
        call()


def test_as_many_steps_as_are_needed_are_enough():
    assert transfer_entropy(draw(22), draw(23)[:22], lags=1, target_lags=2, **GAUSSIAN).n == 20


def test_embed():
    series = np.array([[0, 10], [1, 11], [2, 12], [3, 13]])
    assert embed(series, [0, 2], start=2).tolist() == [[2, 12, 0, 10], [3, 13, 1, 11]]
    rng = np.random.default_rng(0)
    series = rng.normal(size=(9, 2))
    naive = [[series[t - lag, d] for lag in (1, 3) for d in range(2)] for t in range(4, 9)]
    assert embed(series, [1, 3], start=4).tolist() == naive


def test_standard_errors_of_differences_are_those_of_many_draws():
    """The two terms share their rows: what they have in common cancels."""
    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((500, 2))
        x = z[:, 0] + rng.standard_normal(500)
        y = 0.5 * x + z[:, 1] + rng.standard_normal(500)
        result = conditional(x, y, z, bound="gaussian")
        values.append(result.mi)
        errors.append(result.stderr)
    # The standard deviation of 60 draws is itself known to 9 %.
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.3)
    assert np.mean(errors) < 0.6 * sum(term.estimate.stderr for term in result.terms)
    assert result.paired
    assert result.confidence_interval()[0] == pytest.approx(result.mi - 1.959964 * result.stderr)
    assert result.bits.stderr == pytest.approx(result.stderr / math.log(2))
