"""Linear and quadratic discriminants whose class means and covariances are shrunk, for cross-fitting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]

#: The linear discriminants.
LINEAR = ("normal", "few directions", "Student")
#: Degrees of freedom of the Student classes.
_TAILS = 3.0
#: Floating-point operations that quadratic discriminants may take.
_MOST_OPERATIONS = 1e9
#: Numbers of a block of whitened rows.
_BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class Classes:
    """Rows of a feature matrix with their classes, and sums for each fold.

    Attributes:
        x: ``(N, D)``, float64, columns of mean 0 and variance 1. labels: ``(N,)``, 0 … K - 1. classes: K.
        folds: the rows of each fold.
    """

    x: Tensor
    labels: Tensor
    classes: int
    folds: Sequence[Tensor]
    sums: Tensor  # (F, K, D)
    counts: Tensor  # (F, K)
    squares: Tensor  # (F, D, D)

    @staticmethod
    def of(x: Tensor, labels: Tensor, classes: int, folds: Sequence[Tensor]) -> Classes:
        sums, counts, squares = [], [], []
        for rows in folds:
            part, own = x[rows], labels[rows]
            sums.append(torch.zeros(classes, x.shape[1], dtype=x.dtype).index_add_(0, own, part))
            counts.append(torch.bincount(own, minlength=classes).to(x.dtype))
            squares.append(part.T @ part)
        return Classes(x, labels, classes, folds, torch.stack(sums), torch.stack(counts), torch.stack(squares))

    def squares_of_classes(self) -> Tensor:
        """The sums of squares of each fold and class, ``(F, K, D, D)``."""
        found = torch.zeros(len(self.folds), self.classes, *self.squares.shape[1:], dtype=self.x.dtype)
        for fold, rows in enumerate(self.folds):
            order = self.labels[rows].argsort()
            parts = torch.split(self.x[rows[order]], self.counts[fold].int().tolist())
            for k, part in enumerate(parts):
                found[fold, k] = part.T @ part
        return found

    def training(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For each fold: its rows; and of the other rows counts ``(K,)``, means ``(K, D)`` and pooled covariance."""
        for fold, rows in enumerate(self.folds):
            counts = self.counts.sum(0) - self.counts[fold]
            sums = self.sums.sum(0) - self.sums[fold]
            grand = sums.sum(0) / counts.sum()
            means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], grand)
            within = self.squares.sum(0) - self.squares[fold] - (means.T * counts) @ means
            yield rows, counts, means, within / max(float(counts.sum()) - float((counts > 0).sum()), 1.0)


def linear(data: Classes, shrunk: bool) -> dict[str, Tensor]:
    r"""Held-out log-likelihoods, up to a constant of each row, by linear discriminants: ``(N, K)`` each.

    The pooled covariance is whitened. Class means are shrunk towards their mean in two ways: as draws from a normal
    distribution whose variance is estimated from their scatter (empirical Bayes), with the predictive variance of each
    class; and by shrinking the singular values of their matrix, which is optimal for means in few directions
    (Gavish and Donoho, "Optimal shrinkage of singular values", 2017, arXiv 1405.7511).

    Args:
        shrunk: whether the covariance is shrunk towards a multiple of the identity (Chen, Wiesel, Eldar and Hero,
            "Shrinkage algorithms for MMSE covariance estimation", 2010, arXiv 0907.4698).
    """
    n, dim = data.x.shape
    found = {name: torch.empty(n, data.classes, dtype=data.x.dtype) for name in LINEAR}
    for rows, counts, means, within in data.training():
        degrees = max(float(counts.sum()) - data.classes, 1.0)
        root, noise = _whitening(within, degrees, shrunk)
        grand = (counts @ means) / counts.sum()
        z, centres = (data.x[rows] - grand) @ root, (means - grand) @ root
        shrunk_means, extra = _normal_means(centres, counts, noise)
        found["normal"][rows] = _log_densities(z, shrunk_means, 1 + extra)
        few = _few_directions(centres, counts, noise)
        found["few directions"][rows] = _log_densities(z, few, torch.ones_like(extra))
        # The squared distances that a normal density would halve, in a Student density of the same centre and scale.
        tails = _TAILS + dim
        found["Student"][rows] = (
            -0.5 * tails * (1 - 2 / _TAILS * _log_densities(z, shrunk_means, torch.ones_like(extra))).log()
        )
    return found


