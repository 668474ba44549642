"""Loss terms of a batch that several processes share, their means over batches, and those of a whole split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from infomax import distributed
from mmim_example.model import MMIM, Output, Terms
from mmim_example.reading import Batch, Split, batch, batches
from mmim_example.reading.files import Array
from mmim_example.runs.environment import seeded


def batch_of(model: MMIM, split: Split, rows: Array) -> Batch:
    """What the model reads of these rows."""
    return batch(split, rows, names=list(model.config.modalities))


class Sums:
    """Means of loss terms over rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.totals: dict[str, dict[str, float]] = {"": {}, "pairs": {}, "fusion": {}}

    def add(self, terms: Terms, loss: float, rows: int) -> None:
        """Count the terms of a batch of ``rows``."""
        self.rows += rows
        groups: dict[str, Mapping[str, Tensor | float]] = {
            "": {"loss": loss, "task": terms.task.detach()},
            "pairs": {name: value.detach() for name, value in terms.pairs.items()},
            "fusion": {name: value.detach() for name, value in terms.fusion.items()},
        }
        for group, values in groups.items():
            totals = self.totals[group]
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + rows * float(value)

    def means(self) -> dict[str, Any]:
        """As the log has them: ``loss`` and ``task``, and nats by pair and by modality."""
        means = {g: {k: v / max(self.rows, 1) for k, v in totals.items()} for g, totals in self.totals.items()}
        return {**means[""], "pairs": means["pairs"], "fusion": means["fusion"]}


def whole(output: Output, labels: Tensor) -> tuple[Output, Tensor]:
    """The output and labels of all processes' parts of a batch, with gradients."""
    if not distributed.active():
        return output, labels
    gathered = Output(
        {name: distributed.gather(h) for name, h in output.representations.items()},
        {name: distributed.gather(there) for name, there in output.present.items()},
        distributed.gather(output.fused),
        distributed.gather(output.prediction),
    )
    return gathered, distributed.gather(labels)


@torch.no_grad()
def measure(model: MMIM, split: Split, device: torch.device) -> tuple[dict[str, Any], Tensor]:
    """Loss terms on a split, in evaluation mode and in its own order, and the predictions ``(N,)`` or ``(N, C)``."""
    model.eval()
    sums, predictions = Sums(), []
    with seeded(model.config.seed):  # the noise of the pairs
        for rows in batches(len(split), model.config.batch_size):
            read = batch_of(model, split, rows).to(device)
            output = model(read)
            terms = model.terms(output, read.labels)
            sums.add(terms, model.loss(terms).item(), len(rows))
            predictions.append(output.prediction.cpu())
    return sums.means(), torch.cat(predictions)
