r"""Sums over all pairs of inner products, and their gradients, without the N × M matrix: O(N) memory, three products.

``scores[i, j] = a[i] @ b[j]``. Each function walks over blocks of rows, each in tiles of columns, and forms gradients
on the way, while a tile's exponentials are at hand: the product itself, one with b and one with a, none repeated.
Nothing here is recorded by autograd (:mod:`infomax.inner_products` is), so that rows may be one process's own and
columns those of all processes.

Online log-sum-exp: Milakov and Gimelshein, 2018, arXiv 1805.02867; tiles of a softmax between two products: Rabe and
Staats, 2021, arXiv 2112.05682.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.products import fast_products

#: Rows and columns of a tile, of which one is at work: measured on processors with 1 MiB of cache a core.
TILE = (512, 2048)
#: Elements of a block of rows, all of whose tiles are kept until the sums of its rows are known.
_BLOCK_ELEMENTS = 1 << 23
#: Rows of a block however many columns there are.
_LEAST_ROWS = 64
#: Scores whose absolute value, in powers of two, cannot pass this need no shift: their exponentials cannot overflow.
_SAFE_EXPONENT = 60.0
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True, eq=False)
class Sums:
    """What a walk over the tiles finds.

    Attributes:
        rows: a sum, or its log, for each row, ``(N,)``. of_a, of_b: gradients with respect to a ``(N, D)`` and b
            ``(M, D)``, of what the function says; ``None`` where not asked for.
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
) -> Sums:
    r""":math:`L_i = \log \sum_j e^{s_{ij}}` of every row, and gradients of :math:`\sum_i L_i` or of the log of all.

    Args:
        a, b: ``(N, D)`` and ``(M, D)``; of half precision, they are widened to float32.
        over: what the gradients are of: "rows", :math:`\sum_i L_i`; "all", :math:`\log \sum_i e^{L_i}`.
        without: leave entry [i, without + i] out of row i; ``None``: nothing.
        limit: scores are clipped to ±limit first.
        gradients: whether those of a and of b are wanted.
        tile: rows and columns of a tile; by default :data:`TILE`, with fewer rows where there are many columns.
        narrow: a type such as bfloat16 in which the two products of the gradients are computed; the sums are not.

    Raises:
        ValueError: for shapes that do not fit, a tile without rows or columns.
        torch.cuda.OutOfMemoryError: if a block finds no memory, with the sizes and what to change.
    """
    if not limit > 0:
        raise ValueError(f"limit must be positive; got {limit}")
    walk = _Walk(a, b, tile, without=without, narrow=narrow, keep=gradients[1])
    with _arithmetic(walk):
        of_a, of_b = _like(walk.a, gradients[0]), _like(walk.b, gradients[1])
        shifted = not _bound(walk.a, walk.b, limit) <= _SAFE_EXPONENT
        blocks = _Exponentials(walk, limit * _LOG2_E, shifted, of_a, any(gradients))
        rows = _sums_of_rows(blocks, of_a, of_b) if over == "rows" else _sum_of_all(blocks, of_a, of_b)
        return Sums(rows / _LOG2_E, of_a, of_b)


def softplus_sums(
    a: Tensor,
    b: Tensor,
    *,
    without: int | None = None,
    gradients: tuple[bool, bool] = (True, True),
    tile: tuple[int, int] | None = None,
    narrow: torch.dtype | None = None,
) -> Sums:
    r""":math:`\sum_j \log(1 + e^{s_{ij}})` of every row, and the gradients of the sum of all; see :func:`log_sums`."""
    walk = _Walk(a, b, tile, without=without, narrow=narrow)
    with _arithmetic(walk):
        of_a, of_b = _like(walk.a, gradients[0]), _like(walk.b, gradients[1])
        rows = walk.a.new_zeros(len(walk.a))
        for block in walk.blocks():
            own = walk.narrowed(walk.a[block])
            for columns, scores in walk.tiles(block, walk.a[block]):
                each = F.softplus(scores)
                torch.sigmoid(scores, out=scores)
                for values in (each, scores):
                    walk.diagonal(values, block, columns).zero_()
                rows[block] += each.sum(1)
                slopes = walk.narrowed(scores)
                if of_a is not None:
                    _add_product(of_a[block], slopes, walk.factors[columns])
                if of_b is not None:
                    _add_product(of_b[columns], slopes.T, own)
        return Sums(rows, of_a, of_b)


