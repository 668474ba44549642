"""Figures of a run: its losses, the MI that its bounds measured, its predictions, and what missing modalities cost.

Each is drawn by a function that returns a figure, and saved as PNG by one of the same name without ``_figure``.
matplotlib is an extra and is loaded on first use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmim_example.results import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]
Record = Mapping[str, Any]

#: Okabe and Ito's colours, which people with colour blindness tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
#: How each split's line looks.
_SPLITS: dict[str, dict[str, Any]] = {
    "train": {"color": "#56B4E9", "linewidth": 1.3, "marker": ".", "markersize": 3},
    "valid": {"color": "#00456B", "linewidth": 1.3, "marker": "o", "markersize": 3},
}
#: What lines mean, in the order of the legend.
_LEGEND = (*_SPLITS, "ceiling of the bound", "truth (upper limit)", "kept epoch")
_DPI = 150


def losses(records: Sequence[Record], path: Path) -> None:
    """Save :func:`losses_figure`."""
    losses_figure(records).savefig(path, dpi=_DPI)


def information(records: Sequence[Record], path: Path, truth: Mapping[str, float] | None = None) -> None:
    """Save :func:`information_figure`."""
    information_figure(records, truth).savefig(path, dpi=_DPI)


def predictions(predicted: Array, labels: Array, path: Path) -> None:
    """Save :func:`predictions_figure`."""
    predictions_figure(predicted, labels).savefig(path, dpi=_DPI)


def confusion(scores: Array, labels: Array, path: Path) -> None:
    """Save :func:`confusion_figure`."""
    confusion_figure(scores, labels).savefig(path, dpi=_DPI)


def missing(curve: Mapping[str, Any], path: Path, metric: str | None = None) -> None:
    """Save :func:`missing_figure`."""
    missing_figure(curve, metric).savefig(path, dpi=_DPI)


def losses_figure(records: Sequence[Record]) -> Figure:
    """The whole loss, the task's, and the sum of each level's MI by epoch; a grey line marks the epoch that is kept.

    Args:
        records: of the log; those that are not of an epoch are ignored.

    Raises:
        ValueError: if none is of an epoch.
    """
    epochs = _epochs(records)
    panels: list[tuple[str, str, list[str]]] = [("whole loss", "loss", []), ("task loss", "task", [])]
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
            ax.plot(_numbers_of(epochs), values, label=split, **look)
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_ylabel(f"MI, nats, sum of {len(names)}" if names else "loss")
    _finish(figure, axes, epochs)
    return figure


def information_figure(records: Sequence[Record], truth: Mapping[str, float] | None = None) -> Figure:
    """What MI each bound measured by epoch, with the largest value that it can reach and the largest that is true.

    Args:
        records: of the log; those that are not of an epoch are ignored.
        truth: nats by the name of a pair ("text-vision", either way round) or modality: what the representations'
            MI cannot exceed, by data processing. Names that the log has not are ignored.

    Raises:
        ValueError: if no record is of an epoch, or none of them has a bound.
    """
    epochs, truth = _epochs(records), truth or {}
    named = {level: _names(epochs, level) for level in ("pairs", "fusion")}
    bounds = [(level, name) for level, names in named.items() for name in names]
    if not bounds:
        raise ValueError("records must hold the value of a bound; got epochs without any")
    figure, axes = _panels([len(names) for names in named.values()])
    for ax, (level, name) in zip(axes, bounds, strict=True):
        for split, look in _SPLITS.items():
            values = [_value(record, split, level, name) for record in epochs]
            ax.plot(_numbers_of(epochs), values, label=split, **look)
        ceiling = _value(epochs[-1], "ceilings", level, name)
        if not math.isnan(ceiling):
            _limit(ax, ceiling, _LEGEND[2], "--", "#D55E00")
        limit = truth.get(name, truth.get("-".join(reversed(name.split("-"))), math.nan))
        if not math.isnan(limit):
            _limit(ax, limit, _LEGEND[3], ":", "#000000")
        ax.set_title(f"I({name.replace('-', '; ') if level == 'pairs' else f'{name}; Z'})", loc="left", fontsize=10)
        ax.set_ylabel("MI, nats")
    _finish(figure, axes, epochs)
    return figure


def predictions_figure(predicted: Array, labels: Array) -> Figure:
    """Predictions against labels, darker where there are more, with the line where they are equal.

    Args:
        predicted: ``(N,)``.
        labels: ``(N,)``.

    Raises:
        ValueError: as :func:`mmim_example.results.metrics.regression` does.
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


