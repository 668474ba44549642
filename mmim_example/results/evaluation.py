"""A trained model on data that it has not seen: metrics with intervals, and what missing modalities cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from mmim_example.results import metrics
from mmim_example.runs import checkpoint
from mmim_example.runs.environment import pick_device

Array = np.ndarray[Any, np.dtype[Any]]
#: Shares of rows without a modality at which the curve is drawn.
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Evaluation:
    """One model on one split.

    Attributes:
        values: metric → value. intervals: metric → (low, high), at 95 %.
        terms: the loss and its terms, MI in nats, as the log has them.
        predictions: ``(N,)``, or class scores ``(N, C)``. labels: ``(N,)``.
        missing: modality → metric's value at each of ``SHARES``; empty if it was not asked for.
        epoch: of the model: values, intervals and predictions are all of this one.
        data, split: what they were measured on.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    terms: dict[str, Any]
    predictions: Array
    labels: Array
    missing: dict[str, dict[str, list[float]]]
    epoch: int
    data: str
    split: str


def load_model(path: Path, config: Config | None = None, device: torch.device | None = None) -> tuple[MMIM, int]:
    """The model of a checkpoint, and the epoch that it is of.

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if it is damaged, or of another configuration than ``config``.
    """
    tensors, facts = checkpoint.load(path)
    if "config" not in facts or "dims" not in facts:
        raise checkpoint.CheckpointError(f"{path} must be a model, best.safetensors; it has no dimensions")
    if config is not None:
        checkpoint.check_config(facts, config, path)
    model = MMIM(Config.from_dict(facts["config"]), facts["dims"])
    checkpoint.load_module(model, tensors)
    return model.to(device or torch.device("cpu")).eval(), int(facts["epoch"])


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
    """Metrics of a checkpoint on a split, with bootstrap intervals.

    Args:
        path: ``best.safetensors`` of a run.
        dataset: with the modalities that the model was trained on.
        groups: of each row, its video: rows of a group are drawn together, since they are not independent.
        intervals: whether to make them. missing: also the curve over the share of rows that lack each modality in turn.
        seed: of the bootstrap, and of which rows lack a modality.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`load_model`.
        DataError: if the data lack a modality.
    """
    where = pick_device(device)
    model, epoch = load_model(path, device=where)
    dataset = prepared(model.config, dataset)
    for name, dim in model.dims.items():
        if dataset.dims().get(name, dim) != dim:
            raise DataError(
                f"{dataset.source}: {name} must have the {dim} columns of training; got {dataset.dims()[name]}"
            )
    part: Split = getattr(dataset, split)
    terms, predictions = measure(model, part, where)
    labels = np.asarray(part.labels)
    metric = metric_of(model.config)
    scores = predictions.numpy()
    curve = missing_curve(model, part, where, seed=seed) if missing else {}
    return Evaluation(
        metric(scores, labels),
        metrics.bootstrap(metric, scores, labels, seed=seed, groups=groups) if intervals else {},
        terms,
        scores,
        labels,
        curve,
        epoch,
        dataset.source,
        split,
    )


def metric_of(config: Config) -> Any:
    """The function ``(predictions, labels) → metrics`` of a configuration's target."""
    return metrics.regression if config.target == "regression" else metrics.classification


def missing_curve(
    model: MMIM, split: Split, device: torch.device, *, shares: Sequence[float] = SHARES, seed: int = 0
) -> dict[str, dict[str, list[float]]]:
    """Metrics when a share of the rows lacks a modality, for each. A share's rows are among those of the next."""
    order = np.random.default_rng(seed).permutation(len(split))
    metric, curve = metric_of(model.config), {}
    for name in model.config.modalities:
        values: dict[str, list[float]] = {}
        for share in shares:
            lacking = without(split, name, order[: round(share * len(split))])
            _, predictions = measure(model, lacking, device)
            for key, value in metric(predictions.numpy(), np.asarray(split.labels)).items():
                values.setdefault(key, []).append(value)
        curve[name] = values
    return curve


def report(evaluation: Evaluation) -> str:
    """Metrics and their intervals as lines of text."""
    lines = [f"{'':18} {'value':>8}   95 % interval"]
    for name, value in evaluation.values.items():
        low, high = evaluation.intervals.get(name, (float("nan"), float("nan")))
        lines.append(f"{metrics.LABELS.get(name, name):18} {value:8.3f}   {low:.3f} to {high:.3f}")
    return "\n".join(lines)


def to_json(evaluation: Evaluation) -> Mapping[str, Any]:
    """What of an evaluation a file keeps; null where a number is not defined."""
    kept: Mapping[str, Any] = _defined(
        {
            "data": evaluation.data,
            "split": evaluation.split,
            "epoch": evaluation.epoch,
            "values": evaluation.values,
            "intervals": evaluation.intervals,
            "terms": evaluation.terms,
            "missing": {"shares": list(SHARES), **evaluation.missing} if evaluation.missing else {},
        }
    )
    return kept


def _defined(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _defined(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
