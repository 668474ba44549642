"""The finite-sample bias of a fitted normal copula, and how much of it may be corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from infomax.estimators.candidates.base import Side
from infomax.estimators.candidates.copulas import EllipticalCopula, fit_normal
from infomax.estimators.candidates.elliptical import CopulaRatio
from infomax.estimators.default.folds import Anchor, Fold, calibrated, score
from infomax.estimators.default.portfolio import Fitted
from infomax.statistics.gaussian import GaussianCoupling, sample_covariance, whiten

#: A bias of more nats than this is checked by the jackknife in :func:`normal_information`.
_LARGE_BIAS = 1.0
#: Safety factor of the jackknife's estimate of the remaining bias, which extrapolates in 1/N from few rows.
_ROUGHLY = 5.0
#: A loss of fitting above the first number is simulated, so often, with so many new rows, as shrinkage changes it: it
#: loses much less where the loss exceeds the second number, and can lose more below.
_SMALL_LOSS, _LARGE_LOSS, _SIMULATIONS, _NEW_ROWS = 0.02, 0.5, 3, 1_000
#: By how many nats, beyond two standard errors, the calibrated value of a normal copula may be too low.
_TOLERATED = 0.02


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
    n, dim_x, dim_y = len(x), _rank(x), _rank(y)
    value = whiten(x, y, sample_covariance).canonical("none").mutual_information()
    halves = (n - torch.arange(1, dim_x + dim_y + 1, dtype=torch.float64)) / 2
    mean, variance = torch.digamma(halves), torch.polygamma(1, halves)
    bias = 0.5 * (mean[:dim_x].sum() + mean[:dim_y].sum() - mean.sum())
    spread = 0.25 * (variance.sum() - variance[:dim_x].sum() - variance[:dim_y].sum())
    return float(value - bias), float(bias), float(spread.clamp_min(0.0))


def _rank(x: Tensor) -> int:
    """Number of linearly independent columns."""
    values = torch.linalg.eigvalsh(sample_covariance(x))
    return int((values > values[-1] * 1e-10).sum())


def _bias_left(x: Tensor, y: Tensor, value: float) -> float:
    """The jackknife's estimate of the remaining bias of ``value``, with the fewest groups that leave enough rows."""
    n, needed = len(x), 1.2 * (x.shape[1] + y.shape[1] + 2)
    groups = next((groups for groups in range(2, 11) if n * (1 - 1 / groups) >= needed), None)
    if groups is None:
        return math.inf
    member = torch.arange(n) % groups
    without = [_unbiased_if_normal(x[member != g], y[member != g])[0] for g in range(groups)]
    return (groups - 1) * (sum(without) / groups - value)


def loss_of_fitting(dim_x: int, dim_y: int, rows: int) -> float:
    r"""What a normal copula of normal columns loses on new rows when its correlations are those of ``rows`` rows.

    The expected log-density of a new row falls by the Kullback-Leibler divergence of the fitted from the true normal
    distribution. With the maximum-likelihood covariance of D columns of m rows, which has a Wishart distribution, and
    the fitted mean, its expectation is

    .. math:: \tfrac12 \Bigl[ \frac{D (m + 1)}{m - D - 2} - D + \sum_{i=1}^{D} \psi\bigl(\tfrac{m - i}{2}\bigr)
              - D \log \tfrac{m}{2} \Bigr],

    and the log-ratio loses that of x and y together less that of each. Shrinkage loses less.

    Returns:
        nats, at least 0; infinite for m up to Dx + Dy + 2 rows.

    >>> round(loss_of_fitting(1, 1, 1000), 4), round(loss_of_fitting(64, 64, 8000), 2)
    (0.0005, 0.27)
    """

    def divergence(dim: int) -> float:
        halves = (rows - torch.arange(1, dim + 1, dtype=torch.float64)) / 2
        log_determinant = float(torch.digamma(halves).sum()) - dim * math.log(rows / 2)
        return 0.5 * (dim * (rows + 1) / (rows - dim - 2) - dim + log_determinant)

    if rows <= dim_x + dim_y + 2:
        return math.inf
    return max(0.0, divergence(dim_x + dim_y) - divergence(dim_x) - divergence(dim_y))


def simulated_loss(copula: EllipticalCopula, rows: int, generator: torch.Generator) -> float:
    """The loss of a fit to ``rows`` rows if this normal copula were right: mean plus standard deviation, in nats.

    Samples of the copula are fitted in the same way. The loss is the mean log-ratio of new rows by the copula, less
    that by its fit.
    """
    coupling = copula.coupling
    dim_x, dim_y = len(coupling.mean_x), len(coupling.mean_y)
    white = torch.eye(dim_x, dtype=torch.float64), torch.eye(dim_y, dtype=torch.float64)
    s, rank = coupling.correlations, len(coupling.correlations)
    zeros = torch.zeros(dim_x, dtype=torch.float64), torch.zeros(dim_y, dtype=torch.float64)
    true = EllipticalCopula(GaussianCoupling(*zeros, white[0][:, :rank], white[1][:, :rank], s), *white)
    losses = []
    for _ in range(_SIMULATIONS):
        x, y = (torch.randn(rows + _NEW_ROWS, dim, generator=generator, dtype=torch.float64) for dim in (dim_x, dim_y))
        y[:, :rank] = s * x[:, :rank] + (1 - s.square()).sqrt() * y[:, :rank]
        fitted = fit_normal(x[:rows], y[:rows])
        new = x[rows:], y[rows:]
        losses.append((true.pairs(*true.embed(*new)) - fitted.pairs(*fitted.embed(*new))).mean())
    found = torch.stack(losses)
    return float(found.mean().clamp_min(0.0) + found.std())


