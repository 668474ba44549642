"""Figures of a run: losses, estimates of mutual information, predictions, and the effect of missing modalities.

Each function that draws returns a matplotlib figure. matplotlib is an extra, which is loaded on first use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmim_example.reading.files import Array, read_json
from mmim_example.results import metrics
from mmim_example.runs import checkpoint, log
from mmim_example.runs.facts import CheckpointError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]

#: The palette of Okabe and Ito, which is safe for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
#: Line styles of the splits.
_SPLITS: dict[str, dict[str, Any]] = {
    "train": {"color": "#56B4E9", "linewidth": 1.3, "marker": ".", "markersize": 3},
    "valid": {"color": "#00456B", "linewidth": 1.3, "marker": "o", "markersize": 3},
}
_CEILING, _TRUTH, _SELECTED = "ceiling of the bound", "true MI (upper limit)", "selected epoch"
#: Order of the legend.
_LEGEND = (*_SPLITS, _CEILING, _TRUTH, _SELECTED)


def truth(path: Path) -> dict[str, float]:
    """The true MI of generated data, in nats, by name.

    Raises:
        ValueError: if the file has other content.
    """
    found = read_json(path)
    if not isinstance(found, dict) or any(type(nats) not in (int, float) for nats in found.values()):
        raise ValueError(f"{path} must be a JSON object of numbers, as generate writes it; got other content")
    return found


def of_training(directory: Path, known: dict[str, float] | None = None) -> dict[str, Callable[[], Any]]:
    """Functions that draw the figures of a training run, by the name of the file.

    Args:
        known: see :func:`truth`.

    Raises:
        CheckpointError: if the log has no epoch.
    """
    records = log.records(directory)
    if not any(record["event"] == "epoch" for record in records):
        raise CheckpointError(
            f"{directory / 'log.jsonl'} must contain an epoch; got {len(records)} records without one"
        )
    made: dict[str, Callable[[], Any]] = {"losses": partial(losses, records)}
    measured = any(record.get("train", {}).get(level) for record in records for level in ("pairs", "fusion"))
    if measured and not checkpoint.run_config(directory).legacy:  # its values are not information
        made["information"] = partial(information, records, known)
    return made


def losses(records: Sequence[Record]) -> Figure:
    """The total loss, the task loss, and the sum of MI at each level, by epoch. A grey line marks the selected epoch.

    Args:
        records: the log; only records of epochs are used.

    Raises:
        ValueError: if there is no record of an epoch.
    """
    epochs = _epochs(records)
    panels: list[tuple[str, str, list[str]]] = [("total loss", "loss", []), ("task loss", "task", [])]
    for level, title in (("pairs", "input level, between modalities"), ("fusion", "fusion level, with Z")):
        names = _names(epochs, level)
        if names:
            panels.append((title, level, names))
    figure, axes = _panels([2, len(panels) - 2])
    for ax, (title, key, names) in zip(axes, panels, strict=True):
        for split, look in _SPLITS.items():
            if names:
                values = [sum(_value(record, split, key, name) for name in names) for record in epochs]
            else:
                values = [_value(record, split, key) for record in epochs]
            ax.plot([record["epoch"] for record in epochs], values, label=split, **look)
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_ylabel(f"sum of {len(names)} MI values (nats)" if names else "loss")
    _finish(figure, axes, epochs)
    return figure


def information(records: Sequence[Record], truth: Mapping[str, float] | None = None) -> Figure:
    """The MI that each bound measures by epoch, with the ceiling of the bound and the true MI.

    Args:
        records: the log; only records of epochs are used.
        truth: true MI of the inputs in nats, by the name of a pair ("text-vision", in either order) or of a modality.
            It is an upper limit for the representations, by the data-processing inequality. Other names are ignored.

    Raises:
        ValueError: if there is no record of an epoch, or records have no bounds.
    """
    epochs, truth = _epochs(records), truth or {}
    named = {level: _names(epochs, level) for level in ("pairs", "fusion")}
    bounds = [(level, name) for level, names in named.items() for name in names]
    if not bounds:
        raise ValueError("records must contain values of bounds; got none")
    figure, axes = _panels([len(names) for names in named.values()])
    for ax, (level, name) in zip(axes, bounds, strict=True):
        for split, look in _SPLITS.items():
            values = [_value(record, split, level, name) for record in epochs]
            ax.plot([record["epoch"] for record in epochs], values, label=split, **look)
        ceiling = _value(epochs[-1], "ceilings", level, name)
        if not math.isnan(ceiling):
            _limit(ax, ceiling, _CEILING, "--", "#D55E00")
        limit = truth.get(name, truth.get("-".join(reversed(name.split("-"))), math.nan))
        if not math.isnan(limit):
            _limit(ax, limit, _TRUTH, ":", "#000000")
        ax.set_title(f"I({name.replace('-', '; ') if level == 'pairs' else f'{name}; Z'})", loc="left", fontsize=10)
        ax.set_ylabel("MI (nats)")
    _finish(figure, axes, epochs)
    return figure


def predictions(predicted: Array, labels: Array) -> Figure:
    """Predictions against labels, with the identity line. Points are transparent, so dense regions are darker.

    Args:
        predicted: ``(N,)``.
        labels: ``(N,)``.

    Raises:
        ValueError: as :func:`mmim_example.results.metrics.regression`.
    """
    found = metrics.regression(predicted, labels)
    figure = _figure(4.8, 4.8)
    ax = figure.subplots()
    low = float(min(np.min(predicted), np.min(labels)))
    high = float(max(np.max(predicted), np.max(labels)))
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin
    opacity = min(0.7, max(0.08, 200 / len(labels)))
    ax.scatter(labels, predicted, 18, color="#0072B2", alpha=opacity, linewidths=0)
    ax.plot([low, high], [low, high], color="#D55E00", linewidth=1.2, linestyle="--", label="prediction = label")
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    ax.set_xlabel("label")
    ax.set_ylabel("prediction")
    ax.set_title(f"MAE {found['mae']:.3f}, Corr {found['corr']:.3f}, {len(labels):,} rows", loc="left", fontsize=10)
    ax.legend(frameon=False, loc="upper left", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def confusion(scores: Array, labels: Array) -> Figure:
    """Confusion matrix: numbers are rows, and shades are their share of the true class.

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)``, integers from 0 to C - 1.

    Raises:
        ValueError: as :func:`mmim_example.results.metrics.classification`.
    """
    s, y = metrics.class_scores(scores, labels)
    found, classes = metrics.classification(s, y), s.shape[1]
    counts = metrics.confusion(s.argmax(1), y, classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.6 + 0.36 * min(classes, 30)
    figure = _figure(side + 0.9, side)
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= 30:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[i, j] > 0.55 else "black"
                ax.text(j, i, f"{count:,}", ha="center", va="center", fontsize=9, color=colour)
        ax.set_xticks(range(classes))
        ax.set_yticks(range(classes))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(f"Accuracy {found['accuracy']:.3f}, {len(y):,} rows", loc="left", fontsize=10)
    figure.colorbar(image, ax=ax, shrink=0.8, label="share of the true class")
    return figure


def missing(curve: Mapping[str, Any], metric: str | None = None) -> Figure:
    """A metric against the share of rows that lack a modality, with one line for each modality.

    Args:
        curve: "shares" → list; modality → metric → one value for each share.
        metric: the metric to draw; by default the first in ``curve``.

    Raises:
        ValueError: if shares, modalities or the metric are missing, or lengths differ.
    """
    shares = list(curve.get("shares", ()))
    lines = {name: values for name, values in curve.items() if name != "shares"}
    if not shares or not lines:
        raise ValueError(f"curve must have 'shares' and at least one modality; got {', '.join(curve) or 'nothing'}")
    metric = metric or next(iter(next(iter(lines.values()))))
    figure = _figure(5.6, 3.8)
    ax = figure.subplots()
    for i, (name, values) in enumerate(lines.items()):
        if len(values.get(metric, ())) != len(shares):
            got = len(values.get(metric, ()))
            raise ValueError(f"curve must have {len(shares)} values of {metric!r} for {name!r}; got {got}")
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        ax.plot([100 * share for share in shares], values[metric], label=name, markersize=5, linewidth=1.5, **look)
    ax.set_xlabel("rows without the modality (%)")
    ax.set_ylabel(metrics.LABELS.get(metric, metric))
    ax.legend(frameon=False, title="missing modality", fontsize=9, alignment="left")
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _epochs(records: Sequence[Record]) -> list[Record]:
    epochs = [record for record in records if record.get("event") == "epoch"]
    if not epochs:
        raise ValueError(f"records must contain an epoch; got {len(records)} records without one")
    return epochs


def _names(epochs: Sequence[Record], level: str) -> list[str]:
    return list(
        dict.fromkeys(n for record in epochs for split in _SPLITS for n in record.get(split, {}).get(level, {}))
    )


def _value(record: Record, *keys: str) -> float:
    """The number under nested keys; NaN, which leaves a gap in the line, if it is null or missing."""
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return math.nan if found is None else float(found)


def _limit(ax: Axes, value: float, label: str, style: str, colour: str) -> None:
    ax.axhline(value, color=colour, linestyle=style, linewidth=1.3, label=label)
    ax.annotate(f"{value:.2f}", (1, value), (2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=colour, fontsize=9, va="center")  # fmt: skip


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def _panels(counts: Sequence[int]) -> tuple[Figure, list[Axes]]:
    """Panels in rows of at most four. Each count starts a new row."""
    rows = [min(4, count - start) for count in counts for start in range(0, count, 4)]
    columns = max(rows)
    figure = _figure(3.0 * columns + 0.2, 2.4 * len(rows) + 0.3)
    axes = [
        figure.add_subplot(len(rows), columns, i * columns + j + 1) for i, row in enumerate(rows) for j in range(row)
    ]
    return figure, axes


def _finish(figure: Figure, axes: Sequence[Axes], epochs: Sequence[Record]) -> None:
    """Add ticks, the selected epoch, and one legend for all panels."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an extra

    kept = epochs[-1].get("best_epoch")
    for ax in axes:
        if kept:
            ax.axvline(kept, color="0.7", linewidth=1, zorder=0, label=_SELECTED)
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel("epoch")
    known: dict[str, Any] = {}
    for ax in axes:
        known |= {str(line.get_label()): line for line in ax.get_lines()}
    order = [label for label in _LEGEND if label in known]
    figure.legend(
        [known[label] for label in order], order, loc="outside upper left", ncols=3, frameon=False, fontsize=9
    )