def confusion_figure(scores: Array, labels: Array) -> Figure:
    """Which classes are taken for which: numbers are rows, shades their share of the true class.

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)``, whole numbers from 0 to C - 1.

    Raises:
        ValueError: as :func:`mmim_example.results.metrics.classification` does.
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
                ax.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
        ax.set_xticks(range(classes))
        ax.set_yticks(range(classes))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(f"Accuracy {found['accuracy']:.3f}, {len(y):,} rows", loc="left", fontsize=10)
    figure.colorbar(image, ax=ax, shrink=0.8, label="share of the true class")
    return figure


def missing_figure(curve: Mapping[str, Any], metric: str | None = None) -> Figure:
    """A metric against the share of rows that lack a modality, one line a modality.

    Args:
        curve: "shares" → list; modality → metric → one value for each share.
        metric: the one to draw; by default the curve's first.

    Raises:
        ValueError: without shares or modalities, for an unknown metric, and for lengths that differ.
    """
    shares = list(curve.get("shares", ()))
    lines = {name: values for name, values in curve.items() if name != "shares"}
    if not shares or not lines:
        raise ValueError(f"curve must have 'shares' and one modality or more; got {', '.join(curve) or 'nothing'}")
    metric = metric or next(iter(next(iter(lines.values()))))
    figure = _figure(5.6, 3.8)
    ax = figure.subplots()
    for i, (name, values) in enumerate(lines.items()):
        if len(values.get(metric, ())) != len(shares):
            got = len(values.get(metric, ()))
            raise ValueError(
                f"curve must have {len(shares)} values of {metric!r} for {name!r}, as of shares; got {got}"
            )
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        ax.plot([100 * share for share in shares], values[metric], label=name, markersize=5, linewidth=1.5, **look)
    ax.set_xlabel("rows without the modality, %")
    ax.set_ylabel(metrics.LABELS.get(metric, metric))
    ax.legend(frameon=False, title="missing", fontsize=9, alignment="left")
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _epochs(records: Sequence[Record]) -> list[Record]:
    epochs = [record for record in records if record.get("event") == "epoch"]
    if not epochs:
        raise ValueError(f"records must hold an epoch; got {len(records)} records, none of them of one")
    return epochs


def _numbers_of(epochs: Sequence[Record]) -> list[int]:
    return [record["epoch"] for record in epochs]


def _names(epochs: Sequence[Record], level: str) -> list[str]:
    return list(
        dict.fromkeys(n for record in epochs for split in _SPLITS for n in record.get(split, {}).get(level, {}))
    )


def _value(record: Record, *keys: str) -> float:
    """The number under nested keys; NaN, which no line passes through, where it is null or absent."""
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return math.nan if found is None else float(found)


def _limit(ax: Axes, value: float, label: str, style: str, colour: str) -> None:
    ax.axhline(value, color=colour, linestyle=style, linewidth=1.3, label=label)
    ax.annotate(f"{value:.2f}", (1, value), (2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=colour, fontsize=8, va="center")  # fmt: skip


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def _panels(counts: Sequence[int]) -> tuple[Figure, list[Axes]]:
    """A panel for each, those of a count in a row of their own, or in several rows of up to four."""
    rows = [min(4, count - start) for count in counts for start in range(0, count, 4)]
    columns = max(rows)
    figure = _figure(3.0 * columns + 0.2, 2.4 * len(rows) + 0.3)
    axes = [
        figure.add_subplot(len(rows), columns, i * columns + j + 1) for i, row in enumerate(rows) for j in range(row)
    ]
    return figure, axes


def _finish(figure: Figure, axes: Sequence[Axes], epochs: Sequence[Record]) -> None:
    """Spines, ticks, the kept epoch, and one legend for all panels."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an extra

    kept = epochs[-1].get("best_epoch")
    for ax in axes:
        if kept:
            ax.axvline(kept, color="0.7", linewidth=1, zorder=0, label=_LEGEND[4])
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel("epoch")
    known = {label: line for line, label in _labelled(axes)}
    order = [label for label in _LEGEND if label in known]
    lines = [known[label] for label in order]
    figure.legend(lines, order, loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def _labelled(axes: Sequence[Axes]) -> Iterator[tuple[Any, str]]:
    for ax in axes:
        yield from zip(*ax.get_legend_handles_labels(), strict=True)
