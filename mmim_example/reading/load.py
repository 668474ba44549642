"""Load a data set in any of the formats, save it in the plain format, and add transcripts from a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmim_example.reading import mmsa_and_mult, plain_format
from mmim_example.reading.files import DataError, read_table
from mmim_example.reading.splits import Dataset
from mmim_example.reading.validation import validate

#: File names that are read as pickles. No other file is.
PICKLES = (".pkl", ".pickle", ".p")


def load(path: Path | str, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Load and validate a directory in the plain format, or a pickle in the form of MMSA or MulT.

    Args:
        label_range: smallest and largest label allowed. Default: -3 and 3 for pickles, no limit otherwise.

    Raises:
        DataError: if a file cannot be read, or the data break a rule.
    """
    path = Path(path)
    if path.is_dir():
        return plain_format.read(path, label_range=label_range)
    if path.suffix.lower() in PICKLES:
        return mmsa_and_mult.read(path, label_range=label_range or (-3, 3))
    raise DataError(f"{path} must be a directory with utterances.csv and features.npz, or a pickle ({PICKLES[0]})")


def save(dataset: Dataset, directory: Path | str) -> None:
    """Write the plain format. Existing files are replaced only after both new ones are complete.

    Raises:
        DataError: as :func:`~mmim_example.reading.validation.validate`, and for text that UTF-8 cannot encode.
    """
    validate(dataset)
    plain_format.write(dataset, Path(directory))


def join_text(dataset: Dataset, labels_csv: Path) -> Dataset:
    """Add the transcripts in a table, matched by utterance id and never by row number.

    Raises:
        DataError: if the table lacks ``video_id``, ``clip_id`` or ``text``, has an utterance twice, or lacks one.
    """
    texts: dict[str, str] = {}
    columns = ("video_id", "clip_id", "text")
    table = read_table(labels_csv, columns)
    for video, clip, text in zip(*(table[name] for name in columns), strict=True):
        key = f"{video}_{clip}"
        if key in texts:
            raise DataError(f"{labels_csv}: each video_id and clip_id must occur once; got {key!r} twice")
        texts[key] = text
    keys = {name: [i.replace("$_$", "_") for i in split.ids] for name, split in dataset.splits().items()}
    unknown = [(name, key) for name, part in keys.items() for key in part if key not in texts]
    if unknown:
        name, first = unknown[0]
        raise DataError(
            f"{dataset.source}: every id must be a video_id_clip_id in {labels_csv}; {len(unknown)} of "
            f"{sum(map(len, keys.values()))} are not, the first is {first!r} in {name}"
        )
    joined: dict[str, Any] = {
        name: dataclasses.replace(split, text=tuple(texts[key] for key in keys[name]))
        for name, split in dataset.splits().items()
    }
    return dataclasses.replace(dataset, **joined)
