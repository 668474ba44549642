"""Figures. matplotlib is an extra (``pip install 'infomax[plot]'``) and is loaded on first use."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from infomax.combining import Composition
    from infomax.matrix import Pairwise
    from infomax.result import Estimate

_COLOURS = {"lower": "#1b6ca8", "upper": "#b5482a", "estimate": "#4d4d4d"}
_LABELS = {"lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure that belongs to no window system, with a row of axes.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("figures need matplotlib; pip install 'infomax[plot]'") from error

    class NotebookFigure(Figure):
        """Shows itself in a notebook that has set up no backend."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_estimate(estimate: Estimate) -> Figure:
    """The bound on validation rows while training, one line a fold, and the interval that came of it."""
    figure, (ax,) = new_figure(7, 4)
    colour = _COLOURS[estimate.kind]
    low, high = estimate.confidence_interval()
    ax.axhspan(low, high, color=colour, alpha=0.15, lw=0, label=f"95 % interval [{low:.3f}, {high:.3f}]")
    ax.axhline(estimate.mi, color=colour, label=f"{estimate.mi:.3f} {estimate.unit}, {_LABELS[estimate.kind]}")
    for fold in estimate.history:
        ax.plot(fold.steps, fold.validation, color="0.4", lw=0.8, marker=".", ms=3)
        best = fold.steps.index(fold.best_step)
        ax.plot(fold.best_step, fold.validation[best], "o", color=colour, ms=5)
    if estimate.history:
        ax.set_xlabel("training step (lines: the bound on validation rows, one a fold; dots: kept)")
    else:
        ax.set_xticks([])
    if estimate.ceiling is not None and estimate.near_ceiling:
        ax.axhline(estimate.ceiling, color="0.3", ls="--", label=f"ceiling {estimate.ceiling:.2f}")
    ax.set_ylabel(f"mutual information, {estimate.unit}")
    ax.set_title(f"{estimate.bound}, {estimate.n} pairs", loc="left")
    ax.legend(frameon=False, loc="best")
    return figure


def plot_comparison(
    ax: Axes, estimates: Sequence[Estimate | Composition], title: str, truth: float | None = None
) -> None:
    """Estimates with their 95 % intervals, one a row, and a line for the truth where it is known."""
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
    ax.set_yticks(range(len(estimates)), [estimate.bound for estimate in estimates])
    ax.set_ylim(len(estimates) - 0.4, -0.7)
    ax.set_xlim(left=min(0.0, *(estimate.confidence_interval()[0] for estimate in estimates)))
    ax.set_xlabel(f"mutual information, {estimates[0].unit}; bars: 95 % intervals")
    ax.set_title(title, loc="left", size=11)
    ax.legend(frameon=False, loc="lower left")


def plot_matrix(pairs: Pairwise, level: float) -> Figure:
    """Values as colours, with numbers where they have room; a dot marks pairs with a q-value of at most ``level``."""
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
                ax.annotate(f"{pairs.mi[row, column]:.2f}", (column, row), ha="center", va="center", size=8, color="w")
    if max(rows, columns) <= 60:
        ax.set_xticks(range(columns), pairs.columns, rotation=90)
        ax.set_yticks(range(rows), pairs.names)
    figure.colorbar(image, ax=ax, label=f"mutual information, {pairs.unit}")
    ax.set_title(f"{pairs.n} rows; dots: q ≤ {level:g}", loc="left", size=11)
    return figure
