"""Bounds on the global batch: every rank contributes its pairs, and all pairs serve as negatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeGuard, get_args

import torch
from torch import Tensor, nn

from infomax.bounds import Bound, objectives
from infomax.bounds.contrastive import Contrastive, Discriminative
from infomax.bounds.nce import CPC, InfoNCE
from infomax.bounds.objectives import Scores
from infomax.bounds.options import given, given_names
from infomax.critics import networks as critics
from infomax.distributed.candidates import compared, mean, whole
from infomax.distributed.inner_products import Exchange, SharedProducts
from infomax.distributed.ranks import Shares, active, agree, gather, gathered, summed, world_size

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from typing_extensions import Unpack

    from infomax.bounds.options import CeilingOptions, PairOptions


class GlobalBatch(Bound):
    r"""A bound on the batches of all ranks as one batch, for training or measuring in several processes.

    Each rank passes its own pairs. Every rank gets the value that one process would compute from the pairs of all
    ranks, in the order of the ranks. The ceiling of InfoNCE is that of all pairs, log(ranks × n).

    Gradients. On a rank they are those of the sum of the ranks' values over ranks, as with the collective functions of
    ``torch.distributed``: the gradients of its own x and y are those of one process, times the number of ranks. **The
    average over ranks of a parameter's gradients**, for parameters before or in the bound, **is the gradient of one
    process with the whole batch.** ``DistributedDataParallel`` takes this average if the bound is part of the module
    that it wraps. Otherwise call :func:`infomax.distributed.average_gradients` after ``backward()``. Every rank must
    give the value the same weight in its loss, and must call ``backward()`` if another rank does.

    Communication:

    - Bounds with a critic whose scores are inner products (``embed``, see :mod:`infomax.critics`) exchange the
      embeddings of one side, not x and y. A rank scores its own rows against all columns, in tiles. No rank holds all
      scores, and the backward pass exchanges nothing (:class:`infomax.distributed.inner_products.SharedProducts`).
      With ``exchange="ring"``, for InfoNCE and CPC, no rank holds all embeddings either. Blocks of them travel from
      rank to rank. This costs four matrix products instead of three, and 1.5 times the traffic.
    - InfoNCE and CPC with other critics exchange the side of the negatives. A rank scores its own rows against all.
    - InfoNCE and CPC with options of a call, or with ``hardness`` or ``debias``, exchange embeddings of the candidates
      if the critic has them, otherwise the candidates; the backward pass exchanges their gradients. ``negatives`` for
      all rows are those of all ranks together, after all pairs; ``labels`` are compared across ranks. ``mask``,
      ``positives`` and ``weights`` have a row for each of the rank's own pairs, and a column for each of its own pairs
      (n, n), for each pair of all ranks, or for each candidate. ``exchange="ring"`` is refused.
    - Other bounds exchange x, y and all further arguments (such as labels, and the options of a call of bounds that
      score pairs, which have the rows and columns said above), and each rank computes the whole value.
      This works for any bound, at the cost of one process with the whole batch. A bound that draws random numbers
      draws different ones on each rank. :meth:`pointwise`, and bounds that need single scores (``interpolated``), work
      in this way too.

    Ranks may have different numbers of rows, also none, if there are enough in total. In a process without a group the
    bound behaves as it does without this class.

    Args:
        bound: the bound to compute.
        exchange: "gather"; or "ring", to hold one block of embeddings at a time.
        group: the group of processes; by default all processes.

    Raises:
        ValueError: for an unknown exchange, or "ring" with scores that are not inner products. On all ranks, if the
            ranks' inputs differ in columns or types, or if gradients are enabled on some ranks only.
        infomax.RankError: if another rank fails or does not answer within the group's time-out.

    Source: negatives from all devices: Chen, Kornblith, Norouzi and Hinton, 2020, arXiv 2002.05709; gathered with
    gradients: Radford et al., 2021, arXiv 2103.00020; the ring: Liu, Zaharia and Abbeel, 2023, arXiv
    2310.01889.

    >>> import torch
    >>> from infomax import CPC
    >>> cpc = GlobalBatch(CPC(8, 5))  # the same code with one process and with many
    >>> cpc(torch.randn(16, 8), torch.randn(16, 5)).ndim
    0
    """

    reference = "that of the wrapped bound"
    cost = "that of the wrapped bound, divided among the ranks"
    use_when = "several processes share a batch"

    def __init__(self, bound: Bound, *, exchange: Exchange = "gather", group: ProcessGroup | None = None) -> None:
        super().__init__(bound.x_dim, bound.y_dim)
        if exchange not in get_args(Exchange):
            raise ValueError(f"exchange must be one of {', '.join(get_args(Exchange))}; got {exchange!r}")
        embeds = isinstance(bound, InfoNCE) and callable(getattr(type(bound.critic), "embed", None))
        if exchange == "ring" and not embeds:
            raise ValueError(f"exchange must be 'gather' unless scores are inner products; got 'ring' for {bound}")
        self.bound, self.exchange, self.group = bound, exchange, group
        self.kind = bound.kind

    def extra_repr(self) -> str:
        return f"exchange={self.exchange!r}"

    def forward(self, x: Tensor, y: Tensor, *more: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """The bound on the pairs of all ranks, 0-d, in nats, equal on all ranks. All else is passed to the bound."""
        bound = self.bound
        comparing = self._comparing(options)
        if comparing is not None:
            return mean(compared(comparing, x, y, options, self.group), self.group)
        if given(options):
            return self._of_chosen(bound, x, y, options, *more)
        if active(self.group) and _scores_only(bound):
            return self._of_scores(bound, bound.objective, bound, x, y)
        return self._of_all(bound, x, y, *more)

    def loss(self, x: Tensor, y: Tensor, *more: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """The bound's loss on the pairs of all ranks, 0-d."""
        bound, loss = self.bound, type(self.bound).loss
        if loss in (Bound.loss, Contrastive.loss):
            return -self.forward(x, y, *more, **options)
        if given(options):
            return self._of_chosen(bound.loss, x, y, options, *more)
        if (
            active(self.group)
            and _scores_only(bound)
            and isinstance(bound, Discriminative)
            and loss is Discriminative.loss
        ):
            return -self._of_scores(bound, bound.fitted, lambda x, y: -bound.loss(x, y), x, y)
        return self._of_all(bound.loss, x, y, *more)

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        if type(self.bound).validation_loss is Bound.validation_loss:
            return self.loss(x, y)
        return self._of_all(self.bound.validation_loss, x, y)

    def pointwise(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """Log-ratios of this rank's pairs with the negatives of all ranks, ``(n,)``, nats; each rank computes all."""
        comparing = self._comparing(options)
        if comparing is not None:
            found = compared(comparing, x, y, options, self.group)
            return torch.stack([comparison.log_ratios() for comparison in found]).mean(0)
        if not active(self.group):
            value: Tensor = self.bound.pointwise(x, y, **options)  # type: ignore[misc]
            return value
        if given(options):
            shares, *every, of_all = whole(self._contrastive(options), x, y, options, self.group)
            return self._contrastive(options).pointwise(*every, **of_all)[shares.own]
        shares, _ = self._agreed(x, y)
        return self.bound.pointwise(gathered(x, shares), gathered(y, shares))[shares.own]

    def ceiling(self, n: int, **options: Unpack[CeilingOptions]) -> float | None:
        """The largest value, in nats, if each rank has ``n`` pairs; with the options of all ranks together."""
        largest: float | None = self.bound.ceiling(world_size(self.group) * n, **options)  # type: ignore[misc]
        return largest

    def fixed_units(self) -> bool:
        return self.bound.fixed_units()

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Warm-start the bound from the samples of all ranks."""
        self.bound.warm_start(gather(x, self.group), gather(y, self.group))

    def _comparing(self, options: PairOptions) -> InfoNCE | None:
        """The bound if each rank compares its own rows with the candidates of all ranks, because of its options."""
        bound = self.bound
        if not active(self.group) or not (given(options) or (isinstance(bound, InfoNCE) and not bound.rule.plain)):
            return None
        if not isinstance(bound, InfoNCE):
            return None
        if self.exchange == "ring":
            raise ValueError("exchange must be 'gather' with options of pairs, hardness or debias; got 'ring'")
        return bound

    def _contrastive(self, options: PairOptions) -> Contrastive:
        """The bound, if it scores pairs."""
        if not isinstance(self.bound, Contrastive):
            names = ", ".join(given_names(options))
            raise TypeError(f"{names} must be given to a bound that scores pairs; got {type(self.bound).__name__}")
        return self.bound

    def _of_chosen(
        self, function: Callable[..., Tensor], x: Tensor, y: Tensor, options: PairOptions, *more: Tensor
    ) -> Tensor:
        """Evaluate a function of the rows and of the options of all ranks on every rank."""
        if not active(self.group):
            value: Tensor = function(x, y, *more, **options)
            return value
        _, *every, of_all = whole(self._contrastive(options), x, y, options, self.group)
        return function(*every, *(gather(other, self.group) for other in more), **of_all)

    def _of_all(self, function: Callable[..., Tensor], x: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        """Evaluate a function of the rows of all ranks on every rank."""
        if not active(self.group):
            value: Tensor = function(x, y, *more)
            return value
        shares, _ = self._agreed(x, y)
        return function(gathered(x, shares), gathered(y, shares), *(gather(other, self.group) for other in more))

    def _of_scores(
        self,
        bound: Contrastive,
        objective: Callable[[Scores], Tensor],
        function: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        """Evaluate an objective of the scores of all ranks; for other critics, the same as a function of x and y."""
        shares, sides = self._agreed(x, y, bound.critic)
        if sides is not None:
            a, b = sides
            return objective(SharedProducts(a, b, shares, exchange=self.exchange, tile=bound.tile, narrow=bound.narrow))
        if self.exchange == "ring":
            raise ValueError(f"exchange must be 'gather' unless scores are inner products; got 'ring' for {bound}")
        if isinstance(bound, InfoNCE) and type(bound).objective in (InfoNCE.objective, CPC.objective):
            return self._infonce_of_rows(bound, x, y, shares)
        return function(gathered(x, shares), gathered(y, shares))

    def _infonce_of_rows(self, bound: InfoNCE, x: Tensor, y: Tensor, shares: Shares) -> Tensor:
        """InfoNCE with any critic from the scores ``(n, N)`` of this rank's rows; for CPC, of all xs given its ys."""
        terms = []
        first = isinstance(bound, CPC)
        for swap in (first, not first) if bound.symmetric else (first,):
            others = gathered(x if swap else y, shares)
            scores = bound.in_range(bound.critic, *((others, y) if swap else (x, others)))
            scores = scores.T if swap else scores
            if scores.shape != (len(x), shares.total):
                raise ValueError(
                    f"critic must return scores of shape {(len(x), shares.total)}; got {tuple(scores.shape)}"
                )
            scores = objectives.widen(scores)
            terms.append((scores.diagonal(shares.start) - torch.logsumexp(scores, 1)).sum())
        own = torch.stack(terms).mean() * (len(shares.sizes) / shares.total)  # the mean over ranks is the value
        mean = summed(own, self.group) / len(shares.sizes)
        return own - own.detach() + mean + math.log(shares.total)

    def _agreed(
        self, x: Tensor, y: Tensor, critic: nn.Module | None = None
    ) -> tuple[Shares, tuple[Tensor, Tensor] | None]:
        """The row counts of all ranks, and the critic's embeddings; an error on one rank is raised on all ranks."""
        problem, sides, tensors = None, None, {"x": x, "y": y}
        try:
            self.check_pair(x, y, least=0)
            sides = None if critic is None else self.in_range(partial(critics.embedding, critic), x, y)
            if sides is not None:
                tensors |= {"embedding of x": sides[0], "embedding of y": sides[1]}
        except Exception as error:  # whatever the error, the other ranks must not wait for this one
            problem = error
        shares = agree(tensors, self.group, problem=problem)
        least = 2 if isinstance(self.bound, Contrastive) else 1
        if shares.total < least:
            raise ValueError(f"x must have at least {least} rows on all ranks together; got {shares.total}")
        return shares, sides


def _scores_only(bound: Bound) -> TypeGuard[Contrastive]:
    """Whether the bound is a function of its critic's scores alone."""
    return (
        isinstance(bound, Contrastive)
        and type(bound).scores is Contrastive.scores
        and type(bound).forward is Contrastive.forward
    )