@dataclass(frozen=True)
class Correction:
    """A correction in nats.

    Attributes:
        value: to be added. stderr: its standard error.
        unexplained: how much more the closed form of a normal copula is than the held-out value, if the rows reject it.
    """

    value: float = 0.0
    stderr: float = 0.0
    unexplained: float = 0.0


def normal_correction(
    copula: EllipticalCopula,
    x: Tensor,
    y: Tensor,
    *,
    held_out: float,
    unshrunk: tuple[float, float],
    rows: int,
    generator: torch.Generator,
) -> Correction:
    """The finite-sample bias of a held-out normal copula.

    The bias-corrected value of a normal copula of all rows, less the held-out value; shrunk towards zero where it is no
    larger than its noise; and at most what sampling of a correct model explains, which is the loss of fitting and two
    standard errors. There is no correction if the copula is not normal: the mean log-ratio of a normal fit to normal
    scores depends on their correlations alone, so that a wrong model does not show in it; but the *calibrated*
    held-out value of the fit without shrinkage is then lower than the value less the loss of fitting.

    Args:
        copula: fitted to ``rows`` of the rows. x, y: its coordinates of all rows, ``(N, Dx)``, ``(N, Dy)``.
        held_out: the mean held-out log-ratio. unshrunk: the calibrated held-out value of a normal copula without
            shrinkage, and its standard error.
    """
    ranks = _rank(x), _rank(y)
    if rows <= sum(ranks) + 2:
        return Correction()
    value, variance = normal_information(x, y)
    loss = loss_of_fitting(*ranks, rows)
    calibrated, error = unshrunk
    if calibrated < value - loss - 2 * error - _TOLERATED:
        return Correction(unexplained=max(0.0, value - held_out))
    if not math.isfinite(variance):
        return Correction()
    if loss > _SMALL_LOSS:  # shrinkage changes it
        simulated = simulated_loss(copula, rows, generator)
        loss = min(loss, simulated) if loss > _LARGE_LOSS else max(loss, simulated)
    noise = 2 * math.sqrt(_unbiased_if_normal(x, y)[2])
    lost = min(max(value - held_out, -noise), loss + noise)
    trust = lost**2 / (lost**2 + variance) if lost else 0.0
    return Correction(trust * lost, trust * math.sqrt(variance))


def copula_correction(fitted: Fitted, held_out: float, sides: tuple[Side, Side], seed: int) -> Correction:
    """:func:`normal_correction` where the chosen candidate is a copula of continuous columns; otherwise 0."""
    log_ratio = fitted.anchors[0].log_ratio
    if sides[0].discrete or sides[1].discrete or not isinstance(log_ratio, CopulaRatio):
        return Correction()
    x, y = log_ratio.coordinates(*sides)
    plain = [Anchor(each, *each.copula.embed(x, y)) for each in _unshrunk(x, y, fitted.compared)]
    scored = score(fitted.compared, plain, [[] for _ in plain], np.random.default_rng(seed))
    local = calibrated(scored, networks=False).local
    unshrunk = float(local.mean()), float(local.std()) / math.sqrt(len(local))
    # The mean of the normal copula's log-ratio is its information for every distribution with these correlations. Where
    # the calibrated one is smaller, that is not a loss of fitting; where it is larger, calibration has corrected it.
    raw = _normal_mean(fitted, sides)
    held_out = max(raw, held_out) if math.isinf(log_ratio.copula.degrees) else raw
    generator = torch.Generator().manual_seed(seed)
    rows = len(fitted.compared[0].others)
    return normal_correction(
        log_ratio.copula, x, y, held_out=held_out, unshrunk=unshrunk, rows=rows, generator=generator
    )


def _normal_mean(fitted: Fitted, sides: tuple[Side, Side]) -> float:
    """The mean held-out log-ratio of the normal copulas with the correlations of the fitted ones."""
    total, count = 0.0, 0
    for fold, anchor in zip(fitted.folds, fitted.anchors, strict=True):
        if isinstance(anchor.log_ratio, CopulaRatio):
            normal = replace(anchor.log_ratio.copula, degrees=math.inf)
            x, y = anchor.log_ratio.coordinates(*(side[fold.held_out] for side in sides))
            total += float(normal.pairs(*normal.embed(x, y)).sum())
            count += len(fold.held_out)
    return total / count


def _unshrunk(x: Tensor, y: Tensor, folds: list[Fold]) -> list[CopulaRatio]:
    """Normal copulas of these coordinates with the sample covariance of the other rows of each fold."""
    found = []
    for fold in folds:
        rows = torch.from_numpy(fold.others)
        whitened = whiten(x[rows], y[rows], sample_covariance)
        copula = EllipticalCopula(whitened.canonical("none"), whitened.root_x, whitened.root_y)
        found.append(CopulaRatio(copula))
    return found
