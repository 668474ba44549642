r"""Inner-product scores of the pairs of all ranks; no rank holds the whole matrix.

Each rank has the factors a, b ``(n, D)`` of its own pairs. The scores :math:`s_{ij} = a_i^\top b_j` are those of the N
pairs of all ranks. A rank scores its own rows against the columns of all ranks. The columns are gathered, or passed
around a ring of ranks. The gradients of a sum are computed with the sum itself, so that the backward pass needs no
communication.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from infomax.distributed.ranks import (
    Shares,
    exchange,
    gathered,
    gathered_rows,
    refuse_second_gradient,
    scattered_sum,
    summed,
)
from infomax.scores.gradients import Tiling
from infomax.scores.inner_products import InnerProducts
from infomax.scores.precision import without_autocast
from infomax.scores.statistics import Statistic
from infomax.scores.tiles import Sums, log_sums, softplus_sums

Exchange = Literal["gather", "ring"]

#: Rows that are scored at a time against a block of columns, in the second round of the ring.
_ROWS = 512


class SharedProducts(InnerProducts):
    r"""The score matrix of the pairs of all ranks, as each rank's own factors. All ranks get the same values.

    Sums over all scores, which most objectives need, are computed in tiles of own rows and all columns:

    - "gather": every rank gathers all of ``b``, and the gradients of ``b`` are reduced to the ranks that own the rows.
      This takes three matrix products. With N pairs of D columns of s bytes, a rank receives N·D·s bytes twice.
    - "ring": blocks of ``b`` travel around the ring of ranks twice, for :meth:`mean_log_sum`. In the first round each
      rank computes the partition functions of its rows. In the second round the gradient of a block travels with it
      and returns complete. This takes four matrix products; a rank receives N·D·s bytes three times and holds at most
      two blocks.

    All other functions (the sum of a single row, the matrix) are computed on every rank from the gathered factors.
    Gradients are those of the sum of the ranks' results over ranks, see :class:`infomax.GlobalBatch`. They are right
    only if all ranks use the values in the same way.

    Args:
        a, b: factors of this rank's pairs, ``(n, D)``. shares: the numbers of pairs of all ranks, from
            :func:`~infomax.distributed.agree`.
        exchange: "gather" or "ring". tile, narrow: see :class:`infomax.InnerProducts`.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        shares: Shares,
        *,
        exchange: Exchange = "gather",
        tile: tuple[int, int] | None = None,
        narrow: torch.dtype | None = None,
    ) -> None:
        super().__init__(a, b, tile=tile, narrow=narrow)
        if exchange not in get_args(Exchange):
            raise ValueError(f"exchange must be one of {', '.join(get_args(Exchange))}; got {exchange!r}")
        self.shares, self.exchange = shares, exchange

    @property
    def shape(self) -> torch.Size:
        """(N, N), with the pairs of all ranks."""
        return torch.Size((len(self), len(self)))

    def __len__(self) -> int:
        return self.shares.total

    def whole(self) -> InnerProducts:
        """The scores with all factors gathered on every rank."""
        a, b = gathered(self.a, self.shares), gathered(self.b, self.shares)
        return InnerProducts(a, b, tile=self.tiling.tile, narrow=self.tiling.narrow)

    def dense(self) -> Tensor:
        return self.whole().dense()

    def diagonal(self) -> Tensor:
        values: Tensor = _Alike.apply(super().diagonal(), self.shares)  # type: ignore[no-untyped-call]
        return values

    def mean_log_sum(self) -> Tensor:
        return self._sum(_ring if self.exchange == "ring" else _rows) / len(self)

    def log_sum_off_diagonal(self, limit: float = math.inf) -> Tensor:
        return self._sum(_everything, limit)

    def softplus_sum_off_diagonal(self) -> Tensor:
        return self._sum(_softplus)

    def statistic(self, wanted: Statistic) -> Tensor:
        return self.whole().statistic(wanted)

    def log_sums(self) -> Tensor:
        return self.whole().log_sums()

    def sharing(self, wanted: Iterable[Statistic]) -> InnerProducts:
        """The same object: each sum takes a pass of its own."""
        return self

    def rows(self, kept: Tensor) -> InnerProducts:
        return self.whole().rows(kept)

    def _with(self, a: Tensor, b: Tensor) -> InnerProducts:
        tiling = self.tiling
        return SharedProducts(a, b, self.shares, exchange=self.exchange, tile=tiling.tile, narrow=tiling.narrow)

    def _sum(self, way: Way, limit: float = math.inf) -> Tensor:
        job = _Job(way, self.shares, self.tiling, limit)
        value: Tensor = _Shared.apply(self.a, self.b, job)  # type: ignore[no-untyped-call]
        return value


