"""The default estimator.

A complete call of `estimate(x, y)` with n = 10,000, after a warm-up call. "Share of matrix products": the
floating-point operations of the matrix products (counted by PyTorch), at the rate of the fastest true float32 product
of this machine (1,024 × 1,024, in the same run), divided by the CPU time of the call. The rest is batched products of
small matrices, which are slower than that rate, elementwise functions, sorting, the permutations of the test of
independence, and the overhead of PyTorch calls.
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
    """Time and share of matrix products for each task; then the median time."""
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
            "of CPU time: share of matrix products",
            operations / rate / seconds,
            "",
            f"{walls[-1]:.1f} s wall time, {seconds:.1f} s CPU time",
            f"{operations / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s",
        )
    yield Ratio(
        f"median of {len(walls)} tasks, n = {n:,}, at most 50 columns per side",
        "seconds of wall time",
        statistics.median(walls),
        "≤ 10",
        f"{statistics.median(walls):.1f} s",
        f"{min(walls):.1f} to {max(walls):.1f} s",
    )


def _fastest_rate() -> float:
    """Operations per second of the fastest true float32 product."""
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    out = torch.empty_like(a)

    def multiply() -> None:
        with fast_products():
            for _ in range(10):
                torch.mm(a, b, out=out)

    return 10 * 2 * 1024**3 / in_turn({"product": multiply})["product"]
