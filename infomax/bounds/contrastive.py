"""Bounds that score every pair of a batch with a critic: (x, y) → N × N scores → nats."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import Bound
from infomax.bounds.objectives import Scores
from infomax.bounds.options import given, untaken
from infomax.critics import networks as critics
from infomax.critics.choice import make
from infomax.scores.inner_products import InnerProducts
from infomax.scores.statistics import Statistic

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from infomax.bounds.options import PairOptions

#: Number of pairs from which inner products are faster in tiles than in a matrix. With gradients and D = 16 to 128 on
#: a CPU: 1 to 2 times at 512, 2 to 6 times at 1,024, 3 to 11 times at 2,048; slower at 256.
TILED_FROM = 512


class Contrastive(Bound):
    """A critic and an objective of its scores. Subclasses define the objective and its pointwise log-ratio.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: a name (see :func:`infomax.critics.names`) or a module that maps ``(N, Dx), (N, Dy)`` to ``(N, N)``.

    Attributes:
        tiled_from: number of pairs from which the scores of a critic with ``embed`` (see :mod:`infomax.critics`) are
            computed in tiles, in O(N) memory; ``math.inf`` for never. Values and gradients are the same up to rounding.
        tile: rows and columns of a tile; ``None`` for a fast default.
        narrow: the type of the products of tiled gradients, see :class:`infomax.InnerProducts`.

    Raises:
        ValueError: for an unknown critic, a critic that returns another shape, and fewer than two pairs.
    """

    cost = "N² scores"
    tiled_from: float = TILED_FROM
    tile: tuple[int, int] | None = None
    narrow: torch.dtype | None = None
    #: Whether the candidates of a row are xs, of which one belongs to each y.
    of_x: ClassVar[bool] = False

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim)
        self.critic = make(critic, x_dim, y_dim)

    @abc.abstractmethod
    def objective(self, scores: Scores) -> Tensor:
        """The bound as a function of the scores ``(N, N)``: 0-d, in nats."""

    @abc.abstractmethod
    def pointwise_objective(self, scores: Scores) -> Tensor:
        """The log-ratio of each true pair as a function of the scores: ``(N,)``, in nats."""

    def statistics(self) -> tuple[Statistic, ...]:
        """The statistics of scores that the objective needs; :func:`several` computes them in one pass."""
        return ()

    def scores(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Scores:
        """``(N, N)``; entry [i, j] scores (x_i, y_j). For many pairs: :class:`~infomax.InnerProducts`, if possible.

        With options of a call, if the bound takes them: :class:`~infomax.bounds.chosen.ChosenScores`.
        """
        if given(options):
            return self.chosen_scores(x, y, options)
        self.check_pair(x, y, least=2)
        tiled = len(x) >= self.tiled_from and not x.is_meta
        sides = self.in_range(partial(critics.embedding, self.critic), x, y) if tiled else None
        if sides is not None:
            return InnerProducts(*sides, tile=self.tile, narrow=self.narrow)
        scores: Tensor = self.in_range(self.critic, x, y)
        if not isinstance(scores, Tensor) or scores.shape != (len(x), len(x)):
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"critic must return scores of shape {(len(x), len(x))}; got {came}")
        return scores

    def chosen_scores(self, x: Tensor, y: Tensor, options: PairOptions) -> Scores:
        """The scores with options of a call.

        Raises:
            TypeError: unless the bound takes them.
        """
        raise TypeError(untaken(type(self).__name__, options))

    def forward(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        return self.objective(self.scores(x, y, **options))

    def loss(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        loss: Tensor = -self(x, y, **options)
        return loss

    def pointwise(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        return self.pointwise_objective(self.scores(x, y, **options))

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, critic="gaussian_residual")

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Call ``warm_start(x, y)`` of the critic, if it has that method."""
        warm_start = getattr(self.critic, "warm_start", None)
        if callable(warm_start):
            warm_start(x, y)

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The bound as a function of the rows that are kept; all pairs are scored only once."""
        scores = self.scores(x, y)
        return lambda kept: self.objective(objectives.of_rows(scores, kept))


class Discriminative(Contrastive):
    """A critic that is trained with one objective and evaluated with another. Subclasses define both.

    ``loss`` is the negative training objective. The value is always that of the evaluation. In training mode its
    gradient is that of the training objective, because maximising the evaluation could raise the critic without limit.
    In evaluation mode the gradient is that of the value.
    """

    @abc.abstractmethod
    def fitted(self, scores: Scores) -> Tensor:
        """The training objective, to be maximised, as a function of the scores ``(N, N)``: 0-d."""

    def read(self, scores: Scores) -> Tensor:
        """The value as a function of the scores, by default the mean of the pointwise log-ratios: 0-d, in nats."""
        return objectives.joint_mean(scores, self.pointwise_objective(scores))

    def objective(self, scores: Scores) -> Tensor:
        if not self.training:
            return self.read(scores)
        with torch.no_grad():
            value = self.read(scores)
        fitted = self.fitted(scores)
        return fitted - fitted.detach() + value

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.widen(scores).diagonal()

    def loss(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """The negative training objective, 0-d."""
        return -self.fitted(self.scores(x, y, **options))


def several(bounds: Sequence[Contrastive], x: Tensor, y: Tensor) -> Tensor:
    """The values of several bounds that share a critic, ``(len(bounds),)``, in nats, from one pass over the scores.

    Args:
        bounds: bounds with the same critic. Those that modify its scores (TUBA, FLO) take a pass of their own.
        x, y: ``(N, Dx)`` and ``(N, Dy)``.

    Raises:
        ValueError: without bounds, or if their critics differ.

    >>> import torch
    >>> from infomax import NWJ, InfoNCE, critics
    >>> critic = critics.Separable(2, 2)
    >>> x, y = torch.randn(2, 2000, 2)
    >>> several([InfoNCE(2, 2, critic=critic), NWJ(2, 2, critic=critic)], x, y).shape
    torch.Size([2])
    """
    if not bounds:
        raise ValueError("bounds must name at least one; got none")
    first = bounds[0]
    for bound in bounds:
        if bound.critic is not first.critic:
            raise ValueError(
                f"bounds must share one critic; {type(bound).__name__} has another than {type(first).__name__}"
            )
    alike = [bound for bound in bounds if type(bound).scores is Contrastive.scores]
    values = {bound: bound(x, y) for bound in bounds if bound not in alike}
    if alike:
        scores = alike[0].scores(x, y)
        if isinstance(scores, InnerProducts):
            scores = scores.sharing(statistic for bound in alike for statistic in bound.statistics())
        values |= {bound: bound.objective(scores) for bound in alike}
    return torch.stack([values[bound] for bound in bounds])
