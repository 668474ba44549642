"""The fastest true float32 matrix product of this machine: what speed at the limit is measured with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from benchmarks.speed.timing import in_turn

#: Largest error of a true float32 product, relative to its largest entry; bfloat16 has 3e-3.
_TOLERANCE = 1e-6


@contextmanager
def fast_products() -> Iterator[None]:
    """Inside the block, float32 products on the CPU go through oneDNN if it computes true float32 faster than MKL.

    PyTorch uses oneDNN where products may be rounded to bfloat16; on many processors oneDNN does not round them. The
    setting applies to the whole process, and is reset at the end of the block.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_fastest())
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _fastest() -> str:
    """The setting with the fastest true float32 product: "medium" (oneDNN) or "highest" (MKL)."""
    a, b = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    seconds = {}
    for setting in ("highest", "medium"):
        torch.set_float32_matmul_precision(setting)
        if (a @ b - exact).abs().max() <= _TOLERANCE * exact.abs().max():
            seconds[setting] = in_turn({"product": lambda: a @ b}, repeats=15)["product"]
    return min(seconds, key=seconds.__getitem__)
