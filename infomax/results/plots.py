"""Figures. matplotlib is an extra (``pip install 'infomax[plot]'``) and is loaded on first use."""

from __future__ import annotations

import io
import math
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

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

#: Colours that do not depend on red and green: Okabe and Ito 2008, darkened for text.
COLOURS = {"lower": "#0072b2", "upper": "#b34700", "estimate": "#404040"}
TRUTH = "#007a59"
#: The width of figures in inches: that of a text column of 740 pixels at 100 dots per inch.
WIDTH = 7.4
_TICK = 9.5


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


def style() -> AbstractContextManager[None]:
    """The style of all figures, within a ``with`` block: sizes of text alone, so that colours stay the user's.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        import matplotlib  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from error
    settings: dict[Any, Any] = {
        "font.size": 10.0,
        "axes.labelsize": 10.0,
        "axes.titlesize": 11.0,
        "axes.titlelocation": "left",
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "lines.solid_capstyle": "butt",
        "xtick.labelsize": _TICK,
        "ytick.labelsize": 10.0,
    }
    return matplotlib.rc_context(settings)


def new_figure(
    width: float, height: float, *, columns: int = 1, heights: Sequence[float] = (1,)
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of axes: one of pyplot where ``matplotlib.pyplot`` is loaded, else without any windows.

    ``heights`` are those of the rows, in any unit. ``plt.show()`` shows figures of pyplot. Notebooks show both kinds,
    once.

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
    grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    return figure, [spare(ax) for ax in grid.flat]


def spare(ax: Axes) -> Axes:
    """The axes without the lines at their top and right, and with legible numbers."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="x", labelsize=_TICK)
    return ax


def axes_or_new(
    ax: Axes | None, width: float, height: float, heights: Sequence[float] = (1,)
) -> tuple[Figure, list[Axes]]:
    """The given axes and their figure, or a new figure."""
    if ax is None:
        return new_figure(width, height, heights=heights)
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

    ``labels`` names the rows; by default these are the names of the bounds, with their kinds.
    """
    digits = 2 if max(abs(estimate.mi) for estimate in estimates) >= 0.2 else 3
    behind = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.5}  # so that no line crosses a number
    for row, estimate in enumerate(estimates):
        low, high = estimate.confidence_interval()
        colour = COLOURS[estimate.kind]
        ax.plot([low, high], [row, row], color=colour, lw=2.5, alpha=0.5)
        ax.plot(estimate.mi, row, "o", color=colour, ms=6)
        number = f"{round(estimate.mi, digits) + 0.0:.{digits}f}"  # + 0.0: no negative zero
        place: dict[str, Any] = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        ax.annotate(number, (estimate.mi, row), **place, size=9, bbox=behind)
    names = [f"{one.bound}, {one.kind}" if one.kind != "estimate" else one.bound for one in estimates]
    ax.set_yticks(range(len(estimates)), names if labels is None else labels)
    for tick, estimate in zip(ax.get_yticklabels(), estimates, strict=True):
        tick.set_color(COLOURS[estimate.kind])
    ax.set_ylim(len(estimates) - 0.4, -0.7 if truth is None else -1.2)
    left = min(0.0, *(estimate.confidence_interval()[0] for estimate in estimates))
    ax.set_xlim(left=left - 0.04 * (ax.get_xlim()[1] - left))
    if truth is not None:
        ax.axvline(truth, color=TRUTH, lw=1.5, zorder=0)
        _beside(ax, truth, -0.95, f"truth, {truth:.2f}", TRUTH)
    ax.set_xlabel(f"mutual information, {estimates[0].unit}\n(bars: 95 % intervals)")
    ax.set_title(title)


def value_rows(estimate: Explained) -> int:
    """The number of rows that `plot_value` draws."""
    folds, (_, high) = len(_finite(estimate.folds)) > 1, estimate.confidence_interval()
    return 2 + (high > _sampled(estimate)) + folds + any(limit is not None for limit in _limits(estimate).values())


def plot_value(ax: Axes, estimate: Explained) -> None:
    """An estimate with its 95 % interval, then in rows of their own: what the interval consists of, and the folds."""
    colour, (low, high), sampled = COLOURS[estimate.kind], estimate.confidence_interval(), _sampled(estimate)
    ax.plot([low, high], [0, 0], color=colour, alpha=0.45, lw=9)
    ax.plot(estimate.mi, 0, "o", color=colour, ms=8)
    names = [KIND_NAMES[estimate.kind], "± 1.96 standard errors"]
    ax.plot([low, sampled], [1, 1], color=colour, alpha=0.45, lw=5)
    if high > sampled:
        ax.plot([sampled, high], [len(names), len(names)], color=colour, alpha=0.25, lw=5)
        names.append("possible bias")
    folds = _finite(estimate.folds)
    if len(folds) > 1:
        ax.plot(folds, [len(names)] * len(folds), "o", color="0.35", mfc="none", ms=7)
        names.append(f"held-out rows, {len(folds)} folds")
    limits = {name: limit for name, limit in _limits(estimate).items() if limit is not None}
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5 + bool(limits), -0.9)
    for (_, limit), form in zip(limits.items(), ("--", ":"), strict=False):
        ax.axvline(limit, color="0.3", ls=form, lw=1.2)
    ax.margins(x=0.12)
    _label_of_value(ax, f"{estimate.mi:.3f}   [{low:.3f}, {high:.3f}]", low, high)
    for i, (name, limit) in enumerate(limits.items()):
        _beside(ax, limit, len(names) - 0.2 + 0.5 * i, f"{name}, {limit:.2f}", "0.3")
    if min([low, *folds]) <= 0:
        ax.axvline(0, color="0.8", lw=1, zorder=0)
    test = "" if estimate.pvalue is None else f", p {pvalue_text(estimate.pvalue, estimate.least_pvalue)}"
    ax.set_xlabel(f"mutual information, {estimate.unit}")
    ax.set_title(f"{estimate.bound}, {estimate.n:,} pairs{test}: value and 95 % interval")


def _sampled(estimate: Explained) -> float:
    """The end of the part of the interval that covers sampling error."""
    half = statistics.NormalDist().inv_cdf(0.975) * estimate.stderr
    return min(estimate.mi + half, estimate.confidence_interval()[1])


def _limits(estimate: Explained) -> dict[str, float | None]:
    return {"ceiling": estimate.ceiling if estimate.near_ceiling else None, "limit by the entropy": estimate.limit}


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _label_of_value(ax: Axes, text: str, low: float, high: float) -> None:
    """Text above the bar of an interval; near an end of the axis it starts, or stops, with the bar."""
    left, right = ax.get_xlim()
    place = ((low + high) / 2 - left) / (right - left)
    x, side = ((low + high) / 2, "center") if 0.35 < place < 0.65 else (low, "left") if place < 0.5 else (high, "right")
    ax.annotate(text, (x, 0), (0, 9), textcoords="offset points", ha=side, size=10, weight="bold")


def _beside(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Text beside a vertical line, on the side with more room."""
    left, right = ax.get_xlim()
    side, apart = ("left", 5) if x < (left + right) / 2 else ("right", -5)
    ax.annotate(text, (x, y), (apart, 0), textcoords="offset points", ha=side, va="center", size=9.5, color=colour)


