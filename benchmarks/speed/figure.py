"""The figure of ``benchmarks.speed``: time against N, columns and ranks, with logarithmic axes."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import CYCLE, WIDTH, new_figure, styled
from benchmarks.results import save_figure

Row = Mapping[str, str]
Curve = list[tuple[float, float, float | None]]

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
#: Label of the horizontal axis, by section.
AXES = {
    "contrastive": "batch size N",
    "concat": "batch size N",
    "neighbours": "number of rows n",
    "entropy": "dimension (64 to 4,096 rows)",
    "ranks": "batch size N of all ranks",
    "ranks, N fixed": "number of ranks",
}
#: What the panels compare.
TITLES = {
    "contrastive": "InfoNCE of inner products",
    "concat": "A step of the joint critic",
    "neighbours": "KSG",
    "entropy": "Entropy of a Gaussian mixture memory",
    "ranks": "Negatives from two processes",
    "ranks, N fixed": "Negatives from several processes, N = 8,192",
}


def seconds(text: str) -> float | None:
    """The time in a cell ("71 ms …"), or None."""
    found = re.match(r"([\d.,e+-]+) (s|ms|µs)\b", text)
    return float(found[1].replace(",", "")) * _SECONDS[found[2]] if found else None


def curves(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """Curves of at least three points by section and kind: (x, seconds of infomax, seconds of the other or None)."""
    found: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        ours, other = seconds(row["ours"]), seconds(row["other"])
        section = row["section"]
        if not (row["x"] and ours and other and section in AXES):
            continue
        x = float(row["x"])
        as_n = rf"(, )?\b[Nn] = {x:,.0f}(?!,?\d)"
        if section == "ranks" and not re.search(as_n, row["case"]):
            section = "ranks, N fixed"
        varied = rf"{as_n}|\bd = {x:.0f}, n = [\d,]+, |\b{x:.0f} ranks,? ?|; difference.*"
        kind = re.sub(varied, "", row["case"]).strip(" ,")
        grows = row["figure"].startswith("exponent")  # the other is infomax with fewer rows
        found[section][kind if grows else f"{kind}: {row['figure']}"].append((x, ours, None if grows else other))
    long = {section: {kind: sorted(c) for kind, c in own.items() if len(c) > 2} for section, own in found.items()}
    return {section: own for section, own in long.items() if own}


@styled
def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the figure with one panel per section that has curves; nothing is written without any."""
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415 - an extra

    panels = curves(rows)
    if not panels:
        return
    figure = new_figure(WIDTH, 2.5 * len(panels) + 0.5)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (section, kinds) in zip(axes, panels.items(), strict=True):
        for i, (kind, curve) in enumerate(kinds.items()):
            xs, ours, others = zip(*curve, strict=True)
            colour = CYCLE[i % len(CYCLE)]
            axis.loglog(xs, ours, "o-", color=colour, label=textwrap.fill(kind.replace(": ", ":\n"), 34))
            if None not in others:
                axis.loglog(xs, others, "o:", color=colour, alpha=0.6, mfc="none")
        axis.set(title=TITLES[section], xlabel=AXES[section], ylabel="seconds")
        ticks = sorted({x for curve in kinds.values() for x, *_ in curve})
        axis.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
        axis.xaxis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        low, high = axis.get_ylim()
        axis.yaxis.set_minor_formatter("{x:.1g}" if high < 5 * low else NullFormatter())
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05))
    figure.suptitle("Time of infomax (solid) and of what it is compared with (dotted)")
    save_figure(figure, path)
