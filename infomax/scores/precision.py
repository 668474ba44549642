"""Which tensors can be scored, and where float32 begins: products of embeddings, and everything after them.

float16 ends at 65,504. Inner products and squared residuals of ordinary numbers pass that, and so do the slopes of
exponentials, on their way back through the networks. bfloat16 has the range of float32, but two or three digits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

HALF = (torch.float16, torch.bfloat16)
_REAL = (torch.float32, torch.float64, *HALF)


def check_real(value: Any, argument: str) -> None:
    """Check that ``value`` is a dense tensor of real numbers with which one can compute; values are not read.

    Raises:
        TypeError: for anything else: other objects, integers, booleans, complex numbers, float8; sparse, nested and
            quantised tensors. It says what to pass instead.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument} must be a torch.Tensor; got {type(value).__name__}")
    if value.dtype in _REAL and value.layout is torch.strided and not value.is_nested:
        return
    kind = "a nested tensor" if value.is_nested else value.dtype if value.layout is torch.strided else value.layout
    came = f"{kind}{_instead(value, argument)}"
    raise TypeError(f"{argument} must be a dense tensor of float16, bfloat16, float32 or float64; got {came}")


def _instead(value: Tensor, argument: str) -> str:
    """What to pass in place of a tensor that cannot be scored, as the end of a message."""
    if value.is_nested or value.is_quantized:
        return ""
    if value.layout is not torch.strided:
        return f": pass {argument}.to_dense()"
    if value.is_complex():
        return f": pass its real and imaginary parts as columns, torch.view_as_real({argument}).flatten(1)"
    return f": pass {argument}.float(), or one-hot columns if the numbers are labels"


def widened(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they have it."""
    return values.float() if values.dtype in HALF else values


def autocast_type(values: Tensor) -> torch.dtype | None:
    """The type of autocast on the device of the values, if autocast is enabled there."""
    device = values.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def without_autocast(values: Tensor) -> AbstractContextManager[Any]:
    """Disable autocast on the device of the values."""
    return nullcontext() if autocast_type(values) is None else torch.autocast(values.device.type, enabled=False)


def normalized(rows: Tensor) -> Tensor:
    """Rows ``(N, D)`` of length 1, in float32 or wider: float16 has neither the squares nor the smallest divisor.

    Rows that are shorter than the smallest divisor stay shorter than 1. For float16 it is the smallest normal number,
    6e-5, so that their gradients have a float16.
    """
    smallest = torch.finfo(torch.float16).tiny if rows.dtype is torch.float16 else 1e-12
    return F.normalize(widened(rows), dim=1, eps=smallest)


def products(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` in float32 or wider, also under autocast, for a ``(…, D)`` and b ``(M, D)``."""
    if a.dtype != b.dtype or a.dtype in HALF:
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        a, b = a.to(dtype), b.to(dtype)
    with without_autocast(a):
        return a @ b.T
