import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import digamma

from infomax.statistics import residuals
from infomax.statistics.residuals import (
    SHARED_NOISE,
    kernel_residuals,
    local_linear,
    local_scales,
    log_densities,
    neighbour_rows,
    residual_terms,
)
from infomax.tasks.noise import gamma_exponential, smoothed_uniform
from infomax.tasks.normal import correlated_normal
from infomax.tasks.student import correlated_student


def estimate(x, y):
    """The value and its standard error."""
    terms = residual_terms(x, y, np.random.default_rng(0))
    return terms.mean(), math.sqrt((terms.var() + SHARED_NOISE) / len(terms))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("neighbours", [1, 4])
def test_densities_by_plain_loops(dim, neighbours):
    points, expected = np.random.default_rng(0).normal(size=(60, dim)), []
    for row in points:
        distance = sorted(math.dist(row, other) for other in points)[neighbours]
        ball = {1: 2 * distance, 2: math.pi * distance**2, 3: 4 / 3 * math.pi * distance**3}[dim]
        expected.append(digamma(neighbours) - digamma(60) - math.log(ball))
    np.testing.assert_allclose(log_densities(points, neighbours), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 3])
def test_local_regressions_one_by_one(dim, monkeypatch):
    monkeypatch.setattr(residuals, "_ROWS", 7)
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(50, dim)), rng.normal(size=(50, 2))
    y = np.sin(x[:, :1]) + 0.1 * noise
    near = neighbour_rows(x, 12)
    for i, predicted in enumerate(local_linear(x, y, near)):
        others = [j for j in np.argsort([math.dist(x[i], row) for row in x]) if j != i][:12]
        assert sorted(others) == sorted(near[i])
        design = np.column_stack([np.ones(12), x[others]])
        expected = np.array([1, *x[i]]) @ np.linalg.lstsq(design, y[others])[0]
        np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-3)  # apart by the ridge


def test_leave_one_out_residuals_are_those_of_fits_without_the_row(monkeypatch):
    monkeypatch.setattr(residuals, "_ROWS", 16)
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    y = np.sin(2 * x) + 0.1 * noise
    centres = x[np.random.default_rng(1).choice(40, 10, replace=False)]
    candidates = []
    for width in (1.0, 2.0):
        values, vectors = np.linalg.eigh(np.exp(-(cdist(centres, centres) ** 2) / (2 * width**2)))
        kernel = np.exp(-(cdist(x, centres) ** 2) / (2 * width**2)) @ vectors / np.sqrt(values)
        features = np.column_stack([kernel, x, np.ones(40)])
        for penalty in 10.0 ** np.arange(-8, 2):
            errors = np.empty((40, 2))
            for i in range(40):
                others = np.arange(40) != i
                gram = features[others].T @ features[others] + penalty * np.eye(13)
                errors[i] = y[i] - features[i] @ np.linalg.solve(gram, features[others].T @ y[others])
            candidates.append(errors)
    expected = min(candidates, key=lambda errors: np.log(np.abs(errors)).mean())
    np.testing.assert_allclose(kernel_residuals(x, y, np.random.default_rng(1)), expected, rtol=0, atol=1e-6)


def test_local_scales_are_means_of_other_rows():
    errors, rows = np.array([[1.0, -2.0], [-3.0, 4.0], [5.0, 6.0]]), np.array([[1, 2], [0, 2], [0, 1]])
    assert local_scales(errors, rows).tolist() == [[4, 5], [3, 4], [2, 3]]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("mi", [1.0, 4.0, 10.0])
def test_closed_form_of_normal_pairs(mi, dim):
    value, stderr = estimate(*correlated_normal(mi, dim=dim).sample(1000, seed=1))
    assert value == pytest.approx(mi, abs=3 * stderr)


TASKS = [
    smoothed_uniform(10, dim=2),
    gamma_exponential(4, dim=1),
    gamma_exponential(10, dim=3),
    correlated_student(10, df=4, dim=2),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_noise_of_other_shapes(task):
    value, stderr = estimate(*task.sample(2000, seed=1))
    assert task.mi - 0.2 < value < task.mi + 2 * stderr


def test_scale_and_order_of_sides_change_nothing():
    x, y = correlated_student(4, df=4, dim=2).sample(500, seed=0)
    value, _ = estimate(x, y)
    assert estimate(1e6 * x + 3, 1e-9 * y)[0] == pytest.approx(value, abs=1e-6)
    assert estimate(y, x)[0] == pytest.approx(value, abs=0.05)  # apart by the centres of kernels


def test_scale_of_noise_that_varies():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 2000, 1))
    value, stderr = estimate(x, x + 0.01 * np.exp(x) * noise)
    mi = math.log(100)  # E log(0.01 exp x) = -log 100; h(y) exceeds h(x) by at most 0.0004, as the variances show
    assert mi - 0.1 < value < mi + 2 * stderr


def independent(rng):
    return rng.standard_cauchy((1000, 2)), rng.exponential(size=(1000, 2)), 0.0


def branches(rng):
    x, noise = rng.normal(size=(2, 1000, 1))
    y = rng.choice([-1, 1], (1000, 1)) * x + 0.01 * noise
    return x, y, math.log(100) - math.log(2) + 0.05  # less where the branches meet


def circle(rng):
    angle, noise = rng.uniform(0, 2 * math.pi, (1000, 1)), 0.01 * rng.normal(size=(2, 1000, 1))
    return np.cos(angle) + noise[0], np.sin(angle) + noise[1], 2.483  # by quadrature


@pytest.mark.parametrize("relation", [independent, branches, circle])
def test_never_above_the_truth_where_no_regression_fits(relation):
    x, y, mi = relation(np.random.default_rng(0))
    value, stderr = estimate(x, y)
    assert value < mi + 3 * stderr


@pytest.mark.parametrize("noise", [0.03, 0.003])
def test_a_surface_thinner_than_the_distance_of_neighbours(noise):
    # Two latent columns give three: the entropy of these exceeds the truth by nats, and must not be used.
    rng = np.random.default_rng(0)
    mixing = np.array([[1, 0, 1], [0, 1, -1]])
    x = rng.normal(size=(1000, 2))
    y = x @ mixing + noise * rng.normal(size=(1000, 3))
    mi = 0.5 * np.linalg.slogdet(np.eye(2) + mixing @ mixing.T / noise**2)[1]
    entropy = -log_densities(y, 4).mean()
    exact = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * (mixing.T @ mixing + noise**2 * np.eye(3)))[1]
    assert entropy > exact + 0.5
    value, stderr = estimate(x, y)
    assert mi - 1.5 < value < mi + 2 * stderr


def test_ties_are_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    y = x + 0.1 * rng.normal(size=(500, 2))
    assert residual_terms(x, y, rng) is not None
    assert residual_terms(x, y.round(2), rng) is None
    y[0, 1] = y[1, 1]
    assert residual_terms(x, y, rng) is None


def test_exact_relations_are_refused_or_have_many_nats():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    for y in (2 * x[:, :1] + 1, np.abs(x), x[:, ::-1], 1 / (1 + np.exp(-x))):
        terms = residual_terms(x, y, rng)
        assert terms is None or (np.isfinite(terms).all() and terms.mean() > 5)
