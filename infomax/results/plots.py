"""Figures. matplotlib is an extra (``pip install 'infomax[plot]'``) and is loaded on first use."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from infomax.bounds.base import Kind
from infomax.training.fit import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_COLOURS = {"lower": "#1b6ca8", "upper": "#b5482a", "estimate": "#4d4d4d"}
_LABELS = {"lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}


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


class Trained(Measured, Protocol):
    """An estimate with the history of its training."""

    @property
    def ceiling(self) -> float | None: ...
    @property
    def near_ceiling(self) -> bool: ...
    @property
    def history(self) -> tuple[History, ...]: ...


class Matrix(Protocol):
    """What figures show of all pairs of columns; see :class:`infomax.Pairwise` for the attributes."""

    @property
    def mi(self) -> NDArray[Any]: ...
    @property
    def qvalue(self) -> NDArray[Any]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def symmetric(self) -> bool: ...
    @property
    def n(self) -> int: ...
    @property
    def unit(self) -> str: ...


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


def plot_estimate(estimate: Trained) -> Figure:
    """The validation values during training, one line for each model, and the final interval.

    Steps after the kept one have a lighter colour; the axes show some of them.
    """
    figure, (ax,) = new_figure(7, 4)
    colour = _COLOURS[estimate.kind]
    low, high = estimate.confidence_interval()
    ax.axhspan(low, high, color=colour, alpha=0.15, lw=0, label=f"95 % interval [{low:.3f}, {high:.3f}]")
    ax.axhline(estimate.mi, color=colour, label=f"{estimate.mi:.3f} {estimate.unit}, {_LABELS[estimate.kind]}")
    if estimate.history:
        _draw_history(ax, estimate, (low, high), colour)
    else:
        ax.set_xticks([])
    if estimate.ceiling is not None and estimate.near_ceiling:
        ax.axhline(estimate.ceiling, color="0.3", ls="--", label=f"ceiling {estimate.ceiling:.2f}")
        ax.set_ylim(top=max(ax.get_ylim()[1], 1.05 * estimate.ceiling))
    ax.set_ylabel(f"mutual information, {estimate.unit}")
    ax.set_title(f"{estimate.bound}, {estimate.n} pairs", loc="left")
    ax.legend(frameon=False, loc="best")
    return figure


def _draw_history(ax: Axes, estimate: Trained, interval: tuple[float, float], colour: str) -> None:
    """Validation lines, dots at the kept steps, and the limits of the axes."""
    shown = [*interval]
    for i, fold in enumerate(estimate.history):
        best = fold.steps.index(fold.best_step)
        ax.plot(fold.steps[best:], fold.validation[best:], color="0.75", lw=0.7, zorder=1)
        ax.plot(fold.steps[: best + 1], fold.validation[: best + 1], color="0.4", lw=0.9, marker=".", ms=3)
        label = "kept step of each model" if i == 0 else None
        ax.plot(fold.best_step, fold.validation[best], "o", color=colour, ms=5, zorder=3, label=label)
        shown += fold.validation[: best + 1]
    shown = [value for value in shown if math.isfinite(value)]
    margin = 0.15 * (max(shown) - min(shown))
    ax.set_ylim(min(shown) - margin, max(shown) + margin)
    last = max(fold.steps[-1] for fold in estimate.history)
    most = max(fold.best_step for fold in estimate.history)
    right = min(last, max(2 * most, 5 * estimate.history[0].steps[min(1, len(estimate.history[0].steps) - 1)]))
    ax.set_xlim(-0.03 * max(1, right), 1.03 * max(1, right))
    ax.set_xlabel("training step; lines: value on validation rows, pale after the kept step")


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
        label = None if estimate.kind in seen else _LABELS[estimate.kind]
        seen.add(estimate.kind)
        colour = _COLOURS[estimate.kind]
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


def plot_matrix(pairs: Matrix, level: float) -> Figure:
    """Values in colours, with numbers where there is room; a dot marks pairs with a q-value of at most ``level``."""
    rows, columns = pairs.mi.shape
    side = 0.55 if max(rows, columns) <= 12 else 0.25 if max(rows, columns) <= 60 else 0.12
    figure, (ax,) = new_figure(min(2.5 + side * columns, 24), min(1.5 + side * rows, 24))
    image = ax.imshow(pairs.mi.clip(0.0), cmap="viridis", vmin=0.0, aspect="auto")
    ax.set_facecolor("0.85")  # of the diagonal
    i, j = (pairs.qvalue <= level).nonzero()
    numbers = max(rows, columns) <= 12
    ax.plot(j, i + (0.3 if numbers else 0.0), "o", color="w", mec="0.2", mew=0.5, ms=4 if numbers else 3)
    for row in range(rows if numbers else 0):
        for column in range(columns):
            if not (pairs.symmetric and row == column):
                value = pairs.mi[row, column]
                colour = "k" if value > 0.6 * image.get_clim()[1] else "w"
                ax.annotate(f"{value:.2f}", (column, row), ha="center", va="center", size=8, color=colour)
    if max(rows, columns) <= 60:
        ax.set_xticks(range(columns), pairs.columns, rotation=90)
        ax.set_yticks(range(rows), pairs.names)
    figure.colorbar(image, ax=ax, label=f"mutual information, {pairs.unit}")
    ax.set_title(f"{pairs.n} rows; dots: q ≤ {level:g}", loc="left", size=11)
    return figure
