"""The correction of a fitted normal copula: its closed forms, and that it cannot exceed what sampling explains."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax import tasks
from infomax.estimators.candidates.copulas import EllipticalCopula, fit_copula
from infomax.estimators.default.corrections import (
    loss_of_fitting,
    normal_correction,
    normal_information,
    simulated_loss,
)
from infomax.statistics.gaussian import sample_covariance, whiten


def test_normal_information_has_the_bias_and_variance_of_wishart_determinants():
    """Over 4,000 samples of 60 independent normal rows: the mean is 0 and the variance is the stated one."""
    rng = np.random.default_rng(0)
    n, dims, draws = 60, (3, 2), 4000
    z = rng.normal(size=(draws, n, sum(dims)))
    correlations = np.stack([np.corrcoef(sample, rowvar=False) for sample in z])
    log_dets = [
        np.linalg.slogdet(correlations[:, part, part])[1] for part in (slice(0, 3), slice(3, None), slice(None))
    ]
    values = 0.5 * (log_dets[0] + log_dets[1] - log_dets[2])
    found, variance = zip(
        *(normal_information(torch.from_numpy(s[:, :3]), torch.from_numpy(s[:, 3:])) for s in z[:300]), strict=True
    )
    bias = values[:300] - np.array(found)
    np.testing.assert_allclose(bias, bias[0], atol=1e-10)  # one number for all samples of this shape
    assert len(set(variance)) == 1
    assert values.mean() == pytest.approx(bias[0], abs=4 * values.std() / math.sqrt(draws))
    kurtosis = stats.kurtosis(values, fisher=False)
    assert values.var() == pytest.approx(variance[0], rel=4 * math.sqrt((kurtosis - 1) / draws))


def test_normal_information_of_dependent_rows_is_the_known_one():
    task = tasks.get("normal-5d-1")
    values = [normal_information(*map(torch.from_numpy, task.sample(200, seed)))[0] for seed in range(200)]
    assert np.mean(values) == pytest.approx(task.mi, abs=4 * np.std(values) / math.sqrt(200))


@pytest.mark.parametrize(("dims", "rows"), [((1, 1), 60), ((3, 2), 60), ((5, 5), 200)])
def test_loss_of_fitting_is_that_of_simulated_normal_samples(dims, rows):
    """The mean log-ratio by the true copula, 0, less that by an unshrunk fit, on new independent rows."""
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(300):
        x, y = (torch.randn(rows + 500, dim, generator=generator, dtype=torch.float64) for dim in dims)
        whitened = whiten(x[:rows], y[:rows], sample_covariance)
        fit = EllipticalCopula(whitened.canonical("none"), whitened.root_x, whitened.root_y)
        losses.append(-float(fit.pairs(*fit.embed(x[rows:], y[rows:])).mean()))
    error = np.std(losses) / math.sqrt(len(losses))
    assert loss_of_fitting(*dims, rows) == pytest.approx(np.mean(losses), abs=4 * error)


def test_loss_of_fitting_without_enough_rows_is_unknown():
    assert loss_of_fitting(3, 3, 8) == math.inf
    assert loss_of_fitting(3, 3, 9) < math.inf


def test_a_simulated_loss_with_shrinkage_is_below_that_without():
    """Forty columns of which one pair is related: shrinkage loses a fraction."""
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.normal(size=(200, 20))) for _ in range(2))
    y[:, 0] += 2 * x[:, 0]
    copula, _ = fit_copula(x, y)
    found = simulated_loss(copula, 200, torch.Generator().manual_seed(0))
    assert 0 < found < 0.5 * loss_of_fitting(20, 20, 200)


def corrected(x, y, unshrunk, held_out):
    """The correction of a copula fitted to four fifths of the rows."""
    rows = len(x) * 4 // 5
    copula, _ = fit_copula(x[:rows], y[:rows])
    return normal_correction(
        copula, x, y, held_out=held_out, unshrunk=unshrunk, rows=rows, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("held_out", [-3.0, 0.0, 0.8, 3.0])
def test_a_correction_is_at_most_what_sampling_explains(held_out):
    x, y = (torch.from_numpy(side) for side in tasks.get("normal-5d-1").sample(1000, 0))
    found = corrected(x, y, (1.0, 0.05), held_out).value
    noise = 2 * math.sqrt(_variance(1000, 5, 5))
    assert -noise <= found <= loss_of_fitting(5, 5, 800) + noise


def test_a_copula_that_is_not_normal_is_not_corrected():
    """Its closed form is 1 nat, its calibrated held-out value 0.5: no loss of fitting explains the difference."""
    x, y = (torch.from_numpy(side) for side in tasks.get("normal-5d-1").sample(1000, 0))
    rejected = corrected(x, y, (0.5, 0.05), 0.5)
    assert (rejected.value, rejected.stderr) == (0.0, 0.0)
    assert rejected.unexplained == pytest.approx(0.5, abs=0.1)
    kept = corrected(x, y, (0.95, 0.05), 0.9)
    assert kept.value > 0 == kept.unexplained


def _variance(n, dim_x, dim_y):
    """Of the closed form under independence: trigamma functions of half the degrees of freedom, by SciPy."""
    from scipy.special import polygamma

    terms = polygamma(1, (n - np.arange(1, dim_x + dim_y + 1)) / 2)
    return 0.25 * (terms.sum() - terms[:dim_x].sum() - terms[:dim_y].sum())
