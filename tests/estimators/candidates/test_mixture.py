import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax.densities.mixtures import Mixture
from infomax.estimators import candidates
from infomax.estimators.candidates.base import Side
from infomax.estimators.candidates.mixture import FittedMixture, _intensity, _shrunk, fit_mixture
from infomax.statistics.gaussian import ledoit_wolf


def clusters(n=1500, seed=0):
    """Rows of three clusters of 2 + 1 columns that hardly overlap, and their parameters."""
    rng = np.random.default_rng(seed)
    weights = np.array([0.5, 0.3, 0.2])
    means = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, -6.0], [0.0, 9.0, 6.0]])
    roots = np.array([np.eye(3), [[1, 0, 0], [0.5, 1, 0], [0.8, 0, 0.6]], [[0.7, 0, 0], [0, 1, 0], [0, -0.9, 0.4]]])
    member = rng.choice(3, n, p=weights)
    rows = means[member] + np.einsum("nij,nj->ni", roots[member], rng.standard_normal((n, 3)))
    return torch.from_numpy(rows), weights, means, roots @ roots.transpose(0, 2, 1)


def test_a_well_separated_mixture_is_recovered():
    z, weights, means, covariances = clusters()
    mixture = fit_mixture(z, 3, 2, torch.Generator().manual_seed(0))
    order = mixture.log_weights.argsort(descending=True)
    np.testing.assert_allclose(mixture.log_weights.exp()[order], weights, atol=0.04)
    np.testing.assert_allclose(mixture.means[order], means, atol=0.2)
    np.testing.assert_allclose(mixture.covariances[order], covariances, atol=0.25)


def test_one_component_has_the_mean_and_nearly_the_covariance_of_the_sample():
    """The M step by hand, but for shrinkage, which is small for many rows."""
    z, _, _, _ = clusters(4000)
    mixture = fit_mixture(z, 1, 2, torch.Generator().manual_seed(0))
    n = len(z)
    mean = [sum(z[:, i].tolist()) / n for i in range(3)]
    np.testing.assert_allclose(mixture.means[0], mean, atol=1e-9)
    covariance = np.empty((3, 3))
    for i, j in itertools.product(range(3), range(3)):
        covariance[i, j] = sum((a - mean[i]) * (b - mean[j]) for a, b in z[:, [i, j]].tolist()) / n
    np.testing.assert_allclose(mixture.covariances[0], covariance, rtol=0.06, atol=0.5)
    assert mixture.log_weights.tolist() == [0.0]


def test_shrinkage_of_equal_weights_is_that_of_ledoit_and_wolf():
    z, _, _, _ = clusters(60)
    centred, weights = z - z.mean(0), torch.full((60,), 1 / 60, dtype=torch.float64)
    sample = centred.T @ centred / 60
    covariance = _shrunk(sample, _intensity(centred, sample, weights))
    torch.testing.assert_close(covariance, ledoit_wolf(z), rtol=1e-4, atol=1e-4)


def test_an_elongated_cluster_keeps_its_correlation():
    """Shrinkage of the sides alone would make a correlation larger than 1 of it."""
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 0] *= 10
    z = torch.cat([x, x + 0.1 * x.flip(0)], 1)
    covariance = fit_mixture(z, 1, 2, torch.Generator().manual_seed(0)).covariances[0]
    exact = np.corrcoef(z.T.numpy())[0, 2]
    found = covariance[0, 2] / (covariance[0, 0] * covariance[2, 2]).sqrt()
    assert found.item() == pytest.approx(exact, abs=0.005)
    assert torch.linalg.eigvalsh(covariance)[0] > 1e-4


@pytest.mark.parametrize(("dim_x", "dim_y"), [(2, 1), (1, 2), (1, 1)])
def test_log_ratios_are_those_of_scipys_densities(dim_x, dim_y):
    rng = np.random.default_rng(3)
    dim = dim_x + dim_y
    weights, means = np.array([0.2, 0.5, 0.3]), rng.standard_normal((3, dim))
    roots = rng.standard_normal((3, dim, dim))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(dim)
    parts = [slice(0, dim_x), slice(dim_x, None)]
    as_tensors = map(torch.from_numpy, (np.log(weights), means, covariances))
    joint = Mixture(*as_tensors)
    sides = [Mixture(joint.log_weights, joint.means[:, p], joint.covariances[:, p, p]) for p in parts]
    fitted = FittedMixture(joint, *sides)
    x, y = Side.of(rng.standard_normal((6, dim_x))), Side.of(rng.standard_normal((5, dim_y)))
    scores = fitted.scores(*fitted.embed(x, y))

    def density(row, part):
        each = zip(weights, means, covariances, strict=True)
        return sum(w * stats.multivariate_normal(m[part], c[part, part]).pdf(row) for w, m, c in each)

    for (i, a), (j, b) in itertools.product(enumerate(x.scores.numpy()), enumerate(y.scores.numpy())):
        whole = density(np.concatenate([a, b]), slice(None))
        expected = math.log(whole / (density(a, parts[0]) * density(b, parts[1])))
        assert scores[i, j].item() == pytest.approx(expected, abs=1e-5)  # in float32


def test_marginals_of_a_fitted_mixture_are_its_own():
    z, _, _, _ = clusters(600)
    x, y = Side.of(z[:, :2].numpy()), Side.of(z[:, 2:].numpy())
    fit = candidates.get("mixture").fit(x, y, torch.Generator().manual_seed(0))
    torch.testing.assert_close(fit.of_x.means, fit.joint.means[:, :2])
    torch.testing.assert_close(fit.of_y.covariances, fit.joint.covariances[:, 2:, 2:])
    assert (torch.linalg.eigvalsh(fit.joint.covariances) > 0).all()
