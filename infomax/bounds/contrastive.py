"""Bounds that score every pair of a batch with a critic: (x, y) → N × N scores → nats."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from infomax import critics
from infomax.bounds import objectives
from infomax.bounds.base import Bound
from infomax.bounds.objectives import Scores
from infomax.scores.inner_products import InnerProducts
from infomax.scores.statistics import Statistic

#: Pairs from which on inner products are faster in tiles than in a matrix, with gradients and D = 16 to 128 on a CPU:
#: 1 to 2 times at 512, 2 to 6 at 1,024, 3 to 11 at 2,048; at 256 they are slower.
TILED_FROM = 512


class Contrastive(Bound):
    """A critic and an objective of its scores. Subclasses give the objective and its pointwise log-ratio.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: a name (see :func:`infomax.critics.names`) or a module that maps ``(N, Dx), (N, Dy)`` to ``(N, N)``.

    Attributes:
        tiled_from: number of pairs from which on the scores of a critic with ``embed`` (see :mod:`infomax.critics`) are
            taken in tiles, in O(N) memory; ``math.inf``: never. Values and gradients are the same up to rounding.
        tile: rows and columns of a tile; by default what is fast.
        narrow: a type in which the products of tiled gradients are computed (:class:`infomax.InnerProducts`).

    Raises:
        ValueError: for an unknown critic, a critic that returns another shape, fewer than two pairs.
    """

    cost = "N² scores"
    tiled_from: float = TILED_FROM
    tile: tuple[int, int] | None = None
    narrow: torch.dtype | None = None

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim)
        self.critic = critics.make(critic, x_dim, y_dim)

    @abc.abstractmethod
    def objective(self, scores: Scores) -> Tensor:
        """The bound as a function of the scores ``(N, N)``: 0-d, nats."""

    @abc.abstractmethod
    def pointwise_objective(self, scores: Scores) -> Tensor:
        """Each true pair's log-ratio as a function of the scores: ``(N,)``, nats."""

    def statistics(self) -> tuple[Statistic, ...]:
        """What the objective takes from scores in tiles, for :func:`several`; what is not named is found by itself."""
        return ()

    def scores(self, x: Tensor, y: Tensor) -> Scores:
        """``(N, N)``; entry [i, j] scores the pair (x_i, y_j). Of many pairs in tiles, if they are inner products."""
        self.check_pair(x, y, least=2)
        sides = critics.embedding(self.critic, x, y) if len(x) >= self.tiled_from else None
        if sides is not None:
            return InnerProducts(*sides, tile=self.tile, narrow=self.narrow)
        scores: Tensor = self.critic(x, y)
        if not isinstance(scores, Tensor) or scores.shape != (len(x), len(x)):
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"critic must return scores of shape {(len(x), len(x))}; got {came}")
        return scores

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.objective(self.scores(x, y))

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pointwise_objective(self.scores(x, y))

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, critic="gaussian_residual")

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Passed on to the critic, if that has a ``warm_start(x, y)`` of its own."""
        warm_start = getattr(self.critic, "warm_start", None)
        if callable(warm_start):
            warm_start(x, y)

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The bound as a function of which rows to keep; all pairs are scored once."""
        scores = self.scores(x, y)
        return lambda kept: self.objective(objectives.of_rows(scores, kept))


class Discriminative(Contrastive):
    """A critic that is fitted by one objective and read by another. Subclasses give both.

    ``loss`` is the negative of the objective that fits. The value is always what is read; its gradient, in training
    mode, is that of the objective that fits, because a critic that is read alone could be raised without limit. In
    evaluation mode the gradient is that of the value.
    """

    @abc.abstractmethod
    def fitted(self, scores: Scores) -> Tensor:
        """What to maximise, as a function of the scores ``(N, N)``: 0-d."""

    def read(self, scores: Scores) -> Tensor:
        """The value as a function of the scores: 0-d, nats. The mean of the pointwise log-ratios."""
        return self.pointwise_objective(scores).mean()

    def objective(self, scores: Scores) -> Tensor:
        if not self.training:
            return self.read(scores)
        with torch.no_grad():
            value = self.read(scores)
        fitted = self.fitted(scores)
        return fitted - fitted.detach() + value

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.widen(scores).diagonal()

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative of the objective that fits, 0-d."""
        return -self.fitted(self.scores(x, y))


def several(bounds: Sequence[Contrastive], x: Tensor, y: Tensor) -> Tensor:
    """Several bounds of one critic, ``(len(bounds),)``, nats, as each would give it, from one pass over the scores.

    Args:
        bounds: of one critic, which may be trained by some of them. Those that add to the critic's scores (TUBA, FLO)
            take a pass of their own.
        x, y: ``(N, Dx)`` and ``(N, Dy)``.

    Raises:
        ValueError: for bounds of different critics, or none.

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
