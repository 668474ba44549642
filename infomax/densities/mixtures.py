"""Gaussian mixtures: densities, and bounds on their entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infomax.densities.components import refuse_gradients_of_gradients


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: ``log_weights (C,)``, ``means (C, D)``, covariances ``(C, D, D)``."""

    log_weights: Tensor
    means: Tensor
    covariances: Tensor


def gaussian_entropies(mixture: Mixture) -> Tensor:
    r"""Entropy of each component, :math:`\tfrac12 \log\det(2\pi e \Sigma_c)`, ``(C,)``, in nats."""
    return _entropies(_half_log_det(torch.linalg.cholesky(mixture.covariances)), mixture.means.shape[1])


def mixture_log_prob(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log m(y_i) = \log \sum_c w_c N(y_i; \mu_c, \Sigma_c)`, in nats.

    Args:
        mixture: C components; or those of G mixtures, one mixture's after the other's.
        y: ``(N, D)``; or ``(G, N, D)``, rows of each mixture.

    Returns:
        ``(N,)``, or ``(G, N)``.

    Raises:
        RuntimeError: for a gradient that is to be differentiated again, if the covariances have one.
    """
    rows = y if y.ndim == 3 else y[None]
    given = mixture.log_weights, mixture.means, mixture.covariances, rows
    if mixture.covariances.requires_grad:
        log_prob: Tensor = _LogProb.apply(*given)  # type: ignore[no-untyped-call]
    else:
        log_prob = torch.logsumexp(_logits(*given)[0], 1)
    return log_prob if y.ndim == 3 else log_prob[0]


def mixture_entropy_lower(mixture: Mixture) -> Tensor:
    r"""Lower bound on the mixture's entropy, from the Bhattacharyya distances of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-B(c, k)}` (Kolchinsky and Tracey, "Estimating mixture
    entropy with pairwise distances", 2017, arXiv 1706.02419). Exact for one component and for far-apart ones.
    """
    value: Tensor = _LowerBound.apply(mixture.log_weights, mixture.means, mixture.covariances)  # type: ignore[no-untyped-call]
    return value


def mixture_entropy_upper(mixture: Mixture) -> Tensor:
    r"""Upper bound on the mixture's entropy, from the Kullback-Leibler divergences of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-KL(c \| k)}` (Kolchinsky and Tracey 2017, arXiv 1706.02419).
    """
    chol = torch.linalg.cholesky(mixture.covariances)
    difference = (mixture.means[:, None] - mixture.means[None])[..., None]
    mahalanobis = torch.linalg.solve_triangular(chol[None], difference, upper=False).square().sum((-2, -1))
    trace = torch.linalg.solve_triangular(chol[None], chol[:, None], upper=False).square().sum((-2, -1))
    half = _half_log_det(chol)
    divergence = 0.5 * (trace + mahalanobis - chol.shape[-1]) + half[None] - half[:, None]
    overlap = torch.logsumexp(mixture.log_weights - divergence, 1)
    return (mixture.log_weights.exp() * (_entropies(half, chol.shape[-1]) - overlap)).sum()


def _entropies(half_log_det: Tensor, dim: int) -> Tensor:
    return 0.5 * dim * math.log(2 * math.pi * math.e) + half_log_det


class _LowerBound(torch.autograd.Function):
    """In closed form."""

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
        components, dim = means.shape
        c, k = torch.triu_indices(components, components, 1, device=means.device)
        middle = (covariances[c] + covariances[k]).mul_(0.5)
        factors = torch.linalg.cholesky(torch.cat([covariances, middle]))
        half = _half_log_det(factors)
        white = torch.linalg.solve_triangular(factors[components:], (means[c] - means[k])[..., None], upper=False)
        distance = log_weights.new_zeros(components, components)
        distance[c, k] = white.square().sum((1, 2)) / 8 + half[components:] - 0.5 * (half[c] + half[k])
        logits = log_weights - (distance + distance.T)
        overlap, weights = torch.logsumexp(logits, 1), log_weights.exp()
        each = weights * (_entropies(half[:components], dim) - overlap)
        # Of distances, each from both sides, and of half the log-determinants, on which distances depend too.
        d_distance = weights[:, None] * (logits - overlap[:, None]).exp()
        d_weights = each - d_distance.sum(0)
        d_distance = (d_distance + d_distance.T).fill_diagonal_(0)
        d_half = torch.cat([weights - 0.5 * d_distance.sum(1), d_distance[c, k]])
        ctx.save_for_backward(factors, white, d_weights, d_half, c, k)
        return each.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        refuse_gradients_of_gradients()
        factors, white, d_weights, d_half, c, k = ctx.saved_tensors
        d_half, components = gradient * d_half, len(factors) - len(white)
        solved = torch.linalg.solve_triangular(factors[components:].mT, white, upper=True)
        d_difference = d_half[components:, None, None] / 4 * solved
        by_half = torch.cholesky_inverse(factors).mul_(0.5 * d_half[:, None, None])
        d_each = by_half[components:].baddbmm_(d_difference, solved.mT, alpha=-0.5).mul_(0.5)
        d_covariances = by_half[:components].index_add_(0, c, d_each).index_add_(0, k, d_each)
        d_means = d_half.new_zeros(components, factors.shape[1]).index_add_(0, c, d_difference[..., 0])
        return gradient * d_weights, d_means.index_add_(0, k, d_difference[..., 0], alpha=-1), d_covariances


def _half_log_det(factors: Tensor) -> Tensor:
    half: Tensor = factors.diagonal(dim1=1, dim2=2).log().sum(1)
    return half


def _logits(log_weights: Tensor, means: Tensor, covariances: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r""":math:`\log w_c N(y_i; \mu_c, \Sigma_c)` ``(G, C, N)``; inverse Cholesky factors; rows that they whiten."""
    groups, n, dim = y.shape
    components = len(means) // groups
    factors = torch.linalg.cholesky(covariances)
    inverse = torch.linalg.solve_triangular(factors, _identity(factors), upper=False)
    rows = (y[:, None] - means.view(groups, components, 1, dim)).view(len(means), n, dim)
    white = torch.bmm(rows, inverse.mT)
    offsets = log_weights - _half_log_det(factors) - 0.5 * dim * math.log(2 * math.pi)
    logits = offsets[:, None] - 0.5 * white.square().sum(2)
    return logits.view(groups, components, n), inverse, white


def _identity(matrices: Tensor) -> Tensor:
    return torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).expand_as(matrices)


class _LogProb(torch.autograd.Function):
    """Of G mixtures, ``(G, N)``, in closed form: through Cholesky factors the gradient takes several times as long."""

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, means: Tensor, covariances: Tensor, y: Tensor) -> Tensor:
        logits, inverse, white = _logits(log_weights, means, covariances, y)
        log_prob = torch.logsumexp(logits, 1)
        ctx.save_for_backward(logits, log_prob, inverse, white)
        return log_prob

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        refuse_gradients_of_gradients()
        logits, log_prob, inverse, white = ctx.saved_tensors
        shares = (logits - log_prob[:, None]).exp_().mul_(gradient[:, None]).flatten(0, 1)  # of rows, by component
        d_log_weights = shares.sum(1)
        solved = torch.bmm(white, inverse)
        weighted = solved * shares[..., None]
        d_covariances = torch.bmm(inverse.mT, inverse).mul_(-0.5 * d_log_weights[:, None, None])
        d_covariances.baddbmm_(solved.mT, weighted, alpha=0.5)
        d_y = weighted.view(*logits.shape, solved.shape[2]).sum(1).neg_()
        return d_log_weights, weighted.sum(1), d_covariances, d_y
