"""What a configuration needs of a data set: modalities of the right kind, class labels, tokens, column statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmim_example import encoders, pretrained
from mmim_example.config import ENCODERS, FRAME_PRESETS, Config
from mmim_example.measurement import batch_of
from mmim_example.model import MMIM
from mmim_example.reading import DataError, Dataset, Split, batches


def require_models(config: Config) -> None:
    """Check that the transformers of a configuration can be loaded, before the data are read.

    Raises:
        ImportError, ValueError: as :func:`~mmim_example.pretrained.load_transformer`.
    """
    for spec in config.modalities.values():
        if spec.kind == "transformer":
            pretrained.require(spec.pretrained)


def prepared(config: Config, dataset: Dataset) -> Dataset:
    """Check a data set against a configuration, and tokenize its text for a transformer.

    Raises:
        DataError: if a modality is missing or of the wrong kind, or labels are not classes in a classification.
    """
    splits: dict[str, Any] = {
        part: prepared_split(config, split, part, dataset.source) for part, split in dataset.splits().items()
    }
    if config.target == "classification":
        for part, split in splits.items():
            _check_classes(split, part, config.classes)
    return dataclasses.replace(dataset, **splits)


def prepared_split(config: Config, split: Split, part: str, source: str) -> Split:
    """Check a split against a configuration, except its labels, and tokenize its text for a transformer.

    Raises:
        DataError: as :func:`prepared`.
    """
    for name, spec in config.modalities.items():
        if spec.kind == "transformer":
            split = _tokenized(split, part, spec.pretrained)
            continue
        features = split.features.get(name)
        if features is None:
            raise DataError(
                f"{source}: features must include every modality of the configuration; got "
                f"{', '.join(split.features)} without {name!r}"
            )
        axes = ENCODERS[spec.kind]
        if features.ndim != axes:
            advice = f"; for frames use --preset {' or '.join(FRAME_PRESETS)}" if axes == 2 else ""
            raise DataError(
                f"{source}: {name} must have {axes} axes for an encoder of kind {spec.kind!r}; got shape "
                f"{features.shape}{advice}"
            )
    return split


def with_missing(config: Config, dims: Mapping[str, int], split: Split) -> tuple[Split, list[str]]:
    """The split with every modality of a configuration, and the names of those that it lacked: they are all missing.

    Args:
        dims: number of columns of each modality; see :class:`~mmim_example.model.MMIM`.
    """
    n, absent = len(split), list[str]()
    features, lengths, missing = dict(split.features), dict(split.lengths), dict(split.missing)
    for name, spec in config.modalities.items():
        if spec.kind == "transformer":
            if split.text is None and split.tokens is None:
                split, absent = dataclasses.replace(split, tokens=np.zeros((n, 3, 1), np.int64)), [*absent, name]
        elif name not in features:
            frames = ENCODERS[spec.kind] == 3
            features[name] = np.zeros((n, 1, dims[name]) if frames else (n, dims[name]), np.float32)
            lengths |= {name: np.zeros(n, np.int64)} if frames else {}
            missing[name] = np.ones(n, bool)
            absent.append(name)
    return dataclasses.replace(split, features=features, lengths=lengths, missing=missing), absent


def _check_classes(split: Split, part: str, classes: int) -> None:
    labels = split.labels
    bad = (labels != np.round(labels)) | (labels < 0) | (labels >= classes)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{part}: labels must be integers from 0 to {classes - 1}; got {labels[row]} in row {row}")


def _tokenized(split: Split, part: str, model: str) -> Split:
    if split.text is not None:
        tokens = pretrained.tokenize(split.text, model)
        tokens[_empty(split.text), 1] = 0  # an utterance without words has no text
    elif split.tokens is not None:
        tokens = np.asarray(split.tokens)
    else:
        raise DataError(f"{part}: a transformer needs text or tokens; got neither")
    others: dict[str, Any] = {
        field: {name: array for name, array in getattr(split, field).items() if name != "text"}
        for field in ("features", "lengths", "missing")
    }
    return dataclasses.replace(split, **others, tokens=tokens)


def with_embedded_text(dataset: Dataset, model: str) -> Dataset:
    """Replace text by embeddings of a frozen model. An utterance without words has no text.

    Raises:
        DataError: if the data set has no text.
        ImportError, ValueError: if the model cannot be loaded.
    """
    splits: dict[str, Any] = {}
    for name, split in dataset.splits().items():
        if split.text is None:
            raise DataError(f"{dataset.source}: {name}: there must be text to embed; got none")
        splits[name] = dataclasses.replace(
            split,
            features={**split.features, "text": pretrained.embed(split.text, model).numpy()},
            lengths={modality: values for modality, values in split.lengths.items() if modality != "text"},
            missing={**split.missing, "text": _empty(split.text)},
            tokens=None,
        )
    return dataclasses.replace(dataset, **splits, nonfinite={**dataset.nonfinite, "text": 0})


def _empty(texts: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array([not text.strip() for text in texts])


def set_statistics(model: MMIM, train: Split) -> None:
    """Give each encoder that standardises its input the mean and deviation of the training split."""
    for name, spec in model.config.modalities.items():
        standardize = getattr(model.encoders[name], "standardize", None)
        if spec.standardize and isinstance(standardize, encoders.Standardize):
            standardize.fit(_valid_rows(model, train, name))


def _valid_rows(model: MMIM, split: Split, name: str) -> Iterator[Tensor]:
    for rows in batches(len(split), 256):
        batch = batch_of(model, split, rows)
        x = batch.inputs[name]
        yield x[batch.present[name] if x.ndim == 2 else torch.arange(x.shape[1]) < batch.lengths[name][:, None]]
