"""Mixtures of normal distributions, and a suite of tasks.

The shapes are those of Czyż, Grabowski, Vogt, Beerenwinkel and Marx 2023, "On the Properties and Estimation of
Pointwise Mutual Information Profiles", arXiv 2310.10240, and of its package. The values of MI are computed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from infomax.tasks.base import Array, Task, add
from infomax.tasks.transforms import spiral, transformed

_SOURCE = "Czyż et al. 2023, arXiv 2310.10240"


@dataclass(frozen=True, eq=False)
class NormalMixture:
    """A mixture of K normal distributions of (x, y): weights ``(K,)``, means ``(K, D)``, covariances ``(K, D, D)``.

    The first ``x_dim`` coordinates are x, the others y.
    """

    weights: Array
    means: Array
    covariances: Array
    x_dim: int

    def __post_init__(self) -> None:
        components, dim = self.means.shape
        if self.weights.shape != (components,) or self.covariances.shape != (components, dim, dim):
            raise ValueError(
                f"weights, means and covariances must have shapes (K,), (K, D) and (K, D, D); "
                f"got {self.weights.shape}, {self.means.shape} and {self.covariances.shape}"
            )
        if not ((self.weights > 0).all() and math.isclose(self.weights.sum(), 1)):
            raise ValueError(f"weights must be positive and sum to 1; got {self.weights.tolist()}")
        if not 1 <= self.x_dim < dim:
            raise ValueError(f"x_dim must leave at least one of {dim} coordinates to x and to y; got {self.x_dim}")

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """``n`` pairs."""
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        values = rng.standard_normal((n, self.means.shape[1]))
        for k, (mean, root) in enumerate(zip(self.means, np.linalg.cholesky(self.covariances), strict=True)):
            values[component == k] = mean + values[component == k] @ root.T
        return values[:, : self.x_dim], values[:, self.x_dim :]

    def pointwise(self, x: Array, y: Array) -> Array:
        """Pointwise mutual information ``(n,)`` of pairs, in nats."""
        joint = np.hstack([x, y])
        d = self.x_dim
        return self._log_density(joint, slice(None)) - (
            self._log_density(x, slice(0, d)) + self._log_density(y, slice(d, None))
        )

    def mutual_information(self, n: int = 1_000_000, seed: int = 0) -> tuple[float, float]:
        """Monte Carlo mean of :meth:`pointwise` over ``n`` pairs, in nats, and its standard error."""
        rng = np.random.default_rng(seed)
        sizes = [min(100_000, n - start) for start in range(0, n, 100_000)]
        values = np.concatenate([self.pointwise(*self.sample(size, rng)) for size in sizes])
        return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)

    def _log_density(self, values: Array, part: slice) -> Array:
        terms = []
        for weight, mean, covariance in zip(
            self.weights, self.means[:, part], self.covariances[:, part, part], strict=True
        ):
            root = np.linalg.cholesky(covariance)
            whitened = solve_triangular(root, (values - mean).T, lower=True)
            log_scale = np.log(np.diag(root)).sum() + len(mean) / 2 * math.log(2 * math.pi)
            terms.append(math.log(weight) - log_scale - np.square(whitened).sum(axis=0) / 2)
        return np.asarray(logsumexp(terms, axis=0))


def normal_mixture(
    name: str,
    weights: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    *,
    x_dim: int,
    mi: tuple[float, float] | None = None,
    reference: str = "normal mixture",
) -> Task:
    """A task from a mixture of normals of (x, y).

    Args:
        name: the name of the task. weights: ``(K,)``. means: ``(K, D)``. covariances: ``(K, D, D)``.
        x_dim: number of coordinates that are x.
        mi: mutual information in nats and its standard error, if known. By default the Monte Carlo mean over a million
            pairs, which takes a second or more.
        reference: the source of the distribution.

    Raises:
        ValueError: for inconsistent shapes, and weights that are not a probability distribution.
    """
    w, m, c = (np.asarray(part, dtype=np.float64) for part in (weights, means, covariances))
    mixture = NormalMixture(w, m, c, x_dim)
    value, error = mi or mixture.mutual_information()
    value = max(0.0, value)  # rounding can make it negative for independent parts
    how = f"{reference}; MI {'by Monte Carlo' if error else 'by quadrature'}"
    return Task(name, value, x_dim, mixture.means.shape[1] - x_dim, how, mixture.sample, "mixtures", error)


def _pair(variance_x: float, variance_y: float, rho: float = 0.0) -> list[list[float]]:
    covariance = rho * math.sqrt(variance_x * variance_y)
    return [[variance_x, covariance], [covariance, variance_y]]


def cross(rho: float = 0.9, mi: tuple[float, float] | None = None) -> Task:
    """The letter X: two normal components with correlations rho and -rho."""
    covariances = [_pair(1, 1, -rho), _pair(1, 1, rho)]
    return normal_mixture(f"1v1-X-{rho}", [0.5, 0.5], np.zeros((2, 2)), covariances, x_dim=1, mi=mi, reference=_SOURCE)


def letters(mi: tuple[float, float] | None = None) -> Task:
    """The letters A and I, with three strokes each."""
    strokes = [
        ((1.0, 0.0), _pair(0.01, 0.2)),
        ((1.0, 1.0), _pair(0.05, 0.001)),
        ((1.0, -1.0), _pair(0.05, 0.001)),
        ((-0.8, -0.2), _pair(0.03, 0.001)),
        ((-1.2, 0.0), _pair(0.04, 0.2, 0.95)),
        ((-0.4, 0.0), _pair(0.04, 0.2, -0.95)),
    ]
    means, covariances = zip(*strokes, strict=True)
    return normal_mixture("1v1-AI", np.full(6, 1 / 6), means, covariances, x_dim=1, mi=mi, reference=_SOURCE)


def galaxy(speed: float = 0.5, distance: float = 3.0, mi: tuple[float, float] | None = None) -> Task:
    """Two balls in three dimensions; the two coordinates of x are transformed by a spiral."""
    means = np.outer([-0.5, 0.5], np.full(3, distance))
    base = normal_mixture("", [0.5, 0.5], means, [np.eye(3)] * 2, x_dim=2, mi=mi, reference=_SOURCE)
    return transformed(base, x=spiral(speed), name=f"2v1-galaxy-{speed}-{distance}")


def waves(
    components: int = 12, amplitude: float = 5.0, frequency: float = 3.0, mi: tuple[float, float] | None = None
) -> Task:
    """Parallel stripes at four levels of y; x is transformed into waves."""
    steps = np.arange(components)
    means = 1.5 * np.stack([steps, 0 * steps, steps % 4], axis=1)
    covariances = [np.diag([0.1, 1.0, 0.1])] * components
    base = normal_mixture(
        "", np.full(components, 1 / components), means, covariances, x_dim=2, mi=mi, reference=_SOURCE
    )

    def wave(values: Array) -> Array:
        bent = values[:, 0] + amplitude * np.sin(frequency * values[:, 1])
        return np.stack([0.1 * bent - 0.8, 0.5 * values[:, 1]], axis=1)

    return transformed(base, x=wave, name=f"2v1-waves-{components}-{amplitude}-{frequency}")


def concentric(dim: int, components: int = 5, mi: tuple[float, float] | None = None) -> Task:
    """Concentric balls with radii 1, 2, …; y determines the radius."""
    radii = np.arange(1, components + 1)
    means = np.hstack([np.zeros((components, dim)), radii[:, None]])
    covariances = [np.diag([float(radius) ** 2] * dim + [1e-4]) for radius in radii]
    weights = np.full(components, 1 / components)
    name = f"{dim}v1-concentric_gaussians-{components}"
    return normal_mixture(name, weights, means, covariances, x_dim=dim, mi=mi, reference=_SOURCE)


def normal_with_inliers(dim: int, share: float, mi: tuple[float, float] | None = None) -> Task:
    """Two of ``dim`` pairs have correlation 0.8; in a share of the rows x and y are independent."""
    joint = np.eye(2 * dim)
    for i in range(2):
        joint[i, dim + i] = joint[dim + i, i] = 0.8
    covariances = [joint, np.eye(2 * dim)]
    name = f"mult-sparse-w-inliers-{dim}-{dim}-2-2.0-{share}"
    return normal_mixture(
        name, [1 - share, share], np.zeros((2, 2 * dim)), covariances, x_dim=dim, mi=mi, reference=_SOURCE
    )


# The values of MI are quadratures over the informative coordinates: two; four for the inliers; the radius of the balls.
# Tests repeat the quadratures, and compare them with Monte Carlo means.
add(cross(mi=(0.4084425, 0.0)))
add(letters(mi=(0.7759526, 0.0)))
add(waves(mi=(1.3070174, 0.0)))
add(galaxy(mi=(0.4942977, 0.0)))
for _dim, _mi in ((3, 0.4554231), (5, 0.6273911), (25, 1.1907680)):
    add(concentric(_dim, mi=(_mi, 0.0)))
for _dim in (5, 25):
    for _share, _mi in ((0.2, 0.6357589), (0.5, 0.2696260)):
        add(normal_with_inliers(_dim, _share, mi=(_mi, 0.0)))
