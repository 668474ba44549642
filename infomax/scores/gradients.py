"""Tiled sums as differentiable functions: first derivatives, with autocast, ``torch.func`` and ``torch.compile``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.autograd import Function

from infomax.scores.pairs import Pairs
from infomax.scores.statistics import Statistic, gradients, statistics
from infomax.scores.tiles import Sums, log_sums, softplus_sums

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Tiling:
    """Options of the computation: ``tile`` and ``narrow`` of :func:`infomax.scores.tiles.log_sums`."""

    tile: tuple[int, int] | None = None
    narrow: torch.dtype | None = None


def not_compiled(function: F) -> F:
    """Exclude a function from ``torch.compile``, which would unroll its loops.

    ``torch.compiler.disable`` imports the compiler, which takes as long as to import torch. It is therefore applied
    when a compiler first meets the function, not here.
    """
    eager: Callable[..., Any] | None = None

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        nonlocal eager
        if eager is None and torch.compiler.is_compiling():
            eager = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
        return (eager or function)(*arguments, **keywords)

    return call  # type: ignore[return-value]


@not_compiled
def fused_sum(
    a: Tensor,
    b: Tensor,
    kind: Literal["rows", "all", "softplus"],
    tiling: Tiling,
    *,
    limit: float = math.inf,
    pairs: Pairs | None = None,
    row_weights: Tensor | None = None,
    without: int | None = 0,
    learned: int | None = None,
) -> Tensor:
    r"""A function of all scores, 0-d, whose gradient is computed in the same pass: three matrix products.

    Args:
        a, b: ``(N, D)``.
        kind: "rows" for the mean of the rows' log-sum-exps, with the diagonal; "all" for the log-sum-exp of all
            entries off the diagonal, clipped to ±limit; "softplus" for the sum of the softplus of all entries off the
            diagonal.
        pairs: which entries count, and how often, for "all" and "softplus"; b may then have more rows than a.
        row_weights: constant weights of the rows, ``(N,)``, for "softplus".
        without, learned: see :func:`infomax.scores.tiles.log_sums`; without the diagonal, but for "rows".
    """
    enabled = torch.is_grad_enabled()
    sides = (enabled and a.requires_grad, enabled and b.requires_grad and learned != 0)
    job = _Job(kind, limit, tiling, sides, pairs, row_weights, without, learned)
    value: Tensor = _Fused.apply(a, b, job)[0]  # type: ignore[no-untyped-call]
    return value


@not_compiled
def log_sum_of_pairs(
    a: Tensor,
    b: Tensor,
    first: Tensor | None,
    row_weights: Tensor,
    *,
    pairs: Pairs,
    tiling: Tiling,
    learned: int | None = None,
) -> Tensor:
    r""":math:`\sum_i r_i \log(e^{f_i} + \sum_j w_{ij} e^{s_{ij}})`, 0-d, over the entries that count.

    The gradient is computed in the same pass: three matrix products.

    Args:
        a, b: ``(N, D)`` and ``(K, D)``.
        first: f, ``(N,)``; ``None`` for no such term.
        row_weights: r, ``(N,)``; a constant.
        pairs: which entries count, and how often.
        learned: the number of first rows of b that need gradients; ``None`` for all.
    """
    enabled = torch.is_grad_enabled()
    sides = (enabled and a.requires_grad, enabled and b.requires_grad and learned != 0)
    job = _PairsJob(pairs, tiling, sides, learned)
    value: Tensor = _OfPairs.apply(a, b, first, row_weights, job)[0]  # type: ignore[no-untyped-call]
    return value


@not_compiled
def row_statistics(
    a: Tensor, b: Tensor, wanted: Sequence[Statistic], tiling: Tiling, *, pairs: Pairs | None = None
) -> list[Tensor]:
    """Several statistics, ``(N,)`` each, from one pass. The backward pass recomputes the tiles: four products.

    ``pairs``: which entries count, and how often; only for log-sums.
    """
    return list(_Statistics.apply(a, b, tuple(wanted), tiling, pairs)[: len(wanted)])  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class _Job:
    kind: str
    limit: float
    tiling: Tiling
    sides: tuple[bool, bool]
    pairs: Pairs | None
    row_weights: Tensor | None
    without: int | None
    learned: int | None

    def do(self, a: Tensor, b: Tensor) -> tuple[Tensor, Sums]:
        """The value, and the sums with its gradients."""
        tiling = self.tiling
        if self.kind == "softplus":
            sums = softplus_sums(
                a,
                b,
                without=self.without,
                gradients=self.sides,
                tile=tiling.tile,
                narrow=tiling.narrow,
                pairs=self.pairs,
                row_weights=self.row_weights,
                learned=self.learned,
            )
            return (sums.rows if self.row_weights is None else sums.rows * self.row_weights).sum(), sums
        everything = self.kind == "all"
        sums = log_sums(
            a,
            b,
            over="all" if everything else "rows",
            without=self.without if everything else None,
            limit=self.limit,
            gradients=self.sides,
            tile=tiling.tile,
            narrow=tiling.narrow,
            pairs=self.pairs,
            learned=self.learned,
        )
        if everything:
            return torch.logsumexp(sums.rows, 0), sums
        for slopes in (sums.of_a, sums.of_b):
            if slopes is not None:
                slopes.div_(len(a))
        return sums.rows.mean(), sums


class _Fused(Function):
    """The value and its gradients with respect to a and b; :func:`fused_sum` returns only the value."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, job: _Job) -> tuple[Tensor, Tensor | None, Tensor | None]:
        value, sums = job.do(a, b)
        of_a, of_b = (each if each is None else each.to(side.dtype) for each, side in ((sums.of_a, a), (sums.of_b, b)))
        return value, of_a, of_b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
        slopes = output[1:]
        ctx.mark_non_differentiable(*(each for each in slopes if each is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *slopes)

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        a, b, *slopes = ctx.saved_tensors
        if weight is None:
            return None, None, None
        return *(each if each is None else _first(each * weight.to(each.dtype), weight, a, b) for each in slopes), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return _one_by_one(_Fused, info.batch_size, in_dims, arguments)


@dataclass(frozen=True)
class _PairsJob:
    pairs: Pairs
    tiling: Tiling
    sides: tuple[bool, bool]
    learned: int | None


class _OfPairs(Function):
    """The value and its gradients by a, b and first; :func:`log_sum_of_pairs` returns only the value."""

    @staticmethod
    def forward(
        a: Tensor, b: Tensor, first: Tensor | None, row_weights: Tensor, job: _PairsJob
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        weights = row_weights.to(torch.promote_types(a.dtype, torch.float32))
        if not len(a):  # a rank without rows
            empty = None if first is None else torch.zeros_like(first)
            return weights.sum(), torch.zeros_like(a), torch.zeros_like(b), empty
        sums = log_sums(
            a,
            b,
            gradients=job.sides,
            tile=job.tiling.tile,
            narrow=job.tiling.narrow,
            pairs=job.pairs,
            first=first,
            row_weights=weights,
            learned=job.learned,
        )
        value = torch.where(weights > 0, weights * sums.rows, 0.0).sum()
        of_first = None if first is None else torch.exp(first - sums.rows).mul_(weights).to(first.dtype)
        of_a, of_b = (s if s is None else s.to(of.dtype) for s, of in ((sums.of_a, a), (sums.of_b, b)))
        return value, of_a, of_b, of_first

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.mark_non_differentiable(*(each for each in output[1:] if each is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3], *output[1:])

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        a, b, first, *slopes = ctx.saved_tensors
        if weight is None:
            return (None,) * 5
        sources = [each for each in (weight, a, b, first) if each is not None]
        found = (each if each is None else _first(each * weight.to(each.dtype), *sources) for each in slopes)
        return *found, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return _one_by_one(_OfPairs, info.batch_size, in_dims, arguments)


class _Statistics(Function):
    """The statistics in nats, and then in their own units; :func:`row_statistics` returns only the former."""

    @staticmethod
    def forward(
        a: Tensor, b: Tensor, wanted: tuple[Statistic, ...], tiling: Tiling, pairs: Pairs | None
    ) -> tuple[Tensor, ...]:
        found = statistics(a, b, wanted, tile=tiling.tile, pairs=pairs)
        return *(values * statistic.unit for statistic, values in zip(wanted, found, strict=True)), *found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        a, b, ctx.wanted, ctx.tiling, ctx.pairs = inputs
        found = output[len(ctx.wanted) :]
        ctx.mark_non_differentiable(*found)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, b, *found)

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        a, b, *found = ctx.saved_tensors
        used = [i for i, weight in enumerate(weights) if weight is not None]
        numbers = [values[i] for values in (found, weights) for i in used]
        job = _BackwardJob(tuple(ctx.wanted[i] for i in used), ctx.tiling, ctx.needs_input_grad[:2], ctx.pairs)
        return *_StatisticsBackward.apply(job, a, b, *numbers), None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return _one_by_one(_Statistics, info.batch_size, in_dims, arguments)


@dataclass(frozen=True)
class _BackwardJob:
    wanted: tuple[Statistic, ...]
    tiling: Tiling
    sides: tuple[bool, bool]
    pairs: Pairs | None


class _StatisticsBackward(Function):
    """Gradients with respect to a and b, given statistics and the gradients with respect to these."""

    @staticmethod
    def forward(job: _BackwardJob, a: Tensor, b: Tensor, *numbers: Tensor) -> tuple[Tensor | None, Tensor | None]:
        found, weights = numbers[: len(job.wanted)], numbers[len(job.wanted) :]
        each = list(zip(job.wanted, found, weights, strict=True))
        tiling = job.tiling
        return gradients(a, b, each, sides=job.sides, tile=tiling.tile, narrow=tiling.narrow, pairs=job.pairs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> Any:  # noqa: ARG004
        raise _second()

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        return _one_by_one(_StatisticsBackward, info.batch_size, in_dims, arguments)


class _First(Function):
    """A gradient that raises an error when it is differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slopes: Tensor, *sources: Tensor) -> Tensor:  # noqa: ARG004
        return slopes.view_as(slopes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:  # noqa: ARG004
        raise _second()


def _first(slopes: Tensor, *sources: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return slopes
    first: Tensor = _First.apply(slopes, *sources)  # type: ignore[no-untyped-call]
    return first


def _second() -> RuntimeError:
    return RuntimeError(
        "scores in tiles have no second derivatives; set the bound's tiled_from to math.inf to compute the whole matrix"
    )


def _one_by_one(
    function: type[Function], size: int, in_dims: Iterable[int | None], arguments: tuple[Any, ...]
) -> tuple[tuple[Tensor | None, ...], tuple[int | None, ...]]:
    """Apply a function to each element of a batch; the stacked outputs, and the dimensions of the stacks."""
    dims = list(in_dims)
    results = []
    for i in range(size):
        chosen = [
            argument if dim is None or not isinstance(argument, Tensor) else argument.select(dim, i)
            for argument, dim in zip(arguments, dims, strict=True)
        ]
        results.append(function.apply(*chosen))  # type: ignore[no-untyped-call]
    stacked = tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*results, strict=True))
    return stacked, tuple(None if each is None else 0 for each in stacked)
