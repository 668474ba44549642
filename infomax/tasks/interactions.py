"""Relations that no column shows alone: exclusive-or and products; and fast periodic ones."""

from __future__ import annotations

import math

import numpy as np

from infomax.tasks.base import Array, Task, add
from infomax.tasks.quadrature import location_information, noise_for, normal_nodes, scale_information
from infomax.tasks.transforms import Transform, identity


def exclusive_or(columns: int, *, noise: float = 0.2) -> Task:
    r"""Standard normal columns x; y is the sign of the product of the first two, plus normal noise.

    Args:
        columns: of x, 2 or more. noise: its standard deviation; 0.2 gives 0.6931 nats.

    Raises:
        ValueError: for fewer than 2 columns, or a ``noise`` that is not positive.

    >>> task = exclusive_or(3)
    >>> task.x_dim, task.mi < float(np.log(2))  # y is binary
    (3, True)
    """
    _check(columns, noise)
    mi = location_information(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), noise)
    return _of_product("exclusive-or", np.sign, columns, noise, mi)


def product(columns: int, *, noise: float = 0.5) -> Task:
    """Standard normal columns x; y is the product of the first two, plus normal noise.

    Given the first column, y is normal, so that its density is a mixture of centred normals.

    Args:
        columns: of x, 2 or more. noise: its standard deviation; 0.5 gives 0.733 nats.

    Raises:
        ValueError: for fewer than 2 columns, or a ``noise`` that is not positive.

    >>> product(2).x_dim
    2
    """
    _check(columns, noise)
    nodes, weights = normal_nodes(801)
    mi = scale_information(np.hypot(nodes, noise), weights, noise)
    return _of_product("product", identity, columns, noise, mi)


def periodic(mi: float, *, periods: int) -> Task:
    """Uniform x on (0, 1); y is a sine of x with so many periods, plus normal noise.

    Args:
        mi: mutual information, in nats, the same for every number of periods. periods: 1 or more.

    Raises:
        ValueError: for an ``mi`` outside 1e-3 to 2 nats, or no period.

    >>> periodic(1.0, periods=4).mi
    1.0
    """
    if periods < 1:
        raise ValueError(f"periods must be at least 1; got {periods}")
    sine = np.sin(math.pi * ((np.arange(600) + 0.5) / 600 - 0.5))  # half a period takes all values once
    weights = np.full(600, 1 / 600)
    noise = noise_for(mi, lambda scale: location_information(sine, weights, scale))

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.random((n, 1))
        return x, np.sin(2 * math.pi * periods * x) + noise * rng.standard_normal((n, 1))

    return Task(f"periodic-{periods}-{mi:g}", mi, 1, 1, "this library; MI by quadrature", sample, "periodic")


def _of_product(name: str, relation: Transform, columns: int, noise: float, mi: float) -> Task:
    """Standard normal columns x; y is a function of the product of the first two, plus normal noise."""

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x = rng.standard_normal((n, columns))
        return x, relation(x[:, :1] * x[:, 1:2]) + noise * rng.standard_normal((n, 1))

    reference = "this library; MI by quadrature"
    return Task(f"{name}-2in{columns}", mi, columns, 1, reference, sample, "interactions")


def _check(columns: int, noise: float) -> None:
    if columns < 2:
        raise ValueError(f"columns must be at least 2; got {columns}")
    if not noise > 0:
        raise ValueError(f"noise must be positive; got {noise}")


for _columns in (2, 5, 10, 20):
    add(exclusive_or(_columns))
add(product(5))
for _periods in (1, 4, 16):
    add(periodic(0.85, periods=_periods))
