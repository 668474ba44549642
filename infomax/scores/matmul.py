"""The fastest product of float32 matrices that is a product of float32 matrices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Largest error, relative to the largest entry, that still counts as float32; bfloat16 has 3e-3.
_TOLERANCE = 1e-6
#: How much faster it must be to be used.
_GAIN = 1.2


@contextmanager
def fast_products() -> Iterator[None]:
    """Inside the block, float32 products on the CPU go through the fastest library that computes them as float32.

    PyTorch sends them to MKL; if it is allowed to round to bfloat16 it sends them to oneDNN, which on many processors
    does not round, and can be twice as fast. Whether it does and is, is tried once, on the first use. Where it rounds,
    or gains nothing, this block changes nothing. Worth it for matrices of about 100 by 100 and more, and stacks of them
    of about 50 by 50. The setting is the process's: other threads compute the same way meanwhile; it is put back at the
    end.
    """
    if not _onednn_is_exact_and_faster():
        yield
        return
    with _onednn():
        yield


@contextmanager
def _onednn() -> Iterator[None]:
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    if hasattr(matmul, "fp32_precision"):
        before = matmul.fp32_precision
        matmul.fp32_precision = "bf16"
        try:
            yield
        finally:
            matmul.fp32_precision = before
    else:  # before PyTorch 2.9
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@cache
def _onednn_is_exact_and_faster() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    with torch.no_grad(), torch.inference_mode(False):
        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 256, 256, generator=generator, dtype=torch.float32)
        exact = a.double() @ b.double()
        usual = _seconds(lambda: a @ b)
        with _onednn():
            products = [
                a @ b,
                a @ b.T.contiguous().T,
                torch.bmm(a.view(4, 64, 256), b.view(256, 4, 64).transpose(0, 1)),
            ]
            other = _seconds(lambda: a @ b)
        wanted = [exact, exact, torch.bmm(a.double().view(4, 64, 256), b.double().view(256, 4, 64).transpose(0, 1))]
        return other * _GAIN < usual and all(map(_close, products, wanted))


def _close(product: Tensor, exact: Tensor) -> bool:
    return bool((product - exact).abs().max() <= _TOLERANCE * exact.abs().max())


def _seconds(work: Callable[[], Tensor]) -> float:
    """The least of several times."""
    taken = []
    for _ in range(10):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)
