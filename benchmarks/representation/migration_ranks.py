"""The losses of other libraries beside ours in two processes, where these libraries are installed.

    pip install lightly open_clip_torch
    python -m benchmarks.representation.migration_ranks

Each process has its own pairs, and all pairs are negatives. Each line says by how much the mean of the losses over
processes, and the gradient of each process's own pairs, differ from ours with :class:`infomax.GlobalBatch`, after the
constant between a cross-entropy and a value in nats.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import table
from benchmarks.representation.migration import DIM, Cosine, N, T, infonce
from benchmarks.speed.loss_peers import import_torchvision
from infomax import GlobalBatch, SigLIP, interrupts

RANKS = 2
Loss = Callable[[Tensor, Tensor], Tensor]


def clip() -> tuple[Loss, Loss, float]:
    """Each process compares its own pairs with those of all, and gradients reach all."""
    library = import_module("open_clip.loss")
    peer = library.ClipLoss(local_loss=True, gather_with_grad=True, rank=dist.get_rank(), world_size=RANKS)
    scale, ours = torch.tensor(1 / T, dtype=torch.float64), GlobalBatch(infonce(symmetric=True))
    return lambda a, b: peer(F.normalize(a, dim=1), F.normalize(b, dim=1), scale), ours.loss, math.log(RANKS * N)


def siglip() -> tuple[Loss, Loss, float]:
    library = import_module("open_clip.loss")
    peer = library.SigLipLoss(rank=dist.get_rank(), world_size=RANKS)
    scale, bias = torch.tensor(1 / T, dtype=torch.float64), torch.tensor(-10.0, dtype=torch.float64)
    ours = GlobalBatch(SigLIP(DIM, DIM, critic=Cosine(), temperature=T, bias=-10.0).double())
    return lambda a, b: peer(F.normalize(a, dim=1), F.normalize(b, dim=1), scale, bias), ours.loss, 0.0


def ntxent() -> tuple[Loss, Loss, float]:
    peer = import_module("lightly.loss.ntx_ent_loss").NTXentLoss(temperature=T, gather_distributed=True)
    ours, ids = GlobalBatch(infonce()), (N * dist.get_rank() + torch.arange(N)).repeat(2)

    def mine(a: Tensor, b: Tensor) -> Tensor:
        views = torch.cat([a, b])
        return ours.loss(views, views, labels=ids, exclude_self=True)

    return peer, mine, math.log(2 * RANKS * N - 1)


CASES = {
    "open_clip: ClipLoss(local_loss=True, gather_with_grad=True, …)": clip,
    "open_clip: SigLipLoss(rank=…, world_size=…)": siglip,
    "lightly: NTXentLoss(gather_distributed=True)": ntxent,
}


def compared(rank: int, folder: str) -> None:
    """In one process: the losses and gradients of both; the first process prints the table."""
    import_torchvision()
    store = (Path(folder) / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=RANKS)
    rows = []
    for name, make in CASES.items():
        theirs, ours, constant = make()
        found = []
        for loss in (theirs, ours):
            generator = torch.Generator().manual_seed(rank)
            pairs = torch.randn(2, N, DIM, generator=generator, dtype=torch.float64).requires_grad_()
            value = loss(*pairs)
            value.backward()  # type: ignore[no-untyped-call]
            mean = value.detach().clone()
            dist.all_reduce(mean)
            found.append((float(mean) / RANKS, pairs.grad))
        (one, slopes), (other, of_ours) = found
        if slopes is None or of_ours is None:
            raise RuntimeError(f"{name} has no gradients")
        largest = (slopes - of_ours).abs().max() / slopes.abs().max()
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        difference = abs(one - other - constant)
        rows.append([name, f"{one:.6f}", f"{other + constant:.6f}", f"{difference:.0e}", f"{float(largest):.0e}"])
    if rank == 0:
        print(table(["call", "theirs", "ours + constant", "difference", "of gradients"], rows), flush=True)
    dist.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=compared, args=(rank, folder)) for rank in range(RANKS)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)


if __name__ == "__main__":
    interrupts.run(main)
