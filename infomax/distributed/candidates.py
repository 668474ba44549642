"""InfoNCE with chosen pairs over ranks: each rank compares its own rows with the candidates of all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infomax.bounds.candidates import Batch, check_rows, comparisons, sides
from infomax.bounds.comparisons import Comparison
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.nce import InfoNCE
from infomax.bounds.options import FILLINGS, Given, PairOptions, checked
from infomax.distributed.ranks import RankError, Shares, agree, gathered, rank, summed, together, world_size

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class RankedBatch(Batch):
    """The rows of all ranks. Each method is collective; its gradients are exchanged in the backward pass."""

    def __init__(self, shares: Shares, further: Shares) -> None:
        self.shares, self.of_further, self.start = shares, further, shares.start

    def rows(self, own: Tensor) -> Tensor:
        return _gathered(own, self.shares)

    def further(self, own: Tensor) -> Tensor:
        return _gathered(own, self.of_further)


def _gathered(own: Tensor, shares: Shares) -> Tensor:
    if own.dtype is torch.bool:
        return gathered(own.to(torch.uint8), shares).bool()
    return gathered(own, shares)


def compared(
    bound: InfoNCE, x: Tensor, y: Tensor, options: PairOptions, group: ProcessGroup | None
) -> list[Comparison]:
    """The comparisons of this rank's rows, see :meth:`infomax.InfoNCE.compared`; all ranks pass the same options.

    Raises:
        ValueError: on all ranks, if their options differ, and as :class:`infomax.InfoNCE`, on the rank it concerns.
        infomax.RankError: if another rank raises an error.
    """
    sizes, start = _sizes(x, options, group)
    problem, tensors = None, {"x": x, "y": y}
    try:
        found = _own(bound, x, y, options, sizes, start=start)
        parts = sides(bound, x, y, found, tiled=True)
        tensors |= {"rows": parts.rows, "columns": parts.columns}
        tensors |= {} if parts.shared is None else {"negatives": parts.shared}
    except Exception as error:  # whatever the error, the other ranks must not wait for this one
        problem = error
    shares = agree(tensors, group, problem=problem)
    if shares.total + sum(sizes[1]) < 2:
        raise ValueError(f"x must have at least 2 rows on all ranks together; got {shares.total}")
    batch = RankedBatch(shares, Shares(sizes[1], shares.needed, shares.rank, group))
    result: list[Comparison] = []
    try:
        result = comparisons(bound, parts, found, batch)
    except RankError:
        raise
    except Exception as error:
        problem = error

    def settled() -> None:
        if problem is not None:
            raise problem

    together(settled, group)
    return result


def whole(
    bound: Contrastive, x: Tensor, y: Tensor, options: PairOptions, group: ProcessGroup | None
) -> tuple[Shares, Tensor, Tensor, PairOptions]:
    """The pairs and the options of all ranks, on every rank: what one process would pass.

    Raises:
        ValueError: on all ranks, if their options differ, and as :class:`infomax.InfoNCE`, on the rank it concerns.
        infomax.RankError: if another rank raises an error.
    """
    sizes, start = _sizes(x, options, group)
    problem, tensors = None, {"x": x, "y": y}
    try:
        found = _own(bound, x, y, options, sizes, start=start)
        matrices = {name: getattr(found, name) for name in FILLINGS if getattr(found, name) is not None}
        spread = {name: found.places.spread(matrix, name) for name, matrix in matrices.items()}
        for name in ("shared", "each"):
            tensors |= {} if getattr(found, name) is None else {"negatives": getattr(found, name)}
    except Exception as error:  # whatever the error, the other ranks must not wait for this one
        problem = error
    shares = agree(tensors, group, problem=problem)
    batch = RankedBatch(shares, Shares(sizes[1], shares.needed, shares.rank, group))
    every = {name: batch.rows(matrix) for name, matrix in spread.items()}
    if found.shared is not None:
        every["negatives"] = batch.further(found.shared)
    if found.each is not None:
        every["negatives"] = batch.rows(found.each)
    if found.row_weights is not None:
        every["weights"] = batch.rows(found.row_weights)
    if found.labels is not None:
        every["labels"] = batch.rows(found.labels.long())
        if found.further_labels is not None:
            every["labels"] = torch.cat([every["labels"], batch.further(found.further_labels.long())])
    return shares, batch.rows(x), batch.rows(y), PairOptions(**every, exclude_self=found.exclude_self)  # type: ignore[typeddict-item]


def _own(
    bound: Contrastive, x: Tensor, y: Tensor, options: PairOptions, sizes: Sequence[Sequence[int]], *, start: int
) -> Given:
    """The checked options of this rank, whose candidates are the pairs and negatives of all ranks."""
    bound.check_pair(x, y, least=0)
    dim = bound.x_dim if bound.of_x else bound.y_dim
    return checked(len(x), dim, pairs=sum(sizes[0]), further=sum(sizes[1]), start=start, **options)


def mean(found: list[Comparison], group: ProcessGroup | None) -> Tensor:
    """The weighted mean over the rows of all ranks, and over directions: 0-d, equal on all ranks."""
    world = world_size(group)
    weights = torch.stack([comparison.row_weights.sum() for comparison in found])
    totals = summed(weights, group) / world
    check_rows(list(totals))
    own = torch.stack([each.mean(total) for each, total in zip(found, totals, strict=True)]).mean()
    return own - own.detach() + summed(own, group) / world


def _sizes(x: Tensor, options: PairOptions, group: ProcessGroup | None) -> tuple[tuple[list[int], list[int]], int]:
    """The numbers of pairs and of negatives for all rows of each rank, and the place of this rank's first pair."""
    negatives = options.get("negatives")
    shared = isinstance(negatives, Tensor) and negatives.ndim == 2
    rows = len(x) if isinstance(x, Tensor) and x.ndim else 0
    names = sorted(name for name, value in options.items() if value is not None)
    of_ranks = together(lambda: (rows, len(negatives) if shared and negatives is not None else 0, names), group)
    for _, _, others in of_ranks:
        if others != names:
            raise ValueError(f"all ranks must pass the same options; got {names} and {others}")
    sizes = [pairs for pairs, _, _ in of_ranks], [further for _, further, _ in of_ranks]
    return sizes, sum(sizes[0][: rank(group)])
