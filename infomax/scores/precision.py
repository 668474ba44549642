"""Which tensors can be scored, and where float32 begins: products of embeddings, and everything after them.

float16 ends at 65,504. Inner products and squared residuals of ordinary numbers pass that, and so do the slopes of
exponentials, on their way back through the networks. bfloat16 has the range of float32, but two or three digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_REAL = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_real(value: Any, argument: str) -> None:
    """Check that ``value`` is a dense tensor of real numbers with which one can compute; values are not read.

    Raises:
        TypeError: for anything else: other objects, integers, booleans, complex numbers, float8; sparse, nested and
            quantised tensors.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument} must be a torch.Tensor; got {type(value).__name__}")
    if value.dtype in _REAL and value.layout is torch.strided and not value.is_nested:
        return
    kind = "a nested tensor" if value.is_nested else value.dtype if value.layout is torch.strided else value.layout
    raise TypeError(f"{argument} must be a dense tensor of float16, bfloat16, float32 or float64; got {kind}")


def widened(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they have it."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def autocast_type(values: Tensor) -> torch.dtype | None:
    """The type of autocast on the device of the values, if autocast is enabled there."""
    device = values.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def products(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` in float32 or wider, also under autocast, for a ``(…, D)`` and b ``(M, D)``."""
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    if autocast_type(a) is None:
        return a.to(dtype) @ b.to(dtype).T
    with torch.autocast(a.device.type, enabled=False):
        return a.to(dtype) @ b.to(dtype).T


def without_float16(function: Callable[..., T], *inputs: Tensor) -> T:
    """``function(*inputs)``, in float32 instead of float16 under float16 autocast."""
    if autocast_type(inputs[0]) is not torch.float16:
        return function(*inputs)
    with torch.autocast(inputs[0].device.type, enabled=False):
        return function(*map(widened, inputs))