def quadratic(data: Classes, prior_rows: Sequence[float]) -> list[Tensor]:
    """Held-out log-likelihoods ``(N, K)`` of normal classes with covariances of their own, for each of the prior rows.

    Each covariance is that of its class, and of the pooled one ``prior_rows`` times, as rows.
    """
    found = [torch.empty(len(data.x), data.classes, dtype=data.x.dtype) for _ in prior_rows]
    own_squares = data.squares_of_classes()
    for fold, (rows, counts, means, within) in enumerate(data.training()):
        root, noise = _whitening(within, max(float(counts.sum()) - data.classes, 1.0), True)
        grand = (counts @ means) / counts.sum()
        centres, _ = _normal_means((means - grand) @ root, counts, noise)
        squares = own_squares.sum(0) - own_squares[fold] - counts[:, None, None] * means[:, :, None] * means[:, None]
        whitened = root.T @ squares @ root
        z = (data.x[rows] - grand) @ root
        for values, more in zip(found, prior_rows, strict=True):
            values[rows] = _gaussians(z, centres, _shrunk(whitened, counts, more))
    return found


def _shrunk(scatter: Tensor, counts: Tensor, prior_rows: float) -> Tensor:
    """Covariances ``(K, D, D)`` from whitened scatter matrices of so many rows, with the identity as prior."""
    eye = torch.eye(scatter.shape[1], dtype=scatter.dtype)
    rows = (counts - 1).clamp_min(0)[:, None, None]
    covariances: Tensor = (scatter + prior_rows * eye) / (rows + prior_rows)
    return covariances


