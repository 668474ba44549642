"""Labels and codes: classes of many columns, rare classes, one-hot columns, and codes without an order."""

from __future__ import annotations

import math

import numpy as np

from infomax.tasks.base import Array, Task, add
from infomax.tasks.quadrature import location_information, noise_for
from infomax.tasks.transforms import Transform, transformed

#: Rows of a Monte Carlo mean.
_ROWS, _AT_A_TIME = 1_000_000, 50_000


def class_labels(
    classes: int, *, columns: int, distance: float = 3.6, seed: int = 0, mi: tuple[float, float] | None = None
) -> Task:
    r"""Normal columns x with unit covariance around the mean of a class; y is the number of the class.

    The means are ``distance`` times random normal vectors divided by :math:`\sqrt{\text{columns}}`. The mutual
    information is :math:`H(Y) - E[-\log p(y \mid x)]`, by Monte Carlo.

    Args:
        classes: 2 or more, of equal probability. columns: of x. distance: of the means, about. seed: of the means.
        mi: mutual information in nats and its standard error, if known; by default the mean over a million rows.

    Raises:
        ValueError: for fewer than 2 classes, or no columns.
    """
    if classes < 2 or columns < 1:
        raise ValueError(f"classes must be at least 2, and columns at least 1; got {classes} and {columns}")
    means = distance * np.random.default_rng(seed).standard_normal((classes, columns)) / math.sqrt(columns)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        label = rng.integers(classes, size=n)
        return means[label] + rng.standard_normal((n, columns)), label[:, None].astype(np.float64)

    value, error = mi or label_information(means)
    reference = "this library; MI by Monte Carlo"
    return Task(f"labels-{classes}in{columns}", value, columns, 1, reference, sample, "labels", error)


def label_information(means: Array, rows: int = _ROWS, seed: int = 1) -> tuple[float, float]:
    """Information of a class and a normal vector around its mean ``(K, D)``, in nats, and its standard error.

    Only the coordinates in the span of the differences of the means matter.
    """
    centred = means - means.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][: len(means) - 1]
    places, rng = centred @ axes.T, np.random.default_rng(seed)
    total, squares = 0.0, 0.0
    for start in range(0, rows, _AT_A_TIME):
        n = min(_AT_A_TIME, rows - start)
        label = rng.integers(len(means), size=n)
        x = places[label] + rng.standard_normal((n, places.shape[1]))
        scores = x @ places.T - 0.5 * np.square(places).sum(1)
        top = scores.max(1)
        local = scores[np.arange(n), label] - top - np.log(np.exp(scores - top[:, None]).mean(1))
        total, squares = total + local.sum(), squares + np.square(local).sum()
    mean = total / rows
    return float(mean), math.sqrt(float(squares / rows - mean**2) / rows)


def rare_class(share: float, *, distance: float = 10.0) -> Task:
    """Normal x around 0, or around ``distance`` in a small share of the rows; y is 1 there and 0 elsewhere.

    Args:
        share: of the rare class, in (0, 1). distance: of the classes in standard deviations.

    Raises:
        ValueError: for any other ``share``.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1); got {share}")

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        label = rng.random((n, 1)) < share
        return distance * label + rng.standard_normal((n, 1)), label.astype(np.float64)

    mi = location_information(np.array([0.0, distance]), np.array([1 - share, share]), 1.0)
    return Task(f"rare-class-{share:g}", mi, 1, 1, "this library; MI by quadrature", sample, "labels")


def one_hot(symbols: int) -> Transform:
    """Symbols 0, 1, … ``(n, 1)`` as indicator columns ``(n, symbols)``."""
    return lambda values: np.eye(symbols)[values[:, 0].astype(np.int64)]


def nominal_codes(mi: float, *, codes: int, seed: int = 0) -> Task:
    """A code without an order; y is the mean of the code plus normal noise. The means are normal and random.

    Args:
        mi: mutual information in nats, less than log ``codes``. codes: 2 or more, of equal probability. seed: of the
            means.

    Raises:
        ValueError: for an ``mi`` that is not possible, or fewer than 2 codes.
    """
    if codes < 2:
        raise ValueError(f"codes must be at least 2; got {codes}")
    means, weights = np.random.default_rng(seed).standard_normal(codes), np.full(codes, 1 / codes)
    noise = noise_for(mi, lambda scale: location_information(means, weights, scale))

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        code = rng.integers(codes, size=(n, 1))
        return code.astype(np.float64), means[code] + noise * rng.standard_normal((n, 1))

    return Task(f"codes-{codes}-{mi:g}", mi, 1, 1, "this library; MI by quadrature", sample, "codes")


# Monte Carlo means over four million rows; a test repeats them with other rows.
for _classes, _columns, _mi in (
    (3, 5, (0.97331, 2.2e-4)),
    (10, 30, (2.14798, 2.8e-4)),
    (20, 64, (2.74774, 3.7e-4)),
    (50, 200, (3.52631, 4.8e-4)),
):
    _task = add(class_labels(_classes, columns=_columns, mi=_mi))
    if _classes == 20:
        add(transformed(_task, y=one_hot(_classes), name=f"one-hot-{_task.name}"))
for _share in (0.005, 0.05):
    add(rare_class(_share))
for _codes, _nats in ((20, 0.5), (100, 0.31), (300, 0.35)):
    add(nominal_codes(_nats, codes=_codes))
