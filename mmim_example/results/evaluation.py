"""Evaluate a trained model on held-out data: metrics with confidence intervals, and a curve over missing modalities."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmim_example.config import Config
from mmim_example.measurement import measure
from mmim_example.model import MMIM
from mmim_example.preparation import prepared
from mmim_example.reading import DataError, Dataset, Split, without
from mmim_example.reading.files import Array
from mmim_example.results import metrics
from mmim_example.runs import checkpoint
from mmim_example.runs.environment import check_precision, pick_device
from mmim_example.runs.facts import CheckpointError, Facts

#: Shares of rows without a modality at which :func:`missing_curve` evaluates.
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Evaluation:
    """One model on one split.

    Attributes:
        data, split: the data.
        epoch: the epoch of the model.
        values: metric → value.
        intervals: metric → 95 % confidence interval, (low, high).
        terms: the loss and its terms as in the log; MI in nats.
        missing: modality → metric → values at ``SHARES``; empty unless requested.
        predictions: ``(N,)``, or class scores ``(N, C)``.
        labels: ``(N,)``.
        half_width: half of the width of prediction intervals; ``None`` if it is not known, and for classification.
    """

    data: str
    split: str
    epoch: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    terms: dict[str, Any]
    missing: dict[str, dict[str, list[float]]]
    predictions: Array
    labels: Array
    half_width: float | None


def half_width_of(path: Path) -> float | None:
    """Half of the width of a model's prediction intervals, if its checkpoint has it.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`load_model`.
    """
    return _half_width(checkpoint.model_facts(checkpoint.read(path)))


def _half_width(facts: Facts) -> float | None:
    return None if facts.plain["half_width"] is None else facts.number("half_width", 0, sys.float_info.max)


def load_model(path: Path, device: torch.device | None = None) -> tuple[MMIM, int]:
    """Load the model in a checkpoint, in evaluation mode, and its epoch.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        CheckpointError: if it is damaged or not a model.
        ValueError: if the device cannot compute with the model's ``amp``.
    """
    stored = checkpoint.read(path)
    if isinstance(stored.facts, dict) and "progress" in stored.facts:
        raise CheckpointError(f"{path} must be a model, as best.safetensors; got a checkpoint to resume from")
    facts = checkpoint.model_facts(stored)
    config = checkpoint.stored_config(path, facts.plain["config"])
    dims = facts.part("dims", list(facts.plain["dims"]) if isinstance(facts.plain["dims"], dict) else ())
    where = device or torch.device("cpu")
    check_precision(config.amp, where)
    columns = {name: dims.integer(name, 1, 2**31) for name in dims.plain}
    epoch = facts.integer("epoch", 1, config.epochs)
    facts.number("valid", -sys.float_info.max, sys.float_info.max)
    _half_width(facts)
    checkpoint.check_model(stored, config, columns)
    model = MMIM(config, columns)
    tensors = stored.load(checkpoint.module_tensors(model))
    stored.check_finite({name: tensors[name] for name, _ in model.named_parameters() if name in tensors})
    model.load_state_dict(tensors, strict=False)
    return model.to(where).eval(), epoch


def evaluate(
    path: Path,
    dataset: Dataset,
    *,
    split: str = "test",
    groups: Sequence[str] | None = None,
    intervals: bool = True,
    missing: bool = False,
    device: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a model on a split.

    Args:
        path: ``best.safetensors`` of a run.
        dataset: data with the modalities that the model was trained on.
        split: the split to evaluate.
        groups: the video of each row. The bootstrap then resamples whole videos, because their rows are not
            independent.
        intervals: compute bootstrap intervals.
        missing: also evaluate with each modality missing in a share of the rows.
        device: a PyTorch device; by default a GPU if there is one.
        seed: of the bootstrap, and of the choice of rows without a modality.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`load_model`.
        DataError: if the data lack a modality or have other columns.
    """
    where = pick_device(device)
    model, epoch = load_model(path, where)
    dataset = prepared(model.config, dataset)
    check_columns(model, dataset.dims(), dataset.source)
    part: Split = getattr(dataset, split)
    terms, predictions = measure(model, part, where)
    scores, labels = predictions.numpy(), np.asarray(part.labels)
    metric = _metric(model.config)
    return Evaluation(
        data=dataset.source,
        split=split,
        epoch=epoch,
        values=metric(scores, labels),
        intervals=metrics.bootstrap(metric, scores, labels, seed=seed, groups=groups) if intervals else {},
        terms=terms,
        missing=missing_curve(model, part, where, seed=seed) if missing else {},
        predictions=scores,
        labels=labels,
        half_width=half_width_of(path),
    )


def check_columns(model: MMIM, dims: Mapping[str, int], source: str) -> None:
    """Refuse data with other numbers of columns than those of training.

    Raises:
        DataError: names the modality.
    """
    for name, dim in model.dims.items():
        if (found := dims.get(name, dim)) != dim:
            raise DataError(f"{source}: {name} must have {dim} columns, as in training; got {found}")


def _metric(config: Config) -> Callable[[Array, Array], dict[str, float]]:
    if config.target == "classification":
        return metrics.classification
    return metrics.sims if config.metrics == "sims" else metrics.regression


def missing_curve(
    model: MMIM, split: Split, device: torch.device, *, seed: int = 0
) -> dict[str, dict[str, list[float]]]:
    """Modality → metric → values when a share of rows lacks it, for each of ``SHARES``. The sets of rows are nested."""
    order = np.random.default_rng(seed).permutation(len(split))
    metric, curve = _metric(model.config), {}
    for name in model.config.modalities:
        values: dict[str, list[float]] = {}
        for share in SHARES:
            _, predictions = measure(model, without(split, name, order[: round(share * len(split))]), device)
            for key, value in metric(predictions.numpy(), np.asarray(split.labels)).items():
                values.setdefault(key, []).append(value)
        curve[name] = values
    return curve


def report(evaluation: Evaluation) -> str:
    """Metrics and their intervals as lines of text."""
    lines = [f"{'':18} {'value':>8}   95 % interval"]
    for name, value in evaluation.values.items():
        low, high = evaluation.intervals.get(name, (math.nan, math.nan))
        lines.append(f"{metrics.LABELS.get(name, name):18} {value:8.3f}   {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def to_json(evaluation: Evaluation) -> Mapping[str, Any]:
    """An evaluation for a file, without predictions; null for numbers that are not finite."""
    plain = {field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)}
    del plain["predictions"], plain["labels"]
    missing = {"shares": list(SHARES), **evaluation.missing} if evaluation.missing else {}
    kept: Mapping[str, Any] = _finite(plain | {"missing": missing})
    return kept


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
