"""The pairwise sigmoid loss of SigLIP."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import Bound, register
from infomax.bounds.candidates import ceiling
from infomax.bounds.chosen import ChosenScores
from infomax.bounds.comparisons import Comparison
from infomax.bounds.contrastive import Discriminative
from infomax.bounds.objectives import Scores
from infomax.bounds.options import checked
from infomax.bounds.product_pairs import choose
from infomax.critics import networks as critics
from infomax.critics.temperature import TEMPERATURES
from infomax.critics.tempered import with_temperature
from infomax.scores.gradients import Tiling
from infomax.scores.statistics import LogSums, Statistic

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from infomax.bounds.options import CeilingOptions, PairOptions


@register("siglip", "sigmoid")
class SigLIP(Discriminative):
    r"""Trained by the pairwise sigmoid loss, evaluated as InfoNCE: no softmax over the batch, and a lower bound.

    .. math:: L = \frac1N \sum_i \Big[\log(1 + e^{-f_{ii} - b}) + \sum_{j \ne i} \log(1 + e^{f_{ij} + b})\Big]

    ``loss`` is L, which is not an amount of information: each of the N² pairs is classified by itself. It is minimal if
    f + b is the log-ratio less log(N − 1), the log-odds of a pair in a batch. The value is
    :class:`InfoNCE <infomax.InfoNCE>` of the same scores: a lower bound in expectation for every critic and every N,
    with the ceiling log N; b does not matter to it. In training mode its gradient is that of −L.

    Critics whose scores are inner products are computed in tiles in O(N) memory, and with
    :class:`~infomax.GlobalBatch` no rank holds more than its own rows of a tile.

    Args:
        x_dim, y_dim: dimensions of x and y. critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        temperature: divisor of the scores: a positive number, or "learned"; ``None`` for the critic as it is (that of
            "cosine" is learned from 0.1 on, as in the paper).
        temperature_limits: the smallest and the largest temperature that is learned.
        bias: b is learned. A number is its initial value. ``None``: minus the largest score, so that every pair starts
            as a negative: −10 for cosines at a temperature of 0.1, as in the paper. For scores without a largest one it
            starts from 0, and −log(N − 1) is added: f is then the log-ratio at the optimum, whatever N is. For cosines
            −log(N − 1) is worse in our study: all pairs soon have the score 0, a state that training leaves slowly.

    **Options of a call** are those of :class:`~infomax.InfoNCE`, with the same meaning: row i has the loss of its
    positives, :math:`\sum_p \log(1 + e^{-f_{ip} - b})`, and of its negatives with their weights. L is the weighted mean
    over the rows that have positives. In place of log(N − 1) is the log of the number of negatives for each positive.
    What the options do to the value is what they do to InfoNCE.

    Source: Zhai, Mustafa, Kolesnikov and Beyer, "Sigmoid Loss for Language Image Pre-Training", 2023, arXiv 2303.15343.

    >>> import torch
    >>> bound = SigLIP(8, 5)
    >>> x, y = torch.randn(64, 8), torch.randn(64, 5)
    >>> bound.loss(x, y).ndim, bool(bound(x, y) <= bound.ceiling(64))
    (0, True)
    """

    kind = "lower"
    ceiling_formula = "log N"
    reference = "Zhai, Mustafa, Kolesnikov, Beyer 2023, arXiv 2303.15343; Poole et al. 2019, arXiv 1905.06922"
    use_when = "a training loss for large batches over many processes"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "cosine",
        temperature: float | str | None = None,
        temperature_limits: tuple[float, float] = TEMPERATURES,
        bias: float | None = None,
    ) -> None:
        super().__init__(x_dim, y_dim, critic=with_temperature(critic, x_dim, y_dim, temperature, temperature_limits))
        if bias is not None and not math.isfinite(bias):
            raise ValueError(f"bias must be a finite number or None; got {bias}")
        self.initial_bias = bias
        self.bias = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Restore the initial bias."""
        largest = critics.largest_score(self.critic)
        if self.initial_bias is None and largest is not None:
            self.bias.copy_(-largest)
        else:
            self.bias.fill_(self.initial_bias or 0.0)

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, critic="gaussian_residual")

    def fitted(self, scores: Scores) -> Tensor:
        """−L, 0-d."""
        bias = objectives.widen(self.bias)
        if self.initial_bias is None and critics.largest_score(self.critic) is None:
            if isinstance(scores, ChosenScores):
                bias = bias - (scores.total(1) / scores.total(0)).log().to(bias.dtype)
            else:
                bias = bias - math.log(len(scores) - 1)
        return objectives.pairwise_sigmoid(objectives.widen(scores) + bias)

    def statistics(self) -> tuple[Statistic, ...]:
        return (LogSums(),)

    def chosen_scores(self, x: Tensor, y: Tensor, options: PairOptions) -> Scores:
        self.check_pair(x, y, least=1 if options.get("negatives") is not None else 2)
        return choose(self, x, y, checked(len(x), self.y_dim, **options), every_row=True)

    def read(self, scores: Scores) -> Tensor:
        return self._compared(scores).mean() if isinstance(scores, ChosenScores) else objectives.infonce(scores)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        if isinstance(scores, ChosenScores):
            return self._compared(scores).log_ratios()
        return objectives.infonce_pointwise(scores)

    def _compared(self, chosen: ChosenScores) -> Comparison:
        """InfoNCE of the same scores."""
        tiling = Tiling(self.tile, self.narrow)
        return Comparison(chosen.scores, chosen.more, chosen.pairs, chosen.counts, chosen.row_weights, tiling=tiling)

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative value: L depends on the number of pairs, and b with it."""
        return -self.read(self.scores(x, y))

    def ceiling(self, n: int, **options: Unpack[CeilingOptions]) -> float | None:
        """Log n; for cosine scores less, depending on their temperature. With the options of a call as well."""
        limit = critics.largest_score(self.critic)
        return ceiling(n, options, None if limit is None else float(limit.detach()), symmetric=False)
