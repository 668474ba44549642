"""A data set: utterances and their features in three splits, train, valid and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mmim_example.reading.files import Array, release

SPLITS = ("train", "valid", "test")
#: The name of the only split in data that are not divided.
WHOLE = "data"
#: The modalities of the published formats.
MODALITIES = ("text", "audio", "vision")


@dataclass(frozen=True, eq=False)
class Split:
    """The utterances of one split.

    Attributes:
        ids: ``(N,)``, unique.
        labels: ``(N,)`` float32; NaN if they are not known, as in data for predictions.
        features: by modality, ``(N, D)`` vectors or ``(N, T, D)`` right-padded frames; float32. They may be mapped from
            a file, be read-only, and contain non-finite values, which :func:`~mmim_example.reading.batch` reads as 0.
        lengths: for each modality of frames, the number of valid frames: ``(N,)`` int64. Later frames are never read.
        missing: by modality, ``(N,)`` bool. Features of a missing modality are never read. By default no vector is
            missing, and frames are missing where their length is 0.
        text: the transcript, if known.
        tokens: ``(N, 3, T)`` integers: ids, attention mask (0 for padding), and types.
    """

    ids: tuple[str, ...]
    labels: Array
    features: Mapping[str, Array]
    lengths: Mapping[str, Array] = field(default_factory=dict)
    missing: Mapping[str, Array] = field(default_factory=dict)
    text: tuple[str, ...] | None = None
    tokens: Array | None = None

    def __post_init__(self) -> None:
        default = {name: np.zeros(len(self.ids), bool) for name in self.features}
        default |= {name: np.asarray(length) == 0 for name, length in self.lengths.items()}
        object.__setattr__(self, "missing", default | dict(self.missing))

    def __len__(self) -> int:
        return len(self.ids)

    def dims(self) -> dict[str, int]:
        """Number of columns of each modality."""
        return {name: array.shape[-1] for name, array in self.features.items()}

    def rows(self, index: Array) -> Split:
        """A copy of some utterances, in the order of ``index``."""
        index = np.asarray(index)
        return Split(
            tuple(self.ids[i] for i in index),
            self.labels[index],
            {name: copy_rows(array, index) for name, array in self.features.items()},
            {name: length[index] for name, length in self.lengths.items()},
            {name: absent[index] for name, absent in self.missing.items()},
            None if self.text is None else tuple(self.text[i] for i in index),
            None if self.tokens is None else self.tokens[index],
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with the same modalities.

    Attributes:
        nonfinite: by modality, the number of non-finite feature values.
        source: a name for messages.
    """

    train: Split
    valid: Split
    test: Split
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    source: str = "data"

    def dims(self) -> dict[str, int]:
        """Number of columns of each modality."""
        return self.train.dims()

    def splits(self) -> dict[str, Split]:
        """The splits by name: train, valid, test."""
        return {name: getattr(self, name) for name in SPLITS}


def copy_rows(features: Array, index: Array, columns: slice = slice(None)) -> Array:
    """Copy rows of an array, and release the pages of the file that it may be mapped from."""
    chosen = np.ascontiguousarray(features[index, columns])
    release(features)
    return chosen


def without(split: Split, modality: str, rows: Array) -> Split:
    """The split with a modality marked as missing in some rows."""
    missing = np.array(split.missing.get(modality, np.zeros(len(split), bool)))
    missing[rows] = True
    return dataclasses.replace(split, missing={**split.missing, modality: missing})


def video_of(utterance: str) -> str:
    """The video of an utterance, from its id: ``video$_$clip``, ``video[clip]`` or ``video_clip``."""
    for separator in ("$_$", "["):
        if separator in utterance:
            return utterance.split(separator, maxsplit=1)[0]
    return utterance.rpartition("_")[0] or utterance
