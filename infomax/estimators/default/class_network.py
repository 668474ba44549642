"""Networks that correct the class probabilities of other models, one for each fold, trained as one batched model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.estimators.default.residual import BatchedMLP, one_of
from infomax.io.batches import draws

#: Width of both hidden layers; rows of a batch; steps between validations; validations without progress.
_HIDDEN, _BATCH, _CHECK_EVERY, _PATIENCE = 64, 256, 20, 6
#: Most steps, and most floating-point operations of all of them.
_MOST_STEPS, _MOST_OPERATIONS = 600, 1.5e10
#: Largest learning rate, and share of the training rows that are validation rows.
_RATE, _VALIDATION = 4e-2, 0.15
#: Decay of the running average of the parameters, after the first steps.
_KEPT = 0.96


def fit_network(
    x: Tensor, labels: Tensor, offsets: Tensor, folds: Sequence[Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What networks add to the logits ``offsets``, as held-out and as training rows: ``(N, K)`` each, in float32.

    For each fold a network learns from the other rows, by cross-entropy, what to add to the offsets; a share of these
    rows stops its training. The networks before the first step, which add nothing, are candidates.

    Args:
        x: ``(N, D)``. labels: ``(N,)``. offsets: ``(N, K)``. folds: rows of each. generator: draws parameters and
            batches.
    """
    n, classes = offsets.shape
    x, offsets = x.float(), offsets.float()
    train, validation = _split(n, folds, generator)
    models = len(folds)
    network = BatchedMLP(models, (x.shape[1], _HIDDEN, _HIDDEN, classes), generator, last_gain=0.01)
    averaged = copy.deepcopy(network).requires_grad_(False)
    parameters: list[Tensor] = list(network.parameters())
    averages: list[Tensor] = list(averaged.parameters())
    best, stale = [average.clone() for average in averages], 0
    for average in best[len(best) // 2 - 1 :: len(best) // 2]:  # the last layer: nothing is added
        average.zero_()
    held = x[validation], offsets[validation], labels[validation]
    least = _losses(held[1], held[2])
    size = min(_BATCH, train.shape[1])
    layer = x.shape[1] * _HIDDEN + _HIDDEN**2 + _HIDDEN * classes
    steps = int(min(_MOST_STEPS, max(60, _MOST_OPERATIONS / (6 * models * size * layer))))
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-3)
    batches = [draws(train.shape[1], size, generator) for _ in range(models)]
    with torch.enable_grad():
        for step in range(1, steps + 1):
            rows = train.gather(1, torch.stack([next(batch) for batch in batches]))
            optimiser.param_groups[0]["lr"] = _RATE * min(1.0, 2 * (1 - step / (steps + 1)))
            optimiser.zero_grad()
            _losses(offsets[rows] + network(x[rows]), labels[rows]).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                torch._foreach_lerp_(averages, parameters, 1 - min(_KEPT, (1 + step) / (10 + step)))
            if step % _CHECK_EVERY and step < steps:
                continue
            with torch.no_grad():
                losses = _losses(held[1] + averaged(held[0]), held[2])
            better = losses < least
            least, stale = torch.where(better, losses, least), 0 if bool(better.any()) else stale + 1
            for kept, average in zip(best, averages, strict=True):
                kept[better] = average[better]
            if stale >= _PATIENCE:
                break
    with torch.no_grad():
        for average, kept in zip(averages, best, strict=True):
            average.copy_(kept)
        added = torch.empty(n, classes, dtype=torch.float32)
        fitted = torch.zeros(n, classes, dtype=torch.float32)
        for model, rows in enumerate(folds):
            values = one_of(averaged, model, models)(x[None])[0]
            added[rows] = values[rows]
            values[rows] = 0
            fitted += values / (models - 1)
    return added, fitted


def _split(n: int, folds: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Training and validation rows for each fold, as many for each."""
    least = n - max(len(rows) for rows in folds)
    count = max(1, round(_VALIDATION * least))
    train, validation = [], []
    for rows in folds:
        others = torch.ones(n, dtype=torch.bool)
        others[rows] = False
        others = others.nonzero()[:, 0]
        mixed = others[torch.randperm(len(others), generator=generator)][:least]
        validation.append(mixed[:count])
        train.append(mixed[count:])
    return torch.stack(train), torch.stack(validation)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Each model's mean cross-entropy, ``(M, N, K), (M, N) -> (M,)``."""
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
