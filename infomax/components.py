"""Gaussians fitted to the rows of all classes at once, with shrunk covariances and their gradient in closed form.

Rows are remembered or new; only new ones have a gradient. All that it needs of the remembered ones are a few sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

#: Variance below which no direction of a component can collapse, as a share of a coordinate's own pooled variance; and
#: the variance given to coordinates without any, as a share of the others' and absolute.
_FLOOR, _RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 1e-6, 1e-4, 1e-12
#: Dimension from which half a symmetric product is faster than all of it.
_WIDE = 96
#: Rows whose squares are at hand at a time.
_ROWS = 512


def fit_components(new: Tensor, is_new: Tensor, old: Tensor, is_old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Shares of the rows ``(C,)``, means ``(C, D)`` and Cholesky factors of covariances ``(C, D, D)`` of C components.

    A covariance, in units of the coordinates' deviations pooled over components, is shrunk towards a multiple of the
    identity (:func:`infomax.gaussian.ledoit_wolf`) and floored. A component without rows takes the pooled mean, one
    with fewer than two the pooled variances; where there are no rows at all these are 0 and 1, and all shares alike.

    Args:
        new: rows of each component, ``(C, M, D)``. is_new: which of them there are, ``(C, M)``, boolean.
        old: ``(C, K, D)``, and is_old: ``(C, K)``, the same; no gradient.

    Raises:
        RuntimeError: for a gradient that is to be differentiated again.
    """
    result: tuple[Tensor, Tensor, Tensor] = _Fit.apply(new, is_new, old, is_old)  # type: ignore[no-untyped-call]
    return result


@dataclass
class _Shrinkage:
    r"""Sample covariances ``(C, D, D)``, shrunk by intensities that are consistent estimates of the best.

    Args:
        sample: maximum-likelihood covariances. n: rows of each, ``(C,)``. fourth: mean squares of their rows' squared
            lengths, ``(C,)``.
    """

    sample: Tensor
    fourth: Tensor
    n: Tensor
    variance: Tensor = field(init=False)
    spread: Tensor = field(init=False)
    intensity: Tensor = field(init=False)
    #: Where the intensity follows the data, being neither 0 nor 1.
    inside: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.variance = self.sample.diagonal(dim1=1, dim2=2).mean(1)
        norm = self.sample.square().sum((1, 2))
        self.spread = norm - self.sample.shape[1] * self.variance.square()
        noise = (self.fourth - norm) / self.n
        self.inside = (noise > 0) & (noise < self.spread) & (self.spread > torch.finfo(norm.dtype).tiny)
        constant = 1.0 * ((noise > 0) | (self.spread <= torch.finfo(norm.dtype).tiny))
        self.intensity = torch.where(self.inside, noise / self.spread, constant)

    def shrunk(self) -> Tensor:
        """Covariances, floored."""
        shrunk = self.sample * (1 - self.intensity)[:, None, None]
        shrunk.diagonal(dim1=1, dim2=2).add_((self.intensity * self.variance + _FLOOR)[:, None])
        return shrunk

    def gradients(self, d_shrunk: Tensor) -> tuple[Tensor, Tensor]:
        """In the sample covariances and in the fourth moments, from that in the shrunk ones."""
        trace = d_shrunk.diagonal(dim1=1, dim2=2).sum(1)
        d_intensity = trace * self.variance - (d_shrunk * self.sample).sum((1, 2))
        d_noise = torch.where(self.inside, d_intensity / self.spread, 0.0)
        d_spread = -d_noise * self.intensity
        d_fourth = d_noise / self.n
        dim = self.sample.shape[1]
        d_variance = self.intensity * trace - 2 * dim * self.variance * d_spread
        d_sample = d_shrunk * (1 - self.intensity)[:, None, None]
        d_sample += (2 * (d_spread - d_fourth))[:, None, None] * self.sample
        d_sample.diagonal(dim1=1, dim2=2).add_((d_variance / dim)[:, None])
        return d_sample, d_fourth


