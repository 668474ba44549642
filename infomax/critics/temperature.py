"""A temperature that divides scores, fixed or learned within limits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

#: Limits of learned temperatures.
TEMPERATURES = (0.01, 100.0)
#: What a learned temperature is at first.
_INITIAL_TEMPERATURE = 0.1


class Temperature(nn.Module):
    """Divides scores by a positive temperature, learned in log space or fixed.

    Args:
        initial: the temperature, or what it is before it is learned.
        learn: whether it is learned.
        limits: the smallest and the largest temperature that is learned; ``initial`` always lies within. Where the
            parameter has passed a limit, the limit is used, and only gradients that lead back reach the parameter.

    Raises:
        ValueError: for a temperature or limits that are not positive, and for limits in the wrong order.

    Source of the limits: Radford et al., 2021, arXiv 2103.00020, where 1/T is at most 100.

    >>> temperature = Temperature(0.1, learn=True)
    >>> round(float(temperature.inverse().detach()), 2), len([*temperature.parameters()])
    (10.0, 1)
    """

    log_temperature: Tensor
    limits: tuple[float, float] | None = None

    def __init__(
        self, initial: float = 1.0, *, learn: bool = False, limits: tuple[float, float] = TEMPERATURES
    ) -> None:
        super().__init__()
        if not 0 < initial < math.inf:
            raise ValueError(f"temperature must be positive; got {initial}")
        if not 0 < limits[0] <= limits[1]:
            raise ValueError(f"temperature_limits must be two positive numbers in order; got {limits}")
        self.initial = initial
        self.limits = (min(limits[0], initial), max(limits[1], initial)) if learn else None
        value = torch.tensor(math.log(initial))
        if learn:
            self.log_temperature = nn.Parameter(value)
        else:
            self.register_buffer("log_temperature", value)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Restore the initial temperature."""
        self.log_temperature.fill_(math.log(self.initial))

    def inverse(self) -> Tensor:
        """1/T, 0-d."""
        log_temperature = self.log_temperature
        if self.limits is not None:
            low, high = map(math.log, self.limits)
            log_temperature = _Limited.apply(log_temperature, low, high)  # type: ignore[no-untyped-call]
        return torch.exp(-log_temperature)

    def forward(self, scores: Tensor) -> Tensor:
        return scores * self.inverse()


class _Limited(torch.autograd.Function):
    """A number within limits; beyond them, gradients pass that a descent follows back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:
        return value.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        value, ctx.low, ctx.high = inputs
        ctx.save_for_backward(value)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        stuck = ((value < ctx.low) & (slope > 0)) | ((value > ctx.high) & (slope < 0))
        return slope.masked_fill(stuck, 0.0), None, None


def make_temperature(temperature: float | str, limits: tuple[float, float] = TEMPERATURES) -> Temperature:
    """A temperature from a number, which is fixed, or "learned", which is 0.1 at first.

    Raises:
        ValueError: for another word, and as :class:`Temperature`.

    >>> [len([*make_temperature(value).parameters()]) for value in (0.1, "learned")]
    [0, 1]
    """
    if isinstance(temperature, str):
        if temperature != "learned":
            raise ValueError(f"temperature must be a positive number or 'learned'; got {temperature!r}")
        return Temperature(_INITIAL_TEMPERATURE, learn=True, limits=limits)
    return Temperature(temperature, limits=limits)
