"""Load and save data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mmim_example.reading import mmsa_and_mult, plain_format
from mmim_example.reading.files import DataError, read_table
from mmim_example.reading.splits import Dataset
from mmim_example.reading.validation import validate

#: What pickles are called; no other file is read as one.
PICKLES = (".pkl", ".pickle", ".p")


def load(path: Path | str, *, label_range: tuple[float, float] | None = None) -> Dataset:
    """Data of the plain format (a directory) or of a pickle of MMSA's, or MulT's, form; validated.

    Args:
        label_range: where labels must lie; for pickles, -3 to 3 unless told otherwise.

    Raises:
        DataError: for what cannot be read, or breaks a rule.
    """
    path = Path(path)
    if path.is_dir():
        return plain_format.read(path, label_range=label_range)
    if path.suffix.lower() in PICKLES:
        return mmsa_and_mult.read(path, label_range=label_range or (-3, 3))
    raise DataError(f"{path} must be a directory with utterances.csv and features.npz, or a pickle ({PICKLES[0]})")


def save(dataset: Dataset, directory: Path | str) -> None:
    """Write the plain format; what was there is replaced only when all is written.

    Raises:
        DataError: as :func:`validate` does, and for text that UTF-8 cannot hold.
    """
    validate(dataset)
    plain_format.write(dataset, Path(directory))


def join_text(dataset: Dataset, labels_csv: Path) -> Dataset:
    """The data set with the text of a table: by id, never by row.

    Raises:
        DataError: for a table without ``video_id``, ``clip_id`` and ``text``, or with an utterance twice; and if any id
            is not in it.
    """
    texts: dict[str, str] = {}
    for row in read_table(labels_csv, ("video_id", "clip_id", "text")):
        key = f"{row['video_id']}_{row['clip_id']}"
        if key in texts:
            raise DataError(f"{labels_csv}: video_id and clip_id must name an utterance once; got {key!r} twice")
        texts[key] = row["text"]
    keys = {name: [i.replace("$_$", "_") for i in split.ids] for name, split in dataset.splits().items()}
    strange = [(name, key) for name, part in keys.items() for key in part if key not in texts]
    if strange:
        name, first = strange[0]
        raise DataError(
            f"{dataset.source}: ids must be video_id_clip_id of {labels_csv}; got {len(strange)} of "
            f"{sum(map(len, keys.values()))} that are not, the first {first!r} in {name}"
        )
    joined: dict[str, Any] = {
        name: dataclasses.replace(split, text=tuple(texts[key] for key in keys[name]))
        for name, split in dataset.splits().items()
    }
    return dataclasses.replace(dataset, **joined)
