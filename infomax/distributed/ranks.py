"""Collective functions with gradients: gathered rows, averaged gradients, and clear errors if ranks differ or fail.

All functions are collective: every rank of the group must call them in the same order. In a process without a group
(if :func:`torch.distributed.init_process_group` was not called) they return what a single process would compute.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from infomax.distributed.heartbeats import Heartbeats, SilenceError
from infomax.scores.precision import widened

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

S = TypeVar("S")
T = TypeVar("T")

#: The time-out of :func:`processes` in seconds: a rank without a sign of life for so long counts as failed.
PATIENCE = 3600.0
#: The time-out of gloo where heartbeats decide: however long a rank computes, it is waited for.
_FOREVER = timedelta(days=365)

_heartbeats: Heartbeats | None = None


class RankError(RuntimeError):
    """Another rank of the group failed or did not answer in time.

    >>> issubclass(RankError, RuntimeError)  # except RankError: go on from the last checkpoint
    True
    """


def active(group: ProcessGroup | None = None) -> bool:
    """Whether the group has more than one process.

    >>> active()  # a single process
    False
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def rank(group: ProcessGroup | None = None) -> int:
    """The rank of this process in the group; 0 without a group.

    >>> rank()
    0
    """
    return dist.get_rank(group) if active(group) else 0


def world_size(group: ProcessGroup | None = None) -> int:
    """The number of processes in the group; 1 without a group.

    >>> world_size()
    1
    """
    return dist.get_world_size(group) if active(group) else 1


def barrier(group: ProcessGroup | None = None) -> None:
    """Wait until all processes have reached this call.

    >>> barrier()  # a single process goes on at once
    """
    if active(group):
        exchange("waiting for all ranks", lambda: dist.barrier(group))


def launched() -> bool:
    """Whether ``torchrun``, or another launcher that sets the same variables, started this process.

    >>> launched()
    False
    """
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def processes(timeout: timedelta | float = PATIENCE) -> Iterator[None]:
    """Make one group of the processes that ``torchrun`` started, for the duration of the block.

    Without ``torchrun``, or with a single process, the block runs without a group. NCCL exchanges tensors on GPUs, of
    which each process takes its own; gloo exchanges all others.

    Every rank gives a sign of life every few seconds, also while it computes. A rank that waits for another one raises
    :class:`RankError`, which names it, once it has given none for ``timeout``: a process that was stopped, a machine
    that is gone. Time in which all ranks are suspended does not count. With GPUs ``timeout`` is also the longest time
    that a rank waits for another one, whatever that one does.

    Args:
        timeout: the longest silence of a rank in seconds, from its last sign of life.

    Raises:
        ValueError: if ``timeout`` is not positive, or more than 10⁹ seconds.
        RankError: if a rank does not come, fails, or falls silent.

    >>> with processes(timeout=600):  # the whole program; start it by torchrun --nproc-per-node 4 program.py
    ...     print(rank(), "of", world_size())
    0 of 1
    """
    global _heartbeats  # noqa: PLW0603 - of the only group, as those of torch.distributed
    limit = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not 0 < limit <= 1e9:
        raise ValueError(f"timeout must be more than 0 and at most 1e9 seconds; got {limit:g}")
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend, patience = ("cpu:gloo,cuda:nccl", timedelta(seconds=limit)) if gpus else ("gloo", _FOREVER)
    heartbeats = Heartbeats(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), limit)
    # A collective on a GPU must be called by the thread whose stream it belongs to.
    _heartbeats = None if gpus else heartbeats
    try:
        exchange("starting the group", lambda: dist.init_process_group(backend, timeout=patience))
        yield
    finally:
        _heartbeats = None
        heartbeats.stop()
        if dist.is_initialized():
            dist.destroy_process_group()


