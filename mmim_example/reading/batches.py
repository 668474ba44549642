"""Batches: utterances as padded tensors, and how the rows of a split are divided into batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from infomax import distributed
from mmim_example.reading.files import Array, DataError
from mmim_example.reading.splits import Split, copy_rows

#: The largest number of different lengths that batches have: PyTorch compiles and keeps kernels for each length.
_LENGTHS = 16
#: Approximate number of values that a transformer computes for each token.
_TOKEN = 768


@dataclass(frozen=True, eq=False)
class Batch:
    """Some utterances as tensors.

    Attributes:
        inputs: by modality, ``(B, D)`` or ``(B, T, D)``, where T is slightly more than the longest length in the batch;
            0 in padding and where the modality is missing. ``"tokens"``, ``(B, 3, T)`` int64, if the split has them.
        lengths: for each modality of frames, ``(B,)`` int64.
        present: by modality, ``(B,)`` bool.
        labels: ``(B,)`` float32.
    """

    inputs: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""

        def move(part: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in part.items()}

        labels = self.labels.to(device, non_blocking=True)
        return Batch(move(self.inputs), move(self.lengths), move(self.present), labels)


def batch(split: Split, index: Array, *, names: Collection[str]) -> Batch:
    """Read the utterances of ``index`` as tensors. Padding and non-finite feature values become 0.

    Args:
        names: modalities. "text" is allowed if the split has tokens but no text features.

    Raises:
        DataError: if the split lacks a modality.
    """
    index = np.asarray(index)
    inputs, lengths, present = {}, {}, {}
    mask = None if split.tokens is None else np.asarray(split.tokens[index, 1]) != 0
    for name in names:
        absent = split.missing[name][index] if name in split.missing else np.zeros(len(index), bool)
        if name in split.features:
            length = np.where(absent, 0, split.lengths[name][index]) if name in split.lengths else None
            inputs[name] = torch.from_numpy(_values(split.features[name], index, absent, length))
            if length is not None:
                lengths[name] = torch.from_numpy(length)
        elif name == "text" and mask is not None:
            absent = absent | ~mask.any(1)
        else:
            raise DataError(f"modalities must be among {', '.join(split.features)}; got {name!r}")
        present[name] = torch.from_numpy(~absent)
    if split.tokens is not None and mask is not None:
        longest = 1 + int(np.flatnonzero(mask.any(0)).max(initial=0))
        inputs["tokens"] = torch.from_numpy(split.tokens[index, :, :longest].astype(np.int64))
    return Batch(inputs, lengths, present, torch.from_numpy(split.labels[index]))


def padded(length: Array, most: int) -> Array:
    """The number of frames to which a batch pads utterances of these lengths ``(B,)``, if the file has ``most``."""
    step = -(-most // _LENGTHS)
    frames: Array = np.minimum(most, -(-np.maximum(length, 1) // step) * step)
    return frames


def _values(features: Array, index: Array, absent: Array, length: Array | None) -> Array:
    if length is None:
        values = copy_rows(features, index)
        values[absent] = 0
    else:
        longest = int(padded(length, features.shape[1]).max(initial=1))
        values = copy_rows(features, index, slice(longest))
        values[np.arange(longest) >= length[:, None]] = 0
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = 0
    return values


def batches(n: int, size: int) -> Iterator[Array]:
    """Divide ``range(n)`` into batches of ``size``. A last batch that is too small joins the one before it."""
    edges = list(range(0, n, size))
    if len(edges) > 1 and n - edges[-1] < _least_rows():
        edges.pop()
    for start, stop in zip(edges, [*edges[1:], n], strict=True):
        yield np.arange(start, stop)


def _least_rows() -> int:
    """The smallest batch: a contrastive bound needs two rows, and each process needs one."""
    return max(2, distributed.world_size())


def of_similar_length(split: Split, rows: Array, size: int, names: Collection[str]) -> Iterator[Array]:
    """Divide ``rows`` into batches of similar length, the longest utterances first; yields positions in ``rows``.

    No batch needs more memory than ``size`` utterances of the largest length.

    Args:
        names: modalities that are read.
    """
    fixed = sum(
        split.features[name].shape[-1] for name in names if name in split.features and name not in split.lengths
    )
    numbers = []  # values of each sequence, including its padding
    for name in names:
        if name in split.lengths:
            length = np.where(split.missing[name][rows], 0, split.lengths[name][rows])
            numbers.append(padded(length, split.features[name].shape[1]) * split.features[name].shape[2])
    if split.tokens is not None:
        mask = split.tokens[rows, 1] != 0
        numbers.append(_TOKEN * (mask.shape[1] - mask[:, ::-1].argmax(1)))
    costs = np.stack(numbers) if numbers else np.zeros((0, len(rows)), np.int64)
    order = np.argsort(-costs.sum(0), kind="stable")
    start, most = 0, size * (fixed + int(costs.max(1, initial=0).sum()))
    while start < len(rows):
        largest = np.maximum.accumulate(costs[:, order[start:]], axis=1).sum(0)
        taken = np.arange(1, len(largest) + 1) * (fixed + largest)
        stop = start + max(1, int(np.searchsorted(taken, most, "right")))
        if len(rows) - stop < _least_rows():
            stop = len(rows)
        yield order[start:stop]
        start = stop
