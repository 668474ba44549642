"""Tables and figures of `known_mi`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.default.figures import brief
from benchmarks.errors import Row, at, by_task, sizes
from benchmarks.report import CYCLE, WIDTH, every_run, failures, new_figure, provenance, styled, table, write_page
from benchmarks.results import save_figure
from benchmarks.sweep import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the sample sizes, from small to large.
SHADES = ("#8fbcdb", "#1b6ca8", "#0c3c63", "#000000")

NOTES = """\
Errors are estimate − truth, in nats. The mean absolute error averages the absolute errors of single runs over the seeds
of a task, then over tasks; the worst task is the one with the largest mean error. Coverage is the share of 95 %
intervals that contain the truth, on draws that tasks share (see below). "Warned" is the share of runs with a warning.
Seconds are the median CPU time of one estimate.

With the same seed, tasks that differ only in their marginals share their draws (for example the pair with correlation
0.75 and its versions normal_cdf, bimodal, wiggly and half_cube). Estimators based on ranks, such as those of infomax,
return the same value for all versions. So there are fewer independent trials than tasks and seeds, and the coverage of
the default is that of runs with draws of their own in the section on the default."""


def write_report(path: Path, mode: str) -> str:
    """Write tables and figures beside a CSV, from its rows in this ``mode``; return the summary.

    Raises:
        SweepError: if the CSV is missing or empty.
    """
    rows = [row for row in read(path) if row["mode"] == mode]
    done = [row for row in rows if not row["error"]]
    settings = "Default settings" if mode == "default" else "Quick settings: two folds and short training"
    facts = f"Tasks: {len({row['task'] for row in rows})}. Seeds: {_seeds(rows)}. {settings}. {provenance(rows)}."
    parts = [facts, NOTES, summary(rows), above_the_truth(done), every_run(path, "medians, memory and the ceiling")]
    write_page(path, [*parts, *failures(rows, "task", "estimator", "n")])
    if done:
        for name, draw in (("error", error_figure), ("coverage", coverage_figure), ("time", time_figure)):
            save_figure(draw(done), path.with_name(f"{path.stem}_{name}.png"), dpi=110)
    return "\n\n".join(parts[:4])


def summary(rows: Sequence[Row]) -> str:
    """One line per estimator and n."""
    lines = []
    for n in sizes(rows):
        for estimator in names(rows, "estimator"):
            done = [row for row in at(rows, n) if row["estimator"] == estimator and not row["error"]]
            if done:
                biases, sizes_of = by_task(done), by_task(done, absolute=True)
                worst = max(biases, key=lambda task: abs(biases[task]))
                lines.append([
                    f"{n:,}",
                    estimator,
                    f"{mean(sizes_of.values()):.3f}",
                    f"{biases[worst]:+.2f} ({worst})",
                    f"{coverage(done):.0%}",
                    f"{mean(float(row['high']) - float(row['low']) for row in done):.2f}",
                    f"{mean(bool(row['warnings']) for row in done):.0%}",
                    f"{median(float(row['seconds']) for row in done):.1f}",
                ])  # fmt: skip
    header = ["n", "estimator", "mean abs. error", "worst task", "coverage", "mean width", "warned", "CPU s"]
    return table(header, lines)


def above_the_truth(rows: Sequence[Row]) -> str:
    """How often a lower bound is significantly larger than the truth."""
    lower = [row for row in rows if row["kind"] == "lower"]
    above = sum(float(row["bias"]) > 3 * float(row["stderr"]) for row in lower)
    return f"Lower bounds exceed the truth by more than three standard errors in {above} of {len(lower):,} runs."


def coverage(rows: Sequence[Row]) -> float:
    """Share of the intervals that contain the truth."""
    return mean(int(row["covered"]) for row in rows)


def names(rows: Sequence[Row], column: str) -> list[str]:
    """Distinct values of a column, sorted; estimators by the number of tasks and sizes, then by their error."""
    found = sorted({row[column] for row in rows})
    if column != "estimator":
        return found

    def merit(name: str) -> tuple[int, float]:
        mine = [row for row in rows if row[column] == name and row["bias"]]
        return -len({(row["task"], row["n"]) for row in mine}), mean(
            abs(float(row["bias"])) for row in mine
        ) if mine else 0

    return sorted(found, key=merit)


def _seeds(rows: Sequence[Row]) -> str:
    """Number of seeds per task; a range if the sweep is incomplete."""
    counts = Counter((row["task"], row["estimator"], row["n"]) for row in rows).values()
    few, many = min(counts, default=0), max(counts, default=0)
    return f"{many}" if few == many else f"{few} to {many}"


@styled
def error_figure(rows: Sequence[Row]) -> Figure:
    """Mean errors with the most samples: tasks in rows, estimators in columns."""
    import numpy as np  # noqa: PLC0415

    n = sizes(rows)[-1]
    rows = at(rows, n)
    tasks, estimators = names(rows, "task"), names(rows, "estimator")
    figure = new_figure(WIDTH, 1.9 + 0.22 * len(tasks))
    ax = figure.subplots()
    values = np.full((len(tasks), len(estimators)), np.nan)
    for j, estimator in enumerate(estimators):
        for task, bias in by_task([row for row in rows if row["estimator"] == estimator]).items():
            values[tasks.index(task), j] = bias
    image = ax.imshow(values, cmap="RdBu", norm=_signed_norm(), aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not math.isnan(value):
            text = "0" if abs(value) < 0.005 else f"{value:+.{2 if abs(value) < 9.5 else 0}f}".replace("0.", ".")
            colour = "white" if abs(value) > 0.35 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=9, color=colour)
    ax.set_xticks(range(len(estimators)), estimators, rotation=40, ha="right")
    ax.set_yticks(range(len(tasks)), list(map(brief, tasks)))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.3, aspect=18, ticks=[-1, -0.3, -0.1, 0, 0.1, 0.3, 1])
    bar.ax.set_yticklabels(["−1", "−0.3", "−0.1", "0", "0.1", "0.3", "1"])
    bar.set_label("estimate − truth, nats")
    figure.suptitle(f"Mean errors in nats by task and estimator, n = {n:,}")
    return figure


def _signed_norm() -> Any:
    from matplotlib.colors import SymLogNorm  # noqa: PLC0415 - an extra

    return SymLogNorm(linthresh=0.05, linscale=0.7, vmin=-1, vmax=1)


@styled
def coverage_figure(rows: Sequence[Row]) -> Figure:
    """Coverage of the 95 % intervals, by estimator and n."""
    estimators, ns = names(rows, "estimator"), sizes(rows)
    figure = new_figure(WIDTH, 1.5 + 0.36 * len(estimators))
    ax = figure.subplots()
    for n, shade in zip(ns, cycle(SHADES)):
        groups = {name: [row for row in at(rows, n) if row["estimator"] == name] for name in estimators}
        shares = {estimators.index(name): coverage(group) for name, group in groups.items() if group}
        ax.plot(list(shares.values()), list(shares), "o", color=shade, markersize=7, label=f"n = {n:,}")
    ax.axvline(0.95, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(estimators)), estimators)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("empirical coverage of 95 % intervals (dotted: nominal)")
    ax.grid(axis="y", color="#dddddd", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    title = "Coverage by estimator and number of rows, on draws that tasks share"
    figure.legend(title=title, loc="outside upper center", ncols=len(ns))
    return figure


@styled
def time_figure(rows: Sequence[Row]) -> Figure:
    """Mean absolute error against the median CPU time of one estimate; lines connect the sizes of an estimator."""
    figure = new_figure(WIDTH, 4.6)
    ax = figure.subplots()
    estimators, ns = names(rows, "estimator"), sizes(rows)
    labels = []
    for i, estimator in enumerate(estimators):
        points = []
        for n in ns:
            group = [row for row in at(rows, n) if row["estimator"] == estimator]
            if group:
                seconds = max(0.001, median(float(row["seconds"]) for row in group))
                points.append((seconds, mean(by_task(group, absolute=True).values()), n))
        x, y, counts = zip(*points, strict=True)
        colour = CYCLE[i % len(CYCLE)]
        ax.plot(x, y, "-o", color=colour, linewidth=1, markersize=3)
        ax.scatter(x, y, [12 + 22 * ns.index(n) for n in counts], color=colour, zorder=3)
        labels.append((estimator, x[-1], y[-1], colour))
    ax.set_xscale("log")
    ax.set_yscale("log")
    label_ends(ax, labels)
    ax.set_xlabel("CPU seconds per estimate (median)")
    ax.set_ylabel("mean absolute error, nats")
    ax.set_title("Error against time (larger dots: n = " + ", ".join(f"{n:,}" for n in ns) + ")")
    return figure


def label_ends(ax: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Names at the right of points (name, x, y, colour), moved apart where they would overlap."""
    inches = ax.get_figure().get_figheight() - 1  # type: ignore[union-attr]
    low, high = (math.log(end) for end in ax.get_ylim())
    apart = (high - low) * 0.19 / inches
    last = -math.inf
    right = max(x for _, x, _, _ in labels) * 1.6
    for name, x, y, colour in sorted(labels, key=lambda label: label[2]):
        height = max(math.log(y), last + apart)
        last = height
        line = {"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkB": 4}
        ax.annotate(name, (x, y), (right, math.exp(height)), va="center", color=colour, arrowprops=line)
    ax.set_xlim(right=right * 6)
