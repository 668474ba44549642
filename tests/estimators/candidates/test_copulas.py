import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax import tasks
from infomax.estimators.candidates.copulas import (
    DEGREES,
    EllipticalCopula,
    fit_copula,
    principal_axes,
    significant_rank,
    student_scores,
)
from infomax.statistics.gaussian import sample_covariance, whiten
from infomax.statistics.marginals import fit_margins


def exact_copula(x, y, degrees=math.inf):
    """Of the sample's own covariances, not shrunk: what SciPy's densities of the same covariance are held against."""
    whitened = whiten(x, y, sample_covariance)
    return EllipticalCopula(whitened.canonical("none"), whitened.root_x, whitened.root_y, degrees)


def dependent(n, dim_x, dim_y, seed=0):
    z = np.random.default_rng(seed).normal(size=(n, dim_x + dim_y))
    z[:, dim_x] += z[:, 0]
    z[:, 0] += 0.5 * z[:, dim_x - 1]
    return torch.from_numpy(z[:, :dim_x]), torch.from_numpy(z[:, dim_x:])


def normal_scores(x, y):
    return tuple(torch.from_numpy(fit_margins(side)(side)) for side in (x, y))


def log_density(degrees, mean, covariance):
    if math.isinf(degrees):
        return stats.multivariate_normal(mean, covariance).logpdf
    return stats.multivariate_t(mean, covariance, df=degrees).logpdf


@pytest.mark.parametrize("degrees", [math.inf, 1.0, 2.5, 20.0])
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 2), (2, 4)])
def test_log_ratio_is_that_of_scipys_densities(degrees, dim_x, dim_y):
    x, y = dependent(60, dim_x, dim_y)
    copula = exact_copula(x, y, degrees)
    z = x, y
    if math.isfinite(degrees):
        z = student_scores(x, degrees), student_scores(y, degrees)
    joint = torch.cat(z, 1).numpy()
    # The location and scale that the copula was made with are those of the normal scores.
    both = torch.cat([x, y], 1)
    mean, covariance = both.mean(0).numpy(), sample_covariance(both).numpy()
    parts = [slice(None), slice(0, dim_x), slice(dim_x, None)]
    dense, of_x, of_y = (log_density(degrees, mean[part], covariance[part, part])(joint[:, part]) for part in parts)
    np.testing.assert_allclose(copula.pairs(*copula.embed(x, y)), dense - of_x - of_y, atol=3e-4)


@pytest.mark.parametrize("degrees", [math.inf, 3.0])
def test_scores_are_the_log_ratios_of_all_pairs(degrees):
    x, y = dependent(30, 3, 2)
    copula = exact_copula(x, y, degrees)
    u, v = copula.embed(x, y)
    scores = copula.scores(u, v)
    assert scores.shape == (30, 30)
    for shift in (0, 1, 7):
        partners = torch.arange(30).roll(shift)
        expected = copula.pairs(u, v[partners])
        torch.testing.assert_close(scores[torch.arange(30), partners], expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("degrees", [1.0, 4.0])
def test_a_student_log_ratio_integrates_to_one_over_independent_pairs(degrees):
    """E over p(x) p(y) of e^f is 1, by quadrature over both margins."""
    s = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(sample_covariance(z))).T @ torch.linalg.cholesky(s).T
    copula = exact_copula(z[:, :1], z[:, 1:], degrees)
    grid = torch.from_numpy(stats.norm.ppf((np.arange(2000) + 0.5) / 2000))[:, None]
    assert copula.scores(*copula.embed(grid, grid)).double().exp().mean().item() == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student_scores_are_scipys_quantiles(degrees):
    scores = torch.linspace(-3.5, 3.5, 301, dtype=torch.float64)[:, None]
    expected = stats.t.ppf(stats.norm.cdf(scores.numpy()), degrees)
    np.testing.assert_allclose(student_scores(scores, degrees), expected, rtol=3e-4, atol=1e-5)


def test_student_scores_are_odd_increasing_and_finite_in_the_tails():
    scores = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    found = student_scores(scores, 1.0)
    assert found.isfinite().all()
    torch.testing.assert_close(found, -found.flip(0), rtol=1e-6, atol=1e-9)
    assert (found.diff() >= 0).all()
    assert (found[(scores > -8) & (scores < 8)].diff() > 0).all()
    assert student_scores(torch.tensor([100.0]), 2.0) == student_scores(torch.tensor([8.0]), 2.0)


def test_fit_chooses_the_family_that_made_the_pairs():
    normal, _ = fit_copula(*normal_scores(*tasks.get("normal-1d-0.5").sample(2000, 0)))
    assert math.isinf(normal.degrees)
    student, beside = fit_copula(*normal_scores(*tasks.get("student-identity-1-1-1").sample(2000, 0)))
    assert student.degrees in (1.0, 1.5)
    assert math.isinf(beside.degrees)
    assert student.coupling is beside.coupling


@pytest.mark.parametrize("name", ["normal-1d-0.5", "normal-5d-1", "student-identity-1-1-1", "student-identity-3-3-3"])
def test_a_fitted_copula_gives_the_known_information_of_new_rows(name):
    task = tasks.get(name)
    x, y = normal_scores(*task.sample(8000, 1))
    best, _ = fit_copula(x[:4000], y[:4000])
    local = best.pairs(*best.embed(x[4000:], y[4000:])).double()
    # Three standard errors, and what fitting Dx Dy correlations on 4,000 rows costs.
    assert abs(float(local.mean()) - task.mi) < 3 * float(local.std()) / math.sqrt(4000) + 0.01


def test_fit_of_independent_and_of_equal_sides():
    x, y = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best, _ = fit_copula(x, y)
    assert float(best.pairs(*best.embed(x, y)).mean()) < 0.01
    same, _ = fit_copula(x, x)
    assert same.scores(*same.embed(x, x)).isfinite().all()
    assert float(same.pairs(*same.embed(x, x)).mean()) > 10


@pytest.mark.parametrize("n", [10, 14, 20])
def test_fit_of_very_few_rows_is_finite(n):
    x, y = torch.randn(2, n, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for copula in fit_copula(x, y[:, :4]):
        assert copula.scores(*copula.embed(x, y[:, :4])).isfinite().all()


def test_fit_needs_ten_rows():
    x = torch.randn(9, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="x must have at least 10 rows to fit a copula; got 9"):
        fit_copula(x, x)


def test_principal_axes_are_those_above_white_noise():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 20, generator=generator, dtype=torch.float64)
    assert principal_axes(noise).shape[1] <= 1
    loading = torch.zeros(20, dtype=torch.float64)
    loading[:10] = 1
    axes = principal_axes(noise + 2 * torch.randn(400, 1, generator=generator, dtype=torch.float64) * loading)
    torch.testing.assert_close(axes.T @ axes, torch.eye(axes.shape[1], dtype=torch.float64))
    assert abs(float(axes[:, -1] @ loading)) / loading.norm() > 0.99
    assert principal_axes(torch.zeros(10, 3, dtype=torch.float64)).shape == (3, 1)


def test_significant_rank_counts_what_stands_out():
    x, noise = torch.randn(2, 2000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert significant_rank(x, noise) == 0
    y = noise.clone()
    y[:, :2] += x[:, 2:4]
    assert significant_rank(x, y) == 2
