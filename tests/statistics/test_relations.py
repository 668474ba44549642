"""Exact relations are seen, and noise is not taken for one."""

import numpy as np
import pytest
from scipy.interpolate import lagrange

from infomax import SaturationWarning, estimate, tasks
from infomax.statistics.relations import determined_columns, follow_exactly, interpolation_error, linear_residuals

RNG = np.random.default_rng(0)


def test_the_error_is_that_of_the_cubic_through_four_neighbours():
    x, y = RNG.normal(size=(2, 12))
    order = np.argsort(x)
    x, y = x[order], y[order]
    errors = []
    for i in range(2, 10):
        around = [i - 2, i - 1, i + 1, i + 2]
        errors.append(abs(y[i] - lagrange(x[around], y[around])(x[i])) / abs(y[i + 1] - y[i - 1]))
    shuffled = RNG.permutation(12)
    assert interpolation_error(x[shuffled], y[shuffled]) == pytest.approx(np.median(errors), rel=1e-6)


def test_the_residual_is_that_of_least_squares():
    x, y = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 2))
    design = np.hstack([np.ones((50, 1)), x])
    left = np.abs(y - design @ np.linalg.lstsq(design, y, rcond=None)[0])
    spread = np.subtract(*np.quantile(y, [0.75, 0.25], axis=0))
    assert linear_residuals(x, y) == pytest.approx(np.median(left, axis=0) / spread)


@pytest.mark.parametrize("n", [60, 1000, 5000])
def test_columns_that_others_determine(n):
    z = np.column_stack([RNG.normal(size=(n, 2)), RNG.integers(4, size=n)])
    functions = [np.exp(z[:, 0]), -(z[:, 1] ** 3), 2 - z[:, 2], z[:, 0] - 3 * z[:, 1], z[:, 0] ** 2, abs(z[:, 1])]
    noise = RNG.normal(size=n)
    others = [
        noise,
        z[:, 0] + 1e-5 * noise,
        np.exp(z[:, 0]) + 1e-5 * noise,
        z[:, 0] * z[:, 1],
        np.sign(z[:, 0]),
        RNG.integers(4, size=n),
    ]
    assert determined_columns(np.column_stack(functions), z).all()
    assert not determined_columns(np.column_stack(others), z).any()
    assert determined_columns(np.column_stack(functions + others), z).sum() == len(functions)


def test_columns_without_others_are_not_determined():
    x, none = RNG.normal(size=(50, 2)), np.empty((50, 0))
    assert determined_columns(x, none).tolist() == [False, False]
    assert determined_columns(none, x).shape == (0,)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize(
    "function",
    [
        np.square,
        np.exp,
        abs,
        lambda x: np.sin(4 * x),
        lambda x: x % 1,
        lambda x: np.float32(x) ** 2,  # stored in single precision
        lambda x: np.hstack([RNG.normal(size=x.shape), np.tanh(x)]),
    ],
)
def test_functions_of_one_column_are_seen_from_either_side(function, n):
    x = RNG.normal(size=(n, 1))
    y = np.asarray(function(x), dtype=np.float64)
    x = np.hstack([RNG.normal(size=(n, 2)), x])
    assert follow_exactly(x, y)
    assert follow_exactly(y, x)


def test_linear_combinations_of_many_columns_are_seen():
    x = RNG.standard_cauchy(size=(500, 30))
    assert follow_exactly(x, np.float32(x @ RNG.normal(size=(30, 1))).astype(np.float64))
    assert not follow_exactly(x, x @ RNG.normal(size=(30, 1)) + 0.01 * RNG.normal(size=(500, 1)))
    few = RNG.normal(size=(40, 30)), RNG.normal(size=(40, 1))  # so many columns explain anything
    assert not follow_exactly(*few)


@pytest.mark.parametrize("n", [50, 200, 1000, 10_000])
@pytest.mark.parametrize("family", ["beyond-normal", "normal", "staircase"])
def test_no_task_is_taken_for_exact(family, n):
    for name in tasks.names(family):
        if n < 10_000 or tasks.get(name).x_dim <= 5:
            assert not follow_exactly(*tasks.get(name).sample(n, 5)), name


def test_huge_and_tiny_values_are_no_matter():
    x = RNG.normal(size=(200, 2))
    x[3] = 1e300, -1e308
    assert not follow_exactly(x, RNG.normal(size=(200, 1)))
    assert not follow_exactly(1e-300 * RNG.normal(size=(200, 1)), x)
    assert follow_exactly(1e-300 * x[:, :1], x)


@pytest.mark.parametrize("n", [50, 200, 2000])
def test_five_nats_of_noise_are_no_exact_relation(n):
    for _ in range(20):
        x, noise = RNG.normal(size=(2, n, 1))
        assert not follow_exactly(x, x + np.exp(-5) * noise)
        assert not follow_exactly(x, x**2 + np.exp(-5) * noise)


@pytest.mark.parametrize(
    "y",
    [
        lambda x: x > 0,  # the entropy of y is a limit
        lambda x: np.round(x, 1),
        lambda x: np.maximum(x, 0),
    ],
)
def test_columns_that_are_not_continuous_are_left_alone(y):
    x = RNG.normal(size=(400, 1))
    assert not follow_exactly(x, y(x) * 1.0)
    assert not follow_exactly(np.tile(x, (5, 1)), np.tile(RNG.normal(size=(400, 1)), (5, 1)))


@pytest.mark.filterwarnings("ignore:ksg. (the estimate with k = 12|nearest neighbours)", "ignore:default. the held-out")
@pytest.mark.parametrize("bound", ["default", "gaussian", "ksg"])
def test_an_estimate_says_so(bound):
    x = RNG.normal(size=300)
    with pytest.warns(SaturationWarning, match=f"{bound}: a column appears to be a deterministic"):
        estimate(x, x**2, bound=bound, quick=True, progress=False)
