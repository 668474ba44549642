"""Several processes as one: rows gathered with gradients, averaged gradients, clear errors where ranks differ or die.

All functions are collective: every rank of the group calls them, in the same order. In a process without a group
(:func:`torch.distributed.init_process_group` was not called) they do what one process alone would do.
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

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

S = TypeVar("S")
T = TypeVar("T")

#: After so long without an answer, a rank of :func:`processes` counts as dead.
PATIENCE = timedelta(minutes=10)

_DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
#: Tensors that one header describes, and trailing dimensions of each.
_MOST_TENSORS, _MOST_DIMS = 4, 4
_FACTS = 4 + _MOST_DIMS


class RankError(RuntimeError):
    """A rank of the group has died, or no longer answers."""


def active(group: ProcessGroup | None = None) -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def rank(group: ProcessGroup | None = None) -> int:
    """This process's number in the group; 0 if it is alone."""
    return dist.get_rank(group) if active(group) else 0


def world_size(group: ProcessGroup | None = None) -> int:
    """How many processes there are."""
    return dist.get_world_size(group) if active(group) else 1


def barrier(group: ProcessGroup | None = None) -> None:
    """Wait until all processes are here."""
    if active(group):
        with answering("waiting for all ranks"):
            dist.barrier(group)


def launched() -> bool:
    """Whether ``torchrun`` (or what sets the same variables) started this process, be it the only one."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def processes(timeout: timedelta = PATIENCE) -> Iterator[None]:
    """Inside the block, the processes that ``torchrun`` started are one group; nothing, if it did not start this one.

    What is on a GPU is exchanged by NCCL, and each process takes a GPU of its own; all else by gloo.

    Args:
        timeout: how long the others wait for a rank that no longer answers, before they fail too.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Say in a :class:`RankError` that a rank did not answer, instead of what the backend says of sockets."""
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            f"{what}: another rank has died, failed, or did not answer in time; this one cannot go on without it "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


# --- What all ranks have to agree on ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shares:
    """How many rows each rank of a group has, and whether any needs gradients."""

    sizes: list[int]
    needed: bool
    rank: int
    group: ProcessGroup | None

    @property
    def total(self) -> int:
        """Rows of all ranks."""
        return sum(self.sizes)

    @property
    def start(self) -> int:
        """Where this rank's rows begin among all."""
        return sum(self.sizes[: self.rank])

    @property
    def own(self) -> slice:
        """This rank's rows among all."""
        return slice(self.start, self.start + self.sizes[self.rank])


def agree(
    tensors: Mapping[str, Tensor], group: ProcessGroup | None = None, *, problem: Exception | None = None
) -> Shares:
    """Which rows are whose, once all ranks are known to have tensors that can be exchanged.

    One exchange of a few numbers, before larger ones that would otherwise hang or mix up rows.

    Args:
        tensors: one to four by name, each ``(rows, …)``; of the first the rows are counted.
        problem: why this rank cannot take part; it is raised here, and the other ranks stop too.

    Raises:
        ValueError: on all ranks, if they differ in type or number of columns, or if gradients are switched off on some.
        RankError: if another rank has a problem, or does not answer.
    """
    first = next(iter(tensors.values()))
    header = torch.tensor(_header({} if problem else tensors), device=_device(first, group))
    headers = header.new_empty(world_size(group), len(header))
    with answering("comparing shapes"):
        dist.all_gather(list(headers), header, group)
    found = headers.tolist()
    if problem is not None:
        raise problem
    refused = [i for i, of_rank in enumerate(found) if of_rank[0] != len(tensors)]
    if refused:
        raise RankError(f"{_ranks(refused)} could not take part and raised an error; this one stops with it")
    _same("gradients", "setting", ["on" if of_rank[1] else "off" for of_rank in found])
    of_tensors = [
        [of_rank[at : at + _FACTS] for of_rank in found] for at in range(2, 2 + _FACTS * len(tensors), _FACTS)
    ]
    for name, of_ranks in zip(tensors, of_tensors, strict=True):
        _same(name, "type", [str(_DTYPES[dtype]) for _, dtype, *_ in of_ranks])
        _same(name, "shape after its rows", [str(tuple(dims[:n])) for _, _, _, n, *dims in of_ranks])
    needed = any(needs for of_ranks in of_tensors for _, _, needs, *_ in of_ranks)
    return Shares([rows for rows, *_ in of_tensors[0]], needed, rank(group), group)


def _header(tensors: Mapping[str, Tensor]) -> list[int]:
    """How many tensors; whether gradients are on; of each its rows, type, need of a gradient and other dimensions."""
    header = [len(tensors), int(torch.is_grad_enabled())]
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES or tensor.ndim > 1 + _MOST_DIMS:
            raise TypeError(f"{name} must have at most {1 + _MOST_DIMS} dimensions; got {tensor.ndim}, {tensor.dtype}")
        needs = torch.is_grad_enabled() and tensor.requires_grad
        header += [len(tensor), _DTYPES.index(tensor.dtype), int(needs), tensor.ndim - 1, *tensor.shape[1:]]
        header += [0] * (_MOST_DIMS - tensor.ndim + 1)
    return header + [0] * (2 + _FACTS * _MOST_TENSORS - len(header))


def _same(name: str, what: str, said: Sequence[str]) -> None:
    if len(set(said)) > 1:
        of = {text: _ranks([i for i, other in enumerate(said) if other == text]) for text in dict.fromkeys(said)}
        came = ", ".join(f"{text} on {who}" for text, who in of.items())
        raise ValueError(f"{name} must have the same {what} on every rank; got {came}")