@dataclass(frozen=True, eq=False)
class _Block:
    """Exponentials of the scores of some rows, in powers of two.

    Attributes:
        rows: which rows. total: their sums relative to shift, ``(n, 1)``. shift: each row's greatest score, or 0.
        tiles: columns, exponentials, and the shift that they are relative to.
    """

    rows: slice
    total: Tensor
    shift: Tensor
    tiles: list[tuple[slice, Tensor, Tensor]]


class _Exponentials:
    """Blocks of exponentials; on the way their products with b are added to ``of_a``, relative to the block's shift.

    Args:
        limit: scores are clipped to ±limit, in powers of two. shifted: whether they could overflow without a shift.
        of_a: ``None``, or zeros. slopes: whether gradients are wanted, to which what is clipped adds nothing.
    """

    def __init__(self, walk: _Walk, limit: float, shifted: bool, of_a: Tensor | None, slopes: bool) -> None:
        self.walk, self.limit, self.shifted, self.of_a, self.slopes = walk, limit, shifted, of_a, slopes

    def __iter__(self) -> Iterator[_Block]:
        least = torch.finfo(self.walk.a.dtype).min if self.shifted else 0.0
        for rows in self.walk.blocks():
            scaled = self.walk.a[rows] * _LOG2_E
            block = _Block(rows, scaled.new_zeros(len(scaled), 1), scaled.new_full((len(scaled), 1), least), [])
            for columns, scores in self.walk.tiles(rows, scaled):
                inside = self._clip(scores)
                self.walk.diagonal(scores, rows, columns).fill_(-math.inf)
                if self.shifted:
                    self._shift(scores, block)
                scores.exp2_()
                block.total.add_(scores.sum(1, keepdim=True))
                if inside is not None:
                    scores.mul_(inside)
                slopes = self.walk.narrowed(scores)
                if self.of_a is not None:
                    _add_product(self.of_a[rows], slopes, self.walk.factors[columns])
                if self.walk.keep:
                    block.tiles.append((columns, slopes, block.shift.clone() if self.shifted else block.shift))
            yield block

    def _clip(self, scores: Tensor) -> Tensor | None:
        """Where the scores lay within the limit."""
        if self.limit == math.inf:
            return None
        scores.clamp_(-self.limit, self.limit)
        return scores.abs() < self.limit if self.slopes else None

    def _shift(self, scores: Tensor, block: _Block) -> None:
        """Subtract each row's greatest score so far, and make what is summed relative to it."""
        greatest = torch.maximum(block.shift, scores.amax(1, keepdim=True))
        rescale = torch.exp2(block.shift - greatest)
        block.shift.copy_(greatest)
        block.total.mul_(rescale)
        if self.of_a is not None:
            self.of_a[block.rows] *= rescale
        scores.sub_(greatest)


def _sums_of_rows(blocks: _Exponentials, of_a: Tensor | None, of_b: Tensor | None) -> Tensor:
    """Log-sums of rows in powers of two; the gradients of their sum."""
    walk = blocks.walk
    rows = walk.a.new_empty(len(walk.a))
    for block in blocks:
        rows[block.rows] = (block.total.log2() + block.shift)[:, 0]
        if of_a is not None:
            of_a[block.rows] /= block.total
        if of_b is not None:
            weighted = walk.a[block.rows] / block.total
            for columns, slopes, shift in block.tiles:
                factors = weighted * torch.exp2(shift - block.shift) if blocks.shifted else weighted
                _add_product(of_b[columns], slopes.T, walk.narrowed(factors))
    return rows


