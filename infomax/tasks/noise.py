"""One variable seen through another's noise: uniform, and exponential with a gamma rate."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, lambertw

from infomax.tasks.base import Array, Task, check_dim, register


def smoothed_uniform(mi: float, *, dim: int = 1) -> Task:
    r"""Uniform x on (0, 1), and y = x + noise uniform on :math:`(-\varepsilon, \varepsilon)`, in each coordinate.

    A coordinate shares :math:`\varepsilon - \log 2\varepsilon` nats for :math:`\varepsilon \le \tfrac12` and
    :math:`1 / 4\varepsilon` above.

    Args:
        mi: wanted mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: unless each coordinate's share of ``mi`` is from 1e-6 to 20 nats, and ``dim`` at least 1.
    """
    check_dim(dim)
    share = _share(mi, dim)
    # ε - log 2ε = I is (-ε) exp(-ε) = -exp(-I)/2, whose solution is Lambert's function.
    epsilon = float(-lambertw(-math.exp(-share) / 2).real) if share >= 0.5 else 1 / (4 * share)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.random((n, dim))
        return x, x + rng.uniform(-epsilon, epsilon, (n, dim))

    reference = "closed form: Czyż et al. 2023, arXiv 2306.11078"
    return Task(f"smoothed-uniform-{dim}d-{mi:g}", mi, dim, dim, reference, sample, "noise")


def gamma_exponential(mi: float, *, dim: int = 1) -> Task:
    r"""The logarithms of x, gamma with shape a, and of y, exponential with rate x, in each coordinate.

    Logarithms, for with little shape x itself is 0 to the computer; they change no information. A
    coordinate shares :math:`\psi(a + 1) - \log a` nats: h(y|x) is :math:`1 - \psi(a)`, and y has Lomax's distribution,
    of entropy :math:`1 + 1/a - \log a`.

    Args:
        mi: wanted mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: unless each coordinate's share of ``mi`` is from 1e-6 to 20 nats, and ``dim`` at least 1.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - a slow import for one root

    check_dim(dim)
    share = _share(mi, dim)
    log_shape = brentq(lambda s: digamma(math.exp(s) + 1) - s - share, -25.0, 20.0, xtol=1e-14)
    shape = math.exp(log_shape)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        # A gamma variate of shape a + 1 times U^(1/a) has shape a: Marsaglia and Tsang 2000, section 6.
        log_rate = np.log(rng.standard_gamma(shape + 1, (n, dim))) + np.log1p(-rng.random((n, dim))) / shape
        return log_rate, np.log(rng.standard_exponential((n, dim))) - log_rate

    reference = "closed form: Lomax 1954; Darbellay and Vajda 2000"
    return Task(f"gamma-exponential-{dim}d-{mi:g}", mi, dim, dim, reference, sample, "noise")


def _share(mi: float, dim: int) -> float:
    if not 1e-6 <= mi / dim <= 20:
        raise ValueError(f"mi must give each coordinate 1e-6 to 20 nats; got {mi} for {dim}")
    return mi / dim


for _dim, _mi in ((1, 0.3), (1, 1.0), (5, 1.0), (5, 5.0)):
    register(smoothed_uniform(_mi, dim=_dim))
for _dim, _mi in ((1, 0.2), (1, 1.0), (5, 1.0)):
    register(gamma_exponential(_mi, dim=_dim))