def exchange(what: str, collective: Callable[[], T]) -> T:
    """The result of a call that waits for other ranks.

    Raises:
        RankError: if another rank fails or falls silent; it says what was being done.
    """
    try:
        return _heartbeats.wait_for(collective) if _heartbeats else collective()
    except SilenceError as error:
        raise RankError(f"{what}: {error}; this rank cannot continue without it") from None
    except RuntimeError as error:
        raise RankError(
            f"{what}: another rank failed or did not answer in time; this rank cannot continue without it "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


# --- Checks that all ranks agree --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shares:
    """The number of rows of each rank of a group, and whether any rank needs gradients."""

    sizes: list[int]
    needed: bool
    rank: int
    group: ProcessGroup | None

    @property
    def total(self) -> int:
        """The number of rows of all ranks together."""
        return sum(self.sizes)

    @property
    def start(self) -> int:
        """The index of this rank's first row among the rows of all ranks."""
        return sum(self.sizes[: self.rank])

    @property
    def own(self) -> slice:
        """The indices of this rank's rows among the rows of all ranks."""
        return slice(self.start, self.start + self.sizes[self.rank])


def agree(
    tensors: Mapping[str, Tensor], group: ProcessGroup | None = None, *, problem: Exception | None = None
) -> Shares:
    """Check that the tensors of all ranks can be exchanged, and return the number of rows of each rank.

    Call it before rows are exchanged: tensors that differ would otherwise be mixed up, or block all ranks.

    Args:
        tensors: by name, each ``(rows, …)``. The rows of the first one are counted.
        problem: why this rank cannot take part. It is raised here, and the other ranks raise :class:`RankError`.

    Raises:
        ValueError: on all ranks, if the tensors differ in type or in their dimensions after the rows, or if gradients
            are enabled on some ranks only.
        RankError: if another rank has a problem, or does not answer.

    >>> agree({"x": torch.zeros(5, 2), "y": torch.zeros(5, 3)}).sizes  # rows of each rank
    [5]
    """

    def facts() -> tuple[bool, list[tuple[int, str, tuple[int, ...], bool]]]:
        if problem is not None:
            raise problem
        enabled = torch.is_grad_enabled()
        each = [(len(t), str(t.dtype), tuple(t.shape[1:]), enabled and t.requires_grad) for t in tensors.values()]
        return enabled, each

    of_ranks = together(facts, group)
    _same("gradients", "setting", ["on" if enabled else "off" for enabled, _ in of_ranks])
    for name, of_tensor in zip(tensors, zip(*(each for _, each in of_ranks), strict=True), strict=True):
        _same(name, "type", [dtype for _, dtype, _, _ in of_tensor])
        _same(name, "shape after its rows", [str(dims) for _, _, dims, _ in of_tensor])
    needed = any(needs for _, each in of_ranks for *_, needs in each)
    return Shares([each[0][0] for _, each in of_ranks], needed, rank(group), group)


def _same(name: str, what: str, values: Sequence[str]) -> None:
    """Raise unless ``values``, one a rank, are equal."""
    if len(set(values)) > 1:
        holders = {value: _ranks([i for i, other in enumerate(values) if other == value]) for value in values}
        came = ", ".join(f"{value} on {who}" for value, who in holders.items())
        raise ValueError(f"{name} must have the same {what} on every rank; got {came}")


def _ranks(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"rank{'s' if len(numbers) > 1 else ''} {shown}"


# --- Rows and their gradients -----------------------------------------------------------------------------------------


def gather(rows: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Concatenate the rows ``(n, …)`` of all ranks, in the order of the ranks, with gradients.

    Ranks may have different numbers of rows, also none. Without a group the rows are returned unchanged. In the
    backward pass a rank receives the sum, over all ranks, of the gradients of its rows: the gradient of the sum of the
    ranks' losses. If every rank computes the same loss L from gathered rows, the *average* of the ranks' gradients,
    which ``DistributedDataParallel`` and :func:`average_gradients` take, is therefore the gradient of L in one process
    with all rows.

    Raises:
        ValueError: on all ranks, if the tensors differ in more than the number of rows.
        RankError: if a rank does not answer.

    >>> gather(torch.ones(3, 2)).shape  # with K ranks of three rows each: (3 K, 2)
    torch.Size([3, 2])
    """
    if not active(group):
        return rows
    if rows.dtype is torch.bool:
        return gather(rows.to(torch.uint8), group).bool()
    return gathered(rows, agree({"rows": rows}, group))


def gathered(rows: Tensor, shares: Shares) -> Tensor:
    """:func:`gather` once the ranks have agreed."""
    if shares.needed and rows.is_floating_point() and not rows.requires_grad:
        rows = rows.detach().requires_grad_()  # the ranks that need gradients wait for this one in the backward pass
    every: Tensor = _Gather.apply(rows, shares)  # type: ignore[no-untyped-call]
    return every


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        return gathered_rows(rows, shares)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_gradient()
        return scattered_sum(gradient, ctx.shares), None


def refuse_second_gradient() -> None:
    """Raise in a backward pass that will be differentiated again: the second derivative would be wrong silently."""
    if torch.is_grad_enabled():
        raise RuntimeError("second derivatives are not available across ranks; got create_graph=True")


def gathered_rows(rows: Tensor, shares: Shares) -> Tensor:
    """The rows of all ranks, ``(shares.total, …)``, without gradients."""
    most, even = max(shares.sizes), len(set(shares.sizes)) == 1
    mine = rows.detach().contiguous()
    if not even:
        mine = torch.cat([mine, mine.new_zeros(most - len(mine), *mine.shape[1:])])
    everything = mine.new_empty(len(shares.sizes), *mine.shape)
    exchange("gathering rows", lambda: dist.all_gather(list(everything), mine, shares.group))
    if even:
        return everything.flatten(0, 1)
    return torch.cat([part[:size] for part, size in zip(everything, shares.sizes, strict=True)])


def scattered_sum(rows: Tensor, shares: Shares) -> Tensor:
    """This rank's part of the sum over ranks of ``rows (shares.total, …)``; half precision is summed in float32."""
    wide = widened(rows).contiguous()
    parts = list(torch.split(wide, shares.sizes))
    own = torch.empty_like(parts[shares.rank])
    exchange("summing gradients", lambda: dist.reduce_scatter(own, parts, group=shares.group))
    return own.to(rows.dtype)


def summed(values: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The sum over ranks, the same on every rank, without gradients."""
    total = values.detach().clone()
    if active(group):
        exchange("summing values", lambda: dist.all_reduce(total, group=group))
    return total


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], group: ProcessGroup | None = None) -> None:
    """Replace each gradient by its mean over all ranks, as ``DistributedDataParallel`` does.

    A gradient that is missing on some ranks counts as zero there. One that is missing on all ranks stays missing.

    >>> average_gradients([nn.Parameter(torch.ones(2))])  # after loss.backward(), before optimizer.step()
    """
    learned = [p for p in parameters if p.requires_grad]
    if not active(group) or not learned:
        return
    missing = [i for i, p in enumerate(learned) if p.grad is None]
    gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learned]
    there = gradients[0].new_tensor([p.grad is not None for p in learned])
    flat = torch.cat([*gradients, there])
    exchange("averaging gradients", lambda: dist.all_reduce(flat, group=group))
    counts = flat[-len(learned) :].tolist() if missing else []
    nowhere = {i for i in missing if not counts[i]}
    flat /= world_size(group)
    sizes = [p.numel() for p in learned]
    for i, (p, part) in enumerate(zip(learned, torch.split(flat, [*sizes, len(learned)]), strict=False)):
        p.grad = None if i in nowhere else part.view_as(p).to(p.dtype)


# --- Work that is distributed over ranks ------------------------------------------------------------------------------


def together(work: Callable[[], T], group: ProcessGroup | None = None) -> list[T]:
    """The results of ``work()`` of all ranks, by rank; if ``work`` raises on one rank, all ranks raise.

    Results are pickled: ranks must trust each other.

    Raises:
        RankError: if ``work`` raised an error on another rank, with that error's text, or if a rank does not answer.
            An error of this rank's own ``work`` is raised unchanged.

    >>> together(lambda: rank() + 0.5)
    [0.5]
    """
    if not active(group):
        return [work()]
    result, problem = None, None
    try:
        result = work()
    except Exception as error:
        problem = error
    said = None if problem is None else f"{type(problem).__name__}: {problem}"
    found: list[Any] = [None] * world_size(group)
    exchange("exchanging results", lambda: dist.all_gather_object(found, (result, said), group))
    if problem is not None:
        raise problem
    for number, (_, text) in enumerate(found):
        if text is not None:
            raise RankError(f"rank {number} failed: {text}")
    return [value for value, _ in found]


def shared_out(
    items: Sequence[S], work: Callable[[Sequence[S]], Sequence[T]], group: ProcessGroup | None = None
) -> list[T]:
    """The results of ``work(items)``, in the order of the items; each rank computes a part, and receives all.

    >>> shared_out([1, 2, 3], lambda items: [10 * item for item in items])
    [10, 20, 30]
    """
    world = world_size(group)
    parts = together(lambda: work(items[rank(group) :: world]), group)
    return [parts[i % world][i // world] for i in range(len(items))]


def check_same(arrays: Mapping[str, NDArray[Any]], group: ProcessGroup | None = None) -> None:
    """Raise on all ranks unless they have the same arrays, compared by shape and checksum.

    Raises:
        ValueError: with the names of the arrays, and the ranks whose arrays differ from those of rank 0.
        RankError: if a rank does not answer.
    """
    sums = [(array.shape, zlib.crc32(np.ascontiguousarray(array).data)) for array in arrays.values()]
    of_ranks = together(lambda: sums, group)
    others = [i for i, of_rank in enumerate(of_ranks) if of_rank != of_ranks[0]]
    if others:
        names = " and ".join(arrays)
        raise ValueError(f"{names} must be the same on every rank to share the work; got others on {_ranks(others)}")
