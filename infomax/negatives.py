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
from infomax.tiles import Sums, log_sums

#: Rows whose scores against a block of columns are held at a time, the second time round the ring.
_ROWS = 512


def gathered_infonce(a: Tensor, b: Tensor, shares: Shares) -> Tensor:
    r""":math:`\frac1N \sum_i \big(a_i \cdot b_i - \log \frac1N \sum_j e^{a_i \cdot b_j}\big)` over all ranks' pairs.

    All ``b`` are gathered, three products are made of a rank's rows and all columns (:mod:`infomax.tiles`), and the
    gradient of ``b`` is summed where it belongs. For d columns of s bytes a rank receives N·d·s bytes twice.

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


#: The sum over this rank's rows, and the gradients of the sum over all ranks' rows by its ``a`` and ``b``, if needed.
Found = tuple[Tensor, Tensor | None, Tensor | None]
Way = Callable[[Tensor, Tensor, Shares], Found]


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, way: Way, shares: Shares) -> Tensor:
        total, *gradients = way(widen(a.detach()), b.detach().contiguous(), shares)
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


def _gathered(a: Tensor, b: Tensor, shares: Shares) -> Found:
    found = _log_sums(a, gathered_rows(b, shares), needed=shares.needed)
    total = _total(a, b, found.rows)
    if found.of_a is None or found.of_b is None:
        return total, None, None
    return total, widen(b) - found.of_a, a - scattered_sum(found.of_b, shares)


def _log_sums(a: Tensor, b: Tensor, *, needed: bool) -> Sums:
    """Of no rows and no columns too, which a rank may have."""
    if len(a) and len(b):
        return log_sums(a, b, gradients=(needed, needed))
    return Sums(a.new_full((len(a),), -torch.inf), torch.zeros_like(a), torch.zeros_like(widen(b)))


def _total(a: Tensor, b: Tensor, log_partition: Tensor) -> Tensor:
    """The sum over rows of the partner's score less the log-partition, in float64."""
    return ((a * b).sum(1) - log_partition).sum(dtype=torch.float64)


def _ring(a: Tensor, b: Tensor, shares: Shares) -> Found:
    ring = _Ring(shares)
    log_partition = a.new_full((len(a),), -torch.inf)
    for block in ring.blocks(b):
        torch.logaddexp(log_partition, _log_sums(a, block, needed=False).rows, out=log_partition)
    total = _total(a, b, log_partition)
    if not shares.needed:
        return total, None, None
    da, db = widen(b).clone(), torch.zeros_like(widen(b))  # db: at each hop of the block that is here
    with fast_products():
        for hop, block in enumerate(ring.blocks(b)):
            columns = widen(block)
            for rows, own, gradient in zip(*(torch.split(t, _ROWS) for t in (a, log_partition, da)), strict=True):
                weights = (rows @ columns.T).sub_(own[:, None]).exp_()
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
