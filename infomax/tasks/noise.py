"""Noisy observations: a uniform variable with uniform noise, and an exponential variable with a gamma rate."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, lambertw

from infomax.tasks.base import Array, Task, add, check_dim


def smoothed_uniform(mi: float, *, dim: int = 1) -> Task:
    r"""In each coordinate x is uniform on (0, 1), y is x plus noise uniform on :math:`(-\varepsilon, \varepsilon)`.

    A pair of coordinates has :math:`\varepsilon - \log 2\varepsilon` nats for :math:`\varepsilon \le \tfrac12`, and
    :math:`1 / 4\varepsilon` nats above.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: unless ``mi / dim`` is from 1e-6 to 20 nats, and ``dim`` at least 1.
    """
    check_dim(dim)
    share = _share(mi, dim)
    # ε - log 2ε = I is equivalent to (-ε) exp(-ε) = -exp(-I)/2, which Lambert's function solves.
    epsilon = float(-lambertw(-math.exp(-share) / 2).real) if share >= 0.5 else 1 / (4 * share)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.random((n, dim))
        return x, x + rng.uniform(-epsilon, epsilon, (n, dim))

    reference = "closed form: Czyż et al. 2023, arXiv 2306.11078"
    return Task(f"smoothed-uniform-{dim}d-{mi:g}", mi, dim, dim, reference, sample, "noise")


def gamma_exponential(mi: float, *, dim: int = 1) -> Task:
    r"""In each coordinate, the logarithms of a gamma variable x with shape a and an exponential y with rate x.

    Logarithms do not change the mutual information; x itself would underflow for small shapes. A pair of coordinates
    has :math:`\psi(a + 1) - \log a` nats: h(y|x) is :math:`1 - \psi(a)`, and y has a Lomax distribution with entropy
    :math:`1 + 1/a - \log a`.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y.

    Raises:
        ValueError: unless ``mi / dim`` is from 1e-6 to 20 nats, and ``dim`` at least 1.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - slow import

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
        raise ValueError(f"mi / dim must be from 1e-6 to 20 nats; got {mi / dim}")
    return mi / dim


for _dim, _mi in ((1, 0.3), (1, 1.0), (5, 1.0), (5, 5.0)):
    add(smoothed_uniform(_mi, dim=_dim))
for _dim, _mi in ((1, 0.2), (1, 1.0), (5, 1.0)):
    add(gamma_exponential(_mi, dim=_dim))