class _Fit(torch.autograd.Function):
    """``x``: rows less their component's mean, zero where there is none. ``lengths``: squared, in units of scale."""

    @staticmethod
    def forward(ctx: Any, new: Tensor, is_new: Tensor, old: Tensor, is_old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = torch.cat([is_old, is_new], 1).to(new)
        counts = weights.sum(1)
        total, n = counts.sum().clamp_min(1), counts.clamp_min(1)
        share = counts / total
        x = new.new_empty(len(new), weights.shape[1], new.shape[2])
        x[:, : old.shape[1]], x[:, old.shape[1] :] = old, new
        means = torch.bmm(weights[:, None], x)[:, 0] / n[:, None]
        x.sub_(means[:, None]).mul_(weights[..., None])
        covariance = _gram(x).div_(n[:, None, None])
        pooled = share @ means
        offsets = means - pooled
        variance = share @ (covariance.diagonal(dim1=1, dim2=2) + offsets.square())
        if not bool(counts.any()):
            variance, share = torch.ones_like(variance), torch.full_like(share, 1 / len(share))
        scale = (variance + _RELATIVE_FLOOR * variance.mean() + _ABSOLUTE_FLOOR).sqrt()
        precision = scale.square().reciprocal()
        sums_squares, blocks = torch.zeros_like(means), []
        for start in range(0, max(x.shape[1], 1), _ROWS):
            squares = x[:, start : start + _ROWS].square()
            blocks.append(squares @ precision)
            sums_squares += torch.bmm(blocks[-1][:, None], squares)[:, 0]
        lengths = torch.cat(blocks, 1)
        shrinkage = _Shrinkage(covariance.div_(scale).div_(scale[:, None]), lengths.square().sum(1) / n, n)
        few = (counts < 2)[:, None, None]
        identity = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        factors = torch.linalg.cholesky(torch.where(few, identity, shrinkage.shrunk()))
        if ctx.needs_input_grad[0]:
            sums = torch.bmm(lengths[:, None], x)[:, 0], sums_squares
            known = (x[:, old.shape[1] :].clone(), lengths[:, old.shape[1] :].clone(), is_new, factors, scale, counts)
            ctx.save_for_backward(*known, share, offsets, *sums)
            ctx.shrinkage = shrinkage
        ctx.mark_non_differentiable(share)
        return share, torch.where(counts[:, None] > 0, means, pooled), scale[:, None] * factors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("gradients of gradients are not available for GaussianMixtureMemory")
        _, d_means, d_cholesky = gradients
        x, lengths, is_new, factors, scale, counts, share, offsets, sums_x, sums_squares = ctx.saved_tensors
        total, n = counts.sum().clamp_min(1), counts.clamp_min(1)[:, None]
        squared = scale.square()
        few = (counts < 2)[:, None, None]
        d_correlations = torch.where(few, 0.0, _through_cholesky(factors, scale[:, None] * d_cholesky))
        d_sample, d_fourth = ctx.shrinkage.gradients(d_correlations)
        by_length = 4 * d_fourth[:, None] / n
        # Of the scale: directly, and through all rows' units, for which sums over them are enough.
        d_scale = (d_cholesky * factors).sum((0, 2))
        through_units = 2 * (d_sample * ctx.shrinkage.sample).sum(2) + by_length * sums_squares / squared
        half = 0.5 * (d_scale - through_units.sum(0) / scale) / scale
        d_variance = half + _RELATIVE_FLOOR * half.mean()
        # Of the rows: through covariances, lengths and variances; of the means: directly, through the pooled one and
        # the variances, and because rows are taken less their mean.
        d_sample.div_(scale).div_(scale[:, None]).mul_(2 / n[..., None])
        d_sample.diagonal(dim1=1, dim2=2).add_(2 / total * d_variance)
        d_rows = torch.bmm(x, d_sample) + (by_length * lengths)[..., None] * x / squared
        empty = counts[:, None] == 0
        d_pooled = torch.where(empty, d_means, 0.0).sum(0)
        d_means = torch.where(empty, 0.0, d_means) + share[:, None] * (d_pooled + 2 * d_variance * offsets)
        d_rows += ((d_means - by_length * sums_x / squared) / n)[:, None]
        return d_rows * is_new[..., None], None, None, None


def _gram(x: Tensor) -> Tensor:
    """``x.mT @ x``; of wide matrices only the lower blocks are computed."""
    width = x.shape[2]
    if width < _WIDE:
        return torch.bmm(x.mT, x)
    half = (width + 1) // 2
    gram = x.new_empty(len(x), width, width)
    gram[:, :half, :half] = _gram(x[:, :, :half])
    gram[:, half:, half:] = _gram(x[:, :, half:])
    gram[:, half:, :half] = torch.bmm(x[:, :, half:].mT, x[:, :, :half])
    gram[:, :half, half:] = gram[:, half:, :half].mT
    return gram


def _through_cholesky(factors: Tensor, gradient: Tensor) -> Tensor:
    """Gradient in symmetric matrices, from that in their Cholesky factors (Murray 2016, arXiv 1602.07527)."""
    inner = (factors.mT @ gradient).tril_()
    inner.diagonal(dim1=1, dim2=2).mul_(0.5)
    inner = 0.5 * (inner + inner.mT)
    left = torch.linalg.solve_triangular(factors.mT, inner, upper=True)
    found: Tensor = torch.linalg.solve_triangular(factors, left, upper=False, left=False)
    return found
