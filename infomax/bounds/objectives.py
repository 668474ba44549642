r"""Objectives: pure functions of a score matrix. ``scores[i, j] = f(x_i, y_j)``; the diagonal holds the true pairs.

Values are in nats. Scores of half precision are widened to float32. Off-diagonal means leave the diagonal out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Beyond this exponent exp continues as its tangent, so that wild scores give a huge but finite penalty.
_EXPONENT_LIMIT = 30.0


def widen(scores: Tensor) -> Tensor:
    """``scores`` in float32 if they were narrower."""
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def tangent_exp(exponent: Tensor) -> Tensor:
    """exp, continued by its tangent beyond 30."""
    inside = exponent.clamp_max(_EXPONENT_LIMIT)
    return torch.exp(inside) * (1 + exponent - inside)


def log_mean_exp_marginal(scores: Tensor) -> Tensor:
    r""":math:`\log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)}`, 0-d."""
    n = len(scores)
    diagonal = torch.eye(n, dtype=torch.bool, device=scores.device)
    return torch.logsumexp(scores.masked_fill(diagonal, -torch.inf).flatten(), 0) - math.log(n * (n - 1))


def infonce_pointwise(scores: Tensor) -> Tensor:
    r""":math:`f(x_i, y_i) - \log \frac1N \sum_j e^{f(x_i, y_j)}`, ``(N,)``: the summands of InfoNCE."""
    scores = widen(scores)
    return scores.diagonal() - torch.logsumexp(scores, 1) + math.log(len(scores))


def infonce(scores: Tensor) -> Tensor:
    r"""Mean of :func:`infonce_pointwise`: a lower bound on MI that cannot pass log N.

    van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748;
    with the log N as in Poole et al., 2019, arXiv 1905.06922, eq. 10.
    """
    return infonce_pointwise(scores).mean()


def nwj(scores: Tensor) -> Tensor:
    r"""Unbiased lower bound :math:`\frac1N \sum_i f(x_i, y_i) - \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)} + 1`.

    The usual form has :math:`e^{f - 1}`; here f is shifted by one, so that the best f is the log-ratio itself (Nguyen,
    Wainwright and Jordan, 2010, arXiv 0809.0853).
    """
    scores = widen(scores)
    return scores.diagonal().mean() - tangent_exp(log_mean_exp_marginal(scores)) + 1


def donsker_varadhan(scores: Tensor) -> Tensor:
    r""":math:`\frac1N \sum_i f(x_i, y_i) - \log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)}`.

    Donsker and Varadhan, 1983, doi:10.1002/cpa.3160360204; as an MI estimate: Belghazi et al., 2018, arXiv 1801.04062.
    """
    scores = widen(scores)
    return scores.diagonal().mean() - log_mean_exp_marginal(scores)


def donsker_varadhan_pointwise(scores: Tensor) -> Tensor:
    r""":math:`f(x_i, y_i) - \log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f}`, ``(N,)``: Donsker-Varadhan's summands."""
    scores = widen(scores)
    return scores.diagonal() - log_mean_exp_marginal(scores)


def mine(scores: Tensor, log_average: Tensor) -> Tensor:
    r"""The Donsker-Varadhan value, with the gradient of its second term divided by a running average.

    The gradient of :math:`\log \bar{e^f}` over a batch is a ratio of two batch means and therefore biased; dividing by
    :math:`e^{\text{log\_average}}`, a moving average over many batches, removes the bias in the limit (Belghazi et al.,
    2018, arXiv 1801.04062, section 3.2).

    Args:
        scores: ``(N, N)``. log_average: log of the running average of the mean of e^f, 0-d.
    """
    scores = widen(scores)
    log_mean = log_mean_exp_marginal(scores)
    surrogate = tangent_exp(log_mean - log_average.detach())
    return scores.diagonal().mean() - (surrogate - surrogate.detach() + log_mean.detach())
