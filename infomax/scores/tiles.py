r"""Sums over all pairs of inner products, and their gradients, in O(N) memory and three matrix products.

``scores[i, j] = a[i] @ b[j]``. Each function processes blocks of rows, and each block in tiles of columns. It computes
the gradients from a tile's exponentials while these are in memory, so that each tile takes three products: the scores,
one with b, and one with a. Autograd records nothing here; rows may therefore belong to one process and columns to all.

Online log-sum-exp: Milakov and Gimelshein, 2018, arXiv 1805.02867; tiles of a softmax between two products: Rabe and
Staats, 2021, arXiv 2112.05682.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.scores.pairs import Pairs
from infomax.scores.walk import LOG2_E, SAFE_EXPONENT, Walk, add_product, arithmetic


@dataclass(frozen=True, eq=False)
class Sums:
    """The result of a pass over the tiles.

    Attributes:
        rows: the sum, or its log, of each row, ``(N,)``.
        of_a, of_b: gradients with respect to a ``(N, D)`` and b ``(M, D)``; ``None`` if not requested.
    """

    rows: Tensor
    of_a: Tensor | None
    of_b: Tensor | None


def log_sums(
    a: Tensor,
    b: Tensor,
    *,
    over: Literal["rows", "all"] = "rows",
    without: int | None = None,
    limit: float = math.inf,
    gradients: tuple[bool, bool] = (True, True),
    tile: tuple[int, int] | None = None,
    narrow: torch.dtype | None = None,
    pairs: Pairs | None = None,
    first: Tensor | None = None,
    row_weights: Tensor | None = None,
    learned: int | None = None,
) -> Sums:
    r""":math:`L_i = \log \sum_j e^{s_{ij}}` of every row, and the gradients of one function of them.

    Args:
        a, b: ``(N, D)`` and ``(M, D)``; half precision is widened to float32.
        over: the function that is differentiated: "rows" for :math:`\sum_i L_i`, "all" for :math:`\log \sum_i e^{L_i}`.
        without: entry [i, without + i] of each row i is left out; ``None`` for no entry.
        limit: the scores are clipped to ±limit first.
        gradients: whether to compute the gradients with respect to a and b.
        tile: rows and columns of a tile; by default 512 and 2,048 on a CPU, with fewer rows if there are many columns.
        narrow: a type such as bfloat16, in which the two products of the gradients are computed. It does not affect
            the sums.
        pairs: which entries count, and how often.
        first: a number :math:`f_i` of each row that counts as one more score, ``(N,)``.
        row_weights: weights :math:`r_i` of the rows in the differentiated :math:`\sum_i r_i L_i`, ``(N,)``; only for
            "rows".
        learned: the number of first rows of b whose gradients are needed; those of others are 0. ``None`` for all.

    Raises:
        ValueError: for shapes that do not match, and a tile without rows or columns.
        torch.cuda.OutOfMemoryError: if a block does not fit into memory, with the sizes and a remedy.
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive; got {limit}")
    keep = (len(b) if learned is None else learned) if gradients[1] else 0
    walk = Walk(a, b, tile, without=without, narrow=narrow, keep=keep)
    with arithmetic(walk):
        of_a, of_b = _like(walk.a, gradients[0]), _like(walk.b, gradients[1])
        blocks = _Exponentials(walk, limit, of_a, slopes=any(gradients), pairs=pairs, first=first, learned=learned)
        rows = _sums_of_rows(blocks, of_a, of_b, row_weights) if over == "rows" else _sum_of_all(blocks, of_a, of_b)
        return Sums(rows / LOG2_E, of_a, of_b)


