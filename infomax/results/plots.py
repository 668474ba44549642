"""Figures. matplotlib is an extra (``pip install 'infomax[plot]'``) and is loaded on first use."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from infomax.bounds.base import KIND_NAMES, Kind
from infomax.io.writing import atomic_write
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


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure outside any window system, with a row of axes.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from error

    class NotebookFigure(Figure):
        """Displays itself in notebooks without a backend."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


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
        ax.annotate(f"{estimate.mi:.2f}", (estimate.mi, row), (0, 7), textcoords="offset points", ha="center", size=8)
    if truth is not None:
        ax.axvline(truth, color="#2a7f3f", lw=1.5, label=f"truth, {truth:.2f}", zorder=0)
    ax.set_yticks(range(len(estimates)), labels or [estimate.bound for estimate in estimates])
    ax.set_ylim(len(estimates) - 0.4, -0.7)
    ax.set_xlim(left=min(0.0, *(estimate.confidence_interval()[0] for estimate in estimates)))
    ax.set_xlabel(f"mutual information, {estimates[0].unit}; bars: 95 % intervals")
    ax.set_title(title, loc="left", size=11)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the bars, which may lie anywhere


def plot_history(ax: Axes, history: Sequence[History], interval: tuple[float, float], colour: str) -> None:
    """Validation values during training, with dots at the kept steps; later steps have a lighter colour."""
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
    ax.set_xlabel("training step; lines: value on validation rows, pale after the kept step")


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
    ax.set_xlabel(f"held-out value, {unit}; bars: two standard errors")
    ax.set_title(f"candidates compared on {trials[0].rows} held-out rows", loc="left")
