"""How to walk over an N × M matrix of inner products in tiles, none of which is kept longer than it is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from infomax.scores.matmul import fast_products

#: Powers of two: exp2 is the fastest exponential.
LOG2_E = math.log2(math.e)
#: Scores whose absolute value, in powers of two, cannot pass this need no shift: their exponentials cannot overflow.
_SAFE_EXPONENT = 60.0
#: Rows of a block however many columns there are.
_LEAST_ROWS = 64


def default_tile(device: torch.device) -> tuple[int, int]:
    """Rows and columns of a tile: on a CPU as measured with 1 MiB of cache a core; elsewhere larger, by reasoning."""
    return (512, 2048) if device.type == "cpu" else (4096, 8192)


def _block_elements(device: torch.device) -> int:
    """Elements of a block of rows all of whose tiles are kept."""
    return 1 << 23 if device.type == "cpu" else 1 << 26


class Walk:
    """The blocks of rows of an N × M matrix, and the tiles of a block, in memory that is used again.

    Args:
        a, b: ``(N, D)`` and ``(M, D)``; of half precision, they are widened to float32. tile: rows and columns.
        without: the column that row 0 leaves out, as each row the next one; ``None``: nothing.
        narrow: the type that gradients are multiplied in. keep: whether the tiles of a block stay until its end.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        tile: tuple[int, int] | None,
        *,
        without: int | None,
        narrow: torch.dtype | None = None,
        keep: bool = False,
    ) -> None:
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise ValueError(f"a and b must have shapes (N, D) and (M, D); got {tuple(a.shape)} and {tuple(b.shape)}")
        rows, columns = tile or default_tile(a.device)
        if rows < 1 or columns < 1:
            raise ValueError(f"tile must have at least one row and one column; got {tile}")
        if tile is None and keep:
            rows = min(rows, max(_LEAST_ROWS, _block_elements(a.device) // max(1, len(b))))
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

    def safe(self, limit: float = math.inf) -> bool:
        """Whether no exponential of a score, clipped to ±limit nats, can overflow: by the norms of a and b."""
        norms = [torch.linalg.vector_norm(side, dim=1).amax() for side in (self.a, self.b)]
        return min(float(norms[0] * norms[1]), limit) * LOG2_E <= _SAFE_EXPONENT

    def narrowed(self, values: Tensor) -> Tensor:
        """In the type that gradients are multiplied in."""
        return values if self.narrow is None else values.to(self.narrow)


@contextmanager
def arithmetic(walk: Walk) -> Iterator[None]:
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


def add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """``to += left @ right``, also where ``to`` is wider than the product."""
    if left.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to += left @ right
