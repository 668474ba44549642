"""Signs of rows that depend on each other."""

import numpy as np
import pytest
from series import autoregression

from infomax import tasks
from infomax.datasets import load_penguins
from infomax.statistics.row_dependence import (
    _unit_root,
    autocorrelated,
    drifting,
    near_copies,
    serially_dependent,
    trending,
    wanders,
)


def pair(make, seed):
    rng = np.random.default_rng(seed)
    return make(rng), make(rng)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: autoregression(400, 0.5, rng)[:, None],
        lambda rng: autoregression(2000, 0.95, rng)[:, None],
        lambda rng: rng.normal(size=(500, 2)).cumsum(0),
        lambda rng: np.repeat(rng.normal(size=(40, 1)), 25, 0) + rng.normal(size=(1000, 1)),
        lambda rng: np.exp(autoregression(1500, 0.97, rng)[:, None] / 4) * rng.normal(size=(1500, 1)),
    ],
    ids=["autoregression", "slow autoregression", "random walks", "subjects", "volatility"],
)
def test_series_and_subjects_in_order(make):
    assert sum(serially_dependent(*pair(make, seed)) for seed in range(20)) >= 19


def test_one_independent_side_is_enough():
    rng = np.random.default_rng(0)
    assert not serially_dependent(autoregression(400, 0.9, rng)[:, None], rng.normal(size=(400, 1)))


def test_sorted_rows():
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(size=(500, 1)), axis=0)
    assert not serially_dependent(x, x + 0.1 * rng.normal(size=(500, 1)))
    penguins = load_penguins().data  # sorted by species and island
    assert not any(autocorrelated(column[:, None]) for column in penguins.T)


def test_independent_rows_are_left_alone():
    names = ["normal-1d-1", "multinormal-sparse-5-5-2-2.0", "student-identity-1-1-1", "codes-20-0.5", "clusters-8d"]
    found = [
        (name, n)
        for name in names
        for n in (30, 200, 1000)
        for seed in range(8)
        for sides in [tasks.get(name).sample(n, seed)]
        if serially_dependent(*sides) or near_copies(*sides)
    ]
    assert not found


def subjects(noise, rng, dim):
    """60 subjects with 20 nearly equal rows each, in random order."""
    of_row = rng.permutation(np.repeat(np.arange(60), 20))
    return (rng.normal(size=(60, dim))[of_row] + noise * rng.normal(size=(1200, dim)) for _ in range(2))


@pytest.mark.parametrize(("noise", "dim"), [(0.01, 1), (0.05, 3)])
def test_near_copies(noise, dim):
    assert all(near_copies(*subjects(noise, np.random.default_rng(seed), dim)) for seed in range(5))


def test_subjects_that_differ_little_are_no_near_copies():
    assert not near_copies(*subjects(1.0, np.random.default_rng(0), 3))


def test_random_walks_wander_and_stationary_series_do_not():
    rng = np.random.default_rng(0)
    walks = [wanders(rng.normal(size=(500, 1)).cumsum(0)) for _ in range(40)]
    stationary = [wanders(autoregression(1000, 0.9, rng)[:, None]) for _ in range(40)]
    assert sum(walks) >= 35  # 95 % on average
    assert sum(stationary) == 0
    assert wanders(np.sin(np.arange(500) / 40)[:, None] + 0.3 * rng.normal(size=(500, 1)))
    assert not wanders(np.zeros((100, 1)))


def test_the_unit_root_statistic_is_that_of_least_squares():
    column = np.random.default_rng(1).normal(size=200).cumsum()
    steps = np.diff(column)
    design = np.column_stack([column[4:-1], np.ones(195), *(steps[4 - lag : -lag] for lag in range(1, 5))])
    slopes, squares, *_ = np.linalg.lstsq(design, steps[4:], rcond=None)
    error = np.sqrt(squares[0] / (195 - 6) * np.linalg.inv(design.T @ design)[0, 0])
    assert _unit_root(column) == pytest.approx(slopes[0] / error, rel=1e-6)


def test_trends_with_noise():
    """White noise around a line has no autocorrelation of its own; rows sorted by categories have steps only."""
    rng = np.random.default_rng(2)
    for noise, least in ((20, 20), (60, 17)):
        sides = [(np.arange(400) + noise * rng.normal(size=400))[:, None] for _ in range(20)]
        assert sum(map(trending, sides)) >= least
    assert not any(trending(rng.normal(size=(400, 3))) for _ in range(100))
    assert sum(drifting(rng.normal(size=(400, 1))) for _ in range(200)) <= 4
    sorted_by_class = np.repeat([0, 1, 3], 140)[:, None] + 0.3 * rng.normal(size=(420, 1))
    assert not trending(sorted_by_class)
    assert not trending(np.sort(rng.normal(size=(400, 1)), axis=0))
    assert serially_dependent(sides[0], sides[1])
