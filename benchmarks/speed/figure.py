"""How cost grows with N, columns and ranks: the figure of ``benchmarks.speed``, log-log, from its CSV."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]
Curve = list[tuple[float, float, float | None]]

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
#: What is on the axis, by section.
AXES = {
    "contrastive": "N pairs of a batch",
    "concat": "N pairs of a batch",
    "neighbours": "n rows",
    "entropy": "dimension, of 64 to 4,096 rows",
    "ranks": "N pairs of all ranks",
    "ranks, N fixed": "ranks",
}


def seconds(text: str) -> float | None:
    """The time that a cell tells ("71 ms …"), or None if it tells none."""
    found = re.match(r"([\d.,e+-]+) (s|ms|µs)\b", text)
    return float(found[1].replace(",", "")) * _SECONDS[found[2]] if found else None


def curves(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """By section and kind of case: (x, seconds of ours, seconds of the other, if any) of at least three points."""
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
        grows = row["figure"].startswith("is the power")  # the other is ours, of fewer rows
        found[section][kind if grows else f"{kind}: {row['figure']}"].append((x, ours, None if grows else other))
    long = {section: {kind: sorted(c) for kind, c in own.items() if len(c) > 2} for section, own in found.items()}
    return {section: own for section, own in long.items() if own}


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each section whose cost grows along an axis; nothing is written if there is none."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    panels = curves(rows)
    if not panels:
        return
    rows_of_panels = -(-len(panels) // 2)
    figure, axes = plt.subplots(
        rows_of_panels, 2, figsize=(11, 4.6 * rows_of_panels), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (section, kinds) in zip(axes.flat, panels.items(), strict=False):
        for colour, (kind, curve) in enumerate(kinds.items()):
            xs, ours, others = zip(*curve, strict=True)
            axis.loglog(xs, ours, "o-", color=f"C{colour}", label=kind)
            if None not in others:
                axis.loglog(xs, others, "o:", color=f"C{colour}", alpha=0.6, mfc="none")
        axis.set(title=section, xlabel=AXES[section], ylabel="seconds")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, title="solid: ours; dotted: the other of the ratio", title_fontsize=7)
    figure.savefig(path, dpi=130)
    plt.close(figure)
