"""Tables and figure of `consistency`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.results import save_figure
from benchmarks.sweep import Row, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest relative deviation of a ratio from its expected value.
TOLERANCE = 0.05
#: Expected value of each ratio, for all t.
WANTED = {"processing": 1.0, "additivity": 2.0}
TITLES = {
    "baseline": "Baseline: I(X; Y_t) / I(X; Y_8), expected: increasing from 0 at t = 0",
    "processing": "Data processing: I([X, X]; [Y_t, Y_{t-1}]) / I(X; Y_t), expected: 1",
    "additivity": "Additivity: I([X1, X2]; [Y1_t, Y2_t]) / I(X1; Y1_t), expected: 2",
}
_NOTES = f"""\
Real images without a known truth: the 1,797 digits of scikit-learn's `load_digits`, 8 x 8 pixels with values 0 to 16,
unscaled. Y_t is the image X with all rows but the top t set to 0. Estimates by `infomax.estimate`; settings: {{mode}},
seeds: {{seeds}}. A test passes if every ratio is within {TOLERANCE:.0%} of its expected value. The baseline passes if
no value decreases by more than {TOLERANCE:.0%} of I(X; Y_8), which must be positive.

For additivity, X1 is from one half of the images and X2 from the other, each image once (898 rows).

\\*: an estimate in the ratio is near its ceiling, the log of the number of rows evaluated together. The ratio then
reflects the ceiling, not the images. †: an estimate in the ratio has no ceiling and exceeds the log of the number of
rows. No sample of this size can certify such a value (McAllester and Stratos 2020, arXiv 1811.04251). From t = 2 on,
almost all images differ, so this sample is too small for their entropy: the tests show consistency only, not accuracy.
–: the divisor is not positive."""


@dataclass(frozen=True)
class Value:
    """An estimate in nats, mean over seeds; whether one of them is near its ceiling, or exceeds log n."""

    mi: float
    at_ceiling: bool
    beyond: bool


@dataclass(frozen=True)
class Ratio:
    """Ratio of two estimates, with the marks of both."""

    value: float
    at_ceiling: bool
    beyond: bool

    def __str__(self) -> str:
        marks = "\\*" * self.at_ceiling + "†" * self.beyond
        return report.number(self.value) + ("" if math.isnan(self.value) else marks)


#: By bound, test and t.
Values = Mapping[tuple[str, str, int], Value]


def write_report(path: Path, mode: str) -> str:
    """Write tables and figure beside a CSV, from its rows in this ``mode``; return the text."""
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
    parts += ["## Estimates, nats", report.every_run(path)]
    return report.write_page(path, [*parts, *report.failures(rows, "test", "rows", "bound")])


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
    """By t: an estimate divided by I(X; Y_8) (baseline) or by that of one image; NaN if the divisor is not positive."""
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
    """Values of t of a test."""
    return sorted({t for _, name, t in found if name == test})


def verdict(found: Mapping[int, Ratio], test: str) -> str:
    """Whether a test passes, and whether the sample is too small for its estimates."""
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
    text = "passes" if good else "fails"
    if any(ratio.at_ceiling for ratio in found.values()):
        return f"{text}, near ceiling"
    return f"{text}, above log n" if any(ratio.beyond for ratio in found.values()) else text


def summary(found: Values, bounds: Sequence[str]) -> str:
    """One line per bound with the outcome of each test."""
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


# --- the figure -------------------------------------------------------------------------------------------------------

_PANELS = {
    "baseline": ("baseline: increases from 0", (-0.15, 1.25), (0.0, 1.0)),
    "processing": ("data processing: 1", (0.0, 2.0), (1.0,)),
    "additivity": ("additivity: 2", (0.0, 4.0), (2.0,)),
}


@report.styled
def draw_figure(found: Values, bounds: Sequence[str], path: Path) -> None:
    """One panel per test, one line per bound, one dot per t; open dots are near a ceiling, arrows outside the panel."""
    from matplotlib import colormaps  # noqa: PLC0415 - an extra
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    most = max(t for _, _, t in found)
    colours = {t: colormaps["viridis_r"](0.08 + 0.9 * t / most) for _, _, t in found}
    figure = report.new_figure(report.WIDTH, 0.36 * len(bounds) + 2.2)
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
                label = ax.text(middle, line, "divisors are negative", size=9, ha="center", va="center")
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        ax.set_xlim(*limits)
        ax.set_title(title)
        ax.set_xlabel("ratio of estimates")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.grid(axis="y", color="0.9", lw=0.8)
        ax.tick_params(length=0, axis="y")
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(bounds)), bounds)
    axes[0].set_ylim(len(bounds) - 0.5, -0.5)
    handles = [Line2D([], [], marker="o", ls="", color=colours[t], label=f"t = {t}") for t in sorted(colours)]
    handles.append(Line2D([], [], marker="o", ls="", mfc="white", mec="0.3", label="near a ceiling"))
    handles.append(Line2D([], [], marker=">", ls="", color="0.3", label="outside the range"))
    title = "Ratios of estimates on images (dashed: expected)"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=4)
    save_figure(figure, path)


def _dot(ax: Axes, line: int, ratio: Ratio, limits: tuple[float, float], colour: tuple[float, ...]) -> None:
    if math.isnan(ratio.value):
        return
    low, high = limits
    marker = "<" if ratio.value < low else ">" if ratio.value > high else "o"
    face = "white" if ratio.at_ceiling else colour
    inside = min(max(ratio.value, low), high)
    ax.plot(inside, line, marker, ms=7 if marker == "o" else 9, mfc=face, mec=colour, mew=1.6, alpha=0.9, clip_on=False)
