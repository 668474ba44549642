import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from infomax.gaussian import couple, fit_gaussian, ledoit_wolf, shrink_singular_values, soft_threshold


@pytest.mark.parametrize("shape", [(200, 3), (30, 8), (5, 12)])
def test_ledoit_wolf_is_scikit_learns(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    torch.testing.assert_close(ledoit_wolf(torch.from_numpy(x)), torch.from_numpy(sklearn_ledoit_wolf(x)[0]))


def test_soft_threshold_adapts_to_sparsity():
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(400, generator=generator, dtype=torch.float64)
    assert soft_threshold(noise, 0.01).square().sum() < 0.1 * noise.square().sum()
    dense = 1 + noise
    assert (soft_threshold(dense, 0.01) - dense).abs().max() < 0.005
    sparse = noise.clone()
    sparse[:20] += 0.2
    truth = torch.zeros(400, dtype=torch.float64)
    truth[:20] = 0.2
    assert (soft_threshold(sparse, 0.01) - truth).square().sum() < 0.4 * noise.square().sum()


def test_singular_value_shrinkage_removes_noise_and_keeps_signal():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60, 40, generator=generator, dtype=torch.float64)
    assert shrink_singular_values(noise, 1.0).square().sum() < 0.05 * noise.square().sum()
    signal = 40 * torch.nn.functional.normalize(torch.ones(60, 40, dtype=torch.float64), dim=(0, 1))
    recovered = shrink_singular_values(signal + noise, 1.0)
    assert (recovered - signal).square().sum() < 0.1 * noise.square().sum()


def test_mutual_information_is_the_determinant_formula():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 7, generator=generator, dtype=torch.float64) @ torch.randn(7, 7, dtype=torch.float64)
    covariance = torch.cov(z.T, correction=0)
    parts = covariance[:3, :3], covariance[3:, 3:], covariance
    x_part, y_part, joint = (torch.logdet(part) for part in parts)
    coupling = couple(z[:, :3], z[:, 3:])
    torch.testing.assert_close(coupling.mutual_information(), 0.5 * (x_part + y_part - joint))


def test_log_ratio_is_that_of_the_three_densities():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    z[:, 3:] += z[:, :2]
    mean, covariance = z.mean(0), torch.cov(z.T, correction=0)

    def log_prob(columns):
        density = torch.distributions.MultivariateNormal(mean[columns], covariance[columns][:, columns])
        return density.log_prob(z[:, columns])

    every, x, y = torch.arange(5), torch.arange(3), torch.arange(3, 5)
    coupling = couple(z[:, :3], z[:, 3:])
    torch.testing.assert_close(coupling.log_ratio(z[:, :3], z[:, 3:]), log_prob(every) - log_prob(x) - log_prob(y))


@pytest.mark.parametrize("rotated", [False, True])
def test_fit_is_better_on_new_rows_than_plain_correlations(rotated, pairs):
    """Shrinkage pays where most of 400 cross-correlations are zero, and costs nothing where none is."""
    rotation = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)).double())[0]
    gains = []
    for seed in range(8):
        x, y = pairs("normal-20d-0.5", 6000, seed)
        x = x @ rotation if rotated else x
        train, test = (x[:3000], y[:3000]), (x[3000:], y[3000:])
        gains.append(float((fit_gaussian(*train).log_ratio(*test) - couple(*train).log_ratio(*test)).mean()))
    # Plain correlations lose about 400 / 6,000 = 0.067 nats.
    assert sum(gains) / 8 > (-0.003 if rotated else 0.04)


def test_deterministic_and_degenerate_pairs_stay_finite():
    x = torch.randn(100, 2, dtype=torch.float64)
    for y in (x, torch.zeros(100, 1, dtype=torch.float64), torch.cat([x, x], 1)):
        fit = fit_gaussian(x, y)
        assert fit.mutual_information().isfinite()
        assert fit.log_ratio(x, y).isfinite().all()
    assert fit_gaussian(x[:2], x[:2]).mutual_information() >= 0
    assert fit_gaussian(x, torch.zeros(100, 1).double()).mutual_information() == 0
    assert couple(x, x).mutual_information() == pytest.approx(2 * -0.5 * math.log(1e-6), rel=1e-6)
