"""Tables and figure of `staircase`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import infomax
from benchmarks import report
from benchmarks.results import save_figure
from benchmarks.sweep import Row, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Stairs:
    """A title, and the truth of each stair in nats."""

    title: str
    truths: tuple[float, ...]


#: Pairs in a batch.
BATCH = 64
#: Bias in bits at 2, 4, 6, 8, 10 bits, and the standard deviation at 10 bits if known: from the stored runs of the
#: repository kyungeun-lee/mibenchmark (Gaussian, d = 20, joint critic of 256 x 2, batches of 64, learning rate 5e-4,
#: last 1,000 of 4,000 steps per stair). Its Donsker-Varadhan estimate diverges.
PUBLISHED_BITS: dict[str, tuple[tuple[float, ...], float | None]] = {
    "InfoNCE": ((-0.20, -0.67, -1.56, -2.82, -4.40), None),
    "NWJ": ((-0.11, -0.22, -0.42, -0.68, -1.80), 3.18),
    "JS": ((-0.70, -0.82, -0.94, -1.03, -1.23), None),
    "MINE": ((-0.12, -0.23, -0.47, -0.51, -0.58), 1.23),
    "SMILE, τ = 5": ((-0.14, -0.18, -0.07, 0.26, 0.58), 0.74),
}
#: The case with the truths of the published runs.
PUBLISHED_CASE = "gaussian-bits"
_PUBLISHED_NOTE = """\
Published: the stored runs of the repository kyungeun-lee/mibenchmark, converted from bits to nats. They have 4,000
steps per stair and the same dimension, batch size, learning rate and critic widths as the runs here. The standard
deviation is missing where it is unknown. The Donsker-Varadhan estimate of that repository diverges."""

#: Labels and colours of critics in the figure.
_CRITICS = {"concat": ("joint critic", "#1b6ca8"), "separable": ("separable critic", "#d07a2d")}
_OTHER = ("no critic, or own kind of critic", "#4f7f3f")
_CEILING = f"ceiling, log {BATCH}"
_FIGURE_CASES = ("gaussian", "cubed")
_COLUMNS = 4


def write_report(path: Path, steps: int, cases: Mapping[str, Stairs], notes: str) -> str:
    """Write tables and figure beside a CSV, from its rows with this number of ``steps`` per stair; return the text."""
    rows = [row for row in read(path) if row["steps"] == str(steps)]
    good = [row for row in rows if not row["error"]]
    seeds = len({row["seed"] for row in rows})
    parts = ["# Staircase", f"{notes} {steps:,} steps per stair, seeds: {seeds}.", report.provenance(rows) + "."]
    if draw_figure(good, cases, path.with_suffix(".png")):
        parts.append("![Estimates during training](staircase.png)")
    for name, case in cases.items():
        those = [row for row in good if row["case"] == name]
        if not those:
            continue
        parts += [f"## {case.title}", "Bias ± standard deviation, nats, by the truth I:"]
        parts.append(bias_table(those, case.truths, published=name == PUBLISHED_CASE))
        parts += [_PUBLISHED_NOTE] if name == PUBLISHED_CASE else []
    parts.append(report.every_run(path, "mean squared errors and the curves"))
    return report.write_page(path, [*parts, *report.failures(rows, "case", "bound", "critic")])


def bias_table(rows: Sequence[Row], truths: Sequence[float], *, published: bool) -> str:
    """Bias ± standard deviation by stair; published values in the last lines."""
    lines = [
        [*key, *(_bias(bias, sd) for bias, sd in zip(means["bias"], means["sd"], strict=True))]
        for key, means in _by_curve(rows, len(truths))
    ]
    for name, (biases, last) in published_nats().items() if published else ():
        lines.append(
            [f"*published: {name}*", "concat", *(_bias(bias, None) for bias in biases[:-1]), _bias(biases[-1], last)]
        )
    return report.table(_header(truths), lines)


def published_nats() -> dict[str, tuple[tuple[float, ...], float | None]]:
    """`PUBLISHED_BITS` in nats; one bit is log 2 nats."""
    bit = math.log(2)
    return {
        name: (tuple(bit * bias for bias in biases), None if last is None else bit * last)
        for name, (biases, last) in PUBLISHED_BITS.items()
    }


def _header(truths: Sequence[float]) -> list[str]:
    return ["bound", "critic", *(f"I = {truth:.3g}" for truth in truths)]


def _by_curve(rows: Sequence[Row], stairs: int) -> Iterator[tuple[tuple[str, str], dict[str, list[float]]]]:
    """Bound and critic with their bias, sd and MSE by stair: means over seeds, root mean square for the sd."""
    for key in dict.fromkeys((row["bound"], row["critic"]) for row in rows):
        those = [row for row in rows if (row["bound"], row["critic"]) == key]
        means: dict[str, list[float]] = {}
        for name, power in (("bias", 1), ("sd", 2), ("mse", 1)):
            values = np.array([[float(row[f"{name}_{i}"]) for i in range(1, stairs + 1)] for row in those])
            means[name] = ((values**power).mean(0) ** (1 / power)).tolist()
        yield key, means


def _bias(bias: float, sd: float | None) -> str:
    if math.isnan(bias):
        return "diverged"
    text = report.number(bias, signed=True)
    return text if sd is None else f"{text} ± {report.number(sd)}"


# --- the figure -------------------------------------------------------------------------------------------------------


@report.styled
def draw_figure(rows: Sequence[Row], cases: Mapping[str, Stairs], path: Path) -> bool:
    """One panel per bound and case, first seed only; returns whether there was anything to draw."""
    first = min((int(row["seed"]) for row in rows), default=0)
    rows = [row for row in rows if row["case"] in _FIGURE_CASES and int(row["seed"]) == first]
    if not rows:
        return False
    shown = [name for name in _FIGURE_CASES if any(row["case"] == name for row in rows)]
    bounds = sorted({row["bound"] for row in rows})
    columns = min(len(bounds), _COLUMNS)
    lines = len(shown) * math.ceil(len(bounds) / columns)
    figure = report.new_figure(report.WIDTH, 1.45 * lines + 1.3)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax in grid.flat:
        ax.set_visible(False)
    for i, bound in enumerate(bounds):
        for j, name in enumerate(shown):
            ax = grid[i // columns * len(shown) + j, i % columns]
            ax.set_visible(True)
            _panel(ax, [row for row in rows if (row["bound"], row["case"]) == (bound, name)], cases[name].truths)
            ax.tick_params(labelleft=i % columns == 0, labelbottom=j == len(shown) - 1)
            if i % columns == 0:
                ax.set_ylabel(cases[name].title)
            if j == 0:
                ax.set_title(bound, weight="bold")
    labelled = {label: line for ax in grid.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [
        label
        for label in ("truth", *(label for label, _ in _CRITICS.values()), _OTHER[0], _CEILING)
        if label in labelled
    ]
    figure.legend(
        [labelled[label] for label in order],
        order,
        title="Values during training, and the truth",
        loc="outside upper center",
        ncols=3,
    )
    figure.supxlabel("optimiser steps (thousands)")
    figure.supylabel("mutual information, nats (band: ± one standard deviation)")
    save_figure(figure, path)
    return True


def _panel(ax: Axes, rows: Sequence[Row], truths: Sequence[float]) -> None:
    """Curves of one bound in one case (block means and sd within blocks), the truth, and the ceiling of a batch."""
    if not rows:
        return
    edges = int(rows[0]["steps"]) / 1_000 * np.arange(len(truths) + 1)
    for row in rows:
        means, deviations = (np.array([float(value) for value in row[name].split()]) for name in ("means", "sds"))
        middle = (np.arange(len(means)) + 0.5) * edges[-1] / len(means)
        label, colour = _CRITICS.get(row["critic"], _OTHER)
        ax.fill_between(middle, means - deviations, means + deviations, color=colour, alpha=0.2, lw=0)
        ax.plot(middle, means, color=colour, lw=1.1, label=label)
    ax.stairs(truths, edges, baseline=None, color="black", lw=1.2, label="truth")
    ceiling = infomax.bounds.get(rows[0]["bound"])(1, 1).ceiling(BATCH)
    if ceiling is not None:
        ax.axhline(ceiling, color="0.35", lw=1, ls=":", label=_CEILING)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(0, edges[-1])
    ax.set_xticks(edges, [f"{edge:g}" for edge in edges])
    ax.set_ylim(-0.1 * truths[-1], 1.3 * truths[-1])
    ax.set_yticks([0, *truths])
    ax.grid(axis="y", color="0.92", lw=0.7)
    ax.set_axisbelow(True)
