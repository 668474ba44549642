"""Gaussians fitted to the rows of all classes at once, with shrunk covariances and their gradient in closed form.

Rows are remembered or new; only new ones have a gradient. All that it needs of the remembered ones are a few sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

#: Variance below which no direction of a component can collapse, as a share of a coordinate's own pooled variance; and
#: the variance given to coordinates without any, as a share of the others' and absolute.
_FLOOR, _RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 1e-6, 1e-4, 1e-12
#: Dimension from which half a symmetric product is faster than all of it.
_WIDE = 96
#: Numbers, of rows less their mean, that are at hand at a time: they and their squares should stay in a core's cache.
_AT_HAND = 100_000


@dataclass(frozen=True)
class Moments:
    """Of rows in P blocks: ``counts (C, P)``, ``means (C, P, D)`` and ``scatter (C, D, D)``.

    The scatter is the sum over all blocks of the rows' outer products about the mean of their block.
    """

    counts: Tensor
    means: Tensor
    scatter: Tensor


def block_moments(rows: Tensor, is_row: Tensor) -> Moments:
    """Of one block: rows ``(C, M, D)``, and which of them there are, ``(C, M)``."""
    weights = is_row.to(rows)
    counts = weights.sum(1, keepdim=True)
    means = torch.bmm(weights[:, None], rows) / counts[..., None].clamp_min(1)
    return Moments(counts, means, _gram((rows - means).mul_(weights[..., None])))


def fit_components(
    new: Tensor, is_new: Tensor, old: Tensor, is_old: Tensor, known: Moments | None = None, *, groups: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Shares of the rows ``(C,)``, means ``(C, D)`` and covariances ``(C, D, D)`` of C components.

    A covariance, in units of the coordinates' deviations pooled over components, is shrunk towards a multiple of the
    identity (:func:`infomax.statistics.ledoit_wolf`) and floored. A component without rows takes the pooled mean, one
    with fewer than two the pooled variances; where there are no rows at all these are 0 and 1, and all shares alike.

    Args:
        new: rows of each component, ``(C, M, D)``. is_new: which of them there are, ``(C, M)``, boolean.
        old: ``(C, K, D)``, and is_old: ``(C, K)``, the same; no gradient.
        known: moments of the old rows, which are then not computed.
        groups: the components are those of so many mixtures, one mixture's after the other's; nothing is pooled over
            several, and what each gets is what it would get alone.

    Raises:
        RuntimeError: for a gradient that is to be differentiated again.
    """
    fitted: tuple[Tensor, Tensor, Tensor] = _Fit.apply(new, is_new, (old, is_old, known), groups)  # type: ignore[no-untyped-call]
    return fitted


