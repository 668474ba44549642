r"""The least Kullback-Leibler divergence that goes with a Jensen-Shannon divergence, exactly.

Among all pairs of distributions with :math:`KL(P \| Q) = k`, the Jensen-Shannon divergence is greatest where P is Q
restricted to an event of probability :math:`e^{-k}`. (The ratio t = dP/dQ of a pair enters both divergences as a mean
under Q; for every multiplier :math:`\lambda`, :math:`t \log t - \lambda f_{JS}(t)` is concave up to
:math:`t = \lambda/2 - 1` and convex beyond, so its convex envelope, and with it the extremal pair, rests on t = 0 and
one other value.) As a bound on mutual information: Dorent, Golland and Wells, "Connecting Jensen-Shannon and
Kullback-Leibler divergences", 2025, arXiv 2510.20644; that two values of t suffice for such questions: Harremoës and
Vajda, 2011, arXiv 1007.0097.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: Newton steps of :func:`least_kl`; seven reach float64 everywhere.
_STEPS = 12


def _half_deficit(kl: Tensor) -> Tensor:
    """Twice what the greatest Jensen-Shannon divergence lacks of log 2."""
    q = torch.exp(-kl)
    return kl * q + (1 + q) * torch.log1p(q)


def greatest_jsd(kl: Tensor) -> Tensor:
    r"""The greatest Jensen-Shannon divergence of two distributions whose KL divergence is ``kl``, elementwise, in nats.

    .. math:: J(k) = \log 2 - \tfrac12 \big(k e^{-k} + (1 + e^{-k}) \log(1 + e^{-k})\big)

    Increasing and concave, also when continued to negative k.
    """
    return math.log(2) - 0.5 * _half_deficit(kl)


def least_kl_slope(kl: Tensor) -> Tensor:
    r"""The slope of :func:`least_kl` where its value is ``kl``: :math:`2 e^k / \log(1 + e^k)`."""
    return 2 * torch.exp(kl - F.softplus(kl).log())


def least_kl(jsd: Tensor) -> Tensor:
    r"""The least KL divergence of two distributions whose Jensen-Shannon divergence is ``jsd``, elementwise, in nats.

    The inverse of :func:`greatest_jsd`: increasing, convex, 0 at 0; continued by its tangent below 0. Differentiable
    once. Close to log 2 the input's rounding limits the result, to at most 19 nats in float32 and 40 in float64.

    >>> least_kl(torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64))
    tensor([0.0000, 0.6364, 2.1020], dtype=torch.float64)
    """
    fixed = jsd.detach()
    deficit = (2 * (math.log(2) - fixed)).clamp(torch.finfo(jsd.dtype).eps, 2 * math.log(2))
    kl = -deficit.log() + math.log(2 * math.log(2))  # exact at 0, too small elsewhere
    for _ in range(_STEPS):  # on log-deficits, which are nearly straight
        now = _half_deficit(kl)
        kl = kl + (now.log() - deficit.log()) * now * torch.exp(kl) / F.softplus(kl)
    inside = kl + least_kl_slope(kl) * (jsd - fixed)
    return torch.where(fixed > 0, inside, 2 / math.log(2) * jsd)
