"""Figures. matplotlib is an extra (``pip install 'infomax[plot]'``) and is loaded on first use."""

from __future__ import annotations

import io
import math
import os
import statistics
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from infomax.bounds.base import KIND_NAMES, Kind
from infomax.io.writing import atomic_write
from infomax.results.tables import pvalue_text
from infomax.training.fit import History
from infomax.training.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"lower": "#1b6ca8", "upper": "#b5482a", "estimate": "#4d4d4d"}


class Measured(Protocol):
    """What figures show of an estimate or a composition; see :class:`infomax.Estimate` for the attributes."""

    @property
    def mi(self) -> float: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def bound(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def unit(self) -> str: ...
    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]: ...


class Explained(Measured, Protocol):
    """What figures show of an estimate alone."""

    @property
    def stderr(self) -> float: ...
    @property
    def folds(self) -> tuple[float, ...]: ...
    @property
    def ceiling(self) -> float | None: ...
    @property
    def near_ceiling(self) -> bool: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def pvalue(self) -> float | None: ...
    @property
    def least_pvalue(self) -> float: ...
    @property
    def history(self) -> tuple[History, ...]: ...
    @property
    def local(self) -> NDArray[np.float64] | None: ...


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with a row of axes: one of pyplot where ``matplotlib.pyplot`` is loaded, else outside any window system.

    ``plt.show()`` shows figures of pyplot. Notebooks show both kinds, once.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        kind = _notebook_figure()
    except ImportError as error:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from error
    size, pyplot = (width, height), sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        figure = kind(figsize=size, layout="constrained")
    else:
        figure = pyplot.figure(figsize=size, layout="constrained", FigureClass=kind)
    return figure, [spare(figure.add_subplot(1, columns, i + 1)) for i in range(columns)]


def spare(ax: Axes) -> Axes:
    """The axes without the lines at their top and right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def axes_or_new(ax: Axes | None, width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """The given axes and their figure, or a new figure."""
    if ax is None:
        return new_figure(width, height, columns)
    return cast("Figure", ax.figure), [spare(ax)]


@cache
def _notebook_figure() -> type[Figure]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    class NotebookFigure(Figure):
        """Is displayed once in notebooks, with or without pyplot."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

        def _ipython_display_(self) -> None:
            pyplot = sys.modules.get("matplotlib.pyplot")
            if pyplot is not None and pyplot.isinteractive() and getattr(self, "number", None) in pyplot.get_fignums():
                if "inline" not in pyplot.get_backend().lower():
                    return  # its window shows it
                pyplot.close(self)  # else the end of the cell would show it again
            raise NotImplementedError  # IPython then asks for the image

    return NotebookFigure


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Write a figure in the format of the path's ending. The file is replaced only when it is complete."""
    with atomic_write(path) as file:
        figure.savefig(file, format=Path(path).suffix.lstrip("."), dpi=dpi)


def plot_comparison(
    ax: Axes,
    estimates: Sequence[Measured],
    title: str,
    truth: float | None = None,
    labels: Sequence[str] | None = None,
) -> None:
    """Estimates with their 95 % intervals, one in each row, and a line for the truth where it is known.

    ``labels`` names the rows; by default these are the names of the bounds.
    """
    seen = set()
    for row, estimate in enumerate(estimates):
        low, high = estimate.confidence_interval()
        label = None if estimate.kind in seen else KIND_NAMES[estimate.kind]
        seen.add(estimate.kind)
        colour = COLOURS[estimate.kind]
        ax.plot([low, high], [row, row], color=colour, lw=2.5, alpha=0.5, solid_capstyle="butt")
        ax.plot(estimate.mi, row, "o", color=colour, ms=6, label=label)
        ax.annotate(f"{estimate.mi:.2f}", (estimate.mi, row), (0, 7), textcoords="offset points", ha="center", size=9)
    if truth is not None:
        ax.axvline(truth, color="#2a7f3f", lw=1.5, label=f"truth, {truth:.2f}", zorder=0)
    ax.set_yticks(range(len(estimates)), labels or [estimate.bound for estimate in estimates])
    ax.set_ylim(len(estimates) - 0.4, -0.7)
    left = min(0.0, *(estimate.confidence_interval()[0] for estimate in estimates))
    ax.set_xlim(left=left - 0.04 * (ax.get_xlim()[1] - left))
    ax.set_xlabel(f"mutual information, {estimates[0].unit}; bars: 95 % intervals")
    ax.set_title(title, loc="left", size=11)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the bars, which may lie anywhere


