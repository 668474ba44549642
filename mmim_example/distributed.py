"""Several processes that train one model: each encodes its part of a batch, all see the whole batch's terms.

Representations are gathered with their gradients, so that negatives and entropy memories are those of the whole batch;
then the averaged gradients of W processes are those that one process with the whole batch has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

#: A process that dies makes the others fail after this, not hang.
_PATIENCE = timedelta(minutes=10)


class _Gather(torch.autograd.Function):
    """Rows of all processes, by rank; each may have another number of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        world, rank = dist.get_world_size(), dist.get_rank()
        count = torch.tensor([len(rows)], device=rows.device)
        counts = [torch.zeros_like(count) for _ in range(world)]
        dist.all_gather(counts, count)
        sizes = [int(c) for c in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.start, ctx.stop = sum(sizes[:rank]), sum(sizes[: rank + 1])
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[ctx.start : ctx.stop]


def active() -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number; 0 if it is alone."""
    return dist.get_rank() if active() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if active() else 1


def barrier() -> None:
    """Wait until all processes are here."""
    if active():
        dist.barrier()


def gather(rows: Tensor) -> Tensor:
    """The rows ``(n, …)`` of all processes one below the other, with gradients; the rows themselves if alone."""
    if not active():
        return rows
    if rows.dtype is torch.bool:
        return gather(rows.to(torch.uint8)).bool()
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients."""
    if not active():
        return
    learned = [p for p in parameters if p.requires_grad]
    if not learned:
        return
    for p in learned:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([p.grad.flatten() for p in learned if p.grad is not None])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(learned, torch.split(flat, [p.numel() for p in learned]), strict=True):
        p.grad = part.view_as(p)


@contextmanager
def processes() -> Any:
    """Join the group of processes that ``torchrun`` started; nothing, if it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        yield
    finally:
        dist.destroy_process_group()
