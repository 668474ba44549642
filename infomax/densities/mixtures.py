"""Gaussian mixtures: densities, and bounds on their entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: ``log_weights (C,)``, ``means (C, D)``, covariances ``(C, D, D)``.

    >>> import torch
    >>> one = Mixture(torch.zeros(1), torch.zeros(1, 2), torch.eye(2)[None])  # a standard normal in two dimensions
    >>> round(float(mixture_log_prob(one, torch.zeros(1, 2))), 3)  # -log(2 pi)
    -1.838
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor


def gaussian_entropies(mixture: Mixture) -> Tensor:
    r"""Entropy of each component, :math:`\tfrac12 \log\det(2\pi e \Sigma_c)`, ``(C,)``, in nats.

    >>> import torch
    >>> one = Mixture(torch.zeros(1), torch.zeros(1, 2), torch.eye(2)[None])
    >>> round(gaussian_entropies(one).item(), 3)  # log(2 pi e)
    2.838
    """
    return _entropies(_half_log_det(torch.linalg.cholesky(mixture.covariances)), mixture.means.shape[1])


def mixture_log_prob(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log m(y_i) = \log \sum_c w_c N(y_i; \mu_c, \Sigma_c)` of rows ``(N, D)``: ``(N,)``, in nats.

    >>> import torch
    >>> two = Mixture(torch.tensor([0.5, 0.5]).log(), torch.tensor([[-5.0], [5.0]]), torch.ones(2, 1, 1))
    >>> mixture_log_prob(two, torch.tensor([[-5.0], [0.0], [5.0]])).shape
    torch.Size([3])
    """
    factors = torch.linalg.cholesky(mixture.covariances)
    white = torch.linalg.solve_triangular(factors, (y - mixture.means[:, None]).mT, upper=False)
    constants = mixture.log_weights - _half_log_det(factors) - 0.5 * y.shape[1] * math.log(2 * math.pi)
    return torch.logsumexp(constants[:, None] - 0.5 * white.square().sum(1), 0)


def mixture_entropy_lower(mixture: Mixture) -> Tensor:
    r"""Lower bound on the mixture's entropy, from the Bhattacharyya distances of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-B(c, k)}` (Kolchinsky and Tracey, "Estimating mixture
    entropy with pairwise distances", 2017, arXiv 1706.02419). Exact for one component and for far-apart ones.

    >>> import torch
    >>> two = Mixture(torch.tensor([0.5, 0.5]).log(), torch.tensor([[-99.0], [99.0]]), torch.ones(2, 1, 1))
    >>> round(float(mixture_entropy_lower(two)), 3)  # that of one component, 1.419, and log 2 of which one
    2.112
    """
    means, covariances = mixture.means, mixture.covariances
    half = _half_log_det(torch.linalg.cholesky(covariances))
    middle = torch.linalg.cholesky((covariances[:, None] + covariances) / 2)
    white = torch.linalg.solve_triangular(middle, (means[:, None] - means)[..., None], upper=False)
    distance = white.square().sum((-2, -1)) / 8 + _half_log_det(middle) - 0.5 * (half[:, None] + half)
    return _with_overlap(mixture, half, distance)


def mixture_entropy_upper(mixture: Mixture) -> Tensor:
    r"""Upper bound on the mixture's entropy, from the Kullback-Leibler divergences of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-KL(c \| k)}` (Kolchinsky and Tracey 2017, arXiv 1706.02419).

    >>> import torch
    >>> close = Mixture(torch.tensor([0.5, 0.5]).log(), torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1, 1))
    >>> bool(mixture_entropy_lower(close) < mixture_entropy_upper(close))
    True
    """
    chol = torch.linalg.cholesky(mixture.covariances)
    difference = (mixture.means[:, None] - mixture.means[None])[..., None]
    mahalanobis = torch.linalg.solve_triangular(chol[None], difference, upper=False).square().sum((-2, -1))
    trace = torch.linalg.solve_triangular(chol[None], chol[:, None], upper=False).square().sum((-2, -1))
    half = _half_log_det(chol)
    return _with_overlap(mixture, half, 0.5 * (trace + mahalanobis - chol.shape[-1]) + half[None] - half[:, None])


def _with_overlap(mixture: Mixture, half_log_det: Tensor, distance: Tensor) -> Tensor:
    overlap = torch.logsumexp(mixture.log_weights - distance, 1)
    return (mixture.log_weights.exp() * (_entropies(half_log_det, mixture.means.shape[1]) - overlap)).sum()


def _entropies(half_log_det: Tensor, dim: int) -> Tensor:
    return 0.5 * dim * math.log(2 * math.pi * math.e) + half_log_det


def _half_log_det(factors: Tensor) -> Tensor:
    half: Tensor = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return half
