"""Adam on one vector that holds the parameters of several models: no Python for each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """Parameters in blocks ``(models, *shape)`` of one vector, their gradients alike, and the steps that change them.

    Each parameter becomes a view of its block, so that its module sees each step at once. Whoever trains writes into
    ``gradients``, blocks too; one that is not finite stays with its own model.

    An object of :class:`torch.optim.Adam` would take the same steps. To make one loads PyTorch's compiler, which takes
    a good part of a short estimate, and its state cannot lose the models that have stopped.

    Args:
        groups: for each block, the parameters in it, of one shape.
        before: an optimiser of the same parameters and others, which this one goes on from.

    Source: Kingma and Ba, "Adam", 2015, arXiv 1412.6980.
    """

    def __init__(self, groups: Sequence[Sequence[nn.Parameter]], before: Adam | None = None) -> None:
        self._groups = groups
        self._shapes = [(len(group), *group[0].shape) for group in groups]
        first = groups[0][0].detach()
        self._vectors = first.new_zeros(4, sum(map(math.prod, self._shapes))).unbind()
        values, gradients, means, squares = (self._views(vector) for vector in self._vectors)
        self.blocks, self.gradients = values, gradients
        self._means, self._squares = means, squares
        self._steps = torch.zeros((), dtype=torch.float32, device=first.device)
        for group, block in zip(groups, self.blocks, strict=True):
            for parameter, view in zip(group, block, strict=True):
                view.copy_(parameter.detach())
                parameter.data = view
        if before is not None:
            self._steps.copy_(before._steps)
            known = before._moments()
            for parameter, moments in self._moments().items():
                for new, old in zip(moments, known[parameter], strict=True):
                    new.copy_(old)

    def _views(self, vector: Tensor) -> list[Tensor]:
        parts = torch.split(vector, [math.prod(shape) for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _moments(self) -> dict[nn.Parameter, tuple[Tensor, Tensor]]:
        return {
            parameter: (mean, square)
            for group, means, squares in zip(self._groups, self._means, self._squares, strict=True)
            for parameter, mean, square in zip(group, means, squares, strict=True)
        }

    def gradients_of(self) -> dict[nn.Parameter, Tensor]:
        """Each parameter's gradient."""
        return {
            parameter: gradient
            for group, gradients in zip(self._groups, self.gradients, strict=True)
            for parameter, gradient in zip(group, gradients, strict=True)
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step at this learning rate, by the gradients as they stand."""
        value, gradient, mean, square = self._vectors
        adam(
            [value],
            [gradient],
            [mean],
            [square],
            [],
            [self._steps],
            foreach=False,
            fused=True,
            has_complex=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
