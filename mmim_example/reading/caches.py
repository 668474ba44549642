"""The caches of the paper's code: a directory with ``train.pkl``, ``dev.pkl`` and ``test.pkl``, lists of tuples.

Each tuple is ``((words, vision, audio, text, vision_length, audio_length), labels, id)``, without lengths for aligned
data. Source: Han, Chen and Poria 2021, ``declare-lab/Multimodal-Infomax``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmim_example.reading import fields
from mmim_example.reading.files import Array, DataError
from mmim_example.reading.padding import stacked
from mmim_example.reading.pickles import read_pickle
from mmim_example.reading.splits import Dataset, Split
from mmim_example.reading.validation import assemble

FILES = {"train": "train.pkl", "valid": "dev.pkl", "test": "test.pkl"}
#: Places in the first part of a tuple, and its sizes: aligned, and not.
_VISION, _AUDIO, _WORDS, _SIZES = 1, 2, 3, (4, 6)


def read(directory: Path, *, label: str | None = None, label_range: tuple[float, float] | None = None) -> Dataset:
    """Read and validate the three caches. Ids that occur several times, as MOSEI's videos, are numbered.

    Args:
        label: the column of MOSEI's seven labels.
        label_range: smallest and largest label allowed.

    Raises:
        DataError: if a file is no such cache, or the data break a rule.
    """
    splits = {name: _split(directory / file, label or fields.EMOTIONS[0]) for name, file in FILES.items()}
    return assemble(splits, str(directory), label_range=label_range)


def _split(path: Path, label: str) -> Split:
    rows = read_pickle(path)
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} must be a list of utterances; got {type(rows).__name__}")
    for i, row in enumerate(rows):
        fits = isinstance(row, tuple) and len(row) == 3 and isinstance(row[0], tuple) and len(row[0]) in _SIZES
        if not fits or not isinstance(row[0][_WORDS], (list, tuple)):
            raise DataError(
                f"{path}: each utterance must be ((words, vision, audio, text, ...), labels, id); got row {i}"
            )
    features, lengths = {}, {}
    for name, place in (("audio", _AUDIO), ("vision", _VISION)):
        frames = [fields.numbers({name: row[0][place]}, name, f"{path}: row {i}") for i, row in enumerate(rows)]
        features[name], lengths[name] = stacked(frames, path, name)
    text = tuple(" ".join(fields.word(word, f"{path}: text") for word in row[0][_WORDS]) for row in rows)
    labels = fields.labels({"labels": _labels(rows, path)}, "labels", str(path), label)
    return Split(_ids([fields.word(row[2], f"{path}: id") for row in rows]), labels, features, lengths, text=text)


def _labels(rows: Sequence[Any], path: Path) -> list[Array]:
    found = [fields.numbers({"labels": row[1]}, "labels", f"{path}: row {i}") for i, row in enumerate(rows)]
    shapes = {array.shape for array in found}
    if len(shapes) > 1:
        raise DataError(f"{path}: labels must have the same shape in each utterance; got {sorted(shapes)[:3]}")
    return [np.squeeze(array) for array in found]


def _ids(ids: Sequence[str]) -> tuple[str, ...]:
    """The ids; those that occur several times get their number: ``video[0]``, ``video[1]``."""
    times, seen, numbered = Counter(ids), Counter[str](), []
    for name in ids:
        numbered.append(f"{name}[{seen[name]}]" if times[name] > 1 else name)
        seen[name] += 1
    return tuple(numbered)
