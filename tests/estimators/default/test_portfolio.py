"""Which candidate and which network the default estimator chooses."""

import numpy as np
import pytest
import torch

from infomax import Schedule
from infomax.estimators.candidates import Side
from infomax.estimators.default.folds import Fold, HeldOut
from infomax.estimators.default.networks import KINDS
from infomax.estimators.default.portfolio import Contender, Portfolio, simplest
from infomax.statistics.row_structure import RowStructure


def held_out(*means, spread=1.0, shared=0.0):
    """Held-out values of 10,000 rows with these means, and noise of which a part is the same for all."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal(10_000)
    noise = [rng.standard_normal(10_000) for _ in means]
    each = [mean + shared * common + spread * (own - own.mean()) for mean, own in zip(means, noise, strict=True)]
    return [HeldOut(torch.from_numpy(local), 1.0) for local in each]


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((1.0, 1.0, 1.0), 0),
        ((1.0, 1.02, 1.02), 0),  # the standard error of a difference is 0.014
        ((1.0, 1.05, 1.06), 1),
        ((1.0, 1.0, 1.2), 2),
        ((0.9, 1.0, 0.5), 1),
    ],
)
def test_the_simplest_candidate_within_two_standard_errors(means, expected):
    assert simplest(held_out(*means)) == expected


def test_standard_errors_are_of_differences_row_by_row():
    """Noise that all candidates share does not hide a difference."""
    assert simplest(held_out(1.0, 1.1, spread=0.1, shared=50.0)) == 1
    assert simplest(held_out(1.0, 1.1, spread=5.0, shared=0.0)) == 0


def test_differences_below_one_percent_are_ties():
    assert simplest(held_out(1.0, 1.009, spread=1e-6)) == 0
    assert simplest(held_out(1.0, 1.02, spread=1e-6)) == 1


def portfolio(x, y, *, steps, folds=4):
    """A small one: four folds, of which two are compared from 1,000 rows on, and one network for each."""
    rng = np.random.default_rng(0)
    parts = np.array_split(rng.permutation(len(x)), folds)
    schedule = Schedule(steps=steps, batch_size=128, learning_rate=1.5e-2, check_every=20, patience=8)
    generator = torch.Generator().manual_seed(0)
    sides = Side.of(x), Side.of(y)
    return Portfolio(
        sides, Fold.of(parts, rng, 1, RowStructure.independent(len(x))), schedule, generator, 0, torch.device("cpu")
    )


def contender(made, name, folds):
    anchors = made._anchors(name, folds)
    return Contender(name, anchors, made._held_out(folds, anchors))


def single_columns(n):
    rng = np.random.default_rng(1)
    x, noise = rng.standard_normal((2, n, 4))
    return x, np.sin(2 * x) + 0.4 * noise


def exclusive_or(n):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, 3))
    return x, np.sign(x[:, [0]] * x[:, [1]]) + 0.2 * rng.standard_normal((n, 1))


#: What each kind of network learns best.
STRUCTURES = [(single_columns, "additive", "network"), (exclusive_or, "network", "additive")]


@pytest.mark.parametrize(("sample", "best", "other"), STRUCTURES)
@torch.no_grad()
def test_the_kind_of_network_that_fits_the_structure(sample, best, other):
    made = portfolio(*sample(1000), steps=100)
    compared = made.folds[:1]
    plain = contender(made, "elliptical", compared)
    kinds = [kind for kind in KINDS if kind.suits(*made.sides)]
    chosen, trials, steps = made._choose_network([plain], compared, kinds)
    assert (chosen.name, chosen.kind.name) == ("elliptical", best)
    scores = {trial.name: trial.score for trial in trials}
    assert scores[f"elliptical + {best}"] > scores[f"elliptical + {other}"] + 0.15
    assert steps == len(kinds) * 100
    assert len(chosen.networks.history) == 1


@pytest.mark.slow
@torch.no_grad()
def test_candidates_and_networks_together():
    """Of an exclusive-or: it needs the network of all columns. Related single columns have a candidate of their own."""
    fitted = portfolio(*exclusive_or(1500), steps=200).fit()
    assert fitted.kind.name == "network"
    assert [trial.name for trial in fitted.trials if trial.chosen] == [f"{fitted.candidate} + network"]
    assert fitted.trials[0].score < max(trial.score for trial in fitted.trials) - 0.15
    assert fitted.growth[0] > 0
    assert len(fitted.history) == len(fitted.folds) == 4


@torch.no_grad()
def test_without_training_steps_only_candidates_are_tried():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 2))
    fitted = portfolio(x, x + rng.standard_normal((200, 2)), steps=0).fit()
    assert (fitted.candidate, fitted.kind, fitted.history, fitted.steps) == ("elliptical", None, [], 0)
    (trial,) = fitted.trials
    assert trial.chosen
    assert trial.rows == 200
    assert trial.score == pytest.approx(np.log(2), abs=4 * trial.stderr)
    assert sorted(fitted.scored.rows) == list(range(200))
    assert len(fitted.anchors) == 4


@torch.no_grad()
def test_all_models_are_scored_with_the_same_shuffled_pairs():
    """So a candidate that is scored twice has the same value, and differences are due to the models."""
    made = portfolio(*exclusive_or(400), steps=0)
    anchors = made._anchors("mixture", made.folds)
    first, again = made._held_out(made.folds, anchors), made._held_out(made.folds, anchors)
    assert torch.equal(first.local, again.local)


@torch.no_grad()
def test_a_network_on_the_simplest_candidate_is_compared_as_well():
    """A mixture finds a part of an exclusive-or; the network finds it with either, and the simpler pair is kept."""
    made = portfolio(*exclusive_or(1000), steps=100)
    compared = made.folds[:1]
    contenders = [contender(made, name, compared) for name in ("mixture", "elliptical")]
    kinds = [kind for kind in KINDS if kind.name == "network"]
    chosen, trials, _ = made._choose_network(contenders, compared, kinds)
    scores = {trial.name: trial.score for trial in trials}
    assert list(scores) == ["mixture + network", "elliptical + network"]
    simpler = scores["elliptical + network"] > 0.95 * scores["mixture + network"]
    assert chosen.name == ("elliptical" if simpler else "mixture")
    assert max(scores.values()) > 0.2


@pytest.mark.parametrize(("more", "chosen"), [(0.5, None), (2.0, "additive")])
@torch.no_grad()
def test_a_network_must_exceed_the_candidate_by_the_standard_error_of_the_difference(more, chosen, monkeypatch):
    """Two kinds of networks exceed it by 0.1 and by ``more`` standard errors."""
    rng = np.random.default_rng(3)
    noise = torch.from_numpy(rng.standard_normal(100))
    noise = (noise - noise.mean()) / noise.std()
    values = iter([torch.ones(100), 1 + 0.1 * (noise + 0.01), 1 + 0.1 * (noise + more / 10)])
    monkeypatch.setattr("infomax.estimators.default.portfolio.calibrated", lambda *_, **__: HeldOut(next(values), 1.0))
    made = portfolio(*rng.standard_normal((2, 200, 2)), steps=5)
    plain = contender(made, "elliptical", made.folds)
    kinds = [kind for kind in KINDS if kind.suits(*made.sides)]
    found, trials, _ = made._choose_network([plain], made.folds, kinds)
    assert (found.kind and found.kind.name) == chosen
    assert len(trials) == len(kinds) == 2


@torch.no_grad()
def test_other_folds_are_trained_as_long_as_the_compared_ones():
    """Rows without any relation, on which patience alone would stop the training."""
    rng = np.random.default_rng(4)
    made = portfolio(*rng.standard_normal((2, 400, 1)), steps=400)
    anchors, kind = made._anchors("elliptical", made.folds), next(kind for kind in KINDS if kind.name == "network")
    steps = [made._train(kind, made.folds, anchors, at_least=least).history[0].steps[-1] for least in (0, 300)]
    assert 8 * 20 <= steps[0] < 300 <= steps[1]


@torch.no_grad()
def test_no_network_where_held_out_pairs_are_separable():
    """Eight nats of 1,000 rows: a classifier of joint against shuffled pairs is right already."""
    x, noise = np.random.default_rng(5).standard_normal((2, 1000, 1))
    fitted = portfolio(x, x + 1e-4 * noise, steps=100).fit()
    assert (fitted.kind, fitted.steps) == (None, 0)
    assert not any("network" in trial.name for trial in fitted.trials)
