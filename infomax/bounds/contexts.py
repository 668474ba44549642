"""Context networks of sequences, and the test that they read the past alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def output_of(context: nn.Module, x: Tensor) -> Tensor:
    """The contexts ``(N, T, C)`` of sequences ``(N, T, D)``, without what a recurrent network returns besides.

    Raises:
        TypeError: for another type of output.
    """
    output = context(x)
    found = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(found, Tensor):
        raise TypeError(f"context must return a tensor, or a tuple that begins with one; got {type(output).__name__}")
    return found


@torch.no_grad()
def checked_context(context: nn.Module, dim: int, steps: int) -> int:
    """The dimension C of a context network.

    The network is called with three random sequences in evaluation mode: the context of a step must not change with
    later elements, or with other sequences.

    Raises:
        TypeError: if it is no module.
        ValueError: if it does not return ``(N, T, C)``, and if a context depends on what it must not.
    """
    if not isinstance(context, nn.Module):
        raise TypeError(f"context must be 'gru' or a torch.nn.Module; got {type(context).__name__}")
    like = next((each for each in context.parameters() if each.is_floating_point()), torch.empty(0))
    length = steps + 4
    first = length // 2  # of the elements that change
    drawn = torch.randn(2, 3, length, dim, generator=torch.Generator().manual_seed(0))
    x, other = drawn.to(like.device if not like.is_meta else "cpu", like.dtype)
    later, others = x.clone(), x.clone()
    later[:, first:] = other[:, first:]
    others[::2] = other[::2]
    if like.is_meta:
        x, later, others = (each.to("meta") for each in (x, later, others))
    was_training = [part for part in context.modules() if part.training]
    context.eval()
    try:
        found, with_later, with_others = (output_of(context, each) for each in (x, later, others))
    finally:
        for part in was_training:
            part.training = True
    if found.ndim != 3 or found.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"context must return shape (3, {length}, C) for (3, {length}, {dim}); got {tuple(found.shape)}"
        )
    if not found.is_meta:
        if _differ(found[:, :first], with_later[:, :first]):
            raise ValueError("context must be causal; its output at a step changed with a later element")
        if _differ(found[1], with_others[1]):
            raise ValueError(
                "context must treat sequences independently; its output changed with another sequence "
                "(recurrent networks of torch need batch_first=True)"
            )
    return found.shape[2]


def _differ(a: Tensor, b: Tensor) -> bool:
    """Whether contexts differ by more than rounding."""
    scale = a.abs().max().clamp_min(torch.finfo(a.dtype).tiny)
    return bool((a - b).abs().max() > torch.finfo(a.dtype).eps ** 0.5 * scale)