def softplus_sums(
    a: Tensor,
    b: Tensor,
    *,
    without: int | None = None,
    gradients: tuple[bool, bool] = (True, True),
    tile: tuple[int, int] | None = None,
    narrow: torch.dtype | None = None,
    pairs: Pairs | None = None,
    row_weights: Tensor | None = None,
    learned: int | None = None,
) -> Sums:
    r""":math:`\sum_j \log(1 + e^{s_{ij}})` of every row, and the gradients of their sum; see :func:`log_sums`."""
    walk = Walk(a, b, tile, without=without, narrow=narrow)
    most = len(b) if learned is None else learned
    with arithmetic(walk):
        of_a, of_b = _like(walk.a, gradients[0]), _like(walk.b, gradients[1])
        rows = walk.a.new_zeros(len(walk.a))
        scratch = walk.a.new_empty(0 if pairs is None or not pairs.matrices else walk.rows * walk.columns)
        for block in walk.blocks():
            own = walk.narrowed(walk.a[block])
            for columns, scores in walk.tiles(block, walk.a[block]):
                if pairs is not None:
                    pairs.leave_out(scores, block, columns, scratch)
                each = F.softplus(scores)
                torch.sigmoid(scores, out=scores)
                for values in (each, scores):
                    walk.diagonal(values, block, columns).zero_()
                    if pairs is not None:
                        pairs.weigh(values, block, columns)
                rows[block] += each.sum(1)
                if row_weights is not None:
                    scores.mul_(row_weights[block, None])
                slopes = walk.narrowed(scores)
                if of_a is not None:
                    add_product(of_a[block], slopes, walk.factors[columns])
                if of_b is not None and columns.start < most:
                    width = min(columns.stop, most) - columns.start
                    add_product(of_b[columns][:width], slopes.T[:width], own)
        return Sums(rows, of_a, of_b)


@dataclass(frozen=True, eq=False)
class _Block:
    """Exponentials of the scores of a block of rows, in powers of two.

    Attributes:
        rows: the rows. shift: each row's largest score, or 0. total: the rows' sums relative to shift, ``(n, 1)``.
        tiles: for each tile its columns, its exponentials, and the shift that these are relative to.
    """

    rows: slice
    total: Tensor
    shift: Tensor
    tiles: list[tuple[slice, Tensor, Tensor]]


class _Exponentials:
    """Iterate over blocks of exponentials, adding their products with b to ``of_a``, relative to the block's shift.

    Args:
        limit: the scores are clipped to ±limit, in nats.
        of_a: ``None``, or zeros.
        slopes: whether gradients are computed; clipped scores do not contribute to them.
        pairs, first, learned: see :func:`log_sums`.
    """

    def __init__(
        self,
        walk: Walk,
        limit: float,
        of_a: Tensor | None,
        *,
        slopes: bool,
        pairs: Pairs | None = None,
        first: Tensor | None = None,
        learned: int | None = None,
    ) -> None:
        self.learned = len(walk.b) if learned is None else learned
        self.walk, self.limit, self.of_a, self.slopes, self.pairs = walk, limit * LOG2_E, of_a, slopes, pairs
        self._scratch = walk.a.new_empty(0 if pairs is None or not pairs.matrices else walk.rows * walk.columns)
        self.first = None if first is None else first.to(walk.a.dtype)[:, None] * LOG2_E
        self.shifted = not walk.safe(limit) or (self.first is not None and float(self.first.max()) > SAFE_EXPONENT)

    def __iter__(self) -> Iterator[_Block]:
        least = torch.finfo(self.walk.a.dtype).min if self.shifted else 0.0
        for rows in self.walk.blocks():
            scaled = self.walk.a[rows] * LOG2_E
            block = _Block(rows, scaled.new_zeros(len(scaled), 1), scaled.new_full((len(scaled), 1), least), [])
            if self.first is not None:
                if self.shifted:
                    block.shift.copy_(self.first[rows].clamp_min(least))
                block.total.copy_(torch.exp2(self.first[rows] - block.shift))
            for columns, scores in self.walk.tiles(rows, scaled):
                inside = self._clip(scores)
                self.walk.diagonal(scores, rows, columns).fill_(-math.inf)
                if self.pairs is not None:
                    self.pairs.leave_out(scores, rows, columns, self._scratch)
                if self.shifted:
                    self._shift(scores, block)
                scores.exp2_()
                if self.pairs is not None:
                    self.pairs.weigh(scores, rows, columns)
                block.total.add_(scores.sum(1, keepdim=True))
                if inside is not None:
                    scores.mul_(inside)
                slopes = self.walk.narrowed(scores)
                if self.of_a is not None:
                    add_product(self.of_a[rows], slopes, self.walk.factors[columns])
                if columns.start < self.walk.keep:
                    block.tiles.append((columns, slopes, block.shift.clone() if self.shifted else block.shift))
            yield block

    def _clip(self, scores: Tensor) -> Tensor | None:
        """Clip the scores in place, and return where they lay within the limit."""
        if self.limit == math.inf:
            return None
        inside = scores.abs() <= self.limit if self.slopes else None
        scores.clamp_(-self.limit, self.limit)
        return inside

    def _shift(self, scores: Tensor, block: _Block) -> None:
        """Subtract each row's largest score so far, and rescale the sums accordingly."""
        greatest = torch.maximum(block.shift, scores.amax(1, keepdim=True))
        rescale = torch.exp2(block.shift - greatest)
        block.shift.copy_(greatest)
        block.total.mul_(rescale)
        if self.of_a is not None:
            self.of_a[block.rows] *= rescale
        scores.sub_(greatest)


