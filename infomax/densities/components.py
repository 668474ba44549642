"""Gaussians fitted to the rows of all classes at once, with shrunk covariances."""

from __future__ import annotations

import torch
from torch import Tensor

#: Variance below which no direction of a component can collapse, as a share of a coordinate's own pooled variance; and
#: the variance given to coordinates without any, as a share of the others' and absolute.
_FLOOR, _RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 1e-6, 1e-4, 1e-12


def fit_components(new: Tensor, is_new: Tensor, old: Tensor, is_old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Shares of the rows ``(C,)``, means ``(C, D)`` and covariances ``(C, D, D)`` of C components.

    A covariance, in units of the coordinates' deviations pooled over components, is shrunk towards a multiple of the
    identity (:func:`infomax.statistics.ledoit_wolf`) and floored. A component without rows has the pooled mean, one
    with fewer than two rows the pooled variances. Without any rows these are 0 and 1, and all shares are equal.

    Args:
        new: rows, ``(C, M, D)``, or ``(1, M, D)`` for the same rows in all components. is_new: which of them belong
            to a component, ``(C, M)``, boolean.
        old: ``(C, K, D)``, and is_old: ``(C, K)``, likewise, without a gradient.
    """
    with torch.no_grad():  # about their own mean the old rows are constants; what depends on the new ones is a shift
        there = is_old.to(new.dtype)
        n_old = there.sum(1, keepdim=True)
        old = old.to(new.dtype)
        old_mean = (there[:, None] @ old)[:, 0] / n_old.clamp_min(1)
        old = (old - old_mean[:, None]) * there[..., None]
        scatter, squares = old.mT @ old, old.square()
    weights = is_new.to(new.dtype)
    counts = weights.sum(1, keepdim=True) + n_old
    n = counts.clamp_min(1)
    means = ((weights[:, None] @ new)[:, 0] + n_old * old_mean) / n
    x, shift = (new - means[:, None]) * weights[..., None], old_mean - means
    covariances = (x.mT @ x + scatter + n_old[..., None] * shift[:, :, None] * shift[:, None]) / n[..., None]
    total = counts.sum()
    share = torch.where(total > 0, counts / total.clamp_min(1), 1 / len(counts))
    pooled = (share * means).sum(0)
    variance = (share * ((means - pooled).square() + covariances.diagonal(dim1=1, dim2=2))).sum(0)
    variance = torch.where(total > 0, variance, 1.0)
    squared = variance + _RELATIVE_FLOOR * variance.mean() + _ABSOLUTE_FLOOR
    # Squared lengths of rows, in units of the pooled deviations.
    lengths = x.square() @ squared.reciprocal()
    old_lengths = squares @ squared.reciprocal() + (old @ (2 * shift / squared)[..., None])[..., 0]
    old_lengths = old_lengths + there * (shift.square() / squared).sum(1, keepdim=True)
    fourth = (lengths.square().sum(1) + old_lengths.square().sum(1)) / n[:, 0]
    kept, ridge = _shrinkage(covariances / squared.sqrt() / squared.sqrt()[:, None], fourth, counts[:, 0])
    shrunk = kept[:, None, None] * covariances + torch.diag_embed(ridge[:, None] * squared)
    return share[:, 0], torch.where(counts > 0, means, pooled), shrunk


def _shrinkage(sample: Tensor, fourth: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of the sample covariances ``(C, D, D)`` and of the identity in the shrunk ones, ``(C,)`` each.

    Args:
        fourth: mean squares of the rows' squared lengths, ``(C,)``. counts: rows of each, ``(C,)``.
    """
    variance, norm = sample.diagonal(dim1=1, dim2=2).mean(1), sample.square().sum((1, 2))
    spread = norm - sample.shape[1] * variance.square()
    varied = spread > torch.finfo(spread.dtype).tiny
    noise = ((fourth - norm) / counts.clamp_min(1) / torch.where(varied, spread, 1.0)).clamp(0, 1)
    intensity = torch.where(varied, noise, 1.0)
    return 1 - intensity, torch.where(counts < 2, 1.0, intensity * variance + _FLOOR)
