import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from infomax.statistics.gaussian import (
    adjust_correlations,
    couple,
    fit_gaussian,
    ledoit_wolf,
    sample_covariance,
    shrink_singular_values,
    soft_threshold,
    whiten,
)


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


def test_adjusted_correlations_are_those_of_adjusted_r_squared():
    """Of y on Dx columns, and the textbook's formula."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(50, 4)), rng.normal(size=50)
    design = np.column_stack([np.ones(50), x])
    y = x[:, 0] + noise
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    plain = 1 - residual.var() / y.var()
    adjusted = 1 - (1 - plain) * 49 / (50 - 5)
    correlation = torch.tensor([plain**0.5])
    assert adjust_correlations(correlation, 50, 5).item() == pytest.approx(adjusted**0.5, rel=1e-6)


def test_adjusted_correlations_stay_in_range():
    correlations = torch.tensor([0.0, 0.1, 0.3, 1.0], dtype=torch.float64)
    found = adjust_correlations(correlations, 20, 4)
    assert found.tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0])
    assert adjust_correlations(correlations, 20, 30).tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("within", [sample_covariance, ledoit_wolf])
def test_whitened_sides_have_the_identity_as_covariance(within):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(300, 4, generator=generator, dtype=torch.float64) @ mixing + 3
    y = x[:, :2] + torch.randn(300, 2, generator=generator, dtype=torch.float64)
    found = whiten(x, y, within)
    for side, mean, root in ((x, found.mean_x, found.root_x), (y, found.mean_y, found.root_y)):
        torch.testing.assert_close(mean, side.mean(0))
        torch.testing.assert_close(root @ within(side) @ root, torch.eye(len(root), dtype=torch.float64))
    white_x, white_y = (x - found.mean_x) @ found.root_x, (y - found.mean_y) @ found.root_y
    torch.testing.assert_close(found.cross, white_x.T @ white_y / 300)


def test_adjusted_shrinkage_drops_noise_and_corrects_what_it_keeps():
    """One correlation of 0.9 among 10 + 10 columns of 200 rows; the plain one is too large, low rank takes too much."""
    found = {"none": [], "low-rank": [], "adjusted": []}
    for seed in range(40):
        x, y = torch.randn(2, 200, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        y[:, 0] = 0.9 * x[:, 0] + math.sqrt(1 - 0.81) * y[:, 0]
        whitened = whiten(x, y, sample_covariance)
        for shrink, values in found.items():
            values.append(whitened.canonical(shrink).correlations)
    first = {shrink: float(torch.stack(values)[:, 0].mean()) for shrink, values in found.items()}
    error = float(torch.stack(found["adjusted"])[:, 0].std()) / math.sqrt(40)
    assert first["adjusted"] == pytest.approx(0.9, abs=3 * error)
    assert first["low-rank"] < 0.9 - 3 * error
    assert first["none"] > 0.9 + 3 * error
    assert (torch.stack(found["adjusted"])[:, 1:] > 0).double().mean() < 0.05
    assert (torch.stack(found["none"])[:, 1:] > 0).all()


def test_deterministic_and_degenerate_pairs_stay_finite():
    x = torch.randn(100, 2, dtype=torch.float64)
    for y in (x, torch.zeros(100, 1, dtype=torch.float64), torch.cat([x, x], 1)):
        fit = fit_gaussian(x, y)
        assert fit.mutual_information().isfinite()
        assert fit.log_ratio(x, y).isfinite().all()
    assert fit_gaussian(x[:2], x[:2]).mutual_information() >= 0
    assert fit_gaussian(x, torch.zeros(100, 1).double()).mutual_information() == 0
    assert couple(x, x).mutual_information() == pytest.approx(2 * -0.5 * math.log(1e-6), rel=1e-6)


@pytest.mark.parametrize(("n", "columns", "noise"), [(400, 4, 0.3), (1000, 4, 0.1), (200, 4, 0.5), (200, 2, 0.1)])
@pytest.mark.parametrize("shrink", ["sparse", "low-rank", "adjusted"])
def test_few_columns_that_nearly_determine_each_other_keep_their_information(n, columns, noise, shrink):
    truth = 0.5 * columns * math.log1p(noise**-2)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x, e = torch.randn(2, n, columns, generator=generator, dtype=torch.float64)
        fresh, f = torch.randn(2, 10_000, columns, generator=generator, dtype=torch.float64)
        fit = couple(x, x + noise * e, shrink)
        assert float(fit.mutual_information()) < 1.2 * truth
        # What it says of rows that it was not fitted to; the first two ways take too much from correlations near 1.
        least = 0.9 if shrink == "adjusted" else 0.3
        assert float(fit.log_ratio(fresh, fresh + noise * f).mean()) > least * truth
