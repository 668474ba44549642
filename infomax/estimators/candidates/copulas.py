"""Elliptical copulas, normal and Student's: closed-form log-ratios with few parameters, fitted with shrinkage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.statistics.gaussian import (
    MIN_RESIDUAL,
    GaussianCoupling,
    Shrinkage,
    sample_covariance,
    shrink_singular_values,
    whiten,
)

#: Candidate degrees of freedom of Student's copula; the normal copula is a candidate as well.
DEGREES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
#: Ways to fit a normal copula: shrinkages of its covariance, or principal components first.
_WAYS: tuple[Shrinkage | Literal["principal"], ...] = ("sparse", "low-rank", "adjusted", "principal")
#: Fewest rows of which every fifth makes a joint and a shuffled pair.
_LEAST_ROWS = 10
#: Rows on which candidates are compared, and shuffled pairs for each of them.
_COMPARED, _NEGATIVES = 4_000, 20


#: With so many rows per column, correlations are at most √(1 − this): up to 14 nats for each pair of columns.
_ENOUGH, _LEAST_RESIDUAL = 10, 1e-12
#: From this correlation on, log-ratios are differences of much larger squares, for which float32 is too coarse.
_STRONG = 0.999


@dataclass(frozen=True)
class EllipticalCopula:
    r"""The copula of a normal (``degrees`` infinite) or of a Student distribution with these correlations.

    Its log-ratio is a function of three squared Mahalanobis norms, of x, of y and of both. For Student's with
    :math:`\nu` degrees of freedom (Kotz and Nadarajah 2004, doi:10.1017/CBO9780511550683)

    .. math:: c_\nu - \tfrac12 \log |1 - S^2| - \tfrac{\nu + d_x + d_y}{2} \log(1 + q/\nu)
              + \tfrac{\nu + d_x}{2} \log(1 + q_x/\nu) + \tfrac{\nu + d_y}{2} \log(1 + q_y/\nu)
    """

    coupling: GaussianCoupling
    root_x: Tensor  # (Dx, Dx): x -> white
    root_y: Tensor
    degrees: float = math.inf

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Canonical coordinates, then squared Mahalanobis norms, of normal scores: ``(N, K + 1)`` each."""
        fit = self.coupling
        return (
            self._embedded(x, fit.mean_x, fit.directions_x, self.root_x),
            self._embedded(y, fit.mean_y, fit.directions_y, self.root_y),
        )

    def _embedded(self, side: Tensor, mean: Tensor, directions: Tensor, root: Tensor) -> Tensor:
        if math.isfinite(self.degrees):
            side = student_scores(side, self.degrees)
        centred = side - mean
        return torch.cat([centred @ directions, (centred @ root).square().sum(1, keepdim=True)], 1)

    def rounded(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings in float32, which is faster, unless it is too coarse for these correlations."""
        return (x, y) if float(self.coupling.correlations.max()) >= _STRONG else (x.float(), y.float())

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-ratio of every x with every y, from their embeddings: ``(N, M)``, nats."""
        s = self.coupling.correlations.to(x)
        gain = s / (1 - s.square())
        weight = gain * s
        (u, norm_x), (v, norm_y) = ((side[:, :-1], side[:, -1]) for side in (x, y))
        squares = (u.square() @ weight)[:, None] + (v.square() @ weight)[None]
        return self._of_norms(squares - 2 * (u * gain) @ v.T, norm_x[:, None], norm_y[None])

    def pairs(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-ratio of each x with the y of the same row, from their embeddings: ``(N,)``, nats."""
        s = self.coupling.correlations.to(x)
        gain = s / (1 - s.square())
        (u, norm_x), (v, norm_y) = ((side[:, :-1], side[:, -1]) for side in (x, y))
        twice = (u.square() + v.square()) @ (gain * s)
        return self._of_norms(twice - 2 * (u * gain * v).sum(1), norm_x, norm_y)

    def _of_norms(self, excess: Tensor, norm_x: Tensor, norm_y: Tensor) -> Tensor:
        """The log-ratio where the joint squared norm is ``norm_x + norm_y + excess``."""
        information = float(self.coupling.mutual_information())
        nu = self.degrees
        if not math.isfinite(nu):
            return information - 0.5 * excess
        dim_x, dim_y = len(self.coupling.mean_x), len(self.coupling.mean_y)
        constant = math.lgamma((nu + dim_x + dim_y) / 2) + math.lgamma(nu / 2)
        constant -= math.lgamma((nu + dim_x) / 2) + math.lgamma((nu + dim_y) / 2)
        joint = (norm_x + norm_y + excess).clamp_min(0.0)
        terms: Tensor = (
            information
            + constant
            - 0.5 * (nu + dim_x + dim_y) * torch.log1p(joint / nu)
            + 0.5 * (nu + dim_x) * torch.log1p(norm_x / nu)
            + 0.5 * (nu + dim_y) * torch.log1p(norm_y / nu)
        )
        return terms


def student_scores(scores: Tensor, degrees: float) -> Tensor:
    """Normal scores as quantiles of Student's distribution, by interpolation in a table: the same shape."""
    from scipy.special import ndtr, stdtrit  # noqa: PLC0415 - loaded on first use

    grid = torch.linspace(-8.0, 8.0, 4001, dtype=torch.float64)
    table = torch.from_numpy(stdtrit(degrees, ndtr(grid.numpy()))).nan_to_num()
    half = len(grid) // 2
    table[half:] = -table[: half + 1].flip(0)  # the upper quantiles round to infinity
    place = ((scores.double().clamp(-8.0, 8.0) + 8.0) * 250).to(scores.device)
    below = place.floor().long().clamp_max(len(grid) - 2)
    table = table.to(scores.device)
    found: Tensor = torch.lerp(table[below], table[below + 1], place - below)
    return found


def fit_copula(x: Tensor, y: Tensor) -> tuple[EllipticalCopula, EllipticalCopula]:
    """Fit the elliptical copula that best separates joint from shuffled samples, and the best normal one.

    The correlations are those of :func:`fit_normal`. The degrees of freedom, a single number, are chosen on all rows by
    the same loss.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``, N at least 10.

    Returns:
        the copula, and the normal copula with the same correlations.

    Raises:
        ValueError: for fewer rows.
    """
    normal = fit_normal(x, y)
    # One parameter is fitted: its gain must exceed its cost.
    best, least = normal, _loss(normal, x, y) - 0.5 / len(x)
    for degrees in DEGREES:
        student = EllipticalCopula(normal.coupling, normal.root_x, normal.root_y, degrees)
        loss = _loss(student, x, y)
        if loss < least:
            best, least = student, loss
    return best, normal


def fit_normal(x: Tensor, y: Tensor) -> EllipticalCopula:
    """Fit the normal copula that best separates joint from shuffled samples.

    The correlations are those of the normal scores, with the shrinkage (:func:`infomax.statistics.couple`, or principal
    components first) that has the smallest loss on every fifth row when fitted on the others. The loss is the logistic
    loss of joint against shuffled pairs.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``, N at least 10.

    Raises:
        ValueError: for fewer rows.
    """
    if len(x) < _LEAST_ROWS:
        raise ValueError(f"x must have at least {_LEAST_ROWS} rows to fit a copula; got {len(x)}")
    held_out = torch.arange(len(x)) % 5 == 4
    trials = list(_normal_copulas(x[~held_out], y[~held_out]))
    losses = [_loss(trial, x[held_out], y[held_out]) for trial in trials]
    chosen = min(range(len(losses)), key=lambda i: losses[i])
    (normal,) = _normal_copulas(x, y, _WAYS[chosen : chosen + 1])
    return normal


def _loss(copula: EllipticalCopula, x: Tensor, y: Tensor) -> float:
    u, v = copula.rounded(*copula.embed(x[:_COMPARED], y[:_COMPARED]))
    n = len(u)
    shifts = max(4, min(_NEGATIVES, 1000 // u.shape[1]))  # fewer in many columns, where each costs more
    own = torch.arange(n)
    partners = (own[:, None] + torch.arange(1, min(n, shifts + 1))) % n
    negatives = copula.pairs(u.repeat_interleave(partners.shape[1], 0), v[partners.flatten()])
    return float(F.softplus(-copula.pairs(u, v)).mean() + F.softplus(negatives).mean())


def _normal_copulas(
    x: Tensor, y: Tensor, ways: Sequence[Shrinkage | Literal["principal"]] = _WAYS
) -> Iterator[EllipticalCopula]:
    """The normal copula, fitted in each of these ways."""
    whitened = whiten(x, y)
    residual = _LEAST_RESIDUAL if len(x) >= _ENOUGH * (x.shape[1] + y.shape[1]) else MIN_RESIDUAL
    for way in ways:
        if way == "principal":
            yield EllipticalCopula(_of_principal_axes(x, y), whitened.root_x, whitened.root_y)
        else:
            coupling, used = whitened.consistent(way, x, y, residual)
            yield EllipticalCopula(coupling, used.root_x, used.root_y)


def _of_principal_axes(x: Tensor, y: Tensor) -> GaussianCoupling:
    axes_x, axes_y = principal_axes(x), principal_axes(y)
    small = whiten(x @ axes_x, y @ axes_y, sample_covariance).canonical("adjusted")
    directions = axes_x @ small.directions_x, axes_y @ small.directions_y
    return GaussianCoupling(x.mean(0), y.mean(0), *directions, small.correlations)


def principal_axes(x: Tensor) -> Tensor:
    r"""Principal axes of the rows of ``x (N, D)`` that exceed white noise, at least one: ``(D, K)``.

    White noise of variance v gives eigenvalues up to :math:`v (1 + \sqrt{D/N})^2` (Marchenko and Pastur 1967).
    """
    n, dim = x.shape
    if dim > n:  # the eigenvectors of the smaller matrix of inner products of rows
        centred = x - x.mean(0)
        values, rows = torch.linalg.eigh(centred @ centred.T / n)
        vectors = centred.T @ (rows * (values.clamp_min(1e-300) * n).rsqrt())
        mean = values.sum() / dim
    else:
        values, vectors = torch.linalg.eigh(sample_covariance(x))
        mean = values.mean()
    kept = values > mean * (1 + math.sqrt(dim / n)) ** 2
    kept[-1] = True
    axes: Tensor = vectors[:, kept]
    return axes


def significant_rank(x: Tensor, y: Tensor) -> int:
    """Number of canonical pairs of x and y that exceed noise."""
    whitened = whiten(x, y)
    strong = torch.linalg.svdvals(shrink_singular_values(whitened.cross, len(x) ** -0.5))
    return int((strong > 1e-6).sum())