class _Alike(torch.autograd.Function):
    """Gather a number of each pair, ``(n,) → (N,)``. All ranks must use it alike: the backward pass does not reduce."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        return gathered_rows(values, shares)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return len(ctx.shares.sizes) * gradient[ctx.shares.own], None


@dataclass(frozen=True)
class _Job:
    way: Way
    shares: Shares
    tiling: Tiling
    limit: float

    def log_sums(self, a: Tensor, b: Tensor, over: Literal["rows", "all"], *, needed: bool) -> Sums:
        """:func:`~infomax.scores.tiles.log_sums` also without rows or columns; over all, without the true pairs."""
        if not len(a) or not len(b):
            return Sums(a.new_full((len(a),), -torch.inf), torch.zeros_like(a), torch.zeros_like(b))
        return log_sums(
            a,
            b,
            over=over,
            without=self.shares.start if over == "all" else None,
            limit=self.limit,
            gradients=(needed, needed),
            tile=self.tiling.tile,
            narrow=self.tiling.narrow,
        )


#: A sum over the scores of all ranks, and its gradients with respect to this rank's a and b, if needed.
Found = tuple[Tensor, Tensor | None, Tensor | None]
Way = Callable[[Tensor, Tensor, _Job], Found]


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, job: _Job) -> Tensor:
        wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        with without_autocast(a):
            value, *slopes = job.way(a.detach().to(wide), b.detach().contiguous(), job)
        # Gradients of the sum of this value over ranks: their average over ranks is the gradient of one process.
        each = zip(slopes, (a, b), strict=True)
        ctx.save_for_backward(*(s if s is None else (len(job.shares.sizes) * s).to(of.dtype) for s, of in each))
        return value.to(wide)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_gradient()
        return *(None if slopes is None else slopes * weight.to(slopes.dtype) for slopes in ctx.saved_tensors), None


def _rows(a: Tensor, b: Tensor, job: _Job) -> Found:
    r""":math:`\sum_i \log \sum_j e^{s_{ij}}`."""
    sums = job.log_sums(a, gathered_rows(b, job.shares).to(a.dtype), "rows", needed=job.shares.needed)
    return _summed(sums, sums.rows, job.shares)


def _softplus(a: Tensor, b: Tensor, job: _Job) -> Found:
    r""":math:`\sum_{i \ne j} \log(1 + e^{s_{ij}})`."""
    shares, tiling, columns = job.shares, job.tiling, gathered_rows(b, job.shares).to(a.dtype)
    sides = (shares.needed, shares.needed)
    if len(a):
        sums = softplus_sums(a, columns, without=shares.start, gradients=sides, tile=tiling.tile, narrow=tiling.narrow)
    else:
        sums = Sums(a.new_zeros(0), a, torch.zeros_like(columns))
    return _summed(sums, sums.rows, shares)


def _summed(sums: Sums, rows: Tensor, shares: Shares) -> Found:
    of_b = None if sums.of_b is None or not shares.needed else scattered_sum(sums.of_b, shares)
    return summed(rows.sum(dtype=torch.float64), shares.group), sums.of_a, of_b


def _everything(a: Tensor, b: Tensor, job: _Job) -> Found:
    r""":math:`\log \sum_{i \ne j} e^{s_{ij}}`; a rank's gradients are those of its own part, times its share."""
    shares = job.shares
    sums = job.log_sums(a, gathered_rows(b, shares).to(a.dtype), "all", needed=shares.needed)
    own = torch.logsumexp(sums.rows.double(), 0, keepdim=True)
    one_each = Shares([1] * len(shares.sizes), False, shares.rank, shares.group)
    value = torch.logsumexp(gathered_rows(own, one_each), 0)
    if not shares.needed or sums.of_a is None or sums.of_b is None:
        return value, None, None
    share = torch.exp(own - value).to(a.dtype)
    return value, share * sums.of_a, scattered_sum(share * sums.of_b, shares)


def _ring(a: Tensor, b: Tensor, job: _Job) -> Found:
    r""":math:`\sum_i \log \sum_j e^{s_{ij}}`, with blocks of b that travel around the ring."""
    ring = _Ring(job.shares)
    log_partition = a.new_full((len(a),), -torch.inf)
    for block in ring.blocks(b):
        rows = job.log_sums(a, block.to(a.dtype), "rows", needed=False).rows
        torch.logaddexp(log_partition, rows, out=log_partition)
    value = summed(log_partition.sum(dtype=torch.float64), job.shares.group)
    if not job.shares.needed:
        return value, None, None
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b, dtype=a.dtype)  # of_b belongs to the present block
    for hop, block in enumerate(ring.blocks(b)):
        columns = block.to(a.dtype)
        for own, partition, slopes in zip(*(torch.split(t, _ROWS) for t in (a, log_partition, of_a)), strict=True):
            # The sums were rounded in another way: by more than their distance from the score, if scores are large.
            weights = (own @ columns.T).sub_(partition[:, None]).clamp_max_(0.0).exp_()
            slopes.addmm_(weights, columns)
            of_b.addmm_(weights.T, own)
        of_b = ring.pass_on(of_b, hop)()
    return value, of_a, of_b


class _Ring:
    """A ring of ranks: each sends to the next one, and receives from the previous one."""

    def __init__(self, shares: Shares) -> None:
        self.sizes, self.rank, self.group = shares.sizes, shares.rank, shares.group
        self.world = len(shares.sizes)

    def blocks(self, own: Tensor) -> Iterator[Tensor]:
        """The blocks of all ranks, this rank's first. Each is sent on while the caller uses it."""
        block = own
        for hop in range(self.world - 1):
            arrived = self.pass_on(block, hop)
            yield block
            block = arrived()
        yield block

    def pass_on(self, block: Tensor, hop: int) -> Callable[[], Tensor]:
        """Start to send the present block and to receive the next one; returns a function that waits for it."""
        following = block.new_empty(self.sizes[(self.rank - hop - 1) % self.world], *block.shape[1:])
        operations = []
        for operation, tensor, step in ((dist.isend, block, 1), (dist.irecv, following, -1)):
            peer = (self.rank + step) % self.world
            peer = peer if self.group is None else dist.get_global_rank(self.group, peer)
            if len(tensor):
                operations.append(dist.P2POp(operation, tensor, peer, self.group))
        requests = exchange("passing on rows", lambda: dist.batch_isend_irecv(operations)) if operations else []

        def wait() -> Tensor:
            exchange("passing on rows", lambda: [request.wait() for request in requests])
            return following

        return wait
