"""Predictions and representations of a trained model for new data, which need no labels and not every modality."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infomax import atomic_write
from mmim_example.measurement import LEVEL, outputs
from mmim_example.preparation import prepared_split, with_missing
from mmim_example.reading import DataError, Split
from mmim_example.reading.files import Array
from mmim_example.results.evaluation import check_columns, half_width_of, load_model
from mmim_example.runs.environment import pick_device


@dataclass(frozen=True)
class Predictions:
    """A model's outputs for N utterances.

    Attributes:
        ids: ``(N,)``.
        predictions: ``(N,)``, or class scores ``(N, C)``.
        half_width: half of the width of prediction intervals; ``None`` if it is not known, and for classification.
        fused: Z ``(N, fusion)``.
        representations: h_m ``(N, d_m)`` of each modality; zero where it is missing.
        missing: by modality, ``(N,)`` bool.
        absent: modalities that the data lack.
    """

    ids: tuple[str, ...]
    predictions: Array
    half_width: float | None
    fused: Array
    representations: dict[str, Array]
    missing: dict[str, Array]
    absent: tuple[str, ...]


def predict(path: Path, splits: Mapping[str, Split], *, source: str, device: str | None = None) -> Predictions:
    """Apply a trained model to data.

    Args:
        path: ``best.safetensors`` of a run.
        splits: the data; :func:`~mmim_example.reading.load_unlabelled` reads them. They are joined in this order.
        source: their name for messages.
        device: a PyTorch device; by default a GPU if there is one.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`~mmim_example.results.evaluation.load_model`.
        DataError: if the data have no modality of the model, or other columns.
    """
    where = pick_device(device)
    model, _ = load_model(path, where)
    found = []
    absent: list[str] = []
    for part, given in splits.items():
        split, absent = with_missing(model.config, model.dims, given)
        if len(absent) == len(model.config.modalities):
            raise DataError(f"{source}: there must be a modality of the model, {' or '.join(absent)}; got none")
        split = prepared_split(model.config, split, part, source)
        check_columns(model, split.dims(), source)
        found += list(outputs(model, split, where))

    def joined(parts: Sequence[torch.Tensor]) -> Array:
        return torch.cat(list(parts)).cpu().numpy()

    return Predictions(
        tuple(i for split in splits.values() for i in split.ids),
        joined([output.prediction for output in found]),
        half_width_of(path),
        joined([output.fused for output in found]),
        {name: joined([output.representations[name] for output in found]) for name in model.config.modalities},
        {name: ~joined([output.present[name] for output in found]) for name in model.config.modalities},
        tuple(absent),
    )


def write_table(path: Path, ids: Sequence[str], predictions: Array, half_width: float | None) -> None:
    """Write predictions as CSV.

    The columns of a regression are ``id``, ``prediction``, and the ends of an 80 % interval, ``low_80`` and
    ``high_80``, which are empty if it is not known. Those of a classification are ``id``, ``prediction`` (the class),
    and the probability of each class, ``p0``, ``p1`` and so on.

    Args:
        ids: ``(N,)``. predictions: ``(N,)``, or class scores ``(N, C)``. half_width: half of the width of the interval.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    columns: list[Any]
    if predictions.ndim == 1:
        level = round(100 * LEVEL)
        header = [f"low_{level}", f"high_{level}"]
        ends = [[""] * len(ids)] * 2
        if half_width is not None:
            ends = [_rounded(predictions - half_width), _rounded(predictions + half_width)]
        columns = [_rounded(predictions), *ends]
    else:
        probabilities = torch.from_numpy(predictions).double().softmax(1).numpy()
        header = [f"p{i}" for i in range(predictions.shape[1])]
        columns = [predictions.argmax(1).tolist(), *map(_rounded, probabilities.T)]
    table.writerow(["id", "prediction", *header])
    table.writerows(zip(ids, *columns, strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _rounded(values: Array) -> list[str]:
    return [f"{value:.6g}" for value in values]


def write_representations(path: Path, found: Predictions) -> None:
    """Write an npz file that numpy reads without pickle.

    Arrays: ``id``, ``prediction``, ``fused``; under the name of each modality its representation, and
    ``<modality>_missing``.
    """
    arrays: dict[str, Any] = {"id": np.array(found.ids), "prediction": found.predictions, "fused": found.fused}
    for name, representation in found.representations.items():
        arrays |= {name: representation, f"{name}_missing": found.missing[name]}
    with atomic_write(path) as file:
        np.savez(file, **arrays)
