"""Tables and figure of `consistency`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.sweep import Row, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How far a ratio may be from what it should be, as a share of that.
TOLERANCE = 0.05
#: What each ratio should be: at all t, or "rises" from 0.
WANTED = {"processing": 1.0, "additivity": 2.0}
TITLES = {
    "baseline": "Baseline: I(X; Y_t) / I(X; Y_8), should be 0 at t = 0 and rise",
    "processing": "Data processing: I([X, X]; [Y_t, Y_{t-1}]) / I(X; Y_t), should be 1",
    "additivity": "Additivity: I([X1, X2]; [Y1_t, Y2_t]) / I(X1; Y1_t), should be 2",
}
_NOTES = f"""\
Real images without a known truth: the 1,797 digits of scikit-learn's `load_digits`, 8 x 8 pixels with values 0..16, as
they are. Y_t is the image X with its top t rows kept, and 0 below them. Estimates by `infomax.estimate`, settings:
{{mode}}, seeds: {{seeds}}. A test holds where every ratio is within {TOLERANCE:.0%} of what it should be (baseline:
where no value falls by more than {TOLERANCE:.0%} of I(X; Y_8), which must be positive).

For additivity X1 is from one half of the images and X2 from the other, each image once (898 rows).

\\* an estimate of the ratio is near its ceiling, the log of the number of rows measured at a time: the ratio tells of
the ceiling, not of the images. † an estimate of the ratio is larger than the log of the number of rows, without having
a ceiling: no sample of this size can certify it (McAllester and Stratos 2020, arXiv 1811.04251). From t = 2 on the
images are nearly all different, so their entropy is beyond what so few can show: these are tests of agreement alone.
–: divided by a value that is not positive."""


@dataclass(frozen=True)
class Value:
    """An estimate in nats, the mean over seeds, and whether one of them was at its ceiling or larger than log n."""

    mi: float
    at_ceiling: bool
    beyond: bool


@dataclass(frozen=True)
class Ratio:
    """Of two estimates, with the marks of both."""

    value: float
    at_ceiling: bool
    beyond: bool

    def __str__(self) -> str:
        marks = "\\*" * self.at_ceiling + "†" * self.beyond
        return report.number(self.value) + ("" if math.isnan(self.value) else marks)


#: By bound, test and t.
Values = Mapping[tuple[str, str, int], Value]


def write_report(path: Path, mode: str) -> str:
    """Write tables and figure beside a CSV, of its rows in this ``mode``; return the text."""
    rows = [row for row in read(path) if row["mode"] == mode]
    found = values([row for row in rows if not row["error"]])
    bounds = list(dict.fromkeys(bound for bound, _, _ in found))
    seeds = len({row["seed"] for row in rows})
    notes = _NOTES.format(mode=mode, seeds=seeds)
    parts = ["# Consistency", notes, report.provenance(rows) + ".", summary(found, bounds)]
    if found:
        draw_figure(found, bounds, path.with_suffix(".png"))
        parts.append("![Ratios of estimates](consistency.png)")
    parts += [text for test, title in TITLES.items() for text in (f"## {title}", ratio_table(found, bounds, test))]
    parts += ["## Estimates, nats", value_table(found, bounds)]
    failed = [f"- {row['test']}, t = {row['rows']}, {row['bound']}: {row['error']}" for row in rows if row["error"]]
    if failed:
        parts += ["## Failed", "\n".join(failed)]
    text = "\n\n".join(parts) + "\n"
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def values(rows: Sequence[Row]) -> Values:
    """The estimates by bound, test and t."""
    keys = dict.fromkeys((row["bound"], row["test"], int(row["rows"])) for row in rows)
    groups = {key: [row for row in rows if (row["bound"], row["test"], int(row["rows"])) == key] for key in keys}
    return {
        key: Value(
            mean(float(row["mi"]) for row in group),
            any(row["saturated"] == "ceiling" for row in group),
            any(row["saturated"] == "log n" for row in group),
        )
        for key, group in groups.items()
    }


def ratios(found: Values, bound: str, test: str) -> dict[int, Ratio]:
    """By t: an estimate over I(X; Y_8) in the baseline, else over that of one image; NaN where that is not positive."""
    last = max((t for _, name, t in found if name == "baseline"), default=0)
    result = {}
    for t in steps(found, test):
        above = found.get((bound, test, t))
        divisor = "half" if test == "additivity" else "baseline"
        below = found.get((bound, divisor, last if test == "baseline" else t))
        if above is not None and below is not None:
            value = above.mi / below.mi if below.mi > 0 else math.nan
            result[t] = Ratio(value, above.at_ceiling or below.at_ceiling, above.beyond or below.beyond)
    return result


def steps(found: Values, test: str) -> list[int]:
    """The t of a test."""
    return sorted({t for _, name, t in found if name == test})


def verdict(found: Mapping[int, Ratio], test: str) -> str:
    """Whether a test holds, and what the estimates themselves say against it."""
    if not found:
        return "–"
    numbers = [found[t].value for t in sorted(found)]
    if any(math.isnan(number) for number in numbers):
        good = False
    elif test == "baseline":
        highest = numbers[0]
        good = abs(highest) <= TOLERANCE
        for number in numbers:
            good, highest = good and number >= highest - TOLERANCE, max(highest, number)
    else:
        good = all(abs(number - WANTED[test]) <= TOLERANCE * WANTED[test] for number in numbers)
    text = "holds" if good else "fails"
    if any(ratio.at_ceiling for ratio in found.values()):
        return f"{text}, at its ceiling"
    return f"{text}, beyond log n" if any(ratio.beyond for ratio in found.values()) else text


def summary(found: Values, bounds: Sequence[str]) -> str:
    """A line for each bound: what became of each test."""
    header = ["bound", "baseline", "data processing", "additivity"]
    return report.table(
        header, [[bound, *(verdict(ratios(found, bound, test), test) for test in TITLES)] for bound in bounds]
    )


def ratio_table(found: Values, bounds: Sequence[str], test: str) -> str:
    """The ratios of one test, by bound and t."""
    header = ["bound", *(f"t = {t}" for t in steps(found, test))]
    lines = []
    for bound in bounds:
        those = ratios(found, bound, test)
        lines.append([bound, *(str(those[t]) if t in those else "–" for t in steps(found, test))])
    return report.table(header, lines)


def value_table(found: Values, bounds: Sequence[str]) -> str:
    """The estimates themselves, in nats."""
    columns = [(test, t) for test in (*TITLES, "half") for t in steps(found, test)]
    header = ["bound", *(f"{test} {t}" for test, t in columns)]
    lines = []
    for bound in bounds:
        those = [found.get((bound, test, t)) for test, t in columns]
        cells = ["–" if value is None else str(Ratio(value.mi, value.at_ceiling, value.beyond)) for value in those]
        lines.append([bound, *cells])
    return report.table(header, lines)


# --- the figure -------------------------------------------------------------------------------------------------------

_PANELS = {
    "baseline": ("baseline: rises from 0", (-0.15, 1.25), (0.0, 1.0)),
    "processing": ("data processing: 1", (0.0, 2.0), (1.0,)),
    "additivity": ("additivity: 2", (0.0, 4.0), (2.0,)),
}


def draw_figure(found: Values, bounds: Sequence[str], path: Path) -> None:
    """A panel for each test, a line for each bound, a dot for each t: open near a ceiling, an arrow where outside."""
    from matplotlib import colormaps  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    most = max(t for _, _, t in found)
    colours = {t: colormaps["viridis_r"](0.08 + 0.9 * t / most) for _, _, t in found}
    figure = Figure(figsize=(10.5, 0.36 * len(bounds) + 1.7), layout="constrained")
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    for ax, (test, (title, limits, wanted)) in zip(axes, _PANELS.items(), strict=True):
        for number in wanted:
            ax.axvline(number, color="0.3", lw=1, ls="--", zorder=0)
        for line, bound in enumerate(bounds):
            those = ratios(found, bound, test)
            for t, ratio in those.items():
                _dot(ax, line, ratio, limits, colours[t])
            if those and all(math.isnan(ratio.value) for ratio in those.values()):
                middle = sum(limits) / 2
                label = ax.text(middle, line, "divided by negative values", size=8, ha="center", va="center")
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        ax.set_xlim(*limits)
        ax.set_title(title, size=10, loc="left")
        ax.set_xlabel("ratio of estimates", size=9)
        ax.grid(axis="y", color="0.9", lw=0.8)
        ax.tick_params(labelsize=9)
        ax.tick_params(length=0, axis="y")
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(bounds)), bounds)
    axes[0].set_ylim(len(bounds) - 0.5, -0.5)
    handles = [Line2D([], [], marker="o", ls="", color=colours[t], label=f"t = {t}") for t in sorted(colours)]
    handles.append(Line2D([], [], marker="o", ls="", mfc="white", mec="0.3", label="near a ceiling"))
    handles.append(Line2D([], [], marker=">", ls="", color="0.3", label="outside the panel"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


def _dot(ax: Axes, line: int, ratio: Ratio, limits: tuple[float, float], colour: tuple[float, ...]) -> None:
    if math.isnan(ratio.value):
        return
    low, high = limits
    marker = "<" if ratio.value < low else ">" if ratio.value > high else "o"
    face = "white" if ratio.at_ceiling else colour
    inside = min(max(ratio.value, low), high)
    ax.plot(inside, line, marker, ms=7 if marker == "o" else 9, mfc=face, mec=colour, mew=1.6, alpha=0.9, clip_on=False)
