"""Loss terms: their means over the batches of an epoch, and their values on a whole split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infomax import distributed
from mmim_example.model import MMIM, Output, Terms
from mmim_example.reading import Batch, Split, batch, batches
from mmim_example.reading.files import Array
from mmim_example.runs.environment import seeded


class Means:
    """Means of loss terms, weighted by the number of rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.totals: dict[str, dict[str, float]] = {"": {}, "pairs": {}, "fusion": {}}

    def add(self, terms: Terms, loss: float, rows: int) -> None:
        """Add the terms of a batch of ``rows``."""
        self.rows += rows
        self._add("", "loss", rows * loss)
        self._add("", "task", rows * terms.task.item())
        for level, values in (("pairs", terms.pairs), ("fusion", terms.fusion)):
            for name, value in values.items():
                self._add(level, name, rows * value.item())

    def _add(self, level: str, name: str, value: float) -> None:
        self.totals[level][name] = self.totals[level].get(name, 0.0) + value

    def values(self) -> dict[str, Any]:
        """The means in the form of the log: ``loss`` and ``task``, and MI in nats for each pair and modality."""
        means = {g: {k: v / max(self.rows, 1) for k, v in totals.items()} for g, totals in self.totals.items()}
        return {**means[""], "pairs": means["pairs"], "fusion": means["fusion"]}


def batch_of(model: MMIM, split: Split, rows: Array) -> Batch:
    """The batch that the model reads from these rows."""
    return batch(split, rows, names=model.config.modalities)


def whole(output: Output, labels: Tensor) -> tuple[Output, Tensor]:
    """The output and labels of a batch that several processes share, gathered with their gradients."""
    if not distributed.active():
        return output, labels
    gathered = Output(
        {name: distributed.gather(h) for name, h in output.representations.items()},
        {name: distributed.gather(rows) for name, rows in output.present.items()},
        distributed.gather(output.fused),
        distributed.gather(output.prediction),
    )
    return gathered, distributed.gather(labels)


#: Nominal coverage of prediction intervals.
LEVEL = 0.8


def half_width(predictions: Array, labels: Array) -> float | None:
    """Half of the width of a prediction interval of coverage ``LEVEL``, from held-out residuals.

    Split conformal prediction: the k-th smallest absolute residual of n, with k = ⌈0.8 (n + 1)⌉. Then a new row of the
    same distribution lies in prediction ± half_width with probability 0.8 or slightly more. It is slightly less for the
    residuals that chose the epoch, and less where a modality is missing that the held-out rows have.

    Args:
        predictions, labels: ``(N,)``, of rows that training did not see.

    Returns:
        ``None`` for fewer than 4 rows, which allow no such interval.

    Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, arXiv 1604.04173.
    """
    residuals = np.sort(np.abs(np.asarray(labels, np.float64) - predictions))
    place = math.ceil(LEVEL * (len(residuals) + 1))
    return float(residuals[place - 1]) if place <= len(residuals) else None


@torch.no_grad()
def outputs(model: MMIM, split: Split, device: torch.device) -> Iterator[Output]:
    """The network's outputs for a split, in its order, without the bounds, which need labels and several rows."""
    model.eval()
    for rows in batches(len(split), model.config.batch_size):
        yield model(batch_of(model, split, rows).to(device))


@torch.no_grad()
def measure(model: MMIM, split: Split, device: torch.device) -> tuple[dict[str, Any], Tensor]:
    """Mean loss terms on a split in evaluation mode, and predictions ``(N,)`` or ``(N, C)`` in its own order."""
    model.eval()
    means, predictions = Means(), []
    with seeded(model.config.seed):  # the noise in the pairs' bounds
        for rows in batches(len(split), model.config.batch_size):
            read = batch_of(model, split, rows).to(device)
            output = model(read)
            terms = model.terms(output, read.labels)
            means.add(terms, model.loss(terms).item(), len(rows))
            predictions.append(output.prediction.cpu())
    return means.values(), torch.cat(predictions)
