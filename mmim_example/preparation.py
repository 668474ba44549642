"""Before training: what the configuration needs of the data, checked and made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mmim_example import encoders
from mmim_example.config import Config
from mmim_example.measurement import batch_of
from mmim_example.model import MMIM
from mmim_example.reading import DataError, Dataset, Split, batches


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


def with_embedded_text(dataset: Dataset, pretrained: str) -> Dataset:
    """The dataset with each text as a vector, by a frozen model; an utterance without words has none.

    Raises:
        DataError: if there is no text.
        ImportError, ValueError: if the model cannot be had.
    """
    splits = {}
    for name, split in dataset.splits().items():
        if split.text is None:
            raise DataError(f"{dataset.source}: {name}: there must be text to embed; got none")
        vectors = encoders.embed(split.text, pretrained).numpy()
        lengths = {modality: values for modality, values in split.lengths.items() if modality != "text"}
        wordless = np.array([not text.strip() for text in split.text])
        splits[name] = dataclasses.replace(
            split,
            features={**split.features, "text": vectors},
            lengths=lengths,
            missing={**split.missing, "text": wordless},
            tokens=None,
        )
    nonfinite = {**dataset.nonfinite, "text": 0}
    return Dataset(splits["train"], splits["valid"], splits["test"], nonfinite, dataset.source)


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
