"""Iterate over an N × M matrix of inner products in tiles, in memory that is reused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Scores are scaled to powers of two, because exp2 is the fastest exponential.
LOG2_E = math.log2(math.e)
#: If all scores, in powers of two, are at most this large, exponentials cannot overflow and need no shift.
SAFE_EXPONENT = 60.0
#: Smallest number of rows in a block.
_LEAST_ROWS = 64


def default_tile(device: torch.device) -> tuple[int, int]:
    """Rows and columns of a tile. CPU: measured with 1 MiB of cache a core; other devices: estimated."""
    return (512, 2048) if device.type == "cpu" else (4096, 8192)


def _block_elements(device: torch.device) -> int:
    """Number of elements of a block of rows whose tiles are all kept."""
    return 1 << 23 if device.type == "cpu" else 1 << 26


class Walk:
    """The blocks of rows of an N × M matrix, and the tiles of each block, in memory that is reused.

    Args:
        a, b: ``(N, D)`` and ``(M, D)``; half precision is widened to float32. tile: rows and columns of a tile.
        without: the column that row 0 leaves out; row i leaves out the i-th column after it. ``None``: no column.
        narrow: the type of the products of the gradients.
        keep: the number of first columns whose tiles of a block are kept until its end.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        tile: tuple[int, int] | None,
        *,
        without: int | None,
        narrow: torch.dtype | None = None,
        keep: int = 0,
    ) -> None:
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise ValueError(f"a and b must have shapes (N, D) and (M, D); got {tuple(a.shape)} and {tuple(b.shape)}")
        if a.is_meta or b.is_meta:
            raise ValueError("a and b must hold values to be summed in tiles; got tensors on the meta device")
        if narrow not in (None, torch.bfloat16, torch.float32, torch.float64):
            raise ValueError(f"narrow must be a type with the range of float32, as torch.bfloat16; got {narrow}")
        rows, columns = tile or default_tile(a.device)
        if rows < 1 or columns < 1:
            raise ValueError(f"tile must have at least one row and one column; got {tile}")
        if tile is None and keep:
            rows = min(rows, max(_LEAST_ROWS, _block_elements(a.device) // keep))
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        self.a, self.b = a.detach().to(dtype), b.detach().to(dtype).contiguous()
        self.rows, self.columns = min(rows, max(1, len(a))), min(columns, max(1, len(b)))
        self.without, self.narrow = without, narrow
        self.keep = min(-(-keep // self.columns) * self.columns, len(b))  # whole tiles

    def blocks(self) -> Iterator[slice]:
        """The rows of each block. The memory of the tiles is allocated before the first block."""
        self.factors = self.narrowed(self.b)
        self._memory = self.a.new_empty(self.rows * (self.keep + (self.columns if self.keep < len(self.b) else 0)))
        for start in range(0, len(self.a), self.rows):
            yield slice(start, min(start + self.rows, len(self.a)))

    def tiles(self, block: slice, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The columns of each tile of a block, and the products of ``rows`` with them."""
        for start in range(0, len(self.b), self.columns):
            columns = slice(start, min(start + self.columns, len(self.b)))
            first, width = min(start, self.keep) * len(rows), columns.stop - start
            scores = self._memory[first : first + len(rows) * width].view(len(rows), width)
            torch.mm(rows, self.b[columns].T, out=scores)
            yield columns, scores

    def diagonal(self, values: Tensor, block: slice, columns: slice) -> Tensor:
        """The entries [i, without + i] of a tile, which are left out."""
        if self.without is None:
            return values[:0, 0]
        return values.diagonal(block.start + self.without - columns.start)

    def safe(self, limit: float = math.inf) -> bool:
        """Whether the norms of a and b exclude an overflow of the exponentials of scores clipped to ±limit nats."""
        norms = [torch.linalg.vector_norm(side, dim=1).amax() for side in (self.a, self.b)]
        return min(float(norms[0] * norms[1]), limit) * LOG2_E <= SAFE_EXPONENT

    def narrowed(self, values: Tensor) -> Tensor:
        """The values in the type of the products of the gradients."""
        return values if self.narrow is None else values.to(self.narrow)


@contextmanager
def arithmetic(walk: Walk) -> Iterator[None]:
    """Disable autocast and autograd, use fast products, and raise errors of missing memory with the sizes."""
    try:
        with torch.no_grad(), torch.autocast(walk.a.device.type, enabled=False):
            yield
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        n, m = len(walk.a), len(walk.b)
        raise torch.cuda.OutOfMemoryError(
            f"not enough memory for blocks of {walk.rows} rows of the scores of N = {n} with {m}; "
            f"set tile=(rows, columns) to fewer rows"
        ) from error


def add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """``to += left @ right``, also if ``to`` has a wider type than the product."""
    if left.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to += left @ right
