"""Networks for the residual of a closed-form log-ratio, one or more for each fold, trained as one batched model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infomax.io.batches import draws
from infomax.progress import no_progress
from infomax.training.fit import History, Schedule

M = TypeVar("M", bound=nn.Module)

#: Validation scores are computed on at most this many rows at a time.
_BLOCK = 1024
#: Decay of the running average of the parameters, after the first steps.
_KEPT = 0.98


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


def one_of(batched: M, model: int, models: int) -> M:
    """A copy of a module of several models, whose parameters have one or more matrices for each, with one of them."""
    alone = copy.deepcopy(batched)
    for parameter in alone.parameters():
        size = len(parameter) // models
        parameter.data = parameter.data[model * size : (model + 1) * size].clone()
    return alone


class ColumnNetworks(nn.Module):
    """A small perceptron of its own for each column, ``(models, N, D) -> (models, N, D * width)``."""

    #: Outputs of each column.
    width = 8

    def __init__(
        self, models: int, dim: int, generator: torch.Generator, *, hidden: int = 16, last_gain: float = 1.0
    ) -> None:
        super().__init__()
        self.each = BatchedMLP(models * dim, (1, hidden, hidden, self.width), generator, last_gain=last_gain)

    def forward(self, x: Tensor) -> Tensor:
        models, n, dim = x.shape
        columns = self.each(x.transpose(1, 2).reshape(models * dim, n, 1))
        joined: Tensor = columns.view(models, dim, n, -1).transpose(1, 2).flatten(2)
        return joined


class BatchedCritic(nn.Module):
    r""":math:`g(x)^\top A\, h(y) + a(x) + b(y) + c` for several models at once, in float32; all start near zero."""

    def __init__(
        self,
        models: int,
        g: nn.Module,
        h: nn.Module,
        dims: tuple[int, int],
        *,
        generator: torch.Generator,
        hidden: int,
    ) -> None:
        """With these embeddings; ``dims`` are the numbers of inputs."""
        super().__init__()
        self.models, self.g, self.h = models, g, h
        self.a, self.b = (BatchedMLP(models, (dim, hidden, 1), generator, last_gain=0.01) for dim in dims)
        self.c = nn.Parameter(torch.zeros(models, 1, 1, dtype=torch.float32))

    @staticmethod
    def dense(
        models: int, x_dim: int, y_dim: int, generator: torch.Generator, *, hidden: int = 64, embed_dim: int = 32
    ) -> BatchedCritic:
        """Embeddings by perceptrons of all inputs."""
        g = BatchedMLP(models, (x_dim, hidden, hidden, embed_dim), generator)
        h = BatchedMLP(models, (y_dim, hidden, hidden, embed_dim), generator, last_gain=0.01)
        return BatchedCritic(models, g, h, (x_dim, y_dim), generator=generator, hidden=hidden // 2)

    @staticmethod
    def additive(models: int, x_dim: int, y_dim: int, generator: torch.Generator) -> BatchedCritic:
        """Embeddings that are functions of single columns: few parameters, without interactions within a side."""
        of_x = ColumnNetworks(models, x_dim, generator)
        coupling = BatchedMLP(models, (x_dim * of_x.width, y_dim * of_x.width), generator)
        of_y = ColumnNetworks(models, y_dim, generator, last_gain=0.01)
        g = nn.Sequential(of_x, coupling)
        return BatchedCritic(models, g, of_y, (x_dim, y_dim), generator=generator, hidden=32)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """``x (models, N, Dx), y (models, N, Dy) -> (models, N, N)``; entry [m, i, j] scores (x_i, y_j)."""
        offsets = self.a(x) + self.b(y).transpose(1, 2) + self.c
        return torch.baddbmm(offsets, self.g(x), self.h(y).transpose(1, 2))

    def pairs(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores of the joint pairs only, ``(models, N)``."""
        own: Tensor = (self.g(x) * self.h(y)).sum(2) + (self.a(x) + self.b(y) + self.c).squeeze(2)
        return own

    def one(self, model: int) -> BatchedCritic:
        """A copy of one of the models."""
        alone = one_of(self, model, self.models)
        alone.models = 1
        return alone


