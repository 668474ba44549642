"""Figures of :mod:`benchmarks.accuracy.default`; each is None if its rows are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

import infomax
from benchmarks.accuracy.default.rows import (
    DESIGNED,
    HELD_OUT,
    LEVEL,
    MANY,
    Results,
    Share,
    by_family,
    common_sizes,
    covered,
    duels,
    rejected,
)
from benchmarks.errors import Row, at, by_task, sizes
from benchmarks.report import WIDTH, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the sample sizes, from small to large; of peers; of targets.
SHADES = ("#a9cce3", "#4a90c2", "#0c3c63")
PEER, AIM = "#d07a2d", "#e6efe2"
#: Smaller errors are drawn at this value.
_LEAST = 1e-3


@styled
def error_figure(results: Results) -> Figure | None:
    """Absolute error on each task of "Beyond Normal" by n, and that of the best peer."""
    tasks = [name for name in infomax.tasks.names("beyond-normal") if name in {row["task"] for row in results.ours}]
    if not tasks:
        return None
    rivals = {duel.task: abs(duel.theirs) for duel in duels(results.ours, results.peers, MANY)}
    figure = new_figure(WIDTH, 1.9 + 0.2 * (len(tasks) + 1))
    ax = figure.subplots()
    ns = sizes(results.ours)
    errors = {n: by_task(at(results.ours, n), absolute=True) for n in ns}
    labels = [*tasks, "mean over tasks"]
    for some in (*errors.values(), rivals):
        some["mean over tasks"] = mean(some.values()) if some else np.nan
    for y, task in enumerate(labels):
        values = [max(_LEAST, some[task]) for some in errors.values() if task in some]
        if values:
            ax.plot(
                [min(values), max(values)], [y, y], color="#d5dde3", linewidth=2.2, solid_capstyle="round", zorder=1
            )
    for n, shade in zip(ns, _shades(len(ns)), strict=True):
        places = [y for y, task in enumerate(labels) if task in errors[n]]
        found = [max(_LEAST, errors[n][labels[y]]) for y in places]
        ax.scatter(found, places, 34, color=shade, label=f"n = {n:,}", zorder=3, linewidth=0)
    if len(rivals) > 1:
        places = [y for y, task in enumerate(labels) if task in rivals]
        found = [max(_LEAST, rivals[labels[y]]) for y in places]
        label = f"best peer on each task, n = {MANY:,}"
        ax.scatter(
            found, places, 46, facecolor="none", edgecolor=PEER, marker="D", linewidth=1.3, label=label, zorder=4
        )
    ax.axhline(len(tasks) - 0.5, color="#999999", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlim(left=0.85 * _LEAST)
    ax.set_xticks([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1], ["≤ .001", ".003", ".01", ".03", ".1", ".3", "1"])
    ax.minorticks_off()
    ax.set_yticks(range(len(labels)), list(map(brief, labels)))
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlabel(
        "absolute error, nats (mean over seeds; best peer: seed 0)\n"
        "names without multinormal, identity and normal-0.75; cdf: normal_cdf"
    )
    ax.grid(axis="x", color="#e8e8e8", linewidth=0.8)
    _plain(ax)
    _legend_above(figure, ax, "Error of the default by number of rows, and of the best peer", len(ns) + 1)
    return figure


@styled
def coverage_figure(results: Results) -> Figure | None:
    """Coverage of the 95 % intervals by family and n, with exact binomial intervals."""
    ns = common_sizes(results.runs)
    families = by_family(row for row in results.runs if int(row["n"]) in ns)
    if not families:
        return None
    places, y, heads = {}, 0.0, []
    groups = (
        ("design", [name for name in families if name in DESIGNED]),
        ("held out", [name for name in families if name in HELD_OUT]),
        ("other", [name for name in families if name not in (*DESIGNED, *HELD_OUT)]),
    )
    for title, names in groups:
        if names:
            heads.append((y, title))
            y += 0.75
            for name in names:
                places[name] = y
                y += 1
            y += 0.25
    figure = new_figure(WIDTH, 1.6 + 0.36 * y)
    ax = figure.subplots()
    ax.axvspan(0.90, 0.98, color=AIM, zorder=0, label="target: 90 to 98 %")
    ax.axvline(1 - LEVEL, color="#4f7f3f", linewidth=1, linestyle=":", zorder=1)
    everything: list[Share] = []
    step = 0.62 / max(1, len(ns) - 1)
    for i, (n, shade) in enumerate(zip(ns, _shades(len(ns)), strict=True)):
        shares = {name: covered(rows) for name in families if (rows := at(families[name], n))}
        everything += shares.values()
        heights = [places[name] + step * (i - (len(ns) - 1) / 2) for name in shares]
        _bars(ax, list(shares.values()), heights, shade, f"n = {n:,}")
    for at_y, title in heads:
        ax.text(0, at_y, title, transform=ax.get_yaxis_transform(), style="italic", va="center", color="#555555")
    ax.set_yticks(list(places.values()), list(places))
    ax.set_ylim(y - 0.25, -0.6)
    least = min(share.value for share in everything)
    ax.set_xlim(min(0.7, least - 0.04), 1.012)  # intervals of few runs extend beyond the axis
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}".replace("%", " %"))
    ax.set_xlabel("empirical coverage of 95 % intervals (bars: exact 95 % intervals)")
    ax.grid(axis="x", color="#eeeeee", linewidth=0.8)
    _plain(ax)
    _legend_above(figure, ax, "Coverage of the default by family and number of rows (version 0.1)", len(ns) + 1)
    return figure


def _legend_above(figure: Figure, ax: Axes, title: str, columns: int) -> None:
    """Put the legend of ``ax`` and the title above the figure."""
    figure.legend(*ax.get_legend_handles_labels(), title=title, loc="outside upper center", ncols=columns)


@styled
def power_figure(results: Results) -> Figure | None:
    """Left: distribution of p-values under independence. Right: power, compared with the KSG permutation test."""
    nulls = [row for row in results.tests if row["dependent"] == "0"]
    powers = [row for row in results.tests if row["dependent"] == "1"]
    panels = [draw for draw, rows in ((_uniform_panel, nulls), (_power_panel, powers)) if rows]
    if not panels:
        return None
    figure = new_figure(WIDTH if len(panels) > 1 else 0.6 * WIDTH, 4.2)
    ratios = [1, 0.75][: len(panels)]
    for ax, draw in zip(figure.subplots(1, len(panels), squeeze=False, width_ratios=ratios)[0], panels, strict=True):
        draw(ax, nulls if draw is _uniform_panel else powers)
    return figure


def _uniform_panel(ax: Axes, rows: Sequence[Row]) -> None:
    grid = np.linspace(0, 1, 201)
    deviation = 1.36 / np.sqrt(len(rows))  # 95 % of the Kolmogorov-Smirnov statistic
    ax.fill_between(grid, np.clip(grid - deviation, 0, 1), np.clip(grid + deviation, 0, 1), color=AIM, linewidth=0)
    ax.plot([0, 1], [0, 1], color="#4f7f3f", linewidth=1, linestyle=":")
    pairs = dict.fromkeys(row["pair"] for row in rows)
    for pair in pairs:
        ax.plot(*_steps([row for row in rows if row["pair"] == pair]), color="#bcc9d3", linewidth=0.9)
    ax.plot([], [], color="#bcc9d3", linewidth=0.9, label=f"each of {len(pairs)} pairs of marginals")
    ax.plot(*_steps(rows), color=SHADES[-1], linewidth=2, label=f"all {len(rows)} draws")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("p")
    ax.set_ylabel("cumulative share of p-values")
    ax.set_title("Independent pairs: p-values are uniform")
    ax.legend(loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)


def _steps(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """The empirical distribution function of p-values, as a line."""
    found = np.sort([float(row["pvalue"]) for row in rows])
    x, y = np.repeat(found, 2), np.repeat(np.arange(len(found) + 1), 2) / len(found)
    return [0.0, *x.tolist(), 1.0], y.tolist()


def _power_panel(ax: Axes, rows: Sequence[Row]) -> None:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["pair"], []).append(row)
    ours = {pair: rejected(some) for pair, some in groups.items()}
    order = sorted(groups, key=lambda pair: -ours[pair].value)
    peers = {pair: rejected(some, "peer") for pair in order if (some := [row for row in groups[pair] if row["peer"]])}
    _bars(
        ax, [peers[pair] for pair in peers], [order.index(pair) + 0.17 for pair in peers], PEER, "KSG permutation test"
    )
    _bars(ax, [ours[pair] for pair in order], [i - 0.17 for i in range(len(order))], SHADES[-1], "default")
    ax.axvline(LEVEL, color="#888888", linewidth=0.9, linestyle=":")
    ax.set_yticks(range(len(order)), [f"{brief(pair)}\nn = {int(groups[pair][0]['n']):,}" for pair in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}".replace("%", " %"))
    ax.set_xlabel("power at the 5 % level")
    ax.set_title("Dependent pairs: power")
    ax.grid(axis="x", color="#eeeeee", linewidth=0.8)
    _plain(ax)
    handles, labels = ax.get_legend_handles_labels()
    below = (0.35, -0.14)
    ax.legend(handles[::-1], labels[::-1], loc="upper center", bbox_to_anchor=below, ncols=2, frameon=False)


def _bars(ax: Axes, shares: Sequence[Share], heights: Sequence[float], colour: str, label: str) -> None:
    """Points with exact intervals."""
    values = [share.value for share in shares]
    reach = [
        [max(0.0, share.value - share.interval[0]) for share in shares],
        [max(0.0, share.interval[1] - share.value) for share in shares],
    ]
    ax.errorbar(
        values, heights, xerr=reach, fmt="o", color=colour, markersize=5.5, elinewidth=1.6, label=label, zorder=3
    )


def _shades(count: int) -> tuple[str, ...]:
    """One shade per size, the darkest for the largest n."""
    return (SHADES[0],) * (count - len(SHADES)) + SHADES[-count:]


def brief(task: str) -> str:
    """The name of a task of "Beyond Normal" without the parts that most of them share."""
    return re.sub(r"multinormal-|-identity|-normal-0.75", "", task).replace("normal_cdf", "cdf")


def _plain(ax: Axes) -> None:
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


#: The function that draws each figure, and its alternative text.
FIGURES: Mapping[str, tuple[Callable[[Results], Figure | None], str]] = {
    "error": (error_figure, "Absolute error on each task, and that of the best peer"),
    "coverage": (coverage_figure, "Empirical coverage of the 95 % intervals, by family"),
    "power": (power_figure, "The test of independence: p-values under independence, and power"),
}
