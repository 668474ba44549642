"""Mutual information of noisy observations, by quadrature on a line."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from infomax.tasks.base import Array

#: Points of the line for each standard deviation of the noise, and how many standard deviations lie beyond the ends.
_POINTS, _BEYOND = 5, 9.0


def location_information(means: Array, weights: Array, noise: float) -> float:
    r"""Mutual information of a symbol and its mean plus normal noise, in nats: :math:`h(y) - h(\text{noise})`.

    Args:
        means, weights: of the symbols, ``(K,)``; the nodes of a quadrature stand for a continuous mean.
        noise: standard deviation of the noise.
    """
    steps = math.ceil((means.max() - means.min() + 2 * _BEYOND * noise) / noise * _POINTS)
    y = np.linspace(means.min() - _BEYOND * noise, means.max() + _BEYOND * noise, steps)
    density = np.zeros(steps)
    for some in np.array_split(np.arange(len(means)), max(1, len(means) * steps >> 22)):
        density += weights[some] @ np.exp(-0.5 * ((y - means[some, None]) / noise) ** 2)
    density /= noise * math.sqrt(2 * math.pi)
    return _entropy(density, y[1] - y[0]) - 0.5 * math.log(2 * math.pi * math.e * noise**2)


def scale_information(deviations: Array, weights: Array, noise: float) -> float:
    """Entropy, in nats, of a mixture of centred normals with these standard deviations, less that of the noise."""
    y = np.linspace(-1.0, 1.0, 40_001) * _BEYOND * deviations.max()
    density = np.zeros(len(y))
    for deviation, weight in zip(deviations, weights, strict=True):
        density += weight / deviation * np.exp(-0.5 * (y / deviation) ** 2)
    density /= math.sqrt(2 * math.pi)
    return _entropy(density, y[1] - y[0]) - 0.5 * math.log(2 * math.pi * math.e * noise**2)


def normal_nodes(count: int) -> tuple[Array, Array]:
    """Nodes and weights of a standard normal variable: equal steps to ±9 standard deviations."""
    nodes = np.linspace(-9.0, 9.0, count)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def noise_for(mi: float, information: Callable[[float], float], least: float = 0.05, most: float = 100.0) -> float:
    """The noise with which ``information(noise)`` is ``mi`` nats, to a relative precision of 1e-11.

    Raises:
        ValueError: if that noise is not between ``least`` and ``most``.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - slow import

    ends = information(most), information(least)
    if not ends[0] < mi < ends[1]:
        raise ValueError(f"mi must be from {ends[0]:.3g} to {ends[1]:.6g} nats here; got {mi}")
    log_noise = brentq(lambda s: information(math.exp(s)) - mi, math.log(least), math.log(most), xtol=1e-11)
    return math.exp(log_noise)


def _entropy(density: Array, step: float) -> float:
    positive = density[density > 0]
    return -float((positive * np.log(positive)).sum() * step)