def plot_local(ax: Axes, estimate: Explained) -> None:
    """The distribution of the local values; the first and the last bar include values beyond the axis."""
    local = np.asarray(estimate.local)
    low, high = np.quantile(local, [0.005, 0.995])
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    bins = int(np.clip(math.sqrt(len(local)), 10, 50))
    heights, _, _ = ax.hist(local.clip(low, high), bins=bins, range=(low, high), color="0.75", ec="white", lw=0.5)
    colour, most = COLOURS[estimate.kind], float(np.max(heights))
    ax.axvline(estimate.mi, color=colour, lw=2)
    ax.set_ylim(0, 1.2 * most)
    _beside(ax, estimate.mi, 1.12 * most, f"mean, {estimate.mi:.3f}", colour)
    ax.set_xlabel(f"local value of a pair, {estimate.unit}")
    ax.set_ylabel("pairs")
    ax.set_title("local values, whose mean is the estimate")


def plot_history(ax: Axes, estimate: Explained) -> None:
    """Validation values during training, with dots at the kept steps; later steps have a lighter colour."""
    history, colour, interval = estimate.history, COLOURS[estimate.kind], estimate.confidence_interval()
    ax.axhspan(*interval, color=colour, alpha=0.15, lw=0)
    shown = [*interval]
    for fold in history:
        best = fold.steps.index(fold.best_step)
        ax.plot(fold.steps[best:], fold.validation[best:], color="0.75", lw=0.7, zorder=1)
        ax.plot(fold.steps[: best + 1], fold.validation[: best + 1], color="0.4", lw=0.9, marker=".", ms=3)
        ax.plot(fold.best_step, fold.validation[best], "o", color=colour, ms=5, zorder=3)
        shown += fold.validation[: best + 1]
    shown = _finite(shown)
    margin = 0.15 * (max(shown) - min(shown))
    ax.set_ylim(min(shown) - margin, max(shown) + margin)
    last, most = max(fold.steps[-1] for fold in history), max(fold.best_step for fold in history)
    right = max(1, min(last, max(2 * most, 5 * history[0].steps[min(1, len(history[0].steps) - 1)])))
    ax.set_xlim(-0.03 * right, 1.03 * right)
    ax.set_xlabel("training step")
    ax.set_ylabel(f"validation value, {estimate.unit}")
    models = "1 model" if len(history) == 1 else f"{len(history)} models"
    ax.set_title(f"training of {models} (dots: kept steps; band: the 95 % interval above)")


def plot_candidates(ax: Axes, trials: Sequence[Trial], unit: str, colour: str) -> None:
    """Held-out value of each candidate with two standard errors, one in each row; the chosen ones are filled."""
    for row, trial in enumerate(trials):
        drawn = colour if trial.chosen else "0.55"
        half = 2 * trial.stderr
        ax.plot([trial.score - half, trial.score + half], [row, row], color=drawn, lw=2.5)
        ax.plot(trial.score, row, "o", color=drawn, ms=7, mfc=drawn if trial.chosen else "white")
        words, weight = (f"{trial.score:.3f}, chosen", "bold") if trial.chosen else (f"{trial.score:.3f}", "normal")
        ax.annotate(
            words,
            (trial.score, row),
            (0, 7),
            textcoords="offset points",
            ha="center",
            size=9,
            weight=weight,
            color="0.2",
        )
    ax.set_yticks(range(len(trials)), [trial.name for trial in trials])
    ax.set_ylim(len(trials) - 0.5, -0.9)
    ax.margins(x=0.15)
    ax.set_xlabel(
        f"held-out value, {unit}; bars: two standard errors\n(the estimate adds calibration and corrections of bias)"
    )
    ax.set_title(f"candidates compared on {trials[0].rows:,} held-out rows")
