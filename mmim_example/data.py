"""Utterances and their features in train, valid and test: checked once, read in batches; made up where there are none.

The plain format is a directory with two files that any tool can write:

- ``utterances.csv``, UTF-8: ``id``, ``split`` (train, valid or test), ``label`` and, if there is any, ``text``.
- ``features.npz``, rows in the order of the table. An array of float32 for each modality, by its name: ``(N, D)`` one
  vector an utterance, or ``(N, T, D)`` frames, right-padded, with ``<modality>_lengths`` ``(N,)``: how many are real.
  ``<modality>_missing`` ``(N,)``: True where there is nothing. ``tokens`` ``(N, 3, T)``: ids, mask and type.

What is stored without compression, as ``numpy.savez`` does, is read where it lies (:mod:`mmim_example.plain`): the
file may be larger than the memory. Other formats: :mod:`mmim_example.formats`.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from infomax import tasks
from mmim_example.checks import refuse, validate
from mmim_example.files import Array, DataError, DataWarning, chunks, release

SPLITS = ("train", "valid", "test")
#: Lengths that batches can have, at most: kernels are made, and kept, for each one that occurs.
_LENGTHS = 16
#: What pickles are called; no other file is read as one.
PICKLES = (".pkl", ".pickle", ".p")


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
            {name: _rows(array, index, slice(None)) for name, array in self.features.items()},
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


@dataclass(frozen=True, eq=False)
class Batch:
    """Some utterances as tensors.

    Attributes:
        inputs: by modality, ``(B, D)`` or ``(B, T, D)`` with T little more than the longest of this batch; 0 where
            there is nothing. ``"tokens"``, ``(B, 3, T)`` int64, if the split has them.
        lengths: by modality of frames, ``(B,)`` int64. present: by modality, ``(B,)`` bool.
        labels: ``(B,)`` float32.
    """

    inputs: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""

        def move(part: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in part.items()}

        labels = self.labels.to(device, non_blocking=True)
        return Batch(move(self.inputs), move(self.lengths), move(self.present), labels)


def batch(split: Split, index: Array, *, names: Sequence[str]) -> Batch:
    """The utterances of ``index`` as tensors; feature values that are not finite, and padding, are 0.

    Args:
        names: modalities. "text" may be one of which the split has only the tokens.

    Raises:
        DataError: for a modality that the split has not.
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
    """Frames ``(B,)`` that a batch of utterances of that length has, of ``most`` in the file."""
    step = -(-most // _LENGTHS)
    frames: Array = np.minimum(most, -(-np.maximum(length, 1) // step) * step)
    return frames


def _values(features: Array, index: Array, absent: Array, length: Array | None) -> Array:
    if length is None:
        values = _rows(features, index, slice(None))
        values[absent] = 0
    else:
        longest = int(padded(length, features.shape[1]).max(initial=1))
        values = _rows(features, index, slice(longest))
        values[np.arange(longest) >= length[:, None]] = 0
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = 0
    return values


def _rows(features: Array, index: Array, columns: slice) -> Array:
    chosen = np.ascontiguousarray(features[index, columns])
    release(features)
    return chosen


def assemble(splits: Mapping[str, Split], source: str, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Validate splits, count the values that are not finite, and warn where splits seem swapped.

    Raises:
        DataError: as :func:`validate` does, and if a split is absent.
    """
    for name in SPLITS:
        if name not in splits:
            refuse(f"{source}: splits must be {', '.join(SPLITS)}", ", ".join(map(str, splits)) or "none")
    dataset = Dataset(splits["train"], splits["valid"], splits["test"], {}, source)
    validate(dataset, label_range=label_range)
    for name in ("valid", "test"):
        if len(dataset.train) < len(splits[name]):
            warnings.warn(
                f"{source}: train has fewer utterances ({len(dataset.train)}) than {name} ({len(splits[name])}); "
                "are they swapped?",
                DataWarning,
                stacklevel=3,
            )
    bad = {name: sum(_nonfinite(split, name) for split in splits.values()) for name in dataset.dims()}
    return dataclasses.replace(dataset, nonfinite=bad)


def _nonfinite(split: Split, name: str) -> int:
    total = 0
    for place, rows in chunks(split.features[name]):
        bad = ~np.isfinite(rows)
        if bad.any():
            if name in split.lengths:
                bad &= (np.arange(rows.shape[1]) < split.lengths[name][place, None])[..., None]
            total += int(bad[~split.missing[name][place]].sum())
    return total


def load(path: Path | str, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Data of the plain format (a directory) or of a pickle of MMSA's, or MulT's, form; validated.

    Args:
        label_range: where labels must lie; for pickles, -3 to 3 unless told otherwise.

    Raises:
        DataError: for what cannot be read, or breaks a rule.
    """
    from mmim_example import formats, plain  # noqa: PLC0415 - they are made of what is above

    path = Path(path)
    if path.is_dir():
        return plain.read(path, label_range=label_range)
    if path.suffix.lower() in PICKLES:
        return formats.read(path, label_range=label_range or (-3, 3))
    raise DataError(f"{path} must be a directory with utterances.csv and features.npz, or a pickle ({PICKLES[0]})")


def save(dataset: Dataset, directory: Path | str) -> None:
    """Write the plain format; what was there is replaced only when all is written.

    Raises:
        DataError: as :func:`validate` does, and for text that UTF-8 cannot hold.
    """
    from mmim_example import plain  # noqa: PLC0415 - it is made of what is above

    validate(dataset)
    plain.write(dataset, Path(directory))


def generate(
    n: tuple[int, int, int] = (2000, 400, 1000),
    *,
    text: float = 0.5,
    audio: float = 0.2,
    vision: float = 0.3,
    joint: float | None = None,
    seed: int = 0,
    dims: tuple[int, int, int] = (8, 5, 6),
) -> tuple[Dataset, dict[str, float]]:
    """Vectors of three modalities, and a label, whose mutual information is known.

    Args:
        n: utterances in train, valid and test.
        text, audio, vision, joint, seed, dims: as in :func:`infomax.tasks.tri_modal`.

    Returns:
        The data, and nats by what they are between: ``"text-vision"`` and so on in the order text, audio, vision;
        ``"text-target"`` and so on; ``"all-target"``. Labels are 1.5 times a standard normal number, as spread as
        sentiment is; one in 22 lies outside -3 to 3.

    Raises:
        ValueError: as ``tri_modal`` does, and for a split of no utterances.
    """
    if len(n) != 3 or min(n) < 1:
        raise ValueError(f"n must be three sizes of 1 or more; got {n}")
    speech = tasks.tri_modal(text=text, audio=audio, vision=vision, joint=joint, dims=dims, seed=seed)
    drawn = {name: array.astype(np.float32) for name, array in speech.sample(sum(n), seed).items()}
    modalities = speech.modalities
    splits, start = {}, 0
    for name, size in zip(SPLITS, n, strict=True):
        rows = slice(start, start := start + size)
        features = {modality: drawn[modality][rows] for modality in modalities}
        ids = tuple(f"{name}_{i}" for i in range(size))
        splits[name] = Split(ids, 1.5 * drawn["target"][rows, 0], features)
    truths = {
        f"{a}-{b}": speech.mi((a,), (b,)) for i, a in enumerate(modalities) for b in (*modalities[i + 1 :], "target")
    }
    truths["all-target"] = speech.mi(modalities, ("target",))
    return Dataset(**splits, nonfinite=dict.fromkeys(modalities, 0), source=f"generated, seed {seed}"), truths
