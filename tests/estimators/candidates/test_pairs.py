import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import minimize

from infomax.estimators import candidates
from infomax.estimators.candidates import Side
from infomax.estimators.candidates.pairs import densities, matched, weights_of

GRID = np.linspace(-4, 4, 128)


def test_columns_are_matched_by_what_they_share():
    """Each with its own function of the other, in a changed order; a column without a partner stays out."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 4))
    y = np.stack([x[:, 2] ** 2, np.abs(x[:, 0]) - x[:, 1] * 0.1, rng.standard_normal(2000), np.sin(3 * x[:, 1])], 1)
    y += 0.2 * rng.standard_normal(y.shape)
    assert sorted(matched(torch.from_numpy(x), torch.from_numpy(y))) == [(0, 1), (1, 3), (2, 0)]


def test_independent_columns_are_not_matched():
    """The threshold is three standard deviations, and the best of all permutations is taken."""
    rng = np.random.default_rng(1)
    found = [matched(*torch.from_numpy(rng.standard_normal((2, 800, 3)))) for _ in range(20)]
    assert sum(map(len, found)) <= 6


def test_densities_of_kernels_are_those_of_scipy():
    """With the same bandwidth, a density divided by its own margins."""
    rng = np.random.default_rng(2)
    u = rng.standard_normal(300)
    v = np.sin(u) + 0.5 * rng.standard_normal(300)
    found = densities(torch.from_numpy(u), torch.from_numpy(v))[2].numpy()  # the widest kernel
    at = rng.uniform(-1.5, 1.5, (2, 50))
    width = 0.4
    weights = np.exp(-0.5 * ((at[0][:, None] - u) / width) ** 2), np.exp(-0.5 * ((at[1][:, None] - v) / width) ** 2)
    expected = 300 * (weights[0] * weights[1]).sum(1) / (weights[0].sum(1) * weights[1].sum(1))
    inside = RegularGridInterpolator((GRID, GRID), found)(at.T)
    np.testing.assert_allclose(inside, expected, rtol=0.015, atol=0.001)


def test_independence_and_the_normal_copula_are_among_the_densities():
    rng = np.random.default_rng(3)
    u, v = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 5000).T
    u, v = (torch.from_numpy(stats.norm.ppf((stats.rankdata(side) - 0.5) / 5000)) for side in (u, v))
    r = float(u @ v / (u.norm() * v.norm()))
    none, normal = densities(u, v)[:2].numpy()
    np.testing.assert_array_equal(none, 1.0)
    a, b = np.meshgrid(GRID[30:98], GRID[30:98], indexing="ij")
    joint = stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).pdf(np.stack([a, b], -1))
    np.testing.assert_allclose(normal[30:98, 30:98], joint / (stats.norm.pdf(a) * stats.norm.pdf(b)), rtol=1e-4)


def test_weights_have_the_largest_likelihood():
    likelihoods = np.random.default_rng(4).gamma(2.0, size=(3, 500)) * np.array([[0.6], [0.5], [0.55]])
    found = weights_of(torch.from_numpy(likelihoods)).numpy()

    def loss(free):
        weights = np.exp(np.append(free, 0.0))
        return -np.log(weights / weights.sum() @ likelihoods).mean()

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    assert found.sum() == pytest.approx(1.0)
    assert -np.log(found @ likelihoods).mean() == pytest.approx(best.fun, abs=1e-4)


def test_a_side_that_is_rotated_is_unmixed_and_the_other_is_not():
    """Normal columns cannot be unmixed, so that one choice for both sides would miss the relation."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3000, 3))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    y = (np.sin(2 * x) + 0.3 * rng.standard_normal((3000, 3))) @ turn
    fit = candidates.get("pairs").fit(Side.of(x), Side.of(y), torch.Generator().manual_seed(0))
    assert fit.coordinates.of_x is None
    assert fit.coordinates.of_y is not None
    assert len(fit.of_x) == 3


def test_values_beyond_the_table_have_the_log_ratio_of_its_edge():
    x, noise = np.random.default_rng(6).standard_normal((2, 1000, 1))
    fit = candidates.get("pairs").fit(Side.of(x), Side.of(x + 0.5 * noise), torch.Generator().manual_seed(0))
    far, edge = torch.tensor([[9.0], [-30.0]]), torch.tensor([[4.0], [-4.0]])
    inner = torch.tensor([[0.3], [1.0]])
    torch.testing.assert_close(fit.scores(far, inner), fit.scores(edge, inner))
    assert math.isfinite(float(fit.scores(far, far).sum()))
