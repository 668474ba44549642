"""Transforms that do not change mutual information, to be applied to any task.

A transform is an invertible function of the rows of an ``(n, d)`` array: a monotone map of each coordinate, a rotation,
an invertible coupling, an embedding into more dimensions. :func:`transformed` applies transforms to x and y of a task.
The caller must ensure that a transform is invertible; this cannot be tested here.

>>> from infomax.tasks.normal import correlated_normal
>>> task = transformed(correlated_normal(1.0, dim=3), x=rotation(seed=0), y=chain(cube, coupling(seed=1)), name="bent")
>>> task.name, task.mi, task.sample(5, seed=0)[1].shape
('bent', 1.0, (5, 3))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from infomax.tasks.base import Array, Task

Transform = Callable[[Array], Array]


def transformed(
    task: Task, *, name: str, x: Transform | None = None, y: Transform | None = None, family: str | None = None
) -> Task:
    """The task with invertible transforms of x, of y or of both.

    Args:
        task: any task. name: the name of the new task. x, y: transforms of x and y; ``None`` for none.
        family: the family of the new task; by default that of ``task``.

    Raises:
        ValueError: if a transform does not give one row for each row.

    >>> from infomax import tasks
    >>> task = tasks.get("normal-5d-1")
    >>> bent = transformed(task, x=cube, name="cubed")  # the mutual information does not change
    >>> bent.mi, bent.sample(10, seed=0)[0].shape
    (1.0, (10, 5))
    """
    f, g = x or identity, y or identity

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        a, b = task.sampler(n, rng)
        return f(a), g(b)

    trial = sample(2, np.random.default_rng(0))
    for side, values in zip("xy", trial, strict=True):
        if values.ndim != 2 or len(values) != 2:
            raise ValueError(f"{side} must map an array (n, d) to (n, k); for n = 2 it gave {values.shape}")
    dims = trial[0].shape[1], trial[1].shape[1]
    return replace(task, name=name, x_dim=dims[0], y_dim=dims[1], sampler=sample, family=family or task.family)


def chain(*transforms: Transform) -> Transform:
    """The composition of transforms; the first one is applied first.

    >>> chain(cube, asinh)(np.array([[0.0]])).tolist()
    [[0.0]]
    """

    def chained(values: Array) -> Array:
        for transform in transforms:
            values = transform(values)
        return values

    return chained


def identity(values: Array) -> Array:
    """The values unchanged.

    >>> identity(np.array([[2.0]])).tolist()
    [[2.0]]
    """
    return values


# Monotone maps of each coordinate.


def normal_cdf(values: Array) -> Array:
    """Map standard normal coordinates to uniform ones on (0, 1).

    >>> normal_cdf(np.array([[0.0]])).tolist()
    [[0.5]]
    """
    return np.asarray(ndtr(values))


def exponential(values: Array) -> Array:
    """Map normal coordinates to log-normal ones.

    >>> exponential(np.array([[0.0]])).tolist()
    [[1.0]]
    """
    return np.exp(values)


def cube(values: Array) -> Array:
    """The cube, for the cubed staircase: Song and Ermon 2020, arXiv 1910.06222.

    >>> cube(np.array([[2.0]])).tolist()
    [[8.0]]
    """
    return values**3


def half_cube(values: Array) -> Array:
    r""":math:`x \sqrt{|x|}`, which makes tails heavier: Czyż et al. 2023, arXiv 2306.11078.

    >>> half_cube(np.array([[4.0], [-4.0]])).tolist()  # the sign is kept
    [[8.0], [-8.0]]
    """
    return values * np.sqrt(np.abs(values))


def asinh(values: Array) -> Array:
    """The inverse hyperbolic sine, which makes tails lighter: Czyż et al. 2023, arXiv 2306.11078.

    >>> asinh(np.array([[0.0]])).tolist()
    [[0.0]]
    """
    return np.arcsinh(values)


def sines(*waves: tuple[float, float, float]) -> Transform:
    """Add sine waves (amplitude, frequency, phase) to the coordinates.

    Raises:
        ValueError: unless amplitudes times frequencies sum to less than 1, which makes the map monotone.
    """
    slope = sum(abs(amplitude * frequency) for amplitude, frequency, _ in waves)
    if slope >= 1:
        raise ValueError(f"amplitudes times frequencies must sum to less than 1; got {slope}")

    def wiggle(values: Array) -> Array:
        moved = values.copy()
        for amplitude, frequency, phase in waves:
            moved += amplitude * np.sin(frequency * values + phase)
        return moved

    return wiggle


def two_normals(first: tuple[float, float], second: tuple[float, float]) -> Transform:
    """Map standard normal coordinates to mixtures of two normals (weight, mean) with unit variance.

    Raises:
        ValueError: if the weights are not positive, or do not sum to 1.
    """
    weights, means = np.array([first, second]).T
    if not ((weights > 0).all() and math.isclose(weights.sum(), 1)):
        raise ValueError(f"weights must be positive and sum to 1; got {weights.tolist()}")

    def quantile(values: Array) -> Array:
        # Bisection between the quantiles of the two components: 64 steps reach full precision.
        wanted, low, high = ndtr(values), values + means.min(), values + means.max()
        for _ in range(64):
            middle = (low + high) / 2
            below = weights[0] * ndtr(middle - means[0]) + weights[1] * ndtr(middle - means[1]) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found: Array = (low + high) / 2
        return found

    return quantile


# Maps that mix coordinates.


def spiral(speed: float, plane: tuple[int, int] = (0, 1)) -> Transform:
    r"""Rotate two coordinates by the angle :math:`v \lVert x \rVert^2`: Czyż et al. 2023, arXiv 2306.11078, appendix.

    The norm is that of all coordinates. The rotation does not change it, so that the map is invertible.

    Raises:
        ValueError: unless the two coordinates are different and not negative.

    >>> turned = spiral(1.0)(np.array([[3.0, 4.0]]))
    >>> round(float(np.linalg.norm(turned)), 6)  # lengths do not change
    5.0
    """
    i, j = plane
    if not (i != j and min(i, j) >= 0):
        raise ValueError(f"plane must be two different coordinates, counted from 0; got {plane}")

    def rotate(values: Array) -> Array:
        angle = speed * np.square(values).sum(axis=1)
        sine, cosine = np.sin(angle), np.cos(angle)
        turned = values.copy()
        turned[:, i] = cosine * values[:, i] - sine * values[:, j]
        turned[:, j] = sine * values[:, i] + cosine * values[:, j]
        return turned

    return rotate


def rotation(seed: int) -> Transform:
    """A random rotation (or reflection) from the Haar measure, determined by the seed and the dimension.

    >>> turned = rotation(seed=0)(np.array([[3.0, 4.0]]))
    >>> round(float(np.linalg.norm(turned)), 6)
    5.0
    """
    return lambda values: values @ _orthogonal(values.shape[1], seed).T


def embedding(dim: int, seed: int) -> Transform:
    """Embed the coordinates isometrically in ``dim`` dimensions, as a randomly oriented subspace.

    Raises:
        ValueError: when applied to values of more than ``dim`` dimensions.

    >>> embedding(5, seed=0)(np.zeros((10, 2))).shape
    (10, 5)
    """

    def embed(values: Array) -> Array:
        if values.shape[1] > dim:
            raise ValueError(f"dim must be at least that of the values, {values.shape[1]}; got {dim}")
        return values @ _orthogonal(dim, seed)[:, : values.shape[1]].T

    return embed


def coupling(seed: int, layers: int = 4) -> Transform:
    r"""Random affine couplings: one half of the coordinates scales and shifts the other half, alternately.

    :math:`b \mapsto b \, e^{s(a)} + t(a)` with unchanged a is invertible for all functions s and t: Dinh,
    Sohl-Dickstein and Bengio 2017, arXiv 1605.08803. Here both are tanh of random linear maps.

    Raises:
        ValueError: when applied to values of one dimension.
    """

    def couple(values: Array) -> Array:
        dim = values.shape[1]
        if dim < 2:
            raise ValueError(f"a coupling needs values of at least 2 dimensions; got {dim}")
        rng = np.random.default_rng(seed)
        bent = values.copy()
        for layer in range(layers):
            kept = np.arange(dim) % 2 == layer % 2
            sizes = (int(kept.sum()), int((~kept).sum()))
            scale, shift = rng.standard_normal((2, *sizes)) / math.sqrt(sizes[0])
            bent[:, ~kept] = bent[:, ~kept] * np.exp(np.tanh(bent[:, kept] @ scale)) + np.tanh(bent[:, kept] @ shift)
        return bent

    return couple


def swiss_roll(values: Array) -> Array:
    r"""Map one uniform coordinate u to a spiral in the plane: Czyż et al. 2023, arXiv 2306.11078.

    :math:`\tfrac{1}{21} (t \cos t, t \sin t)` with :math:`t = \tfrac{3\pi}{2} (1 + 2u)`.

    Raises:
        ValueError: for values of more than one dimension.

    >>> swiss_roll(np.full((10, 1), 0.5)).shape
    (10, 2)
    """
    if values.shape[1] != 1:
        raise ValueError(f"swiss_roll takes values of one dimension; got {values.shape[1]}")
    t = 1.5 * math.pi * (1 + 2 * values)
    return np.hstack([t * np.cos(t), t * np.sin(t)]) / 21


@lru_cache(maxsize=16)
def _orthogonal(dim: int, seed: int) -> Array:
    """A random orthogonal matrix from the Haar measure: Mezzadri 2007, arXiv math-ph/0609050."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    matrix: Array = q * np.sign(np.diag(r))
    matrix.setflags(write=False)
    return matrix
