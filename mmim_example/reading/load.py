"""Load a data set in any of the formats, save it in the plain format, and add transcripts from a table."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from mmim_example.reading import caches, mmsa_and_mult, plain_format
from mmim_example.reading.files import DataError, DataWarning, read_table
from mmim_example.reading.splits import Dataset, Split, video_of
from mmim_example.reading.validation import check, validate

#: File names that are read as pickles. No other file is.
PICKLES = (".pkl", ".pickle", ".p")
#: The largest difference of labels in a row join; tables round.
_ROUNDING = 1e-3


def load(path: Path | str, *, label: str | None = None, label_range: tuple[float, float] | None = None) -> Dataset:
    """Load and validate a directory in the plain format or with the paper's caches, or a pickle of MMSA or MulT.

    Args:
        label: what is predicted, if it is not the usual label: a column of the plain format's table, a field of MMSA's
            form (``classification_labels``, ``regression_labels_T``), or one of MOSEI's emotions (``happy``).
        label_range: smallest and largest label allowed. Default: -3 and 3 for the usual label of the published forms,
            and no limit otherwise.

    Raises:
        DataError: if a file cannot be read, or the data break a rule.
    """
    path = Path(path)
    published = label_range or ((-3, 3) if label is None else None)
    if path.suffix.lower() in PICKLES and not path.is_dir():
        return mmsa_and_mult.read(path, label=label, label_range=published)
    if (path / caches.FILES["train"]).is_file():
        return caches.read(path, label=label, label_range=published)
    if path.is_dir():
        return plain_format.read(path, label=label or "label", label_range=label_range)
    raise DataError(
        f"{path} must be a directory with utterances.csv and features.npz, one with train.pkl, dev.pkl and test.pkl, "
        f"or a pickle ({PICKLES[0]})"
    )


def load_unlabelled(path: Path | str) -> dict[str, Split]:
    """Load the splits of data for predictions, which need neither labels nor splits nor every modality.

    Labels are NaN. Data that are not divided have the one split :data:`~mmim_example.reading.splits.WHOLE`.

    Args:
        path: a directory in the plain format, of whose table only ``id`` is needed; or a pickle of MMSA.

    Raises:
        DataError: if a file cannot be read, or the data break a rule.
    """
    path = Path(path)
    is_pickle = path.suffix.lower() in PICKLES and not path.is_dir()
    splits = mmsa_and_mult.read_unlabelled(path) if is_pickle else plain_format.read_unlabelled(path)
    if not splits:
        raise DataError(f"{path} must have at least one utterance; got none")
    for name, split in splits.items():
        check(split, f"{path}: {name}", labelled=False)
    return splits


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
        hint = "; ids of video, start and end, as MOSEI's, need --join rows" if "[" in first else ""
        raise DataError(
            f"{dataset.source}: every id must be a video_id_clip_id in {labels_csv}; {len(unknown)} of "
            f"{sum(map(len, keys.values()))} are not, the first is {first!r} in {name}{hint}"
        )
    return _with_text(dataset, {name: tuple(texts[key] for key in part) for name, part in keys.items()})


def join_rows(dataset: Dataset, labels_csv: Path) -> Dataset:
    """Add the transcripts in a table by row: train, valid, then test, as MulT's MOSEI and its table have them.

    The video of each row must be the same in both and, if the table has it, the label. Otherwise a warning says that
    utterances of the same video may be exchanged.

    Raises:
        DataError: if the table lacks ``video_id`` or ``text``, or rows differ; names the first.
    """
    table = read_table(labels_csv, ("video_id", "text"), ("label",))
    ids = [i for split in dataset.splits().values() for i in split.ids]
    labels = [float(label) for split in dataset.splits().values() for label in split.labels]
    if len(table["text"]) != len(ids):
        raise DataError(f"{labels_csv} must have a row for each of the {len(ids)} utterances; got {len(table['text'])}")
    for row, (name, video) in enumerate(zip(ids, table["video_id"], strict=True)):
        if video_of(name) != video:
            raise DataError(f"{labels_csv}: video_id must be that of {name!r} in row {row}; got {video!r}")
    if "label" in table:
        for row, (label, given) in enumerate(zip(labels, table["label"], strict=True)):
            if abs(plain_format.number(given, f"{labels_csv}: label in row {row}") - label) > _ROUNDING:
                raise DataError(
                    f"{labels_csv}: label must be {label:g}, that of {ids[row]!r}, in row {row}; got {given}"
                )
    else:
        message = f"{labels_csv} has no label: only videos were compared, so texts of one video may be exchanged"
        warnings.warn(message, DataWarning, stacklevel=2)
    texts = iter(table["text"])
    return _with_text(
        dataset, {name: tuple(next(texts) for _ in split.ids) for name, split in dataset.splits().items()}
    )


def _with_text(dataset: Dataset, texts: dict[str, tuple[str, ...]]) -> Dataset:
    joined: dict[str, Any] = {
        name: dataclasses.replace(split, text=texts[name]) for name, split in dataset.splits().items()
    }
    return dataclasses.replace(dataset, **joined)
