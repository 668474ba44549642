"""Gaussian mixtures: densities, and bounds on their entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infomax.components import refuse_gradients_of_gradients


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: ``log_weights (C,)``, ``means (C, D)``, covariances ``(C, D, D)``."""

    log_weights: Tensor
    means: Tensor
    covariances: Tensor


def gaussian_entropies(mixture: Mixture) -> Tensor:
    r"""Entropy of each component, :math:`\tfrac12 \log\det(2\pi e \Sigma_c)`, ``(C,)``, in nats."""
    half_log_det, _ = half_log_det_and_lengths(mixture.covariances, mixture.means[:, None, :][:, :0])
    return _entropies(half_log_det, mixture.means.shape[1])


def component_log_probs(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log N(y_i; \mu_c, \Sigma_c)` for every row and component, ``(N, C)``, in nats."""
    half_log_det, lengths = half_log_det_and_lengths(mixture.covariances, y - mixture.means[:, None])
    log_probs = -0.5 * lengths - (half_log_det + 0.5 * y.shape[1] * math.log(2 * math.pi))[:, None]
    return log_probs.T


def mixture_log_prob(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log m(y_i) = \log \sum_c w_c N(y_i; \mu_c, \Sigma_c)`, ``(N,)``, in nats."""
    return torch.logsumexp(component_log_probs(mixture, y) + mixture.log_weights, 1)


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


def half_log_det_and_lengths(covariances: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`\tfrac12 \log\det \Sigma_b` ``(B,)`` and :math:`x_{bi}^T \Sigma_b^{-1} x_{bi}` ``(B, N)``.

    Args:
        covariances: ``(B, D, D)``. rows: ``(B, N, D)``.

    Raises:
        RuntimeError: for a gradient that is to be differentiated again, if the covariances have one.
    """
    if not covariances.requires_grad:
        factors, white = _whitened(covariances, rows)
        return _half_log_det(factors), white.square().sum(1)
    result: tuple[Tensor, Tensor] = _HalfLogDetAndLengths.apply(covariances, rows)  # type: ignore[no-untyped-call]
    return result


def _whitened(covariances: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors, and what solves them for the rows, ``(B, D, N)``."""
    factors = torch.linalg.cholesky(covariances)
    return factors, torch.linalg.solve_triangular(factors, rows.mT, upper=False)


def _half_log_det(factors: Tensor) -> Tensor:
    half: Tensor = factors.diagonal(dim1=1, dim2=2).log().sum(1)
    return half


class _HalfLogDetAndLengths(torch.autograd.Function):
    """In closed form: through Cholesky factors the gradient takes several times as long."""

    @staticmethod
    def forward(ctx: Any, covariances: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        factors, white = _whitened(covariances, rows)
        ctx.save_for_backward(factors, white)
        return _half_log_det(factors), white.square().sum(1)

    @staticmethod
    def backward(ctx: Any, d_half: Tensor, d_lengths: Tensor) -> tuple[Tensor, Tensor]:
        refuse_gradients_of_gradients()
        factors, white = ctx.saved_tensors
        solved = torch.linalg.solve_triangular(factors.mT, white, upper=True)
        weighted = solved * d_lengths[:, None]
        d_covariances = torch.cholesky_inverse(factors).mul_(0.5 * d_half[:, None, None])
        return d_covariances.baddbmm_(weighted, solved.mT, alpha=-1), 2 * weighted.mT
