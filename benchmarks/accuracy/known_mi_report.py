"""Table and figures of `known_mi`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from benchmarks.errors import Row, by_task, sizes
from benchmarks.report import provenance, table
from benchmarks.sweep import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the sizes, small to large.
SHADES = ("#8fbcdb", "#1b6ca8", "#0c3c63", "#000000")

NOTES = """\
Errors are estimate − truth, in nats. The mean absolute error is that of single runs, averaged over the tasks; the worst
task is the one with the largest mean error. A lower bound counts as above the truth where it exceeds it by more than
three standard errors. Seconds are CPU time of one estimate; memory is the peak of its process, with the libraries, in
MB.

Under one seed, tasks that are versions of each other (of the pair of correlation 0.75: normal_cdf, bimodal, wiggly,
half_cube; and likewise of others) have the same draws behind different margins. An estimator that looks at ranks, as
ours do, then gives the same value for all of them: fewer independent trials stand behind the shares than there are
tasks."""


def write_report(path: Path, mode: str) -> str:
    """Write table and figures of a CSV's rows in this ``mode`` beside it; return the summary.

    Raises:
        SweepError: if there are none.
    """
    rows = [row for row in read(path) if row["mode"] == mode]
    done = [row for row in rows if not row["error"]]
    settings = "Default settings" if mode == "default" else "Quick settings: two folds and short training"
    facts = f"Tasks: {_count(rows, 'task')}. Seeds: {_seeds(rows)}. {settings}. {provenance(rows)}."
    parts = [facts, NOTES, summary(rows)]
    for n in reversed(sizes(done)):
        parts += [f"Mean error by task, n = {n:,}:", errors(done, n)]
    failed = [f"- {row['task']}, {row['estimator']}, n = {row['n']}: {row['error']}" for row in rows if row["error"]]
    if failed:
        parts += ["Runs that failed:", "\n".join(failed)]
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if done:
        for name, draw in (("error", error_figure), ("coverage", coverage_figure), ("time", time_figure)):
            draw(done).savefig(path.with_name(f"{path.stem}_{name}.png"), dpi=110)
    return "\n\n".join(parts[:3])


def summary(rows: Sequence[Row]) -> str:
    """One line for each estimator and n."""
    lines = []
    for n in sizes(rows):
        for estimator in names(rows, "estimator"):
            group = [row for row in rows if row["n"] == str(n) and row["estimator"] == estimator]
            done = [row for row in group if not row["error"]]
            if done:
                biases, sizes_of = by_task(done), by_task(done, absolute=True)
                worst = max(biases, key=lambda task: abs(biases[task]))
                lower = [row for row in done if row["kind"] == "lower"]
                above = sum(float(row["bias"]) > 3 * float(row["stderr"]) for row in lower)
                lines.append([
                    f"{n:,}",
                    estimator,
                    str(len(biases)),
                    f"{mean(sizes_of.values()):.3f}",
                    f"{median(sizes_of.values()):.3f}",
                    f"{biases[worst]:+.2f} ({worst})",
                    f"{coverage(done):.0%}",
                    f"{mean(float(row['high']) - float(row['low']) for row in done):.2f}",
                    f"{above}/{len(lower)}" if lower else "–",
                    f"{mean(bool(row['warnings']) for row in done):.0%}",
                    f"{median(float(row['seconds']) for row in done):.1f}",
                    f"{max((int(row['memory']) for row in done if row['memory']), default=0) or '–'}",
                    str(len(group) - len(done)),
                ])  # fmt: skip
    header = [
        "n",
        "estimator",
        "tasks",
        "mean abs. error",
        "median",
        "worst task",
        "95 % intervals cover",
        "mean width",
    ]
    return table([*header, "lower bound above truth", "warned", "seconds (median)", "memory", "failed"], lines)


def errors(rows: Sequence[Row], n: int) -> str:
    """Mean error of each estimator (columns) on each task (rows)."""
    estimators = names(rows, "estimator")
    biases = {name: by_task([r for r in rows if r["estimator"] == name and r["n"] == str(n)]) for name in estimators}
    truth = {row["task"]: float(row["truth"]) for row in rows if row["n"] == str(n)}
    return table(
        ["task", "truth", *estimators],
        [
            [
                task,
                f"{truth[task]:.3f}",
                *(f"{b[task]:+.3f}" if task in (b := biases[name]) else "–" for name in estimators),
            ]
            for task in sorted(truth)
        ],
    )


def coverage(rows: Sequence[Row]) -> float:
    """Share of the intervals that hold the truth."""
    return mean(int(row["covered"]) for row in rows)


def names(rows: Sequence[Row], column: str) -> list[str]:
    """Different values of a column, by letter; estimators by how much they did, then by their error."""
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
    """How many seeds a task has; the least and the most, where a sweep is not through."""
    counts = Counter((row["task"], row["estimator"], row["n"]) for row in rows).values()
    few, many = min(counts, default=0), max(counts, default=0)
    return f"{many}" if few == many else f"{few} to {many}"


def _count(rows: Sequence[Row], column: str) -> int:
    return len({row[column] for row in rows})


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    return Figure(figsize=(width, height), layout="constrained")


def error_figure(rows: Sequence[Row]) -> Figure:
    """Tasks down, estimators across, one panel for each n; colour and number are the mean error."""
    import numpy as np  # noqa: PLC0415

    tasks, estimators, ns = names(rows, "task"), names(rows, "estimator"), sizes(rows)
    figure = _figure(2.6 + 0.62 * len(estimators) * len(ns), 1.6 + 0.24 * len(tasks))
    axes = figure.subplots(1, len(ns), sharey=True, squeeze=False)[0]
    images = []
    for ax, n in zip(axes, ns, strict=True):
        values = np.full((len(tasks), len(estimators)), np.nan)
        for j, estimator in enumerate(estimators):
            for task, bias in by_task([r for r in rows if r["estimator"] == estimator and r["n"] == str(n)]).items():
                values[tasks.index(task), j] = bias
        images.append(ax.imshow(values, cmap="RdBu", norm=_signed_norm(), aspect="auto"))
        for (i, j), value in np.ndenumerate(values):
            if not math.isnan(value):
                text = "0" if abs(value) < 0.005 else f"{value:+.{2 if abs(value) < 9.5 else 0}f}".replace("0.", ".")
                colour = "white" if abs(value) > 0.35 else "black"
                ax.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        ax.set_xticks(range(len(estimators)), estimators, rotation=40, ha="right")
        ax.set_yticks(range(len(tasks)), tasks, fontsize=8)
        ax.set_title(f"n = {n:,}", fontsize=10)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    bar = figure.colorbar(images[0], ax=list(axes), shrink=0.3, aspect=18, ticks=[-1, -0.3, -0.1, 0, 0.1, 0.3, 1])
    bar.ax.set_yticklabels(["−1", "−0.3", "−0.1", "0", "0.1", "0.3", "1"])
    bar.set_label("estimate − truth, nats")
    return figure


def _signed_norm() -> Any:
    from matplotlib.colors import SymLogNorm  # noqa: PLC0415 - an extra

    return SymLogNorm(linthresh=0.05, linscale=0.7, vmin=-1, vmax=1)


def coverage_figure(rows: Sequence[Row]) -> Figure:
    """How often the 95 % intervals hold the truth, by estimator and n."""
    estimators, ns = names(rows, "estimator"), sizes(rows)
    figure = _figure(6.4, 1.2 + 0.36 * len(estimators))
    ax = figure.subplots()
    for n, shade in zip(ns, cycle(SHADES)):
        groups = {name: [row for row in rows if row["estimator"] == name and row["n"] == str(n)] for name in estimators}
        shares = {estimators.index(name): coverage(group) for name, group in groups.items() if group}
        ax.plot(list(shares.values()), list(shares), "o", color=shade, markersize=7, label=f"n = {n:,}")
    ax.axvline(0.95, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(estimators)), estimators)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share of 95 % intervals that hold the truth (dotted: 95 %)")
    ax.grid(axis="y", color="#dddddd", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, loc="lower left")
    return figure


def time_figure(rows: Sequence[Row]) -> Figure:
    """Mean absolute error against the median CPU time of one estimate; lines join an estimator's sizes."""
    figure = _figure(6.4, 4.4)
    ax = figure.subplots()
    estimators, ns = names(rows, "estimator"), sizes(rows)
    for i, estimator in enumerate(estimators):
        points = []
        for n in ns:
            group = [row for row in rows if row["estimator"] == estimator and row["n"] == str(n)]
            if group:
                seconds = max(0.001, median(float(row["seconds"]) for row in group))
                points.append((seconds, mean(by_task(group, absolute=True).values()), n))
        x, y, counts = zip(*points, strict=True)
        colour = f"C{i}"
        ax.plot(x, y, color=colour, linewidth=1)
        ax.scatter(x, y, [12 + 22 * ns.index(n) for n in counts], color=colour, zorder=3)
        ax.annotate(estimator, (x[-1], y[-1]), xytext=(6, 4), textcoords="offset points", color=colour, fontsize=9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("CPU seconds for one estimate (median)")
    ax.set_ylabel("mean absolute error, nats")
    ax.set_title("marks grow with n: " + ", ".join(f"{n:,}" for n in ns), fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
