"""The batches of all ranks as one: bounds whose negatives are every rank's, without every pair on every rank."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infomax import critics
from infomax.bounds import Bound, objectives
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.nce import CPC, InfoNCE
from infomax.distributed import Shares, active, agree, gather, gathered, summed, world_size
from infomax.negatives import gathered_infonce, ring_infonce

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Exchange = Literal["gather", "ring"]


class GlobalBatch(Bound):
    r"""A bound of the batches of all ranks as one batch, for training or measuring in several processes.

    Each rank passes its own pairs, and gets the value that one process with the pairs of all ranks (in the order of the
    ranks) would get: the same number on every rank. The ceiling of InfoNCE is that of all pairs, log(ranks × n).

    Gradients. On a rank they are those of the sum over ranks of the ranks' values, as collective functions of
    ``torch.distributed`` have them: for its own x and y, ranks × those of one process. **The average of the ranks'
    gradients of a parameter**, before or in the bound, **is that of one process with the whole batch.**
    ``DistributedDataParallel`` takes this average: put the bound into the module that it wraps. Without it, call
    :func:`infomax.distributed.average_gradients` after ``backward()``. Every rank must weigh the value alike in its
    loss, and call ``backward()`` if another rank does.

    What is exchanged:

    - InfoNCE and CPC with a critic that is an inner product: the two embeddings, not x and y. A rank scores its own
      rows against all; no rank ever holds all scores. With ``exchange="ring"`` it never holds all embeddings either:
      blocks of them travel from rank to rank, at four matrix products instead of three and half as much traffic again.
    - InfoNCE and CPC with other critics: the side of the negatives; a rank scores its own rows against all.
    - Other bounds: x, y and what else is passed (such as labels), and each rank computes the whole value. Right for any
      bound, at the cost of one process with the whole batch. One that draws random numbers draws others on each rank.

    Ranks may have different numbers of rows, none among them, if there are enough in all. In a process that belongs to
    no group the bound is what it is without this class.

    Args:
        bound: what to compute.
        exchange: "gather", or "ring" to hold one block of embeddings at a time.
        group: of processes; by default all of them.

    Raises:
        ValueError: for an unknown exchange, or "ring" where scores are no inner products; on all ranks, where these
            differ in columns, types or in whether gradients are needed.
        infomax.RankError: if another rank dies, fails or does not answer within the group's time-out.

    Source: negatives from all devices: Chen, Kornblith, Norouzi and Hinton, 2020, arXiv 2002.05709; gathered with their
    gradients: Radford et al., 2021, arXiv 2103.00020; blocks that travel: Liu, Zaharia and Abbeel, 2023, arXiv
    2310.01889.

    >>> import torch
    >>> from infomax import CPC
    >>> cpc = GlobalBatch(CPC(8, 5))  # the same line in one process and in a thousand
    >>> cpc(torch.randn(16, 8), torch.randn(16, 5)).ndim
    0
    """

    reference = "of the bound inside"
    cost = "of the bound inside, shared by the ranks"
    use_when = "several processes share a batch"

    def __init__(self, bound: Bound, *, exchange: Exchange = "gather", group: ProcessGroup | None = None) -> None:
        super().__init__(bound.x_dim, bound.y_dim)
        if exchange not in get_args(Exchange):
            raise ValueError(f"exchange must be one of {', '.join(get_args(Exchange))}; got {exchange!r}")
        if exchange == "ring" and not (isinstance(bound, InfoNCE) and embeddings(bound.critic)):
            raise ValueError(f"exchange must be 'gather' unless scores are inner products; got 'ring' for {bound}")
        self.bound, self.exchange, self.group = bound, exchange, group
        self.kind = bound.kind

    def extra_repr(self) -> str:
        return f"exchange={self.exchange!r}"

    def forward(self, x: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        """The bound of the pairs of all ranks: 0-d, nats, the same on every rank. ``more`` is passed to the bound."""
        if not active(self.group):
            value: Tensor = self.bound(x, y, *more)
            return value
        if not isinstance(self.bound, InfoNCE):
            return self._of_all(self.bound, x, y, *more)
        return self._infonce(self.bound, x, y)

    def loss(self, x: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        """The bound's loss on the pairs of all ranks, 0-d."""
        return self._of_all(self.bound.loss, x, y, *more) if self._own_loss() else -self(x, y, *more)

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self._of_all(self.bound.validation_loss, x, y) if self._own_loss() else -self(x, y)

    def _own_loss(self) -> bool:
        return type(self.bound).loss is not Bound.loss or type(self.bound).validation_loss is not Bound.validation_loss

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-ratios of this rank's pairs against those of all ranks, ``(n,)``, nats; each rank computes all."""
        if not active(self.group):
            return self.bound.pointwise(x, y)
        shares, (x, y) = self._agreed(x, y)
        return self.bound.pointwise(gathered(x, shares), gathered(y, shares))[shares.own]

    def ceiling(self, n: int) -> float | None:
        """The largest value, in nats, where each rank has ``n`` pairs."""
        return self.bound.ceiling(world_size(self.group) * n)

    def fixed_units(self) -> bool:
        return self.bound.fixed_units()

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """That of the bound, from the samples of all ranks."""
        self.bound.warm_start(gather(x, self.group), gather(y, self.group))

    def _of_all(self, function: Callable[..., Tensor], x: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        """A function of the rows of all ranks, on every rank."""
        if not active(self.group):
            return function(x, y, *more)
        shares, pair = self._agreed(x, y)
        rows = [gathered(side, shares) for side in pair]
        return function(*rows, *(gather(other, self.group) for other in more))

    def _infonce(self, bound: InfoNCE, x: Tensor, y: Tensor) -> Tensor:
        """InfoNCE of own rows and the columns of all; those of CPC are the xs for a given y."""
        embed = embeddings(bound.critic)
        shares, pair = self._agreed(x, y, embed)
        if embed is None:
            return self._infonce_of_rows(bound, *pair, shares)
        of = ring_infonce if self.exchange == "ring" else gathered_infonce
        values = [of(*(pair[::-1] if swap else pair), shares) for swap in directions(bound)]
        return torch.stack(values).mean()

    def _infonce_of_rows(self, bound: InfoNCE, x: Tensor, y: Tensor, shares: Shares) -> Tensor:
        """The same by any critic: scores ``(n, N)`` of this rank's rows."""
        terms = []
        for swap in directions(bound):
            others = gathered(x if swap else y, shares)
            scores = bound.critic(others, y).T if swap else bound.critic(x, others)
            if scores.shape != (len(x), shares.total):
                raise ValueError(
                    f"critic must return scores of shape {(len(x), shares.total)}; got {tuple(scores.shape)}"
                )
            scores = objectives.widen(scores)
            terms.append((scores.diagonal(shares.start) - torch.logsumexp(scores, 1)).sum())
        own = torch.stack(terms).mean() * (len(shares.sizes) / shares.total)  # the mean over ranks is the value
        mean = summed(own, self.group) / len(shares.sizes)
        return own - own.detach() + mean + math.log(shares.total)

    def _agreed(self, x: Tensor, y: Tensor, embed: Embed | None = None) -> tuple[Shares, tuple[Tensor, Tensor]]:
        """Whose rows are which, and what to exchange; raises on all ranks if one has not what the bound takes."""
        problem, pair, tensors = None, (x, y), {"x": x, "y": y}
        try:
            self.check_pair(x, y, least=0)
            if embed is not None:
                pair = embed(x, y)
                tensors |= {"embedding of x": pair[0], "embedding of y": pair[1]}
        except Exception as error:  # whatever it is, the others must not wait for this rank
            problem = error
        shares = agree(tensors, self.group, problem=problem)
        least = 2 if isinstance(self.bound, Contrastive) else 1
        if shares.total < least:
            raise ValueError(f"x must have at least {least} rows on all ranks together; got {shares.total}")
        return shares, pair


def directions(bound: InfoNCE) -> list[bool]:
    """Whether x and y change places, for each of the means that the bound averages."""
    first = isinstance(bound, CPC)
    return [first, not first] if bound.symmetric else [first]


Embed = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def embeddings(critic: nn.Module) -> Embed | None:
    """Embeddings whose inner products are the critic's scores; ``None`` if it has none."""
    if isinstance(critic, critics.Separable):
        return lambda x, y: (critic.g(x), critic.h(y))
    if isinstance(critic, critics.Bilinear):
        return lambda x, y: (x @ critic.weight, y)
    if isinstance(critic, critics.Predictor):
        return lambda x, y: (
            critic.temperature(F.normalize(x, dim=1) if critic.normalize else x),
            F.normalize(critic.predict(y), dim=1) if critic.normalize else critic.predict(y),
        )
    if isinstance(critic, critics.Cosine):
        return lambda x, y: (
            critic.temperature(F.normalize(critic.project_x(x), dim=1)),
            F.normalize(critic.project_y(y), dim=1),
        )
    return None
