"""Few latent variables behind many columns: embeddings by random networks, and invertible couplings."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from infomax.tasks.base import Array, Task, add
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import Transform, coupling, transformed

#: Width of the hidden layer.
_HIDDEN = 256


def embeddings(mi: float, *, latent: int, dim: int, seed: int = 0) -> Task:
    r"""Outputs of two random networks whose few inputs are correlated.

    x is :math:`\tanh(z W_1 + b) W_2` with 256 hidden units; y likewise from w with other weights; z and w are normal
    with ``latent`` correlated pairs. By the data-processing inequality the columns share at most the information of z
    and w. They share all of it where both networks are injective up to null sets, which smooth maps of generic weights
    are if ``dim`` exceeds ``latent``.

    Args:
        mi: mutual information, in nats. latent: inputs of each network. dim: its outputs, more than inputs.
        seed: of the weights.

    Raises:
        ValueError: for a negative ``mi``, or a ``dim`` that does not exceed ``latent``.
    """
    if dim <= latent:
        raise ValueError(f"dim must exceed latent, {latent}, for injective networks; got {dim}")
    base = correlated_normal(mi, dim=latent)
    name = f"embeddings-{latent}in{dim}-{mi:g}" + (f"-{seed}" if seed else "")
    sides = network(latent, dim, 2 * seed), network(latent, dim, 2 * seed + 1)
    return transformed(base, x=sides[0], y=sides[1], name=name, family="embeddings")


def network(latent: int, dim: int, seed: int) -> Transform:
    """A random perceptron with one hidden layer of 256 tanh units: ``(n, latent)`` to ``(n, dim)``."""

    def embed(values: Array) -> Array:
        first, bias, second = _weights(latent, dim, seed)
        return np.tanh(values @ first + bias) @ second

    return embed


@lru_cache(maxsize=16)
def _weights(latent: int, dim: int, seed: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((latent, _HIDDEN)) / math.sqrt(latent)
    return first, rng.standard_normal(_HIDDEN), rng.standard_normal((_HIDDEN, dim)) / math.sqrt(_HIDDEN)


def couplings(mi: float, *, dim: int, seed: int = 0) -> Task:
    """Correlated normal pairs; each side goes through random invertible couplings of its own coordinates.

    Args:
        mi: mutual information, in nats. dim: dimension of x, and of y, 2 or more. seed: of the couplings.

    Raises:
        ValueError: for a negative ``mi``, or a ``dim`` below 2.
    """
    base = correlated_normal(mi, dim=dim)
    name = f"couplings-{dim}d-{mi:g}" + (f"-{seed}" if seed else "")
    return transformed(base, x=coupling(2 * seed), y=coupling(2 * seed + 1), name=name, family="couplings")


for _latent, _dim, _mi in ((2, 16, 1.0), (5, 64, 2.5), (10, 256, 4.0), (2, 256, 2.0), (5, 16, 3.0), (10, 64, 1.0)):
    add(embeddings(_mi, latent=_latent, dim=_dim))
for _dim, _mi in ((2, 1.0), (4, 2.0), (8, 3.0)):
    add(couplings(_mi, dim=_dim))
