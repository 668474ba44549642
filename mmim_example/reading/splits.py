"""Utterances and their features in train, valid and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mmim_example.reading.files import Array, release

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Utterances that belong together.

    Attributes:
        ids: ``(N,)``, unique. labels: ``(N,)`` float32.
        features: by modality, ``(N, D)`` vectors or ``(N, T, D)`` frames, right-padded; float32. They may be mapped
            from a file, be read-only, and hold values that are not finite, which :func:`batch` reads as 0.
        lengths: by modality of frames, ``(N,)`` int64: the real ones. What lies beyond is never read.
        missing: by modality, ``(N,)`` bool; what is there in the features is not read. By default: no vector; frames
            whose length is 0.
        text: what was said, where it is known.
        tokens: ``(N, 3, T)`` integers: ids, mask (1, and 0 for padding), and type.
    """

    ids: tuple[str, ...]
    labels: Array
    features: Mapping[str, Array]
    lengths: Mapping[str, Array] = field(default_factory=dict)
    missing: Mapping[str, Array] = field(default_factory=dict)
    text: tuple[str, ...] | None = None
    tokens: Array | None = None

    def __post_init__(self) -> None:
        nothing = {name: np.zeros(len(self.ids), bool) for name in self.features}
        nothing |= {name: np.asarray(length) == 0 for name, length in self.lengths.items()}
        object.__setattr__(self, "missing", nothing | dict(self.missing))

    def __len__(self) -> int:
        return len(self.ids)

    def dims(self) -> dict[str, int]:
        """Columns of each modality."""
        return {name: array.shape[-1] for name, array in self.features.items()}

    def rows(self, index: Array) -> Split:
        """Some utterances, in the order of ``index``; a copy."""
        index = np.asarray(index)
        return Split(
            tuple(self.ids[i] for i in index),
            self.labels[index],
            {name: rows_of(array, index, slice(None)) for name, array in self.features.items()},
            {name: length[index] for name, length in self.lengths.items()},
            {name: absent[index] for name, absent in self.missing.items()},
            None if self.text is None else tuple(self.text[i] for i in index),
            None if self.tokens is None else self.tokens[index],
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of the same modalities.

    Attributes:
        nonfinite: by modality, how many values of its features are not finite. source: a name for messages.
    """

    train: Split
    valid: Split
    test: Split
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    source: str = "data"

    def dims(self) -> dict[str, int]:
        """Columns of each modality."""
        return self.train.dims()

    def splits(self) -> dict[str, Split]:
        """By name: train, valid, test."""
        return {name: getattr(self, name) for name in SPLITS}


def rows_of(features: Array, index: Array, columns: slice) -> Array:
    """A copy of these rows; pages of a mapped file that were read for it are released."""
    chosen = np.ascontiguousarray(features[index, columns])
    release(features)
    return chosen


def without(split: Split, modality: str, rows: Array) -> Split:
    """The split with a modality taken away from some rows."""
    missing = np.array(split.missing.get(modality, np.zeros(len(split), bool)))
    missing[rows] = True
    return dataclasses.replace(split, missing={**split.missing, modality: missing})


def video_of(utterance: str) -> str:
    """The video of an utterance's id: ``video$_$clip``, ``video[clip]`` or ``video_clip``."""
    for sign in ("$_$", "["):
        if sign in utterance:
            return utterance.split(sign, maxsplit=1)[0]
    return utterance.rpartition("_")[0] or utterance
