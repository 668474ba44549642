r"""A score matrix ``a @ b.T`` that is represented by its factors; sums over it take O(N) memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from infomax.scores.gradients import Tiling, fused_sum, row_statistics
from infomax.scores.precision import check_real, products, widened
from infomax.scores.statistics import LogSums, SoftplusSums, Statistic


class InnerProducts:
    r"""The matrix of scores :math:`s_{ij} = a_i^\top b_j` of N pairs, represented by its two N × D factors.

    :meth:`~infomax.bounds.contrastive.Contrastive.scores` returns it for many pairs if the critic's scores are inner
    products. The functions of :mod:`infomax.bounds.objectives` take it in place of the matrix. Operations that cannot
    be computed in tiles (other functions of torch, indexing, other methods of tensors) build the matrix, in N² memory.

    Values and gradients equal those of the matrix up to rounding. First derivatives are available, second derivatives
    are not. Products are computed in float32 (or float64), also under autocast; half-precision factors are widened.

    Args:
        a, b: ``(N, D)`` each; they contain the temperature and all offsets.
        tile: rows and columns that are scored at a time; by default what is fast (512 × 2,048 on a CPU). They need not
            divide N.
        narrow: a type such as ``torch.bfloat16``, in which the two products of the gradients are computed, with its
            error (3e-3 for bfloat16). It is faster on processors that support it, and does not affect the values. The
            range of float16 is too small.

    Raises:
        TypeError: unless a and b are dense tensors of floating-point numbers.
        ValueError: for shapes that differ, tensors without values (meta), and float16 as ``narrow``.
        torch.cuda.OutOfMemoryError: on any device, if a block of rows does not fit into memory, with N and a remedy.

    >>> a, b = torch.randn(2, 1000, 8)
    >>> scores = InnerProducts(a, b)
    >>> bool(torch.isclose(scores.mean_log_sum(), (a @ b.T).logsumexp(1).mean()))
    True
    """

    def __init__(
        self, a: Tensor, b: Tensor, *, tile: tuple[int, int] | None = None, narrow: torch.dtype | None = None
    ) -> None:
        check_real(a, "a")
        check_real(b, "b")
        if a.ndim != 2 or a.shape != b.shape:
            raise ValueError(f"a and b must both have shape (N, D); got {tuple(a.shape)} and {tuple(b.shape)}")
        self.a, self.b, self.tiling = a, b, Tiling(tile, narrow)
        self._shared: _Shared | None = None
        self._transposed = False  # whether the shared statistics are those of the transpose

    @property
    def shape(self) -> torch.Size:
        """(N, N)."""
        return torch.Size((len(self.a), len(self.b)))

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def requires_grad(self) -> bool:
        """Whether one of the factors requires a gradient."""
        return self.a.requires_grad or self.b.requires_grad

    @property
    def dtype(self) -> torch.dtype:
        """The type of the scores: float32, or float64."""
        return torch.promote_types(torch.promote_types(self.a.dtype, self.b.dtype), torch.float32)

    @property
    def device(self) -> torch.device:
        return self.a.device

    def __len__(self) -> int:
        return len(self.a)

    def __repr__(self) -> str:
        return f"InnerProducts(N={len(self)}, D={self.a.shape[1]}, {self.dtype}, {self.device})"

    @property
    def T(self) -> InnerProducts:  # noqa: N802 - as of tensors
        """The transpose: entry [i, j] scores (x_j, y_i)."""
        other = self._with(self.b, self.a)
        other._shared, other._transposed = self._shared, not self._transposed
        return other

    def dense(self) -> Tensor:
        """The matrix, ``(N, N)``, in float32 or wider."""
        return products(self.a, self.b)

    def diagonal(self) -> Tensor:
        """The scores of the true pairs, ``(N,)``, in float32 or wider."""
        return (widened(self.a) * widened(self.b)).sum(1)

    def mean_log_sum(self) -> Tensor:
        r""":math:`\frac1N \sum_i \log \sum_j e^{s_{ij}}`, 0-d."""
        if self._shared is not None:
            return self.log_sums().mean()
        return fused_sum(self.a, self.b, "rows", self.tiling)

    def log_sums(self) -> Tensor:
        r""":math:`\log \sum_j e^{s_{ij}}` of each row i, ``(N,)``."""
        return torch.logaddexp(self.statistic(LogSums()), self.diagonal())

    def log_sum_off_diagonal(self, limit: float = math.inf) -> Tensor:
        r""":math:`\log \sum_{i \ne j} e^{s_{ij}}`, 0-d, with the scores clipped to ±limit."""
        if self._shared is not None:
            return torch.logsumexp(self.statistic(LogSums(limit=limit)), 0)
        return fused_sum(self.a, self.b, "all", self.tiling, limit=limit)

    def softplus_sum_off_diagonal(self) -> Tensor:
        r""":math:`\sum_{i \ne j} \log(1 + e^{s_{ij}})`, 0-d."""
        if self._shared is not None:
            return self.statistic(SoftplusSums()).sum()
        return fused_sum(self.a, self.b, "softplus", self.tiling)

    def statistic(self, wanted: Statistic) -> Tensor:
        """A statistic of each row or column, ``(N,)``."""
        if self._shared is not None:
            return self._shared[wanted.transposed() if self._transposed else wanted]
        return row_statistics(self.a, self.b, [wanted], self.tiling)[0]

    def sharing(self, wanted: Iterable[Statistic]) -> InnerProducts:
        """The same scores; these statistics are computed together, in one pass, when the first one is needed."""
        other = self._with(self.a, self.b)
        other._shared = _Shared(self, wanted)
        return other

    def rows(self, kept: Tensor) -> InnerProducts:
        """The scores of some pairs with each other; ``kept`` are their indices, or a boolean tensor ``(N,)``."""
        return self._with(self.a[kept], self.b[kept])

    def __add__(self, offset: Tensor | float) -> Any:
        """Add a number, offsets of columns ``(N,)`` or of rows ``(N, 1)``; anything else is added to the matrix."""
        if not isinstance(offset, Tensor) or offset.ndim == 0:
            offset = torch.as_tensor(offset, dtype=self.dtype, device=self.device).expand(len(self.b))
        if offset.shape == (len(self.b),):
            return self._with(_appended(self.a, None), _appended(self.b, offset))
        if offset.shape == (len(self.a), 1):
            return self._with(_appended(self.a, offset[:, 0]), _appended(self.b, None))
        return self.dense() + offset

    __radd__ = __add__

    def __sub__(self, offset: Tensor | float) -> Any:
        return self + (-offset)

    def __neg__(self) -> InnerProducts:
        return self._with(-self.a, self.b)

    def __mul__(self, factor: Tensor | float) -> Any:
        """Multiply by a number; anything else multiplies the matrix."""
        if isinstance(factor, Tensor) and factor.ndim:
            return self.dense() * factor
        return self._with(widened(self.a) * factor, self.b)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Tensor | float) -> Any:
        return self * (1 / divisor)

    def __getitem__(self, index: Any) -> Tensor:
        return self.dense()[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Tensor, name):
            raise AttributeError(f"InnerProducts has no attribute {name!r}")
        return getattr(self.dense(), name)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = {name: _dense(value) for name, value in (kwargs or {}).items()}
        return function(*map(_dense, args), **keywords)

    def _with(self, a: Tensor, b: Tensor) -> InnerProducts:
        return InnerProducts(a, b, tile=self.tiling.tile, narrow=self.tiling.narrow)


class _Shared:
    """Statistics of the same scores that are computed in one pass; others are computed one by one."""

    def __init__(self, scores: InnerProducts, wanted: Iterable[Statistic]) -> None:
        self.scores, self.wanted = scores, tuple(dict.fromkeys(wanted))
        self.found: dict[Statistic, Tensor] = {}

    def __getitem__(self, wanted: Statistic) -> Tensor:
        if wanted not in self.found:
            together = self.wanted if wanted in self.wanted else (wanted,)
            with torch.enable_grad():  # the first caller may not need a gradient, but the next one may
                found = row_statistics(self.scores.a, self.scores.b, together, self.scores.tiling)
            self.found.update(zip(together, found, strict=True))
        return self.found[wanted]


def _dense(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_dense, value))
    return value.dense() if isinstance(value, InnerProducts) else value


def _appended(factor: Tensor, column: Tensor | None) -> Tensor:
    """Append a column, of ones by default, in the wider of the two types."""
    if column is None:
        column = factor.new_ones(len(factor))
    dtype = torch.promote_types(factor.dtype, column.dtype)
    return torch.cat([factor.to(dtype), column.to(dtype)[:, None]], 1)