def logistic_losses(scores: Tensor) -> Tensor:
    r"""Logistic loss of joint against shuffled pairs, for each of several score matrices: ``(M, N, N) -> (M,)``.

    :math:`\frac1N \sum_i \log(1 + e^{-f_{ii}}) + \frac{1}{N(N-1)} \sum_{i \ne j} \log(1 + e^{f_{ij}})`, whose minimum
    over all f is at the log-ratio itself (Nowozin, Cseke and Tomioka, "f-GAN", 2016, arXiv 1606.00709).
    """
    n = scores.shape[1]
    own = scores.diagonal(dim1=1, dim2=2)
    # softplus(s) = softplus(-s) + s
    mixed = F.softplus(scores).sum((1, 2)) - F.softplus(own).sum(1)
    return F.softplus(-own).mean(1) + mixed / (n * (n - 1))


def fit_residuals(
    critic: BatchedCritic,
    anchors: Callable[[Tensor], Tensor],
    residuals: Callable[[BatchedCritic, Tensor], Tensor],
    train: Tensor,
    validation: Tensor,
    *,
    schedule: Schedule,
    generator: torch.Generator,
    tick: Callable[[int], None] = no_progress,
) -> list[History]:
    """Train in place; each model keeps the averaged parameters that were best on its own validation rows.

    A running average of the parameters (Polyak and Juditsky 1992), which overfits less, is validated and kept. The
    state before the first step is a candidate, so training is kept only if it improved the validation loss.

    Args:
        critic: M models.
        anchors, residuals: the fixed scores and those of a critic, ``(M, N, N)``, for rows ``(M, N)``.
        train, validation: rows of each model, ``(M, N)``.
        generator: draws the batches, on the CPU.
        tick: called with the number of steps done since the last call.

    Returns:
        each model's history; its values are the mean log-ratio of the validation pairs, in nats.
    """
    models, n = train.shape
    averaged = copy.deepcopy(critic).requires_grad_(False)
    parameters: list[Tensor] = list(critic.parameters())
    averages: list[Tensor] = list(averaged.parameters())
    optimiser = torch.optim.Adam(parameters, fused=True)
    best = [average.clone() for average in averages]
    least = torch.full((models,), torch.inf, dtype=torch.float32, device=train.device)
    histories = [History() for _ in range(models)]
    blocks = [block for block in torch.split(validation, _BLOCK, 1) if block.shape[1] > 1]
    fixed = [anchors(block) for block in blocks]
    batches = [draws(n, schedule.batch(n), generator) for _ in range(models)]
    for step in range(schedule.steps + 1):
        if schedule.checks(step):
            losses, values = _validate(blocks, fixed, lambda rows: residuals(averaged, rows))
            tick(min(schedule.check_every, step))
            better = losses < least
            least = torch.where(better, losses, least)
            for kept, average in zip(best, averages, strict=True):
                mine = better.repeat_interleave(len(kept) // models)  # a model has one matrix, or one for each column
                kept[mine] = average[mine]
            for history, value, improved, finite in zip(
                histories, values.tolist(), better.tolist(), losses.isfinite().tolist(), strict=True
            ):
                history.steps.append(step)
                history.validation.append(value)
                history.best_step = step if improved else history.best_step
                history.diverged |= not finite
            stale = step - max(history.best_step for history in histories)
            if stale >= schedule.patience * schedule.check_every or not bool(losses.isfinite().any()):
                break
        if step == schedule.steps:
            break
        rows = train.gather(1, torch.stack([next(batch) for batch in batches]).to(train.device))
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        optimiser.zero_grad()
        logistic_losses(anchors(rows) + residuals(critic, rows)).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - min(_KEPT, (1 + step) / (10 + step)))
    with torch.no_grad():
        for kept, parameter in zip(best, parameters, strict=True):
            parameter.copy_(kept)
    return histories


@torch.no_grad()
def _validate(
    blocks: Sequence[Tensor], fixed: Sequence[Tensor], residuals: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Each model's loss, and mean log-ratio of joint pairs, on its validation rows."""
    total = sum(block.shape[1] for block in blocks)
    losses, values = [], []
    for block, anchor in zip(blocks, fixed, strict=True):
        scores, share = anchor + residuals(block), block.shape[1] / total
        losses.append(share * logistic_losses(scores))
        values.append(share * scores.diagonal(dim1=1, dim2=2).mean(1))
    return torch.stack(losses).sum(0), torch.stack(values).sum(0)
