r"""Several statistics of the same inner products from one pass, to be used in any function: four matrix products.

The weights of the rows in the gradient are not known before the backward pass, which therefore recomputes the tiles.
If they are known, :mod:`infomax.scores.tiles` needs only three products. All statistics leave out the diagonal, [i, i].
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.scores.pairs import Pairs
from infomax.scores.walk import LOG2_E, Walk, add_product, arithmetic


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile of scores.

    Attributes:
        rows, columns: the position in the matrix. scores: in powers of two, −inf on the diagonal of the matrix.
        exponentials: of the scores; ``None`` if they could overflow.
        offset: the diagonal of the tile that lies on the diagonal of the matrix.
    """

    rows: slice
    columns: slice
    scores: Tensor
    exponentials: Tensor | None
    offset: int

    def part(self, values: Tensor, *, by_column: bool) -> Tensor:
        """The tile's part of ``values``, one for each row or column: a view that broadcasts over the tile."""
        return values[None, self.columns] if by_column else values[self.rows, None]

    def clipped(self, limit: float) -> Tensor:
        """The scores clipped to ±limit nats; −inf on the diagonal."""
        values = self.scores.clamp(-limit * LOG2_E, limit * LOG2_E)
        values.diagonal(self.offset).fill_(-math.inf)
        return values


@dataclass(frozen=True)
class Statistic(abc.ABC):
    """A number for each row, or for each column, of the scores.

    Attributes:
        by_column: whether the numbers are those of columns.
    """

    by_column: bool = False
    #: The value before the first tile, and the unit of all values in nats.
    start: ClassVar[float] = 0.0
    unit: ClassVar[float] = 1.0

    def transposed(self) -> Statistic:
        """The same statistic of the transposed scores."""
        return replace(self, by_column=not self.by_column)

    @abc.abstractmethod
    def add(self, found: Tensor, tile: Tile) -> None:
        """Update ``found``, the part of the statistic that belongs to the tile, in place."""

    @abc.abstractmethod
    def add_slopes(self, to: Tensor, found: Tensor, weights: Tensor, tile: Tile) -> None:
        """Add ``weights`` times the derivatives of ``found`` by the tile's scores to their gradient ``to``."""


@dataclass(frozen=True)
class LogSums(Statistic):
    r""":math:`\log \sum_{j \ne i} e^{s_{ij}}` of each row i, or of each column, of the scores clipped to ±limit.

    Its values are in powers of two, as the scores of tiles are. In nats, a large value would be rounded by more than
    the log of the largest entry's share, which is the exponent of its gradient.
    """

    limit: float = math.inf
    start: ClassVar[float] = -math.inf
    unit: ClassVar[float] = 1 / LOG2_E

    def add(self, found: Tensor, tile: Tile) -> None:
        dim = 0 if self.by_column else 1
        if tile.exponentials is not None and self.limit == math.inf:
            log_sums = tile.exponentials.sum(dim, keepdim=True).log2_()
        else:
            scores = tile.scores if self.limit == math.inf else tile.clipped(self.limit)
            greatest = scores.amax(dim, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)
            log_sums = (scores - greatest).exp2_().sum(dim, keepdim=True).log2_().add_(greatest)
        found.copy_(torch.logaddexp2(found, log_sums))

    def add_slopes(self, to: Tensor, found: Tensor, weights: Tensor, tile: Tile) -> None:
        if tile.exponentials is not None and self.limit == math.inf:
            to.addcmul_(tile.exponentials, weights * torch.exp2(-found))
        elif self.limit == math.inf:
            to.addcmul_((tile.scores - found).exp2_(), weights)
        else:
            slopes = (tile.clipped(self.limit) - found).exp2_()
            to.addcmul_(slopes.mul_(tile.scores.abs() <= self.limit * LOG2_E), weights)


