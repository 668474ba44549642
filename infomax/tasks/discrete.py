"""Discrete and mixed variables: channels, labels, counts, quantised variables."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, xlogy

from infomax.tasks.base import Array, Task, add, check_dim, check_mi

Integers = NDArray[np.int64]

#: Mutual information, in nats, that is too small for a root finder.
_LEAST = 1e-12
#: Largest number of classes of :func:`noisy_label`.
_MOST_CLASSES = 50


def symmetric_channel(mi: float, *, symbols: int) -> Task:
    """A symmetric channel: x is a uniform symbol; y is the same symbol or, with some probability, any other one.

    Args:
        mi: mutual information in nats, at most log ``symbols``. symbols: number of symbols, 2 or more.

    Raises:
        ValueError: for an ``mi`` above log ``symbols``, and fewer than 2 symbols.
    """
    flip = flip_probability(mi, symbols)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.integers(symbols, size=(n, 1))
        return x.astype(np.float64), transmit(x, symbols, flip, rng).astype(np.float64)

    reference = "closed form: Cover and Thomas 2006, section 7.2"
    return Task(f"channel-{symbols}-{mi:g}", mi, 1, 1, reference, sample, "discrete")


def flip_probability(mi: float, symbols: int) -> float:
    r"""The error probability e of a symmetric channel with ``mi`` nats.

    :math:`I = \log m + (1 - e) \log (1 - e) + e \log \tfrac{e}{m - 1}`.

    Raises:
        ValueError: for an ``mi`` that is negative or above log ``symbols``, and fewer than 2 symbols.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - slow import

    check_mi(mi)
    if symbols < 2:
        raise ValueError(f"symbols must be at least 2; got {symbols}")
    most = math.log(symbols)
    if mi > most + _LEAST:
        raise ValueError(f"mi must be at most log {symbols} = {most:.6g}; got {mi}")

    def excess(e: float) -> float:
        return most + float(xlogy(1 - e, 1 - e) + xlogy(e, e)) - e * math.log(symbols - 1) - mi

    useless = 1 - 1 / symbols
    return 0.0 if mi > most - _LEAST else useless if mi < _LEAST else float(brentq(excess, 0.0, useless, xtol=1e-15))


def transmit(symbol: Integers, symbols: int, flip: float, rng: np.random.Generator) -> Integers:
    """The received symbols; a symbol that is flipped becomes any other one."""
    shift = rng.integers(1, symbols, size=symbol.shape) * (rng.random(symbol.shape) < flip)
    received: Integers = (symbol + shift) % symbols
    return received


def quantised_uniform(mi: float, *, levels: int) -> Task:
    """Uniform x on (0, 1); y is the index of its interval among equal ones, sent through a symmetric channel.

    Args:
        mi: mutual information in nats, at most log ``levels``, for a channel without errors.
        levels: number of intervals, 2 or more.

    Raises:
        ValueError: for an ``mi`` above log ``levels``, and fewer than 2 levels.
    """
    flip = flip_probability(mi, levels)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.random((n, 1))
        y = transmit(np.floor(levels * x).astype(np.int64), levels, flip, rng)
        return x, y.astype(np.float64)

    reference = "closed form: y depends on x only through its interval; Cover and Thomas 2006, section 7.2"
    return Task(f"quantised-{levels}-{mi:g}", mi, 1, 1, reference, sample, "discrete")


def discrete_uniform(symbols: int, *, dim: int = 1) -> Task:
    r"""In each coordinate, x is uniform on 0, …, m - 1, and y is uniform on (x, x + 2).

    :math:`I = \log m - \tfrac{m - 1}{m} \log 2` a coordinate.

    Args:
        symbols: m. dim: dimension of x, and of y.

    Raises:
        ValueError: for fewer than 2 symbols, or ``dim`` below 1.
    """
    check_dim(dim)
    if symbols < 2:
        raise ValueError(f"symbols must be at least 2; got {symbols}")
    mi = dim * (math.log(symbols) - (symbols - 1) / symbols * math.log(2))

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.integers(symbols, size=(n, dim)).astype(np.float64)
        return x, x + rng.uniform(0, 2, (n, dim))

    reference = "closed form: Gao, Kannan, Oh and Viswanath 2017, arXiv 1709.06212"
    return Task(f"discrete-uniform-{symbols}-{dim}d", mi, dim, dim, reference, sample, "discrete")


