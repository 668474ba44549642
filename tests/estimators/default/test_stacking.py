import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from infomax.estimators.default.stacking import apply, stack


def draws(n, m, columns, seed=0, shift=0.7):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randn(n, columns, generator=generator, dtype=torch.float64) + shift
    return pairs, torch.randn(m, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("n", "m", "columns"), [(40, 40, 1), (50, 1000, 2), (30, 600, 3)])
def test_stack_is_scikit_learns_logistic_regression(n, m, columns):
    """With the prior as an offset, and the intercept as penalised as the rest, around 0."""
    pairs, mixed = draws(n, m, columns)
    prior = torch.linspace(0.0, 0.4, columns)
    weights = stack(pairs, mixed, prior)
    # Offsets are no feature of scikit-learn's: a prior of 0 there, and the general case by its gradient below.
    at_zero = stack(pairs, mixed, torch.zeros(columns))
    design = np.column_stack([np.ones(n + m), np.concatenate([pairs, mixed])])
    share = np.concatenate([np.ones(n), np.full(m, n / m)])
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=2000)
    theirs.fit(design, np.arange(n + m) < n, sample_weight=share)
    np.testing.assert_allclose(at_zero, theirs.coef_[0], atol=2e-6)
    labels = torch.cat([torch.ones(n), torch.zeros(m)]).double()
    features, free = torch.from_numpy(design), weights.clone().requires_grad_()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(features @ free, labels, reduction="none")
    start = torch.cat([torch.zeros(1), prior]).double()
    ((torch.from_numpy(share) * losses).sum() + 0.5 * (free - start).square().sum()).backward()
    assert free.grad.abs().max() < 1e-5


def test_calibrated_scores_are_log_ratios():
    """N(1, 1) against N(0, 1): f(s) = s - 1/2, however the scores are scaled and shifted."""
    pairs, mixed = draws(20_000, 20_000, 1, shift=1.0)
    for scale, offset in ((1.0, 0.0), (0.5, 3.0), (2.0, -1.0)):
        weights = stack(scale * pairs + offset, scale * mixed + offset, torch.ones(1))
        grid = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
        # Standard error of the intercept and the slope at 20,000 + 20,000: about 0.02.
        np.testing.assert_allclose(apply(weights, scale * grid + offset), [-1.5, -0.5, 1.5], atol=0.08)


def test_scores_of_no_use_get_no_weight():
    pairs, mixed = draws(5000, 5000, 2)
    pairs[:, 1], mixed[:, 1] = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = stack(pairs, mixed, torch.ones(2))
    assert weights[1] == pytest.approx(0.7, abs=0.1)
    assert abs(weights[2]) < 0.1


def test_the_prior_stands_where_there_is_no_evidence():
    nothing = torch.zeros(30, 2, dtype=torch.float64)
    np.testing.assert_allclose(stack(nothing, nothing, torch.tensor([1.0, 0.5])), [0.0, 1.0, 0.5], atol=1e-9)


def test_separated_and_enormous_scores_stay_finite():
    pairs, mixed = draws(50, 500, 2)
    for far in (100.0, 1e30):
        weights = stack(pairs + far, mixed - far, torch.ones(2))
        assert weights.isfinite().all()
        assert float(apply(weights, pairs + far).min()) > 10
    # Beyond 30 nats of either sign scores count as 30.
    weights = torch.tensor([0.5, 1.0], dtype=torch.float64)
    extreme = torch.tensor([[-math.inf], [-31.0], [29.0], [1e9]])
    assert apply(weights, extreme).tolist() == [-29.5, -29.5, 29.5, 30.5]


def test_float32_scores_give_float64_weights():
    pairs, mixed = draws(50, 500, 1)
    weights = stack(pairs.float(), mixed.float(), torch.ones(1))
    assert weights.dtype == torch.float64
    torch.testing.assert_close(weights, stack(pairs, mixed, torch.ones(1)), atol=1e-5, rtol=1e-5)