@dataclass(frozen=True)
class SoftplusSums(Statistic):
    r""":math:`\sum_{j \ne i} \log(1 + e^{s_{ij}})` of each row i, or of each column."""

    def add(self, found: Tensor, tile: Tile) -> None:
        found.add_(F.softplus(tile.scores / LOG2_E).sum(0 if self.by_column else 1, keepdim=True))

    def add_slopes(self, to: Tensor, found: Tensor, weights: Tensor, tile: Tile) -> None:
        to.addcmul_((tile.scores / LOG2_E).sigmoid_(), weights)


def statistics(
    a: Tensor,
    b: Tensor,
    wanted: Sequence[Statistic],
    *,
    tile: tuple[int, int] | None,
    pairs: Pairs | None = None,
) -> list[Tensor]:
    """The statistics, ``(N,)`` each, of ``a @ b.T`` with a, b ``(N, D)``, each in its own unit.

    ``pairs``: which entries count, and how often; only for :class:`LogSums`.

    Raises:
        as :func:`infomax.scores.tiles.log_sums`.
    """
    walk = Walk(a, b, tile, without=0)
    with arithmetic(walk):
        found = [walk.a.new_full((len(a),), statistic.start) for statistic in wanted]
        for _, each in _tiles(walk, pairs):
            for statistic, values in zip(wanted, found, strict=True):
                statistic.add(each.part(values, by_column=statistic.by_column), each)
        return found


def gradients(
    a: Tensor,
    b: Tensor,
    wanted: Sequence[tuple[Statistic, Tensor, Tensor]],
    *,
    sides: tuple[bool, bool],
    tile: tuple[int, int] | None,
    narrow: torch.dtype | None = None,
    pairs: Pairs | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients with respect to a and b.

    Args:
        wanted: each statistic with its values in its unit, and with the gradient with respect to its values in nats,
            ``(N,)`` each.
        sides: whether to compute the gradients with respect to a and to b.
        narrow: see :func:`infomax.scores.tiles.log_sums`. pairs: see :func:`statistics`.
    """
    walk = Walk(a, b, tile, without=0, narrow=narrow)
    with arithmetic(walk):
        of_a, of_b = (
            torch.zeros_like(side) if asked else None for side, asked in zip((walk.a, walk.b), sides, strict=True)
        )
        if pairs is not None:  # a row without any entry has no gradient
            wanted = [
                (each, found.masked_fill(found == -math.inf, math.inf), weights) for each, found, weights in wanted
            ]
        for own, each in _tiles(walk, pairs):
            slopes = torch.zeros_like(each.scores)
            for statistic, found, weights in wanted:
                own_found, own_weights = (
                    each.part(v.to(slopes), by_column=statistic.by_column) for v in (found, weights)
                )
                statistic.add_slopes(slopes, own_found, own_weights, each)
            narrowed = walk.narrowed(slopes)
            if of_a is not None:
                add_product(of_a[each.rows], narrowed, walk.factors[each.columns])
            if of_b is not None:
                add_product(of_b[each.columns], narrowed.T, walk.narrowed(own))
        return of_a, of_b


def _tiles(walk: Walk, pairs: Pairs | None) -> Iterator[tuple[Tensor, Tile]]:
    """All tiles, each with the rows of a that belong to it."""
    safe = walk.safe()
    scratch = walk.a.new_empty(0 if pairs is None or not pairs.matrices else walk.rows * walk.columns)
    for rows in walk.blocks():
        own = walk.a[rows]
        for columns, scores in walk.tiles(rows, own * LOG2_E):
            walk.diagonal(scores, rows, columns).fill_(-math.inf)
            exponentials = None
            if pairs is not None and safe:  # weights, not their logs
                pairs.leave_out(scores, rows, columns, scratch)
                exponentials = torch.exp2(scores)
                pairs.weigh(exponentials, rows, columns)
            elif pairs is not None:
                pairs.adjust(scores, rows, columns, scratch)
            elif safe:
                exponentials = torch.exp2(scores)
            yield own, Tile(rows, columns, scores, exponentials, rows.start - columns.start)