def zero_inflated_poisson(inflation: float) -> Task:
    r"""Exponential x with mean 1; y is 0 with probability p, otherwise a Poisson count with mean x.

    The reference gives :math:`(1 - p)` times the mutual information without inflation. This is the value for y together
    with the indicator of inflation. y alone has less, because zeros from inflation and zeros of the count are equal.
    The value here is H(y) - H(y|x): y is geometric apart from the inflation, and H(y|x) is integrated over x to 1e-9.

    Args:
        inflation: p, in [0, 1).

    Raises:
        ValueError: for any other ``inflation``.
    """
    if not 0 <= inflation < 1:
        raise ValueError(f"inflation must lie in [0, 1); got {inflation}")

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.standard_exponential((n, 1))
        counted = rng.random((n, 1)) >= inflation
        return x, (counted * rng.poisson(x)).astype(np.float64)

    reference = "Gao, Kannan, Oh and Viswanath 2017, arXiv 1709.06212; MI by quadrature"
    mi = _inflated_information(inflation)
    return Task(f"zero-inflated-poisson-{inflation:g}", mi, 1, 1, reference, sample, "discrete")


def _inflated_information(p: float) -> float:
    counts = np.arange(400.0)

    def entropy(log_counts: Array) -> Array:
        log_p = np.log1p(-p) + log_counts
        log_p[0] = np.logaddexp(log_p[0], math.log(p)) if p else log_p[0]
        negative: Array = np.sum(np.exp(log_p) * log_p, axis=0)
        return -negative

    # Substitution x = t²: the integrand is smooth at 0, where H(y|x) is as steep as x log x.
    t = (np.arange(4000) + 0.5) * (10 / 4000)
    x = t**2
    conditional = entropy(counts[:, None] * np.log(x) - x - gammaln(counts + 1)[:, None])
    weights = 2 * t * np.exp(-x) * (10 / 4000)
    marginal = entropy(-(counts + 1) * math.log(2))
    return float(marginal - weights @ conditional)


def noisy_label(mi: float, *, classes: int = 2, dim: int = 1) -> Task:
    """Uniform classes y; x is the position of the class on a line, plus standard normal noise.

    The positions are equidistant. Quadrature and root finding give the distance for ``mi``, to 1e-9.

    Args:
        mi: mutual information in nats, below log ``classes`` by 1e-6 at least.
        classes: number of classes, 2 to 50. dim: dimension of x; the line is its diagonal.

    Raises:
        ValueError: for an ``mi`` that is impossible with so many classes, ``classes`` outside 2 to 50, or
            ``dim`` below 1.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - slow import

    check_mi(mi)
    check_dim(dim)
    if not 2 <= classes <= _MOST_CLASSES:
        raise ValueError(f"classes must be from 2 to {_MOST_CLASSES}; got {classes}")
    if mi > math.log(classes) - 1e-6:
        raise ValueError(f"mi must be below log {classes} = {math.log(classes):.6g}; got {mi}")
    step = float(brentq(lambda s: label_information(s, classes) - mi, 0.0, 20.0, xtol=1e-13)) if mi > _LEAST else 0.0

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        label = rng.integers(classes, size=(n, 1))
        return step * label / math.sqrt(dim) + rng.standard_normal((n, dim)), label.astype(np.float64)

    reference = "quadrature of the entropy of a mixture of normals"
    return Task(f"label-{classes}-{dim}d-{mi:g}", mi, dim, 1, reference, sample, "discrete")


def label_information(step: float, classes: int) -> float:
    """Mutual information, in nats, of a class k and ``step * k`` plus standard normal noise."""
    x = np.arange(-12, step * (classes - 1) + 12, 0.02)
    log_density = logsumexp(-((x - step * np.arange(classes)[:, None]) ** 2) / 2, axis=0)
    log_density -= math.log(classes) + math.log(2 * math.pi) / 2
    entropy = -0.02 * float(np.exp(log_density) @ log_density)
    return entropy - 0.5 * math.log(2 * math.pi * math.e)


for _symbols, _mi in ((2, 0.2), (5, 1.0), (10, 2.0)):
    add(symmetric_channel(_mi, symbols=_symbols))
for _levels, _mi in ((4, 0.5), (10, 2.0)):
    add(quantised_uniform(_mi, levels=_levels))
add(quantised_uniform(math.log(8), levels=8))
for _symbols, _dim in ((5, 1), (10, 3)):
    add(discrete_uniform(_symbols, dim=_dim))
for _inflation in (0.0, 0.15):
    add(zero_inflated_poisson(_inflation))
for _classes, _dim, _mi in ((2, 1, 0.3), (5, 5, 1.0), (10, 20, 2.0)):
    add(noisy_label(_mi, classes=_classes, dim=_dim))
