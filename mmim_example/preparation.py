"""Before training: what the configuration needs of the data, checked and made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infomax import distributed
from mmim_example import encoders
from mmim_example.config import Config
from mmim_example.data import Batch, Dataset, Split, padded
from mmim_example.data import batch as read_batch
from mmim_example.files import DataError
from mmim_example.model import MMIM

Array = np.ndarray[Any, np.dtype[Any]]
#: Rows of each modality that :func:`fingerprint` reads, about.
_LOOKED_AT = 64
#: Numbers that a transformer makes of a token, about.
_TOKEN = 768


def batches(n: int, size: int) -> Iterator[Array]:
    """``range(n)`` in pieces of ``size``; a last piece too small to split or to contrast joins the one before."""
    edges = list(range(0, n, size))
    if len(edges) > 1 and n - edges[-1] < _least_rows():
        edges.pop()
    for start, stop in zip(edges, [*edges[1:], n], strict=True):
        yield np.arange(start, stop)


def _least_rows() -> int:
    """Of a piece that is to be split among processes and contrasted."""
    return max(2, distributed.world_size())


def of_similar_length(split: Split, rows: Array, size: int, names: Sequence[str]) -> Iterator[Array]:
    """Places in ``rows``, the longest utterances' first, in pieces that take the memory of ``size`` long ones at most.

    Args:
        names: modalities that are read.
    """
    fixed = sum(
        split.features[name].shape[-1] for name in names if name in split.features and name not in split.lengths
    )
    numbers = []  # of each sequence, with its padding
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


def prepared(config: Config, dataset: Dataset) -> Dataset:
    """The dataset with what the configuration needs: tokens for a transformer, made from the raw text.

    Raises:
        DataError: if a modality is not in the data.
    """
    for name, spec in config.modalities.items():
        if spec.kind == "transformer":
            tokenized = {part: _tokenized(split, part, spec.pretrained) for part, split in dataset.splits().items()}
            dataset = dataclasses.replace(dataset, **tokenized)  # type: ignore[arg-type]
            continue
        features = dataset.train.features.get(name)
        if features is None:
            raise DataError(
                f"{dataset.source}: features must have every modality of the configuration; got "
                f"{', '.join(dataset.train.features)} without {name!r}"
            )
        wanted = 3 if spec.kind == "frames" else 2
        if features.ndim != wanted:
            raise DataError(
                f"{dataset.source}: {name} must have {wanted} dimensions for an encoder of {spec.kind}; got shape "
                f"{features.shape}"
            )
    check_labels(config, dataset)
    return dataset


def check_labels(config: Config, dataset: Dataset) -> None:
    """Refuse labels that are no classes, for a classification.

    Raises:
        DataError: names the split, the rule and the first label that breaks it.
    """
    if config.target != "classification":
        return
    for part, split in dataset.splits().items():
        labels = split.labels
        bad = (labels != np.round(labels)) | (labels < 0) | (labels >= config.classes)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{part}: labels must be whole numbers in 0..{config.classes - 1}; got {labels[row]} in row {row}"
            )


def _tokenized(split: Split, part: str, pretrained: str) -> Split:
    if split.text is not None:
        tokens = encoders.tokenize(split.text, pretrained)
        tokens[[not text.strip() for text in split.text], 1] = 0  # an utterance without words has no text
    elif split.tokens is not None:
        tokens = np.asarray(split.tokens)
    else:
        raise DataError(f"{part}: text or tokens must be there for a transformer; got neither")
    others = {name: array for name, array in split.features.items() if name != "text"}
    lengths = {name: array for name, array in split.lengths.items() if name != "text"}
    missing = {name: array for name, array in split.missing.items() if name != "text"}
    return dataclasses.replace(split, features=others, lengths=lengths, missing=missing, tokens=tokens)


def set_statistics(model: MMIM, train: Split) -> None:
    """Give each encoder that standardises its input the training split's mean and deviation."""
    for name, spec in model.config.modalities.items():
        encoder = model.encoders[name]
        if spec.standardize and not isinstance(encoder, encoders.TransformerEncoder):
            encoder.standardize.fit(_true_rows(model, train, name))  # type: ignore[union-attr, operator]


def _true_rows(model: MMIM, split: Split, name: str) -> Iterator[Tensor]:
    for rows in batches(len(split), 256):
        batch = batch_of(model, split, rows)
        x = batch.inputs[name]
        if x.ndim == 2:
            yield x[batch.present[name]]
        else:
            yield x[torch.arange(x.shape[1]) < batch.lengths[name][:, None]]


def batch_of(model: MMIM, split: Split, rows: Array) -> Batch:
    """What the model reads of these rows."""
    return read_batch(split, rows, names=list(model.config.modalities))


def fingerprint(dataset: Dataset) -> str:
    """A hash of ids, labels, dimensions and some rows of the features: a resumed run must find the same."""
    digest = hashlib.sha256()
    for part, split in dataset.splits().items():
        digest.update(json.dumps([part, split.ids, sorted(split.dims().items())]).encode())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        for name, array in sorted(split.features.items()):
            some = array[:: max(1, len(array) // _LOOKED_AT)]  # of a large file, not all of it
            digest.update(name.encode() + np.ascontiguousarray(some).tobytes())
    return digest.hexdigest()


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """PyTorch's random numbers from these inside; as they were outside. Dropout knows no other source."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng():
        torch.manual_seed(int(state >> np.uint64(1)))
        yield