def plot_value(ax: Axes, estimate: Explained) -> None:
    """An estimate with the parts of its 95 % interval, and below it the values of the folds."""
    colour, (low, high) = COLOURS[estimate.kind], estimate.confidence_interval()
    half = statistics.NormalDist().inv_cdf(0.975) * estimate.stderr
    sampled = min(estimate.mi + half, high)
    ax.plot(
        [low, sampled], [0, 0], color=colour, alpha=0.45, lw=9, solid_capstyle="butt", label="± 1.96 standard errors"
    )
    if high > sampled:
        ax.plot([sampled, high], [0, 0], color=colour, alpha=0.18, lw=9, solid_capstyle="butt", label="possible bias")
    ax.plot(estimate.mi, 0, "o", color=colour, ms=8, label=f"value, {KIND_NAMES[estimate.kind]}")
    folds = [value for value in estimate.folds if math.isfinite(value)]
    if len(folds) > 1:
        ax.plot(folds, [1] * len(folds), "o", color="0.35", mfc="none", ms=7, label="held-out rows of one fold")
    limits = {"ceiling": estimate.ceiling if estimate.near_ceiling else None, "limit by the entropy": estimate.limit}
    for (name, limit), style in zip(limits.items(), ("--", ":"), strict=True):
        if limit is not None:
            ax.axvline(limit, color="0.3", ls=style, lw=1.2, label=f"{name}, {limit:.2f}")
    rows = ["estimate", f"{len(folds)} folds"] if len(folds) > 1 else ["estimate"]
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.4, -0.8)
    ax.margins(x=0.12)
    _label_of_value(ax, f"{estimate.mi:.3f}   [{low:.3f}, {high:.3f}]", low, high)
    if min([low, *folds]) <= 0:
        ax.axvline(0, color="0.8", lw=1, zorder=0)
    test = "" if estimate.pvalue is None else f", p {pvalue_text(estimate.pvalue, estimate.least_pvalue)}"
    ax.set_xlabel(f"mutual information, {estimate.unit}")
    ax.set_title(f"{estimate.bound}, {estimate.n} pairs{test}", loc="left")
    _legend_below(ax)


def _label_of_value(ax: Axes, text: str, low: float, high: float) -> None:
    """Text above the bar of an interval; near an end of the axis it starts, or stops, with the bar."""
    left, right = ax.get_xlim()
    place = ((low + high) / 2 - left) / (right - left)
    x, side = ((low + high) / 2, "center") if 0.35 < place < 0.65 else (low, "left") if place < 0.5 else (high, "right")
    ax.annotate(text, (x, 0), (0, 12), textcoords="offset points", ha=side, size=10, weight="bold")


def plot_local(ax: Axes, estimate: Explained) -> None:
    """The distribution of the local values; the first and the last bar include values beyond the axis."""
    local = np.asarray(estimate.local)
    low, high = np.quantile(local, [0.005, 0.995])
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    bins = int(np.clip(math.sqrt(len(local)), 10, 50))
    ax.hist(local.clip(low, high), bins=bins, range=(low, high), color="0.75", ec="white", lw=0.5)
    ax.axvline(estimate.mi, color=COLOURS[estimate.kind], lw=2, label=f"mean, {estimate.mi:.3f}")
    ax.set_xlabel(f"local value of a pair, {estimate.unit}")
    ax.set_ylabel("pairs")
    ax.set_title("local values, whose mean is the estimate", loc="left")
    _legend_below(ax)


def _legend_below(ax: Axes) -> None:
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.2), ncols=2)


def plot_history(ax: Axes, estimate: Explained) -> None:
    """Validation values during training, with dots at the kept steps; later steps have a lighter colour."""
    history, colour, interval = estimate.history, COLOURS[estimate.kind], estimate.confidence_interval()
    ax.axhspan(*interval, color=colour, alpha=0.15, lw=0, label="95 % interval of the estimate")
    shown = [*interval]
    for i, fold in enumerate(history):
        best = fold.steps.index(fold.best_step)
        ax.plot(fold.steps[best:], fold.validation[best:], color="0.75", lw=0.7, zorder=1)
        ax.plot(fold.steps[: best + 1], fold.validation[: best + 1], color="0.4", lw=0.9, marker=".", ms=3)
        label = "kept step of each model" if i == 0 else None
        ax.plot(fold.best_step, fold.validation[best], "o", color=colour, ms=5, zorder=3, label=label)
        shown += fold.validation[: best + 1]
    shown = [value for value in shown if math.isfinite(value)]
    margin = 0.15 * (max(shown) - min(shown))
    ax.set_ylim(min(shown) - margin, max(shown) + margin)
    last, most = max(fold.steps[-1] for fold in history), max(fold.best_step for fold in history)
    right = max(1, min(last, max(2 * most, 5 * history[0].steps[min(1, len(history[0].steps) - 1)])))
    ax.set_xlim(-0.03 * right, 1.03 * right)
    ax.set_xlabel("training step")
    ax.set_ylabel(f"value on validation rows, {estimate.unit}")
    ax.set_title(f"training of {len(history)} {'model' if len(history) == 1 else 'models'}", loc="left")
    _legend_below(ax)


def plot_candidates(ax: Axes, trials: Sequence[Trial], unit: str, colour: str) -> None:
    """Held-out value of each candidate with two standard errors, one in each row; the chosen ones are filled."""
    for row, trial in enumerate(trials):
        drawn = colour if trial.chosen else "0.55"
        half = 2 * trial.stderr
        ax.plot([trial.score - half, trial.score + half], [row, row], color=drawn, lw=2.5, solid_capstyle="butt")
        ax.plot(trial.score, row, "o", color=drawn, ms=7, mfc=drawn if trial.chosen else "white")
        words, weight = (f"{trial.score:.3f}, chosen", "bold") if trial.chosen else (f"{trial.score:.3f}", "normal")
        ax.annotate(
            words,
            (trial.score, row),
            (0, 8),
            textcoords="offset points",
            ha="center",
            size=9,
            weight=weight,
            color="0.2",
        )
    ax.set_yticks(range(len(trials)), [trial.name for trial in trials])
    ax.set_ylim(len(trials) - 0.5, -0.7)
    ax.margins(x=0.15)
    ax.set_xlabel(
        f"held-out value, {unit}; bars: two standard errors\n(the estimate adds calibration and corrections of bias)"
    )
    ax.set_title(f"candidates compared on {trials[0].rows} held-out rows", loc="left")
