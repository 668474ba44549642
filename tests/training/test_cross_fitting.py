"""Cross-fitting: every row is measured once, by a bound that it did not train."""

import math

import numpy as np
import pytest
import torch

from infomax import Schedule, bounds, estimate, tasks
from infomax.critics.initialisation import initialised
from infomax.densities import Flow
from infomax.io.batches import draws
from infomax.training import cross_fit, fit
from infomax.training.cross_fitting import measure_rows

SCHEDULE = Schedule(steps=40, batch_size=64, check_every=10, patience=2)


def folds(name, n=333, folds=3, seen=None, **options):
    x, y = (torch.from_numpy(side) for side in tasks.get("multinormal-dense-3-3-0.5").sample(n, 0))

    def prepare(parts):
        if seen is not None:
            seen.append(parts)
        return [(x[rows], y[rows]) for rows in map(torch.from_numpy, parts)]

    parts = {"seed": 0, "folds": folds, "schedule": SCHEDULE, "device": torch.device("cpu")}
    return cross_fit(n, prepare, lambda rows, seed: built(name, rows, seed), **{**parts, **options})


def built(name, rows, seed):
    return initialised(lambda: bounds.get(name).for_estimation(3, 3, rows), seed).double()


@pytest.mark.parametrize("name", ["infonce", "ba"])
def test_rows_are_measured_once_by_what_they_did_not_train(name):
    seen = []
    found = folds(name, seen=seen)
    assert [fold.rows for fold in found] == [111, 111, 111]
    assert sorted(np.concatenate([held_out for _, _, held_out in seen]).tolist()) == list(range(333))
    for parts in seen:
        together = np.concatenate(parts)
        assert len(together) == len(set(together.tolist())) == 333


def test_a_fold_is_one_fit_by_hand():
    """With the fold's own seeds: its value is that of a bound that is fitted and measured outside."""
    seen, given = [], []
    x, y = (torch.from_numpy(side) for side in tasks.get("multinormal-dense-3-3-0.5").sample(200, 0))

    def build(rows, seed):
        given.append((rows, seed))
        return built("infonce", rows, seed)

    def prepare(parts):
        seen.append(parts)
        return [(x[rows], y[rows]) for rows in map(torch.from_numpy, parts)]

    options = {"seed": 3, "folds": 2, "schedule": Schedule(steps=0), "device": torch.device("cpu")}
    found = cross_fit(200, prepare, build, **options)
    assert len({seed for _, seed in given}) == 2
    for fold, (rows, seed), parts in zip(found, list(given), list(seen), strict=True):
        bound = built("infonce", rows, seed)
        train, validation, held_out = prepare(parts)
        assert len(train[0]) == rows
        fit(bound, train, validation, schedule=Schedule(steps=0), generator=torch.Generator())
        value, _ = measure_rows(bound, *held_out, [np.arange(len(held_out[0]))])
        assert fold.value == pytest.approx(value, abs=1e-12)


def test_ticks_count_the_steps_of_all_folds():
    ticks = []
    folds("infonce", tick=ticks.append)
    assert sum(ticks) == 3 * 40


def test_small_folds_whose_batches_differ():
    schedule = Schedule(steps=10, batch_size=1000, check_every=5)
    assert [fold.rows for fold in folds("infonce", n=334, schedule=schedule)] == [112, 111, 111]


def test_the_seed_decides():
    x, y = tasks.get("multinormal-dense-3-3-0.5").sample(300, 0)
    options = {"bound": "infonce", "schedule": Schedule(steps=20), "progress": False}
    one, same, other = (estimate(x, y, seed=seed, **options) for seed in (0, 0, 1))
    assert (one.mi, one.stderr, one.history) == (same.mi, same.stderr, same.history)
    assert one.mi != other.mi


def test_a_fold_that_diverges_is_measured_at_its_last_finite_state():
    class Diverging(bounds.get("nwj")):
        def loss(self, x, y):
            return super().loss(x, y) * (torch.inf if len(x) == 64 else 1.0)

    x, y = tasks.get("multinormal-dense-3-3-0.5").sample(333, 0)
    with pytest.warns(UserWarning, match="training of some models diverged"):
        result = estimate(x, y, bound=Diverging(3, 3), schedule=SCHEDULE, folds=2, progress=False)
    assert all(fold.diverged and fold.best_step == 0 for fold in result.history)
    assert math.isfinite(result.mi)


def test_flows_are_fitted():
    x, y = tasks.get("normal-1d-1").sample(160, 0)
    flow = bounds.get("ba")(1, 1, density=Flow(1, 1, hidden=(8,)))
    result = estimate(x, y, bound=flow, quick=True, progress=False, schedule=Schedule(steps=5, check_every=5))
    assert [history.steps for history in result.history] == [[0, 5], [0, 5]]


def test_draws_pass_over_all_rows_and_lose_none():
    batches = draws(10, 4, torch.Generator().manual_seed(0))
    drawn = torch.cat([next(batches) for _ in range(10)])
    for start in range(0, 40, 10):
        assert drawn[start : start + 10].sort().values.tolist() == list(range(10))


def test_the_rate_falls_by_half_a_cosine():
    schedule = Schedule(steps=4, learning_rate=2.0)
    rates = [schedule.rate(step) for step in range(5)]
    assert rates == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0], abs=1e-12)
