r"""The smallest Kullback-Leibler divergence that is compatible with a Jensen-Shannon divergence, exactly.

Among all pairs of distributions with :math:`KL(P \| Q) = k`, the Jensen-Shannon divergence is largest if P is Q
restricted to an event of probability :math:`e^{-k}`. Proof: both divergences are means under Q of functions of the
ratio t = dP/dQ. For every multiplier :math:`\lambda`, :math:`t \log t - \lambda f_{JS}(t)` is concave up to
:math:`t = \lambda/2 - 1` and convex beyond. Its convex envelope touches it at t = 0 and at one other value, and the
extremal pair takes these two values only.

As a bound on mutual information: Dorent, Golland and Wells, "Connecting Jensen-Shannon and Kullback-Leibler
divergences", 2025, arXiv 2510.20644. Two values of t suffice for such problems: Harremoës and Vajda, 2011, arXiv
1007.0097.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: Newton steps of :func:`least_kl`; seven reach the precision of float64 everywhere.
_STEPS = 12
#: Below minus this, log(1 + e^k) is e^k (1 - e^k / 2), to the precision of float64.
_SMALL = 18.0


def _half_deficit(kl: Tensor) -> Tensor:
    r"""Twice the difference between log 2 and the largest Jensen-Shannon divergence.

    :math:`k e^{-k} + (1 + e^{-k}) \log(1 + e^{-k})`, without the exponentials that overflow for negative k.
    """
    return F.softplus(-kl) + torch.exp(_log_ratio(kl))


def _log_ratio(kl: Tensor) -> Tensor:
    r""":math:`\log(e^{-k} \log(1 + e^k))`, which is :math:`-e^k / 2` where :math:`e^k` is small."""
    small = kl < -_SMALL
    large = kl.clamp_min(-_SMALL)
    return torch.where(small, -0.5 * torch.exp(kl.clamp_max(-_SMALL)), F.softplus(large).log() - large)


def greatest_jsd(kl: Tensor) -> Tensor:
    r"""The largest Jensen-Shannon divergence of two distributions with KL divergence ``kl``, elementwise, in nats.

    .. math:: J(k) = \log 2 - \tfrac12 \big(k e^{-k} + (1 + e^{-k}) \log(1 + e^{-k})\big)

    Increasing and concave, also for negative k.

    >>> greatest_jsd(torch.tensor(0.0)).abs().item() < 1e-6  # equal distributions
    True
    >>> round(greatest_jsd(torch.tensor(50.0)).item(), 3)  # log 2
    0.693
    """
    return math.log(2) - 0.5 * _half_deficit(kl)


def least_kl_slope(kl: Tensor) -> Tensor:
    r"""The derivative of :func:`least_kl` at the point where its value is ``kl``: :math:`2 e^k / \log(1 + e^k)`.

    >>> round(least_kl_slope(torch.tensor(0.0)).item(), 3)  # 2 / log 2
    2.885
    """
    return 2 * torch.exp(-_log_ratio(kl))


def least_kl(jsd: Tensor) -> Tensor:
    r"""The smallest KL divergence of two distributions with Jensen-Shannon divergence ``jsd``, elementwise, in nats.

    The inverse of :func:`greatest_jsd`: increasing, convex, 0 at 0, and extended below 0 by its tangent. First
    derivatives only. Close to log 2 the rounding of the input limits the result to 19 nats in float32 and 40 nats in
    float64.

    >>> least_kl(torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64))
    tensor([0.0000, 0.6364, 2.1020], dtype=torch.float64)
    """
    fixed = jsd.detach()
    deficit = (2 * (math.log(2) - fixed)).clamp(torch.finfo(jsd.dtype).eps, 2 * math.log(2))
    kl = -deficit.log() + math.log(2 * math.log(2))  # exact at 0, too small elsewhere
    for _ in range(_STEPS):  # on log-deficits, which are nearly linear
        now = _half_deficit(kl)
        kl = kl + (now.log() - deficit.log()) * now * torch.exp(-_log_ratio(kl))
    inside = kl + least_kl_slope(kl) * (jsd - fixed)
    return torch.where(fixed > 0, inside, 2 / math.log(2) * jsd)
