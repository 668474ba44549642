r"""InfoNCE of inner products with the negatives of all ranks: gathered, or passed on from rank to rank.

A rank has embeddings a, b ``(n, d)`` of its own pairs, and scores its own rows against the columns of all,
:math:`f_{ij} = a_i \cdot b_j`. The sum over rows is a scalar, so its gradients are formed with it, block by block, and
the backward pass only scales them: no rank ever holds more than a few rows of scores, and nothing is exchanged in the
backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from infomax.bounds.objectives import widen
from infomax.distributed import Shares, answering, gathered_rows, refuse_second_gradient, scattered_sum, summed
from infomax.products import fast_products

#: Rows whose scores against a block of columns are held at a time.
_ROWS = 512


def gathered_infonce(a: Tensor, b: Tensor, shares: Shares) -> Tensor:
    r""":math:`\frac1N \sum_i \big(a_i \cdot b_i - \log \frac1N \sum_j e^{a_i \cdot b_j}\big)` over all ranks' pairs.

    All ``b`` are gathered, three products are made of a rank's rows and all columns, and the gradient of ``b`` is
    summed where it belongs. For d columns of s bytes a rank receives N·d·s bytes twice.

    Args:
        a, b: this rank's embeddings, ``(n, d)``. shares: the rows of all ranks.

    Returns:
        0-d, nats, the same on every rank; gradients as :class:`infomax.GlobalBatch` says.
    """
    value: Tensor = _Shared.apply(a, b, _gathered, shares)  # type: ignore[no-untyped-call]
    return value


def ring_infonce(a: Tensor, b: Tensor, shares: Shares) -> Tensor:
    """:func:`gathered_infonce` without holding all ``b``: their blocks go round the ranks, twice.

    The first time round each rank learns its rows' partitions; the second time a block's gradient goes with it, and
    comes home complete. Four products, and N·d·s bytes received three times.
    """
    value: Tensor = _Shared.apply(a, b, _ring, shares)  # type: ignore[no-untyped-call]
    return value


Sums = tuple[Tensor, Tensor | None, Tensor | None]
Way = Callable[[Tensor, Tensor, Shares], Sums]


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, way: Way, shares: Shares) -> Tensor:
        with fast_products():
            total, *gradients = way(widen(a.detach()), b.detach(), shares)
        ctx.save_for_backward(*gradients)
        # The gradient of the sum over ranks of this value, so that the average over ranks is that of one process.
        ctx.scale = len(shares.sizes) / shares.total
        mean = summed(total, shares.group) / shares.total + math.log(shares.total)
        return mean.to(widen(a).dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_gradient()
        da, db = ctx.saved_tensors
        scale = gradient * ctx.scale
        return da * scale, db * scale, None, None


def _gathered(a: Tensor, b: Tensor, shares: Shares) -> Sums:
    columns = widen(gathered_rows(b, shares))
    total, da, db = _rows(a, columns, shares.start, needed=shares.needed)
    return total, da, None if db is None else scattered_sum(db, shares)


def _rows(a: Tensor, columns: Tensor, offset: int, *, needed: bool) -> Sums:
    """The sum over rows of ``a`` of log-softmax at the partner, column ``offset + i``; gradients of both, if needed."""
    total = a.new_zeros((), dtype=torch.float64)
    da, db = (torch.zeros_like(a), torch.zeros_like(columns)) if needed else (None, None)
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS]
        scores = rows @ columns.T
        partners = scores.diagonal(offset + start)
        log_partition = torch.logsumexp(scores, 1)
        total += (partners - log_partition).double().sum()
        if da is None or db is None:
            continue
        weights = scores.sub_(log_partition[:, None]).exp_().neg_()
        weights.diagonal(offset + start).add_(1)
        torch.mm(weights, columns, out=da[start : start + _ROWS])
        db.addmm_(weights.T, rows)
    return total, da, db


def _ring(a: Tensor, b: Tensor, shares: Shares) -> Sums:
    ring = _Ring(shares)
    log_partition = a.new_full((len(a), 1), -torch.inf)
    for block in ring.blocks(b.contiguous()):
        columns = widen(block)
        for rows, own in zip(torch.split(a, _ROWS), torch.split(log_partition, _ROWS), strict=True):
            torch.logaddexp(own, torch.logsumexp(rows @ columns.T, 1, keepdim=True), out=own)
    mine = widen(b)
    total = ((a * mine).sum(1, keepdim=True) - log_partition).double().sum()
    if not shares.needed:
        return total, None, None
    da, db = mine.clone(), torch.zeros_like(mine)  # db: at each hop of the block that is here
    for hop, block in enumerate(ring.blocks(b.contiguous())):
        columns = widen(block)
        for rows, own, gradient in zip(
            torch.split(a, _ROWS), torch.split(log_partition, _ROWS), torch.split(da, _ROWS), strict=True
        ):
            weights = (rows @ columns.T).sub_(own).exp_()
            gradient.addmm_(weights, columns, alpha=-1)
            db.addmm_(weights.T, rows, alpha=-1)
        db = ring.pass_on(db, hop)()
    return total, da, db + a


class _Ring:
    """Each rank sends to the next, and receives from the one before."""

    def __init__(self, shares: Shares) -> None:
        self.sizes, self.rank, self.group = shares.sizes, shares.rank, shares.group
        self.world = len(shares.sizes)

    def blocks(self, own: Tensor) -> Iterator[Tensor]:
        """The blocks of all ranks, the own one first; each travels on while it is in use."""
        block = own
        for hop in range(self.world - 1):
            arrived = self.pass_on(block, hop)
            yield block
            block = arrived()
        yield block

    def pass_on(self, block: Tensor, hop: int) -> Callable[[], Tensor]:
        """Start to send the block that is here after so many hops, and to receive the next; what waits for that."""
        following = block.new_empty(self.sizes[(self.rank - hop - 1) % self.world], *block.shape[1:])
        operations = []
        for operation, tensor, step in ((dist.isend, block, 1), (dist.irecv, following, -1)):
            peer = (self.rank + step) % self.world
            peer = peer if self.group is None else dist.get_global_rank(self.group, peer)
            if len(tensor):
                operations.append(dist.P2POp(operation, tensor, peer, self.group))
        with answering("passing on rows"):
            requests = dist.batch_isend_irecv(operations) if operations else []

        def wait() -> Tensor:
            with answering("passing on rows"):
                for request in requests:
                    request.wait()
            return following

        return wait
