"""Several bounds of one structure as one batched model: all their losses and gradients in one pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from infomax.bounds import Bound
from infomax.critics.networks import Concat

Pairs = tuple[Tensor, Tensor]
State = dict[str, Tensor]

#: Bounds that are trained together, at most; more are no faster.
MOST = 32


class _Loss(nn.Module):
    """A bound's loss as a forward pass."""

    def __init__(self, bound: Bound) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.bound.loss(x, y)


class BatchedBounds:
    """Stacked parameters and buffers of bounds, whose losses :func:`torch.vmap` maps, and an optimiser of them.

    Args:
        bounds: in training mode, of one structure; :meth:`store` writes the learned parameters back.

    Raises:
        TypeError: for :class:`~infomax.critics.Concat`, whose networks of all pairs use the whole machine one bound at
            a time; several at a time would only take more memory.
    """

    def __init__(self, bounds: Sequence[Bound]) -> None:
        if any(isinstance(part, Concat) for part in bounds[0].modules()):
            raise TypeError("critic must not be a network of every pair")
        self._losses = [_Loss(bound) for bound in bounds]
        first = self._losses[0]
        self._template = copy.deepcopy(first)
        self._fixed: State = {}
        self.learned: State = {}
        for name, parameter in first.named_parameters():
            stacked = torch.stack([loss.get_parameter(name).detach() for loss in self._losses])
            if parameter.requires_grad:
                self.learned[name] = stacked.requires_grad_()
            else:
                self._fixed[name] = stacked
        self._buffers: State = {}
        for name, buffer in first.named_buffers():
            each = [loss.get_buffer(name) for loss in self._losses]
            if all(one.shape == buffer.shape for one in each):
                self._buffers[name] = torch.stack(each)
            else:  # lengths differ, as of BA's memory, which its loss does not use: on meta any use fails
                parent, _, own = name.rpartition(".")
                setattr(self._template.get_submodule(parent), own, buffer.to("meta"))
        self._optimiser = torch.optim.Adam(list(self.learned.values()), fused=True) if self.learned else None

    def differentiate(self, pairs: Sequence[Pairs]) -> None:
        """Store the gradients of the losses of these batches, one batch for each bound, in ``grad`` of ``learned``."""

        def one(fixed: State, buffers: State, x: Tensor, y: Tensor) -> tuple[Tensor, State]:
            state = {**fixed, **buffers}
            loss: Tensor = functional_call(self._template, state, (x, y))
            return loss, {name: state[name] for name in buffers}

        x, y = (torch.stack(side) for side in zip(*pairs, strict=True))
        losses, buffers = torch.vmap(one)({**self.learned, **self._fixed}, self._buffers, x, y)
        self._buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        for parameter in self.learned.values():
            parameter.grad = None
        losses.sum().backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> None:
        """A step of Adam with these gradients."""
        if self._optimiser is not None:
            self._optimiser.param_groups[0]["lr"] = rate
            self._optimiser.step()

    @torch.no_grad()
    def store(self) -> None:
        """Write the learned parameters and buffers to the bounds."""
        for i, loss in enumerate(self._losses):
            for name, parameter in self.learned.items():
                loss.get_parameter(name).copy_(parameter[i])
            for name, buffer in self._buffers.items():
                loss.get_buffer(name).copy_(buffer[i])

    def keep(self, which: Sequence[int]) -> None:
        """Continue with these bounds only."""
        index = torch.tensor(which, device=next(self._losses[0].parameters()).device)
        self._losses = [self._losses[i] for i in which]
        self._fixed = {name: value[index] for name, value in self._fixed.items()}
        self._buffers = {name: value[index] for name, value in self._buffers.items()}
        if self._optimiser is None:
            return
        old, states = self.learned, self._optimiser.state
        self.learned = {name: value.detach()[index].requires_grad_() for name, value in old.items()}
        self._optimiser = torch.optim.Adam(list(self.learned.values()), fused=True)
        for name, value in self.learned.items():
            self._optimiser.state[value] = {k: v[index] if v.ndim else v for k, v in states[old[name]].items()}