def _sum_of_all(blocks: _Exponentials, of_a: Tensor | None, of_b: Tensor | None) -> Tensor:
    """Log-sums of rows in powers of two; the gradients of the log of the sum of all."""
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
            _add_product(of_b[columns], slopes.T, walk.narrowed(factors))
    log_total = torch.logsumexp(rows / _LOG2_E, 0) * _LOG2_E
    if of_a is not None:
        of_a *= torch.exp2(shifts - log_total)
    if of_b is not None:
        of_b *= torch.exp2(greatest - log_total)
    return rows


class _Walk:
    """The blocks of rows of an N × M matrix, and the tiles of a block, in memory that is used again.

    Args:
        keep: whether the tiles of a block stay until its end. The other arguments: see :func:`log_sums`.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        tile: tuple[int, int] | None,
        *,
        without: int | None,
        narrow: torch.dtype | None,
        keep: bool = False,
    ) -> None:
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise ValueError(f"a and b must have shapes (N, D) and (M, D); got {tuple(a.shape)} and {tuple(b.shape)}")
        rows, columns = tile or TILE
        if rows < 1 or columns < 1:
            raise ValueError(f"tile must have at least one row and one column; got {tile}")
        if tile is None and keep:
            rows = min(rows, max(_LEAST_ROWS, _BLOCK_ELEMENTS // max(1, len(b))))
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        self.a, self.b = a.detach().to(dtype), b.detach().to(dtype).contiguous()
        self.rows, self.columns = min(rows, max(1, len(a))), min(columns, max(1, len(b)))
        self.without, self.narrow, self.keep = without, narrow, keep

    def blocks(self) -> Iterator[slice]:
        """Rows of each block; the memory of its tiles is made before the first."""
        self.factors = self.narrowed(self.b)
        self._memory = self.a.new_empty(self.rows * (len(self.b) if self.keep else self.columns))
        for start in range(0, len(self.a), self.rows):
            yield slice(start, min(start + self.rows, len(self.a)))

    def tiles(self, block: slice, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Columns of each tile of a block, and the products of these rows with them."""
        for start in range(0, len(self.b), self.columns):
            columns = slice(start, min(start + self.columns, len(self.b)))
            first, width = start * len(rows) if self.keep else 0, columns.stop - start
            scores = self._memory[first : first + len(rows) * width].view(len(rows), width)
            torch.mm(rows, self.b[columns].T, out=scores)
            yield columns, scores

    def diagonal(self, values: Tensor, block: slice, columns: slice) -> Tensor:
        """The entries of a tile that are left out: [i, without + i]."""
        if self.without is None:
            return values[:0, 0]
        return values.diagonal(block.start + self.without - columns.start)

    def narrowed(self, values: Tensor) -> Tensor:
        """In the type that gradients are multiplied in."""
        return values if self.narrow is None else values.to(self.narrow)


@contextmanager
def _arithmetic(walk: _Walk) -> Iterator[None]:
    """Fast products of the type at hand whatever autocast says, nothing recorded, and memory that is missing named."""
    try:
        with torch.no_grad(), torch.autocast(walk.a.device.type, enabled=False), fast_products():
            yield
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        n, m = len(walk.a), len(walk.b)
        raise torch.cuda.OutOfMemoryError(
            f"no memory for {walk.rows} rows at a time of the scores of N = {n} with {m}; "
            f"give tile=(rows, columns) with fewer rows"
        ) from error


def _bound(a: Tensor, b: Tensor, limit: float) -> float:
    """No score is greater, in powers of two (Cauchy-Schwarz)."""
    norms = [torch.linalg.vector_norm(side, dim=1).amax() for side in (a, b)]
    return min(float(norms[0] * norms[1]), limit) * _LOG2_E


def _like(values: Tensor, wanted: bool) -> Tensor | None:
    return torch.zeros_like(values) if wanted else None


def _add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """``to += left @ right``, also where ``to`` is wider than the product."""
    if left.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to += left @ right