def _sums_of_rows(
    blocks: _Exponentials, of_a: Tensor | None, of_b: Tensor | None, row_weights: Tensor | None
) -> Tensor:
    """Log-sums of the rows, in powers of two; ``of_a`` and ``of_b`` become the gradients of their weighted sum."""
    walk = blocks.walk
    rows = walk.a.new_empty(len(walk.a))
    for block in blocks:
        rows[block.rows] = (block.total.log2() + block.shift)[:, 0]
        divisor = block.total if row_weights is None else block.total / row_weights[block.rows, None]
        if of_a is not None:
            of_a[block.rows] /= divisor
        if of_b is not None:
            weighted = walk.a[block.rows] / divisor
            for columns, slopes, shift in block.tiles:
                factors = weighted * torch.exp2(shift - block.shift) if blocks.shifted else weighted
                width = min(columns.stop, blocks.learned) - columns.start
                add_product(of_b[columns][:width], slopes.T[:width], walk.narrowed(factors))
    return rows


def _sum_of_all(blocks: _Exponentials, of_a: Tensor | None, of_b: Tensor | None) -> Tensor:
    """Log-sums of the rows, in powers of two; ``of_a`` and ``of_b`` become the gradients of the log-sum of all."""
    walk = blocks.walk
    rows, shifts = walk.a.new_empty(len(walk.a)), walk.a.new_zeros(len(walk.a), 1)
    greatest = rows.new_full((), torch.finfo(rows.dtype).min if blocks.shifted else 0.0)
    for block in blocks:
        rows[block.rows] = (block.total.log2() + block.shift)[:, 0]
        shifts[block.rows] = block.shift
        if of_b is None:
            continue
        if blocks.shifted:
            before, greatest = greatest, torch.maximum(greatest, rows[block.rows].max())
            of_b *= torch.exp2(before - greatest)
        own = walk.a[block.rows]
        for columns, slopes, shift in block.tiles:
            factors = own * torch.exp2(shift - greatest) if blocks.shifted else own
            width = min(columns.stop, blocks.learned) - columns.start
            add_product(of_b[columns][:width], slopes.T[:width], walk.narrowed(factors))
    top = rows.max()
    log_total = torch.exp2(rows - top).sum().log2() + top
    if of_a is not None:
        of_a *= torch.exp2(shifts - log_total)
    if of_b is not None:
        of_b *= torch.exp2(greatest - log_total)
    return rows


def _like(values: Tensor, wanted: bool) -> Tensor | None:
    return torch.zeros_like(values) if wanted else None
