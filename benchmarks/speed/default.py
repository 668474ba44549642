"""The default estimator.

A whole call of `estimate(x, y)`, n = 10,000, after a first one that is not counted. "Arithmetic at the limit": the
floating-point operations of its products of matrices (counted by PyTorch while it runs), at the rate of the fastest
true float32 product that this machine has (1,024 × 1,024, in the same run), over the CPU time of the call. The rest is
products of stacks of small matrices, below that rate, and what is no product: elementwise functions, sorting, the
permutations of the test of independence, and PyTorch's own cost for each call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, in_turn
from infomax import estimate, tasks

_TASKS = (
    "1v1-normal-0.75",
    "multinormal-dense-5-5-0.5",
    "multinormal-sparse-25-25-2-2.0",
    "student-identity-5-5-2",
    "multinormal-dense-50-50-0.5",
)


def ratios(quick: bool) -> Iterator[Ratio]:
    """Each task's time and its share of arithmetic; then their median."""
    n, repeats, names = (300, 1, _TASKS[:1]) if quick else (10_000, 3, _TASKS)
    rate = _fastest_rate()
    walls = []
    for name in names:
        x, y = tasks.get(name).sample(n, 0)
        estimate(x, y, progress=False, quick=True)
        wall, cpu = [], []
        for _ in range(repeats):
            before = time.perf_counter(), time.process_time()
            estimate(x, y, progress=False)
            wall.append(time.perf_counter() - before[0])
            cpu.append(time.process_time() - before[1])
        with FlopCounterMode(display=False) as counter:
            estimate(x, y, progress=False)
        operations = counter.get_total_flops()
        walls.append(statistics.median(wall))
        seconds = statistics.median(cpu)
        yield Ratio(
            f"{name}, n = {n:,}",
            "of its CPU time is arithmetic at the limit",
            operations / rate / seconds,
            "",
            f"{walls[-1]:.1f} s of wall time, {seconds:.1f} s of CPU time",
            f"{operations / 1e9:.0f} GFLOP at {rate / 1e9:.0f} a second",
        )
    yield Ratio(
        f"median of {len(walls)} tasks, n = {n:,}, at most 50 columns a side",
        "seconds of wall time",
        statistics.median(walls),
        "≤ 10",
        f"{statistics.median(walls):.1f} s",
        f"{min(walls):.1f} to {max(walls):.1f} s",
    )


def _fastest_rate() -> float:
    """Operations a second of the fastest true float32 product."""
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    out = torch.empty_like(a)

    def multiply() -> None:
        with fast_products():
            for _ in range(10):
                torch.mm(a, b, out=out)

    return 10 * 2 * 1024**3 / in_turn({"product": multiply})["product"]
