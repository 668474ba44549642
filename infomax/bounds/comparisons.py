r"""InfoNCE with chosen candidates: several positives, left-out and weighted negatives, hard and debiased ones.

For each row i with positives :math:`P_i` and negatives of weight :math:`w_{ij}`:

.. math:: v_i = p_i - \log\Big(\sum_{p \in P_i} e^{s_{ip}} + G_i\Big) + \log K_i, \quad
    K_i = |P_i| + \sum_j w_{ij}, \quad G_i = \sum_j w_{ij} e^{s_{ij}}

with :math:`p_i` the mean of the positives' scores ("out") or the log of the mean of their exponentials ("in"). With one
positive and all weights 1 this is InfoNCE. The same definition serves whole matrices and blocks of rows; where all that
is needed are log-sums, tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from infomax.scores.gradients import Tiling, log_sum_of_pairs, not_compiled, row_statistics
from infomax.scores.pairs import Pairs
from infomax.scores.precision import products, widened, without_autocast
from infomax.scores.statistics import LogSums
from infomax.scores.walk import LOG2_E

Placement = Literal["out", "in"]
#: Elements of the scores of a block of rows: on a CPU they stay in the cache. On other devices estimated.
_BLOCK_ELEMENTS, _DEVICE_ELEMENTS = 1 << 18, 1 << 26


@dataclass(frozen=True)
class Rule:
    """How positives and negatives make a value.

    Attributes:
        placement: where the mean over the positives of a row is, outside or inside of the logarithm.
        hardness: β of hard-negative weighting, at least 0.
        debias: τ, the share of the negatives that are positives in truth, in [0, 1).
    """

    placement: Placement = "out"
    hardness: float = 0.0
    debias: float = 0.0

    def __post_init__(self) -> None:
        if self.placement not in get_args(Placement):
            raise ValueError(f"placement must be one of {', '.join(get_args(Placement))}; got {self.placement!r}")
        if not 0 <= self.hardness < math.inf:
            raise ValueError(f"hardness must be at least 0; got {self.hardness}")
        if not 0 <= self.debias < 1:
            raise ValueError(f"debias must lie in [0, 1); got {self.debias}")

    @property
    def plain(self) -> bool:
        """Whether a row with one positive has the value of InfoNCE."""
        return not self.hardness and not self.debias

    @property
    def of_log_sums(self) -> bool:
        """Whether all that is needed of the negatives is the log-sum of a row with its positives."""
        return self.placement == "out" and self.plain


@dataclass(frozen=True, eq=False)
class Comparison:
    """The scores of N rows with K candidates, what each candidate is, and the weights of the rows.

    Attributes:
        scores: ``(N, K')``, or their factors ``(N, D)`` and ``(K', D)``.
        more: scores of each row with negatives of its own, ``(N, K − K')``, or ``None``.
        counts: those of ``pairs``.
        row_weights: ``(N,)``; constants, 0 for rows without positives.
        least: the smallest possible score, for debiased negatives.
        learned: the number of first candidates whose factors need gradients; ``None`` for all.
    """

    scores: Tensor | tuple[Tensor, Tensor]
    more: Tensor | None
    pairs: Pairs
    counts: tuple[Tensor, Tensor]
    row_weights: Tensor
    rule: Rule = Rule()
    least: Tensor | None = None
    tiling: Tiling | None = None
    learned: int | None = None

    def log_ratios(self) -> Tensor:
        """:math:`v_i`, ``(N,)``, in nats; 0 for rows without positives."""
        if isinstance(self.scores, Tensor):
            return log_ratios(joined(self.scores, self.more), self.pairs, self.counts, self.rule, self.least)
        return _in_blocks(self)

    def mean(self, total: Tensor | None = None, *, in_batch: Tensor | None = None) -> Tensor:
        """The weighted sum of the rows' values over ``total``, by default the sum of the weights: 0-d, in nats.

        ``in_batch``: log-sums of each row over the batch alone, ``(N,)``, if they are known.
        """
        weights = self.row_weights / (self.row_weights.sum() if total is None else total)
        if not self.rule.of_log_sums:
            values = self.log_ratios()
            return (values * weights.to(values.dtype)).sum()
        constant = (weights * (self.counts[0] + self.counts[1]).clamp_min(1).log()).sum()
        if isinstance(self.scores, Tensor):
            scores = joined(self.scores, self.more)
            values = _of_joint(scores, self.pairs, self.counts[0].to(scores.dtype))
            return (values * weights.to(values.dtype)).sum() + constant.to(values.dtype)
        a, b = self.scores
        wide_a, wide_b = widened(a), widened(b)
        with without_autocast(a):
            of_positives = self.pairs.mean_of_positives(wide_a, wide_b)
            own = (of_positives * weights.to(wide_a.dtype)).sum()
            if self.pairs.skipped:
                in_batch = of_positives
            joint = self._joint_in_tiles(weights, in_batch)
            return own - joint + constant.to(joint.dtype)

    def _joint_in_tiles(self, weights: Tensor, in_batch: Tensor | None) -> Tensor:
        """The weighted sum of the log-sums of positives and negatives, 0-d."""
        a, b = self.scores
        first, pairs = in_batch, self.pairs
        if self.more is not None:
            more = widened(self.more)
            of_more = log_sum(more + pairs.log_weights(more.dtype, slice(len(b), None)))
            first = of_more if first is None else torch.logaddexp(first, of_more)
        learned = self.learned
        if in_batch is not None:
            known = pairs.skipped or len(a)
            b, pairs, learned = b[known:], pairs.beyond(known), None if learned is None else learned - known
            if first is not None and not len(b):
                return (first * weights.to(first.dtype)).sum()
        return log_sum_of_pairs(a, b, first, weights, pairs=pairs, tiling=self.tiling or Tiling(), learned=learned)


def mean_of(found: Sequence[Comparison]) -> Tensor:
    """The mean of the comparisons' means, 0-d; those of rows and of columns of the same scores share one pass."""
    if len(found) == 1:
        return found[0].mean()
    rows, columns = found
    if (
        isinstance(rows.scores, Tensor)
        or isinstance(columns.scores, Tensor)
        or not rows.rule.of_log_sums
        or rows.pairs.positives is not None  # which the partner need not be
    ):
        return 0.5 * (rows.mean() + columns.mean())
    (a, _), (b, _) = rows.scores, columns.scores
    wanted = (LogSums(), LogSums(by_column=True))
    sums = row_statistics(a, b, wanted, rows.tiling or Tiling(), pairs=rows.pairs)
    if not rows.pairs.exclude_self:
        with without_autocast(a):
            partners = (widened(a) * widened(b)).sum(1)
        sums = [torch.logaddexp(each, partners) for each in sums]
    return 0.5 * (rows.mean(in_batch=sums[0]) + columns.mean(in_batch=sums[1]))


def log_ratios(
    scores: Tensor, pairs: Pairs, counts: tuple[Tensor, Tensor], rule: Rule, least: Tensor | None = None
) -> Tensor:
    """:math:`v_i` of each row of scores ``(N, K)``, ``(N,)``, in nats; see :class:`Comparison`."""
    scores = widened(scores)
    number, total = counts = counts[0].to(scores.dtype), counts[1].to(scores.dtype)
    values = _of_joint(scores, pairs, number) if rule.of_log_sums else _of_both(scores, pairs, counts, rule, least)
    return torch.where(number > 0, values + (number + total).clamp_min(1).log(), 0.0)


def _of_joint(scores: Tensor, pairs: Pairs, number: Tensor) -> Tensor:
    """The mean score of the positives less the log-sum of positives and negatives, ``(N,)``."""
    if not pairs.all_alike:
        scores = scores + pairs.log_weights(scores.dtype, of_positives=0.0)
    if pairs.own_partner_alone:
        return -F.cross_entropy(scores, pairs.partner_columns(), reduction="none")
    shares = pairs.positive_numbers(scores.dtype).div_(number.clamp_min(1)[:, None])
    return (torch.log_softmax(scores, 1) * shares).sum(1)


def _of_both(scores: Tensor, pairs: Pairs, counts: tuple[Tensor, Tensor], rule: Rule, least: Tensor | None) -> Tensor:
    """The same from the log-sums of positives and of negatives, with the options of the rule."""
    number, total = counts
    log_weights = pairs.log_weights(scores.dtype)
    of_negatives = log_sum(scores + log_weights)
    if rule.hardness:
        powers = (1 + rule.hardness, rule.hardness)
        up, down = (log_sum(torch.add(log_weights, scores, alpha=power)) for power in powers)
        log_total = total.clamp_min(torch.finfo(total.dtype).tiny).log()
        of_negatives = torch.where(total > 0, log_total + up - down, of_negatives)
    if pairs.own_partner_alone:
        own = of_positives = pairs.partners(scores)
    else:
        of_positives = log_sum(scores + pairs.log_positives(scores.dtype))
        own = (scores * pairs.positive()).sum(1) / number.clamp_min(1) if rule.placement == "out" else of_positives
    log_mean = of_positives - number.clamp_min(1).log()
    if rule.debias:
        of_negatives = _debiased(of_negatives, log_mean, total, rule.debias, least)
    return (own if rule.placement == "out" else log_mean) - torch.logaddexp(of_positives, of_negatives)


def log_sum(values: Tensor) -> Tensor:
    """``torch.logsumexp(values, 1)`` in powers of two: exp is slow for the lowest numbers."""
    top = values.detach().amax(1, keepdim=True)
    return ((values - top) * LOG2_E).exp2().sum(1).log2() / LOG2_E + top[:, 0]


def _debiased(of_negatives: Tensor, mean_positive: Tensor, total: Tensor, share: float, least: Tensor | None) -> Tensor:
    r""":math:`\log \max((G_i - \tau n_i e^{p_i}) / (1 - \tau), n_i e^{\text{least}})`, ``(N,)``, with the total n_i."""
    tiny = torch.finfo(total.dtype).tiny
    log_total = total.clamp_min(tiny).log()
    excess = mean_positive + log_total + math.log(share) - of_negatives  # of what is subtracted, over G
    below = excess.clamp_max(-torch.finfo(excess.dtype).eps)
    log_rest = of_negatives + torch.log(-torch.expm1(below)) - math.log1p(-share)
    floor = log_total + (0.0 if least is None else least)
    return torch.where((excess < 0) & (log_rest > floor), log_rest, floor)


def joined(scores: Tensor, more: Tensor | None) -> Tensor:
    """The scores ``(N, K)`` in float32 or wider, with those of each row's own negatives."""
    return widened(scores) if more is None else torch.cat([widened(scores), widened(more)], 1)


def block_rows(device: torch.device, columns: int) -> int:
    """The number of rows of a block of whole rows."""
    return max(1, (_BLOCK_ELEMENTS if device.type == "cpu" else _DEVICE_ELEMENTS) // max(1, columns))


def _block(a: Tensor, b: Tensor, more: Tensor | None, least: Tensor | None, of_rows: Comparison) -> Tensor:
    """The values of some rows, from factors; all tensors with gradients are arguments."""
    return log_ratios(joined(products(a, b), more), of_rows.pairs, of_rows.counts, of_rows.rule, least)


@not_compiled
def _in_blocks(comparison: Comparison) -> Tensor:
    """The values of all rows, from factors; scores are computed for a block of rows at a time, and again backwards."""
    a, b = comparison.scores
    if not len(a):  # a rank without rows
        return products(a, b).sum(1)
    step = block_rows(a.device, comparison.pairs.shape[1])
    blocks = []
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        more = None if comparison.more is None else comparison.more[rows]
        counts = comparison.counts[0][rows], comparison.counts[1][rows]
        of_rows = replace(comparison, pairs=comparison.pairs.of(rows), counts=counts)
        arguments = a[rows], b, more, comparison.least, of_rows
        blocks.append(checkpoint(_block, *arguments, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(blocks)