def _ranks(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"rank{'s' if len(numbers) > 1 else ''} {shown}"


def _device(tensor: Tensor, group: ProcessGroup | None) -> torch.device:
    """Where the group's backend can exchange what belongs to this tensor."""
    return tensor.device if dist.get_backend(group) == "nccl" else torch.device("cpu")


# --- Rows and their gradients -----------------------------------------------------------------------------------------


def gather(rows: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The rows ``(n, …)`` of all ranks one below the other, by rank, with gradients; the rows themselves if alone.

    Ranks may have different numbers of rows, none among them. In the backward pass a rank receives the gradients of its
    rows from all ranks, summed: those of the sum of the ranks' losses. Hence where every rank computes the same loss L
    from gathered rows, the *average* of the ranks' gradients, as ``DistributedDataParallel`` or
    :func:`average_gradients` take it, is the gradient of L in one process with all rows.

    Raises:
        ValueError: on all ranks, if they differ in more than the number of rows.
        RankError: if a rank does not answer.
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
    """Raise in a backward pass that is to be differentiated again, which would leave a part out without a word."""
    if torch.is_grad_enabled():
        raise RuntimeError("gradients of gradients are not there across ranks; got create_graph=True")


def gathered_rows(rows: Tensor, shares: Shares) -> Tensor:
    """Rows of all ranks, ``(shares.total, …)``, without gradients."""
    most, even = max(shares.sizes), len(set(shares.sizes)) == 1
    mine = rows.detach().contiguous()
    if not even:
        mine = torch.cat([mine, mine.new_zeros(most - len(mine), *mine.shape[1:])])
    everything = mine.new_empty(len(shares.sizes), *mine.shape)
    with answering("gathering rows"):
        dist.all_gather(list(everything), mine, shares.group)
    if even:
        return everything.flatten(0, 1)
    return torch.cat([part[:size] for part, size in zip(everything, shares.sizes, strict=True)])


def scattered_sum(rows: Tensor, shares: Shares) -> Tensor:
    """The sum over ranks of ``rows (shares.total, …)``; each receives its own part. Half precision sums in float32."""
    wide = (rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows).contiguous()
    parts = list(torch.split(wide, shares.sizes))
    own = torch.empty_like(parts[shares.rank])
    with answering("summing gradients"):
        dist.reduce_scatter(own, parts, group=shares.group)
    return own.to(rows.dtype)


def summed(values: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """The sum over ranks, the same on all of them, without gradients."""
    total = values.detach().clone()
    if active(group):
        with answering("summing values"):
            dist.all_reduce(total, group=group)
    return total


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], group: ProcessGroup | None = None) -> None:
    """Give every rank the mean of all ranks' gradients, where ``DistributedDataParallel`` does not do so already.

    A parameter without a gradient on this rank counts as one with a zero gradient; on all ranks, it stays without.
    """
    learned = [p for p in parameters if p.requires_grad]
    if not active(group) or not learned:
        return
    missing = [i for i, p in enumerate(learned) if p.grad is None]
    gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learned]
    there = gradients[0].new_tensor([p.grad is not None for p in learned])
    flat = torch.cat([*gradients, there])
    with answering("averaging gradients"):
        dist.all_reduce(flat, group=group)
    counts = flat[-len(learned) :].tolist() if missing else []
    nowhere = {i for i in missing if not counts[i]}
    flat /= world_size(group)
    sizes = [p.numel() for p in learned]
    for i, (p, part) in enumerate(zip(learned, torch.split(flat, [*sizes, len(learned)]), strict=False)):
        p.grad = None if i in nowhere else part.view_as(p).to(p.dtype)


# --- Work that is shared out ------------------------------------------------------------------------------------------


def together(work: Callable[[], T], group: ProcessGroup | None = None) -> list[T]:
    """What each rank's ``work()`` returned, by rank, on all ranks; if it raises on one, no other goes on.

    Results are pickled: ranks must trust each other.

    Raises:
        RankError: if another rank raised an error, with its text, or does not answer. This rank's own error stays what
            it is.
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
    with answering("exchanging results"):
        dist.all_gather_object(found, (result, said), group)
    if problem is not None:
        raise problem
    for number, (_, text) in enumerate(found):
        if text is not None:
            raise RankError(f"rank {number} failed: {text}")
    return [value for value, _ in found]


def shared_out(
    items: Sequence[S], work: Callable[[Sequence[S]], Sequence[T]], group: ProcessGroup | None = None
) -> list[T]:
    """``work(items)``, of which each rank does a share; all get the results of all, in the items' order."""
    world = world_size(group)
    parts = together(lambda: work(items[rank(group) :: world]), group)
    return [parts[i % world][i // world] for i in range(len(items))]


def check_same(arrays: Mapping[str, NDArray[Any]], group: ProcessGroup | None = None) -> None:
    """Raise on all ranks unless they have the same arrays, by their shapes and check sums.

    Raises:
        ValueError: naming the arrays, and a rank that has others than the first.
        RankError: if a rank does not answer.
    """
    sums = [(array.shape, zlib.crc32(np.ascontiguousarray(array).data)) for array in arrays.values()]
    of_ranks = together(lambda: sums, group)
    others = [i for i, of_rank in enumerate(of_ranks) if of_rank != of_ranks[0]]
    if others:
        names = " and ".join(arrays)
        raise ValueError(f"{names} must be the same on every rank to share the work; got others on {_ranks(others)}")
