"""Negatives from all ranks: several processes with gloo, one thread each.

Forward and backward pass of `GlobalBatch(CPC(128, 128, normalize=True, temperature=0.1))` in float32, on one batch of N
pairs with N / ranks pairs on each rank. It is compared with one process that has the whole batch, and with the usual
form, which gathers features with gradients and computes all N / ranks × N logits of a rank at once. Efficiency is the
wall time of one process divided by ranks × the wall time of all ranks. It needs one idle core per rank. Otherwise use
the efficiency of CPU time, which includes repeated computation but not waiting.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.timing import Ratio, Work, added_mebibytes, duration, faster
from infomax import CPC, GlobalBatch, distributed, interrupts

DIM, TEMPERATURE = 128, 0.1
#: Time limit for a group of processes, in seconds.
_TIMEOUT = 1800

Found = dict[str, float]


def ratios(quick: bool) -> Iterator[Ratio]:
    repeats = 2 if quick else 7
    for n in (512, 1024) if quick else (1024, 2048, 4096, 8192, 16384):
        found = run(2, n, repeats)
        yield from _of_two(n, found)
    n = 1024 if quick else 8192
    for world in (2, 3) if quick else (2, 3, 4, 8):
        found = run(world, n, repeats)
        alone, all_ranks = found["alone, CPU"], found["gather, CPU of all ranks"]
        yield faster(f"N = {n:,}, {world} ranks", "efficiency of CPU time", all_ranks, alone, x=world)


def _of_two(n: int, found: Found) -> Iterator[Ratio]:
    case = f"N = {n:,}, 2 ranks"
    difference = found["difference"]
    figure = "relative difference of gradients to one process"
    yield Ratio(case, figure, difference, "≤ 1e-6", f"{difference:.1e}", "0")
    efficiency, times = found["alone"] / (2 * found["gather"]), (duration(found["gather"]), duration(found["alone"]))
    yield Ratio(case, "efficiency of wall time", efficiency, "≥ 0.85" if n == 8192 else "", *times, x=n)
    all_ranks = {way: found[f"{way}, CPU of all ranks"] for way in ("gather", "ring", "full logits")}
    yield faster(case, "efficiency of CPU time", all_ranks["gather"], found["alone, CPU"], x=n)
    for way, other, words in (("gather", "full logits", "gathering with full logits"), ("ring", "gather", "gather")):
        figure = f"times faster than {words}, CPU time"
        yield faster(f"{case}, {way}", figure, all_ranks[way], all_ranks[other], x=n)
    for way in ("gather", "ring"):
        ours, full = found[f"{way}, MiB"], found["full logits, MiB"]
        figure, both = "of the additional memory of full logits", (f"{ours:.0f} MiB", f"{full:.0f} MiB")
        yield Ratio(f"{case}, {way}", figure, ours / max(full, 1e-9), "", *both, x=n)


def run(world: int, n: int, repeats: int) -> Found:
    """The measurements of a group with this number of ranks."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=measure, args=(rank, world, n, repeats, folder), daemon=True)
            for rank in range(world)
        ]
        try:
            with interrupts.shielded():
                for process in processes:
                    process.start()
            deadline = time.monotonic() + _TIMEOUT
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()
        if any(process.exitcode for process in processes):
            raise RuntimeError(f"ranks ended with {[process.exitcode for process in processes]}")
        found: Found = json.loads((Path(folder) / "found").read_text())
        return found


def measure(rank: int, world: int, n: int, repeats: int, folder: str) -> None:
    """Run on one rank: all versions alternate; the first rank writes the results."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world, timeout=timedelta(seconds=_TIMEOUT)
    )
    whole = features(n)
    part = slice(rank * n // world, (rank + 1) * n // world)
    own = whole[0].detach()[part].clone().requires_grad_(), whole[1].detach()[part].clone().requires_grad_()
    shared: dict[str, Work] = {
        "gather": lambda: step(GlobalBatch(bound()), *own),
        "ring": lambda: step(GlobalBatch(bound(), exchange="ring"), *own),
        "full logits": lambda: full_logits(*own, part.start),
    }
    few = own[0].detach()[:64].requires_grad_(), own[1].detach()[:64].requires_grad_()
    step(GlobalBatch(bound()), *few)  # do not count memory of the first step
    memory = {f"{name}, MiB": _of_all(added_mebibytes(work), dist.ReduceOp.MAX) for name, work in shared.items()}
    taken: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        if rank == 0:
            seconds, cpu = _timed(lambda: step(bound(), *whole))
        _of_all(0.0)
        if rank == 0 and repeat:
            taken.setdefault("alone", []).append(seconds)
            taken.setdefault("alone, CPU", []).append(cpu)
        for name, work in shared.items():
            _of_all(0.0)
            seconds, cpu = (_of_all(value) for value in _timed(work))
            if repeat:
                taken.setdefault(name, []).append(seconds / world)
                taken.setdefault(f"{name}, CPU of all ranks", []).append(cpu)
    difference = gradient_difference(own, whole)
    if rank == 0:
        found = memory | {name: statistics.median(values) for name, values in taken.items()}
        (Path(folder) / "found").write_text(json.dumps(found | {"difference": difference}))
    dist.barrier()
    dist.destroy_process_group()


def features(n: int) -> tuple[Tensor, Tensor]:
    """Dependent features with a correlation of 0.45."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, n, DIM, generator=generator)
    return x.requires_grad_(), (0.5 * x + noise).detach().requires_grad_()


def bound() -> CPC:
    """CPC with the identity as predictor."""
    cpc = CPC(DIM, DIM, normalize=True, temperature=TEMPERATURE)
    for parameter in cpc.parameters():
        torch.nn.init.eye_(parameter) if parameter.ndim == 2 else torch.nn.init.zeros_(parameter)
    return cpc


def step(module: torch.nn.Module, x: Tensor, y: Tensor) -> None:
    """Forward and backward."""
    x.grad = y.grad = None
    torch.autograd.backward(-module(x, y))


def full_logits(x: Tensor, y: Tensor, start: int) -> None:
    """The usual form: gathered features, and cross-entropy of all logits of a rank."""
    x.grad = y.grad = None
    predict = torch.nn.Linear(DIM, DIM)
    logits = F.normalize(predict(y), dim=1) @ distributed.gather(F.normalize(x, dim=1)).T / TEMPERATURE
    torch.autograd.backward(F.cross_entropy(logits, torch.arange(start, start + len(x))))


def gradient_difference(own: tuple[Tensor, Tensor], whole: tuple[Tensor, Tensor]) -> float:
    """Norm of the difference to the gradients of one process, relative to their norm; the larger of x and y."""
    step(GlobalBatch(bound()), *own)
    step(bound(), *whole)
    parts = []
    for ours, alone in zip(own, whole, strict=True):
        if ours.grad is None or alone.grad is None:
            raise RuntimeError("a gradient is missing")
        everything = distributed.gather(ours.grad) / distributed.world_size()
        parts.append((everything - alone.grad).norm() / alone.grad.norm())
    return float(max(parts))


def _timed(work: Work) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _of_all(value: float, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> float:
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total, operation)
    return float(total)