def _gaussians(z: Tensor, centres: Tensor, covariances: Tensor) -> Tensor:
    """Log-densities of normal classes up to a constant: ``(N, D)``, ``(K, D)``, ``(K, D, D)`` → ``(N, K)``."""
    factors = torch.linalg.cholesky(covariances)
    eye = torch.eye(z.shape[1], dtype=z.dtype).expand_as(factors)
    inverse = torch.linalg.solve_triangular(factors, eye, upper=False)
    found = torch.empty(len(z), len(centres), dtype=z.dtype)
    most = max(1, _BLOCK // max(1, len(z) * z.shape[1]))
    for first in range(0, len(centres), most):
        part = slice(first, first + most)
        moved = (z - centres[part, None]) @ inverse[part].transpose(1, 2)
        logs = factors[part].diagonal(dim1=1, dim2=2).log().sum(1)
        found[:, part] = (-0.5 * moved.square().sum(2) - logs[:, None]).T
    return found


@dataclass(frozen=True, eq=False)
class Model:
    """Normal classes in whitened coordinates: centres ``(K, D)``, and covariances ``(K, D, D)`` or None: the identity.

    At a size s, centres are multiplied by s, and covariances are moved towards the identity if s is less than 1.
    ``colouring (D, D)`` maps to the original coordinates.
    """

    centres: Tensor
    covariances: Tensor | None
    colouring: Tensor

    def sample(self, labels: Tensor, noise: Tensor, size: float) -> tuple[Tensor, Tensor]:
        """Rows with these labels from standard normal ``noise (N, D)``, and their log-densities ``(N, K)``."""
        centres, classes = size * self.centres, len(self.centres)
        if self.covariances is None:
            z = centres[labels] + noise
            return z @ self.colouring, _log_densities(z, centres, torch.ones(classes, 1, dtype=z.dtype))
        eye = torch.eye(noise.shape[1], dtype=noise.dtype)
        covariances = (1 - min(size, 1.0)) * eye + min(size, 1.0) * self.covariances
        factors = torch.linalg.cholesky(covariances)
        z = torch.empty_like(noise)
        for k in range(classes):
            z[labels == k] = centres[k] + noise[labels == k] @ factors[k].T
        return z @ self.colouring, _gaussians(z, centres, covariances)


def fit_model(data: Classes, name: str, shrunk: bool, prior_rows: float | None) -> Model:
    """The discriminant of this name on all rows, as a model to draw from."""
    counts = data.counts.sum(0)
    means = data.sums.sum(0) / counts[:, None]
    degrees = max(float(counts.sum()) - data.classes, 1.0)
    within = (data.squares.sum(0) - (means.T * counts) @ means) / degrees
    root, noise = _whitening(within, degrees, shrunk)
    centres = (means - (counts @ means) / counts.sum()) @ root
    colouring = torch.linalg.inv(root)
    if name == "few directions":
        return Model(_few_directions(centres, counts, noise), None, colouring)
    centres, _ = _normal_means(centres, counts, noise)
    if prior_rows is None:
        return Model(centres, None, colouring)
    scatter = data.squares_of_classes().sum(0) - counts[:, None, None] * means[:, :, None] * means[:, None]
    return Model(centres, _shrunk(root.T @ scatter @ root, counts, prior_rows), colouring)


def affords_quadratic(data: Classes) -> bool:
    """Whether classes have rows enough for covariances of their own, and operations are few enough."""
    n, dim = data.x.shape
    return dim * data.classes <= n and n * data.classes * dim**2 <= _MOST_OPERATIONS


def _whitening(within: Tensor, degrees: float, shrunk: bool) -> tuple[Tensor, float]:
    """A matrix whose columns whiten the covariance, and the variance of whitened noise outside the sample."""
    dim = len(within)
    values, axes = torch.linalg.eigh(within)
    values = values.clamp_min(1e-9 * float(values[-1].clamp_min(1e-300)))
    mean, square = float(values.mean()), float(values.square().sum())
    share = 0.0
    if shrunk and dim > 1:
        spread = square - mean**2 * dim
        top = (1 - 2 / dim) * square + (mean * dim) ** 2
        share = min(1.0, top / ((degrees + 1 - 2 / dim) * max(spread, 1e-300)))
    values = (1 - share) * values + share * mean
    noise = degrees / (degrees - dim - 1) if degrees > 2 * dim and not shrunk else 1.0
    return axes / values.sqrt(), noise


def _normal_means(centres: Tensor, counts: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Posterior means ``(K, D)`` and variances ``(K, 1)`` of centred class means that are normal draws themselves."""
    n, dim, classes = float(counts.sum()), centres.shape[1], int((counts > 0).sum())
    scatter = float((counts[:, None] * centres.square()).sum()) - noise * dim * (classes - 1)
    variance = max(0.0, scatter) / (dim * max(n - float(counts.square().sum()) / n, 1e-300))
    own = noise / counts.clamp_min(0.1)
    share = variance / (variance + own)
    return share[:, None] * centres, (share * own)[:, None]


def _few_directions(centres: Tensor, counts: Tensor, noise: float) -> Tensor:
    """Centred class means ``(K, D)`` with the singular values that noise alone produces removed, others shrunk."""
    classes, dim = centres.shape
    weights = counts.clamp_min(0.1).sqrt()[:, None]
    left, values, right = torch.linalg.svd(centres * weights / math.sqrt(noise), full_matrices=False)
    long, short = max(classes - 1, dim), min(classes - 1, dim)
    ratio = short / long
    y = values / math.sqrt(long)
    inside = (y.square() - ratio - 1).square() - 4 * ratio
    kept = torch.where(y > 1 + math.sqrt(ratio), inside.clamp_min(0).sqrt() / y.clamp_min(1e-12), 0.0)
    means: Tensor = (left * (kept * math.sqrt(long * noise))) @ right / weights
    return means


def _log_densities(z: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Log-densities of spherical normal classes, up to a constant: ``(N, D)``, ``(K, D)``, ``(K, 1)`` → ``(N, K)``."""
    variances = variances.to(z.dtype).reshape(-1)
    squares = z.square().sum(1, keepdim=True) - 2 * z @ means.T + means.square().sum(1)
    densities: Tensor = -0.5 * squares / variances - 0.5 * z.shape[1] * variances.log()
    return densities
