"""Initial parameters from a generator that is passed in. torch's global generator is neither read nor changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from inspect import isfunction, signature
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)

#: Functions of torch that draw random numbers and accept a generator.
_DRAWING = {
    *(getattr(torch, name) for name in ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial")),
    *(getattr(Tensor, name) for name in ("uniform_", "normal_", "random_", "bernoulli_", "exponential_", "bernoulli")),
    *(getattr(Tensor, name) for name in ("cauchy_", "log_normal_", "geometric_", "multinomial")),
    *(one for one in vars(nn.init).values() if isfunction(one) and "generator" in signature(one).parameters),
}
#: Modules of torch whose classes draw nothing when they are called, but for the exceptions.
_QUIET = tuple(f"torch.nn.modules.{name}" for name in ("linear", "container", "activation", "flatten", "normalization"))
_LOUD = (nn.RReLU, nn.MultiheadAttention)


class _DrawnFrom(TorchFunctionMode):
    """Inside the block, this thread draws from ``generator`` wherever no other generator is named."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        named = kwargs.get("generator") is not None or any(isinstance(arg, torch.Generator) for arg in args)
        if func in _DRAWING and not named:
            kwargs["generator"] = self.generator
        return func(*args, **kwargs)


def initialised(build: Callable[[], M], seed: int) -> M:
    """A module in float32 on the CPU, whose initial parameters depend on ``seed`` alone.

    Parts with ``reset_parameters`` are drawn in float32, whatever torch's default dtype is. Others keep what their
    constructor draws.

    >>> same = [initialised(lambda: nn.Linear(2, 3), seed=5).weight for _ in range(2)]
    >>> bool((same[0] == same[1]).all())
    True
    """
    with _DrawnFrom(torch.Generator().manual_seed(seed)):
        module = build().float()
    reset(module, torch.Generator().manual_seed(seed))
    return module


def reset(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Call ``reset_parameters`` of every submodule that defines it, children before their parents.

    Submodules whose parameters are all frozen are not reset.

    Args:
        generator: draws the new parameters, on the CPU; by default torch's global one.

    >>> first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> for layer in (first, second):
    ...     reset(layer, torch.Generator().manual_seed(0))
    >>> bool((first.weight == second.weight).all())
    True
    """

    def reset_one(part: nn.Module) -> None:
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            return
        reset_parameters = getattr(part, "reset_parameters", None)
        if callable(reset_parameters):
            reset_parameters()

    with _DrawnFrom(generator) if generator is not None else nullcontext():
        module.apply(reset_one)


def is_own(kind: type) -> bool:
    """Whether a class is this library's, whose modules draw nothing when they are called."""
    return kind.__module__.split(".")[0] == "infomax"


def may_draw(module: nn.Module) -> bool:
    """Whether a call of the module may draw random numbers: it has parts other than this library's or simple layers."""

    def quiet(part: nn.Module) -> bool:
        home = type(part).__module__
        hooked = part._forward_hooks or part._forward_pre_hooks
        known = is_own(type(part)) or home in _QUIET
        return known and not hooked and not isinstance(part, _LOUD)

    return not all(map(quiet, module.modules()))
