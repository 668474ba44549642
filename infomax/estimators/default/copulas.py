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
#: A bias of more nats than this is checked by the jackknife in :func:`normal_information`.
_LARGE_BIAS = 1.0
#: Safety factor of the jackknife's estimate of the remaining bias, which extrapolates in 1/N from few rows.
_ROUGHLY = 5.0


@dataclass(frozen=True)
class Embedded:
    """Rows of x and y as inputs of an :class:`EllipticalCopula`: canonical coordinates and squared norms."""

    x: Tensor  # (N, K)
    y: Tensor  # (N, K)
    norm_x: Tensor  # (N,)
    norm_y: Tensor  # (N,)

    def __getitem__(self, rows: Tensor | slice) -> Embedded:
        return Embedded(self.x[rows], self.y[rows], self.norm_x[rows], self.norm_y[rows])

    def to(self, device: torch.device) -> Embedded:
        """The same on another device."""
        return Embedded(self.x.to(device), self.y.to(device), self.norm_x.to(device), self.norm_y.to(device))


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

    def embed(self, x: Tensor, y: Tensor) -> Embedded:
        """The inputs of this copula from normal scores ``(N, Dx)`` and ``(N, Dy)``, in float32."""
        fit = self.coupling
        if math.isfinite(self.degrees):
            x, y = student_scores(x, self.degrees), student_scores(y, self.degrees)
        norms = [((side - mean) @ root).square().sum(1).float() for side, mean, root in self._sides(x, y)]
        return Embedded(
            ((x - fit.mean_x) @ fit.directions_x).float(), ((y - fit.mean_y) @ fit.directions_y).float(), *norms
        )

    def _sides(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield x, self.coupling.mean_x, self.root_x
        yield y, self.coupling.mean_y, self.root_y

    def log_ratio(self, rows: Embedded, others: Embedded | None = None) -> Tensor:
        """Log-ratio of each pair, x of ``rows`` and y of ``others`` (by default of the same rows): ``(N,)``, nats."""
        others = rows if others is None else others
        gain = self._gain(rows.x)
        twice = (rows.x.square() + others.y.square()) @ (gain * self._correlations(rows.x))
        return self._of_norms(twice - 2 * (rows.x * gain * others.y).sum(1), rows.norm_x, others.norm_y)

    def scores(self, rows: Embedded) -> Tensor:
        """Log-ratio of every x with every y: ``(N, N)``, nats; entry [i, j] scores (x_i, y_j)."""
        gain = self._gain(rows.x)
        weight = gain * self._correlations(rows.x)
        squares = (rows.x.square() @ weight)[:, None] + (rows.y.square() @ weight)[None]
        return self._of_norms(
            squares - 2 * (rows.x * gain) @ rows.y.T, rows.norm_x[:, None], rows.norm_y[None].expand(len(rows.x), -1)
        )

    def _correlations(self, like: Tensor) -> Tensor:
        return self.coupling.correlations.to(like)

    def _gain(self, like: Tensor) -> Tensor:
        s = self._correlations(like)
        return s / (1 - s.square())

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

    The correlations are those of the normal scores, with the shrinkage (:func:`infomax.statistics.couple`, or principal
    components first) that has the smallest loss on every fifth row when fitted on the others. The degrees of freedom, a
    single number, are chosen on all rows. The loss is the logistic loss of joint against shuffled pairs.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``, N at least 10.

    Returns:
        the copula, and the normal copula with the same correlations.

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
    # One parameter is fitted: its gain must exceed its cost.
    best, least = normal, _loss(normal, x, y) - 0.5 / len(x)
    for degrees in DEGREES:
        student = EllipticalCopula(normal.coupling, normal.root_x, normal.root_y, degrees)
        loss = _loss(student, x, y)
        if loss < least:
            best, least = student, loss
    return best, normal


def _loss(copula: EllipticalCopula, x: Tensor, y: Tensor) -> float:
    rows = copula.embed(x[:_COMPARED], y[:_COMPARED])
    n = len(rows.x)
    loss = float(F.softplus(-copula.log_ratio(rows)).mean())
    shifted = max(4, min(_NEGATIVES, 1000 // max(rows.x.shape[1], 1)))  # fewer in many columns, where each costs more
    shifts = range(1, min(n, shifted + 1))
    negatives = [F.softplus(copula.log_ratio(rows, rows[torch.arange(n).roll(shift)])).mean() for shift in shifts]
    return loss + float(torch.stack(negatives).mean())


def _normal_copulas(
    x: Tensor, y: Tensor, ways: Sequence[Shrinkage | Literal["principal"]] = _WAYS
) -> Iterator[EllipticalCopula]:
    """The normal copula, fitted in each of these ways."""
    whitened = whiten(x, y)
    for way in ways:
        if way == "principal":
            yield EllipticalCopula(_of_principal_axes(x, y), whitened.root_x, whitened.root_y)
        else:
            coupling, used = whitened.consistent(way, x, y)
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
    values, vectors = torch.linalg.eigh(sample_covariance(x))
    kept = values > values.mean() * (1 + math.sqrt(dim / n)) ** 2
    kept[-1] = True
    axes: Tensor = vectors[:, kept]
    return axes


def significant_rank(x: Tensor, y: Tensor) -> int:
    """Number of canonical pairs of x and y that exceed noise."""
    whitened = whiten(x, y)
    strong = torch.linalg.svdvals(shrink_singular_values(whitened.cross, len(x) ** -0.5))
    return int((strong > 1e-6).sum())


def normal_information(x: Tensor, y: Tensor) -> tuple[float, float]:
    r"""Mutual information of the normal copula from all rows, and the variance of that estimate under independence.

    :math:`-\tfrac12 \sum_k \log(1 - r_k^2)` of the sample, less its bias, which is exact for normal samples: the
    log-determinant of a Wishart matrix has mean :math:`\sum_i \psi((n - i)/2)` plus constants, and variance
    :math:`\sum_i \psi_1((n - i)/2)`. Where the bias exceeds one nat, the jackknife estimates the bias that remains; its
    square, times 25, is added to the variance. It is large for columns that are not jointly normal, such as pixels.

    Args:
        x, y: normal scores, ``(N, Dx)`` and ``(N, Dy)``, with N above Dx + Dy + 2.

    Returns:
        nats, nats²; the variance is infinite if there are too few rows to estimate what remains of a large bias.

    Source: Ince et al. 2017, doi:10.1002/hbm.23471, for the bias; Quenouille 1956 for the jackknife.
    """
    value, bias, variance = _unbiased_if_normal(x, y)
    if bias > _LARGE_BIAS:
        variance += (_ROUGHLY * _bias_left(x, y, value)) ** 2
    return value, variance


def _unbiased_if_normal(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """The bias-corrected estimate, its bias, and its variance under independence."""
    n, dim_x, dim_y = len(x), x.shape[1], y.shape[1]
    value = whiten(x, y, sample_covariance).canonical("none").mutual_information()
    halves = (n - torch.arange(1, dim_x + dim_y + 1, dtype=torch.float64)) / 2
    mean, variance = torch.digamma(halves), torch.polygamma(1, halves)
    bias = 0.5 * (mean[:dim_x].sum() + mean[:dim_y].sum() - mean.sum())
    spread = 0.25 * (variance.sum() - variance[:dim_x].sum() - variance[:dim_y].sum())
    return float(value - bias), float(bias), float(spread.clamp_min(0.0))


def _bias_left(x: Tensor, y: Tensor, value: float) -> float:
    """The jackknife's estimate of the remaining bias of ``value``, with the fewest groups that leave enough rows."""
    n, needed = len(x), 1.2 * (x.shape[1] + y.shape[1] + 2)
    groups = next((groups for groups in range(2, 11) if n * (1 - 1 / groups) >= needed), None)
    if groups is None:
        return math.inf
    member = torch.arange(n) % groups
    without = [_unbiased_if_normal(x[member != g], y[member != g])[0] for g in range(groups)]
    return (groups - 1) * (sum(without) / groups - value)