@dataclass
class _Shrinkage:
    r"""Sample covariances ``(C, D, D)``, shrunk by intensities that are consistent estimates of the best.

    The shrunk ones are ``kept * sample + ridge * identity``.

    Args:
        sample: maximum-likelihood covariances; zero where there are fewer than two rows. fourth: mean squares of their
            rows' squared lengths, ``(C,)``. counts: rows of each, ``(C,)``.
    """

    sample: Tensor
    fourth: Tensor
    counts: Tensor
    variance: Tensor = field(init=False)
    #: Sums of squares of each row of a covariance, ``(C, D)``.
    squares: Tensor = field(init=False)
    spread: Tensor = field(init=False)
    intensity: Tensor = field(init=False)
    kept: Tensor = field(init=False)
    ridge: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.variance = self.sample.diagonal(dim1=1, dim2=2).mean(1)
        self.squares = self.sample.square().sum(2)
        norm = self.squares.sum(1)
        self.spread = norm - self.sample.shape[1] * self.variance.square()
        intensity = ((self.fourth - norm) / self.counts.clamp_min(1) / self.spread).clamp(0, 1)
        self.intensity = torch.where(self.spread > torch.finfo(norm.dtype).tiny, intensity, 1.0)
        self.kept = 1 - self.intensity
        self.ridge = torch.where(self.counts < 2, 1.0, self.intensity * self.variance + _FLOOR)

    def gradients(self, trace: Tensor, product: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Through the intensity and the variance, from that in the shrunk covariances.

        Args:
            trace: its trace, and product: its inner product with the sample covariances, ``(C,)`` each.

        Returns:
            What to add to the sample covariances' gradient as multiples of themselves and of the identity, and the
            gradient in the fourth moments, ``(C,)`` each.
        """
        inside = (self.intensity > 0) & (self.intensity < 1)  # where it follows the data
        d_noise = torch.where(inside, (trace * self.variance - product) / self.spread, 0.0)
        d_spread, d_fourth = -d_noise * self.intensity, d_noise / self.counts.clamp_min(1)
        d_variance = self.intensity * trace / self.sample.shape[1] - 2 * self.variance * d_spread
        return 2 * (d_spread - d_fourth), d_variance, d_fourth


class _Fit(torch.autograd.Function):
    """``x``: rows less their component's mean, zero where there is none. ``lengths``: squared, in units of scale.

    What is pooled has an axis of groups, ``(G, C, D)``; all else has one of all components.
    """

    @staticmethod
    def forward(
        ctx: Any, new: Tensor, is_new: Tensor, remembered: tuple[Tensor, Tensor, Moments | None], groups: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        old, is_old, known = remembered
        if known is None:  # old rows are rows like the new ones, but for the gradient
            x, is_x = torch.cat([new, old.to(new)], 1), torch.cat([is_new, is_old], 1)
            old, is_old = old[:, :0], is_old[:, :0]
        else:
            x, is_x = new.clone(), is_new
        weights = is_x.to(new)
        counts, sums = weights.sum(1), torch.bmm(weights[:, None], x)[:, 0]
        if known is not None:
            counts += known.counts.sum(1)
            sums += torch.bmm(known.counts[:, None], known.means)[:, 0]
        n = counts.clamp_min(1)
        means = sums / n[:, None]
        x.sub_(means[:, None]).mul_(weights[..., None])
        covariance = _gram(x)
        if known is not None:
            away = known.means - means[:, None]
            covariance.baddbmm_((away * known.counts[..., None]).mT, away).add_(known.scatter)
        covariance.div_(n[:, None, None])
        grouped = groups, -1, means.shape[1]
        share = counts.view(groups, -1)
        total = share.sum(1, keepdim=True)
        share = share / total.clamp_min(1)
        pooled = torch.bmm(share[:, None], means.view(grouped))
        offsets = means.view(grouped) - pooled
        diagonals = covariance.diagonal(dim1=1, dim2=2).reshape(grouped)
        variance = torch.bmm(share[:, None], offsets.square().add_(diagonals))[:, 0]
        if not bool(total.all()):  # mixtures without any row
            variance = torch.where(total > 0, variance, 1.0)
            share = torch.where(total > 0, share, 1 / share.shape[1])
        scale = (variance + _RELATIVE_FLOOR * variance.mean(1, keepdim=True)).add_(_ABSOLUTE_FLOOR).sqrt_()
        scale = scale[:, None].expand_as(offsets).reshape(means.shape)
        blocks = _blocks(x, is_x, old, is_old, means)
        lengths, fourth, by_length = _by_lengths(blocks, scale, ctx.needs_input_grad[0])
        covariance.div_(scale[..., None]).div_(scale[:, None])
        shrinkage = _Shrinkage(covariance, fourth / n, counts)
        fitted = (covariance * (shrinkage.kept[:, None] * scale)[..., None]).mul_(scale[:, None])
        fitted.diagonal(dim1=1, dim2=2).addcmul_(shrinkage.ridge[:, None], scale.square())
        if ctx.needs_input_grad[0]:
            own = x[:, : new.shape[1]].clone(), lengths[:, : new.shape[1]], is_new
            ctx.save_for_backward(*own, scale, counts, n, total, share, offsets, *by_length)
            ctx.shrinkage = shrinkage
        share = share.reshape(-1)
        ctx.mark_non_differentiable(share)
        if not bool(counts.all()):
            means = torch.where(counts[:, None] > 0, means, pooled.expand_as(offsets).reshape(means.shape))
        return share, means, fitted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        refuse_gradients_of_gradients()
        _, d_means, d_fitted = gradients
        x, lengths, is_new, scale, counts, n, total, share, offsets, sums_x, sums_squares = ctx.saved_tensors
        shrinkage, n, total, grouped = ctx.shrinkage, n[:, None], total.clamp_min(1), offsets.shape
        squared, sample, kept = scale.square(), shrinkage.sample, shrinkage.kept[:, None]
        d_shrunk = (d_fitted + d_fitted.mT).mul_((0.5 * scale)[..., None]).mul_(scale[:, None])
        diagonal, variances = (each.diagonal(dim1=1, dim2=2) for each in (d_shrunk, sample))
        product = (d_shrunk * sample).sum((1, 2))
        by_sample, by_identity, d_fourth = (d[:, None] for d in shrinkage.gradients(diagonal.sum(1), product))
        by_length = 4 * d_fourth / n
        # Of the scale: through all rows' units, for which sums over them are enough.
        half = shrinkage.ridge[:, None] * diagonal - by_identity * variances - by_sample * shrinkage.squares
        half = half.div_(squared).sub_(0.5 * by_length * sums_squares / squared.square()).view(grouped).sum(1)
        d_variance = (half + _RELATIVE_FLOOR * half.mean(1, keepdim=True))[:, None]
        # Of the rows: through covariances, lengths and variances; of the means: directly, through the pooled one and
        # the variances, and because rows are taken less their mean.
        d_sample = d_shrunk.mul_(kept[..., None]).addcmul_(by_sample[..., None], sample)
        d_rows = torch.bmm(x / scale[:, None], d_sample).mul_((2 / n / scale)[:, None])
        by_row = (by_length * lengths + 2 / n * by_identity)[..., None] / squared[:, None]
        by_row += (2 / total[..., None] * d_variance).expand(grouped).reshape(scale.shape)[:, None]
        d_rows.addcmul_(by_row, x)
        empty = counts[:, None] == 0
        d_pooled = torch.where(empty, d_means, 0.0).view(grouped).sum(1, keepdim=True)
        d_through = share[..., None] * (d_pooled + 2 * d_variance * offsets)
        d_means = torch.where(empty, 0.0, d_means) + d_through.view(scale.shape)
        d_rows += ((d_means - by_length * sums_x / squared) / n)[:, None]
        return d_rows * is_new[..., None], None, None, None


def _blocks(x: Tensor, is_x: Tensor, old: Tensor, is_old: Tensor, means: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows less their mean, a few at a time, and which of them count: those of ``x``, which are that already, first."""
    at_once = max(_AT_HAND // max(means.numel(), 1), 1)
    for start in range(0, max(x.shape[1], 1), at_once):
        yield x[:, start : start + at_once], is_x[:, start : start + at_once]
    for start in range(0, old.shape[1], at_once):
        rows = old[:, start : start + at_once].to(means.dtype, copy=True)
        yield rows.sub_(means[:, None]), is_old[:, start : start + at_once]


def _by_lengths(
    blocks: Iterable[tuple[Tensor, Tensor]], scale: Tensor, with_sums: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Squared lengths of rows ``(C, rows)`` in units of ``scale (C, D)``, and sums over the rows.

    The sums are those of the lengths' squares, ``(C,)``, and of rows and of squared coordinates, each times its row's
    length, ``(C, D)``: these are zero if not asked for.
    """
    precision, parts = scale.square().reciprocal()[..., None], []
    sums = torch.zeros_like(scale), torch.zeros_like(scale)
    for rows, is_row in blocks:
        squares = rows.square()
        parts.append(torch.bmm(squares, precision)[..., 0].mul_(is_row))
        if with_sums:
            sums[0].add_(torch.bmm(parts[-1][:, None], rows)[:, 0])
            sums[1].add_(torch.bmm(parts[-1][:, None], squares)[:, 0])
    lengths = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return lengths, lengths.square().sum(1), sums


def refuse_gradients_of_gradients() -> None:
    """To be called where a gradient in closed form is computed, which autograd would take for a constant."""
    if torch.is_grad_enabled():
        raise RuntimeError("gradients of gradients are not available for mixtures that are fitted to the batch")


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
