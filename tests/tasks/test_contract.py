"""One body of tests over every registered task."""

import math

import numpy as np
import pytest

from infomax import estimate, tasks
from infomax.tasks.normal import correlated_normal

ALL = tasks.names()


@pytest.mark.parametrize("name", ALL)
def test_samples_are_what_the_task_says(name):
    task = tasks.get(name)
    x, y = task.sample(100, seed=3)
    assert (x.shape, y.shape) == ((100, task.x_dim), (100, task.y_dim))
    assert x.dtype == y.dtype == np.float64
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert task.mi >= 0
    assert task.reference
    again, other = task.sample(100, seed=3), task.sample(100, seed=4)
    assert (x.tobytes(), y.tobytes()) == (again[0].tobytes(), again[1].tobytes())
    assert x.tobytes() != other[0].tobytes()


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("normal")])
def test_empirical_covariance_has_the_mutual_information(name):
    task = tasks.get(name)
    x, y = task.sample(200_000, seed=0)
    covariance = np.cov(np.hstack([x, y]).T)
    d = task.x_dim
    parts = covariance[:d, :d], covariance[d:, d:], covariance
    log_dets = [np.linalg.slogdet(part)[1] for part in parts]
    assert 0.5 * (log_dets[0] + log_dets[1] - log_dets[2]) == pytest.approx(task.mi, abs=0.02)


def test_heavy_tails_are_heavy():
    x, _ = tasks.get("cauchy-10d-0").sample(10_000, 0)
    assert np.median(abs(x)) == pytest.approx(1.0, abs=0.03)
    assert (abs(x) > 100).mean() == pytest.approx(2 / math.pi / 100, rel=0.2)


@pytest.mark.filterwarnings("ignore:ksg. neighbours")
def test_independent_heavy_tails_give_zero():
    x, y = tasks.get("cauchy-10d-0").sample(2000, 0)
    for result in estimate(x, y, bound=["infonce", "ba", "gaussian", "ksg"], quick=True, progress=False):
        assert abs(result.mi) < 0.05, result.bound


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: correlated_normal(-1.0), "mi must not be negative; got -1.0"),
        (lambda: correlated_normal(1.0, dim=3, x_dim=2), "x_dim must be at least dim, .*; got 2 and 3"),
        (lambda: tasks.get("normal-1d-0").sample(0, 0), "n must be at least 1; got 0"),
        (lambda: tasks.get("normal-1d-7"), "'normal-1d-7' is not known; did you mean 'normal-1d-"),
        (lambda: tasks.register(tasks.get("normal-1d-0")), "'normal-1d-0' is registered already"),
    ],
)
def test_bad_requests(make, message):
    with pytest.raises(ValueError, match=message):
        make()
