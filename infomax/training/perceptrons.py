"""Several perceptrons of equal widths at once, a product of stacked matrices for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchedMLP(nn.Module):
    """Perceptrons of equal widths with SiLU between layers, ``(models, N, in) -> (models, N, out)``.

    Each starts as :class:`torch.nn.Linear` does; the last layers' initial weights are scaled by ``last_gain``.
    """

    def __init__(
        self, models: int, widths: Sequence[int], generator: torch.Generator, *, last_gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (rows, columns) in enumerate(pairwise(widths)):
            limit = (last_gain if i == len(widths) - 2 else 1.0) / math.sqrt(rows)
            for parameters, shape in ((self.weights, (models, rows, columns)), (self.biases, (models, 1, columns))):
                share = torch.rand(shape, generator=generator, dtype=torch.float32)
                parameters.append(nn.Parameter(limit * (2 * share - 1)))

    def forward(self, x: Tensor) -> Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.silu(x) if i else x, weight)
        return x


class Passes:
    """Forward and backward passes of a batched perceptron in memory that is taken once.

    Fresh memory for each layer's output costs as much as the layer. What :meth:`forward` returns is overwritten by the
    next call.

    Args:
        weights, biases: of each layer, ``(models, in, out)`` and ``(models, 1, out)``; weights may be transposed views.
        d_weights, d_biases: where :meth:`backward` puts their gradients.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        d_weights: Sequence[Tensor],
        d_biases: Sequence[Tensor],
    ) -> None:
        self.weights, self.biases, self.d_weights, self.d_biases = weights, biases, d_weights, d_biases
        self._inputs: list[Tensor] = []  # of each layer: x, then what the SiLUs made of the layers before
        self._linear: list[Tensor] = []  # of each layer, before the SiLU
        self._d_linear: list[Tensor] = []

    def _take(self, rows: int) -> None:
        def of(weight: Tensor) -> Tensor:
            return weight.new_empty(len(weight), rows, weight.shape[2])

        self._linear = [of(weight) for weight in self.weights]
        self._inputs = [self._linear[0], *(of(weight) for weight in self.weights[:-1])]
        self._d_linear = [of(weight) for weight in self.weights[:-1]]

    def forward(self, x: Tensor) -> Tensor:
        """``(models, N, in) -> (models, N, out)``."""
        if not self._linear or self._linear[0].shape[1] != x.shape[1]:
            self._take(x.shape[1])
        self._inputs[0] = x
        for i, (weight, bias, linear) in enumerate(zip(self.weights, self.biases, self._linear, strict=True)):
            if i:
                torch.ops.aten.silu.out(self._linear[i - 1], out=self._inputs[i])
            torch.bmm(self._inputs[i], weight, out=linear).add_(bias)
        return self._linear[-1]

    def backward(self, d_out: Tensor) -> None:
        """Gradients of all parameters, from that of what :meth:`forward` returned last."""
        gradient = d_out
        for i in reversed(range(len(self.weights))):
            inputs, d_weight = self._inputs[i], self.d_weights[i]
            # Always into rows that follow each other: a single row in memory strided as a transposed column is computed
            # wrong by oneDNN (3.12), and so is every later product of the same shapes.
            if d_weight.stride()[1:] == (d_weight.shape[2], 1):
                torch.bmm(inputs.mT, gradient, out=d_weight)
            else:
                torch.bmm(gradient.mT, inputs, out=d_weight.mT)
            torch.sum(gradient, 1, keepdim=True, out=self.d_biases[i])
            if i:
                before = self._d_linear[i - 1]
                torch.bmm(gradient, self.weights[i].mT, out=before)
                gradient = torch.ops.aten.silu_backward.grad_input(before, self._linear[i - 1], grad_input=before)
