r"""Means over joint pairs and over chosen pairs of independent samples, each with its weight.

Of N rows, row i has the score :math:`s_{ii}` of its own pair and scores :math:`s_{ij}` with the other ys of the batch
and with further negatives. With weights of rows :math:`r_i` and of pairs :math:`w_{ij}`:

.. math:: E_p[g] = \frac{\sum_i r_i \, g(s_{ii})}{\sum_i r_i}, \quad
    E_q[g] = \frac{\sum_i r_i \sum_{j \ne i} w_{ij} \, g(s_{ij})}{\sum_i r_i \sum_{j \ne i} w_{ij}}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from infomax.bounds.comparisons import block_rows, joined, log_sum
from infomax.scores.gradients import Tiling, fused_sum, not_compiled
from infomax.scores.pairs import Pairs, lowest
from infomax.scores.precision import products, widened, without_autocast


@dataclass(frozen=True, eq=False)
class ChosenScores:
    """The scores of N joint pairs, and of the pairs of independent samples that count, with their weights.

    Attributes:
        scores: ``(N, K')``, or their factors ``(N, D)`` and ``(K', D)``.
        more: scores of each row with negatives of its own, ``(N, K − K')``, or ``None``.
        pairs: which of the N K pairs count, and how often. counts: those of ``pairs``.
        row_weights: ``(N,)``, constants. alike: whether all of them are 1.
        tiling: options of tiles.
        learned: the number of first candidates whose factors need gradients; ``None`` for all.
    """

    scores: Tensor | tuple[Tensor, Tensor]
    more: Tensor | None
    pairs: Pairs
    counts: tuple[Tensor, Tensor]
    row_weights: Tensor
    alike: bool = False
    tiling: Tiling = field(default_factory=Tiling)
    learned: int | None = None

    def __len__(self) -> int:
        return self.pairs.shape[0]

    def diagonal(self) -> Tensor:
        """The scores of the joint pairs, ``(N,)``, in float32 or wider."""
        if isinstance(self.scores, Tensor):
            return self.pairs.partners(widened(self.scores))
        a, b = (widened(side) for side in self.scores)
        return (a * b[self.pairs.start : self.pairs.start + len(a)]).sum(1)

    def total(self, of: Literal[0, 1]) -> Tensor:
        """The sum of all weights: 0 for positives, 1 for pairs of independent samples."""
        return (self.row_weights * self.counts[of]).sum()

    def mean(self, values: Tensor) -> Tensor:
        """The weighted mean of a number of each joint pair, 0-d."""
        weights = self.row_weights.to(values.dtype)
        return (values * weights).sum() / weights.sum()

    def log_mean_exp(self, limit: float = math.inf) -> Tensor:
        """The log of the weighted mean of the exponentials of scores, clipped to ±limit, 0-d."""
        if self.alike and self.more is None and not isinstance(self.scores, Tensor):
            total = self._in_tiles("all", without=self.pairs.start, limit=limit)
            return total - self.total(1).log().to(total.dtype)
        sums = self._of_rows(_log_sums, limit)
        weights = self.row_weights.to(sums.dtype)
        logs = weights.log().clamp_min(lowest(sums.dtype))
        return log_sum((sums + logs)[None])[0] - self.total(1).log().to(sums.dtype)

    def log_mean_exp_joint(self, factor: float) -> Tensor:
        """The log of the weighted mean of the exponentials of factor × scores over joint pairs, 0-d."""
        values = factor * self.diagonal()
        weights = self.row_weights.to(values.dtype)
        return log_sum((values + weights.log().clamp_min(lowest(values.dtype)))[None])[0] - weights.sum().log()

    def mean_softplus(self) -> Tensor:
        """The weighted mean of log(1 + e^s) over pairs of independent samples, 0-d."""
        if self.more is None and not isinstance(self.scores, Tensor):
            value = self._in_tiles("softplus", without=self.pairs.start)
            return value / self.total(1).to(value.dtype)
        sums = self._of_rows(_softplus_sums)
        return (sums * self.row_weights.to(sums.dtype)).sum() / self.total(1).to(sums.dtype)

    def sigmoid_loss(self) -> Tensor:
        """The mean over rows of the sums of log(1 + e^-s) over positives and of log(1 + e^s) over negatives, 0-d."""
        if self.more is not None or isinstance(self.scores, Tensor) or self.pairs.skipped:
            return self.mean(self._of_rows(_sigmoid_losses))
        a, b = (widened(side) for side in self.scores)
        everything = self._in_tiles("softplus", without=None)
        weights = (self.row_weights * self.counts[0]).to(everything.dtype)
        with without_autocast(a):
            of_positives = (self.pairs.mean_of_positives(a, b) * weights).sum()
        return (everything - of_positives) / self.row_weights.sum().to(everything.dtype)

    def _in_tiles(self, kind: Literal["all", "softplus"], *, without: int | None, limit: float = math.inf) -> Tensor:
        """A sum over the pairs that count, 0-d, from factors; see :func:`infomax.scores.gradients.fused_sum`."""
        a, b = self.scores
        first = self.pairs.skipped
        learned = None if self.learned is None else self.learned - first
        weights = None if kind == "all" else self.row_weights.to(torch.promote_types(a.dtype, torch.float32))
        return fused_sum(
            a,
            b[first:],
            kind,
            self.tiling,
            limit=limit,
            pairs=self.pairs.beyond(first),
            row_weights=weights,
            without=None if without is None else without - first,
            learned=learned,
        )

    def __mul__(self, factor: float) -> ChosenScores:
        return self._map(lambda scores: scores * factor, lambda a, b: (a * factor, b))

    __rmul__ = __mul__

    def __add__(self, offset: Tensor | float) -> ChosenScores:
        """Add a number, or one for each row, ``(N, 1)``."""

        def of_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            column = torch.as_tensor(offset, dtype=a.dtype, device=a.device).expand(len(a), 1)
            return torch.cat([a, column], 1), torch.cat([b, b.new_ones(len(b), 1)], 1)

        return self._map(lambda scores: scores + offset, of_factors)

    def minus_columns(self, offsets: Tensor, of_more: Tensor | None) -> ChosenScores:
        """Subtract a number of each candidate, ``(K',)``, and of the negatives of each row, ``(N, K − K')``."""
        scores = self.scores
        if isinstance(scores, Tensor):
            scores = widened(scores) - offsets
        else:
            a, b = (widened(side) for side in scores)
            scores = torch.cat([a, a.new_ones(len(a), 1)], 1), torch.cat([b, -offsets.to(b.dtype)[:, None]], 1)
        more = self.more
        if more is not None and of_more is not None:
            more = widened(more) - of_more
        return replace(self, scores=scores, more=more, learned=None)

    def _map(
        self,
        of_matrix: Callable[[Tensor], Tensor],
        of_factors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> ChosenScores:
        if isinstance(self.scores, Tensor):
            scores: Tensor | tuple[Tensor, Tensor] = of_matrix(widened(self.scores))
        else:
            scores = of_factors(*(widened(side) for side in self.scores))
        return replace(self, scores=scores, more=None if self.more is None else of_matrix(widened(self.more)))

    @not_compiled
    def _of_rows(self, function: Callable[..., Tensor], *arguments: float) -> Tensor:
        """A number of each row, ``(N,)``; from factors, scores are computed for a block of rows at a time, twice."""
        if isinstance(self.scores, Tensor):
            return function(joined(self.scores, self.more), self.pairs, *arguments)
        a, b = self.scores
        step = block_rows(a.device, self.pairs.shape[1])
        blocks = []
        for start in range(0, len(a), step):
            rows = slice(start, min(start + step, len(a)))
            more = None if self.more is None else self.more[rows]
            inputs = function, a[rows], b, more, self.pairs.of(rows), *arguments
            blocks.append(checkpoint(_block, *inputs, use_reentrant=False, preserve_rng_state=False))
        return torch.cat(blocks)


def _block(function: Callable[..., Tensor], a: Tensor, b: Tensor, more: Tensor | None, *arguments: Any) -> Tensor:
    return function(joined(products(a, b), more), *arguments)


def _log_sums(scores: Tensor, pairs: Pairs, limit: float) -> Tensor:
    if limit < math.inf:
        scores = scores.clamp(-limit, limit)
    return log_sum(scores + pairs.log_weights(scores.dtype))


def _softplus_sums(scores: Tensor, pairs: Pairs) -> Tensor:
    return (F.softplus(scores) * pairs.log_weights(scores.dtype).exp_()).sum(1)


def _sigmoid_losses(scores: Tensor, pairs: Pairs) -> Tensor:
    positive = pairs.positive_numbers(scores.dtype)
    weights = pairs.log_weights(scores.dtype).exp_().add_(positive)
    return (F.softplus(scores) * weights - scores * positive).sum(1)
