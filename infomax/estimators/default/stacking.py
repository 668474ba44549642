"""Stacking: several scores of a pair become one calibrated log-ratio by logistic regression."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Scores are clamped to this many nats of either sign.
_LIMIT = 30.0
_STEPS = 50


def stack(pairs: Tensor, mixed: Tensor, prior: Tensor) -> Tensor:
    r"""Weights that turn scores into a log-ratio: an intercept, then one weight for each score.

    Joint and shuffled pairs have equal total weight, so the fitted log-odds are log-ratios. By data processing their
    mean over joint pairs is at most the mutual information, up to the error of fitting C + 1 numbers. A Gaussian prior
    of unit variance around ``prior`` counts about as much as one pair.

    Args:
        pairs: scores of joint pairs, ``(N, C)``. mixed: of shuffled pairs, ``(M, C)``. prior: expected weights of the
            scores, ``(C,)``.

    Returns:
        ``(C + 1,)``.

    >>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> pairs, mixed = x[:1000] + 1, x[1000:]  # log-ratio: the sum of both scores, less 1
    >>> stack(pairs, mixed, torch.ones(2)).round(decimals=1)
    tensor([-1.,  1.,  1.], dtype=torch.float64)
    """
    joint, product = _design(pairs), _design(mixed)
    share = len(joint) / len(product)
    start = torch.cat([torch.zeros(1), prior]).double()
    weights = start.clone()

    def loss_of(weights: Tensor) -> Tensor:
        loss: Tensor = F.softplus(-joint @ weights).sum() + share * F.softplus(product @ weights).sum()
        return loss + 0.5 * (weights - start).square().sum()

    loss = loss_of(weights)
    for _ in range(_STEPS):
        p, q = torch.sigmoid(joint @ weights), torch.sigmoid(product @ weights)
        gradient = share * (product.T @ q) - joint.T @ (1 - p) + weights - start
        hessian = (joint.T * (p * (1 - p))) @ joint + share * (product.T * (q * (1 - q))) @ product
        hessian += torch.eye(len(weights), dtype=hessian.dtype)
        step = torch.linalg.solve(hessian, gradient)
        while loss_of(weights - step) > loss and step.abs().max() > 1e-9:
            step = step / 2
        weights = weights - step
        loss = loss_of(weights)
        if step.abs().max() < 1e-7:
            break
    return weights


def apply(weights: Tensor, scores: Tensor) -> Tensor:
    """The log-ratio of each row of ``scores (N, C)``: ``(N,)``, nats."""
    log_ratio: Tensor = _design(scores) @ weights
    return log_ratio


def _design(scores: Tensor) -> Tensor:
    scores = scores.double().clamp(-_LIMIT, _LIMIT)
    return torch.cat([torch.ones(len(scores), 1, dtype=scores.dtype), scores], 1)
