"""Report of :mod:`benchmarks.accuracy.default`: what the default estimator is held to, and what it reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median

import infomax
from benchmarks.accuracy.default import figures
from benchmarks.accuracy.default.errors import accuracy, families, hard_cases
from benchmarks.accuracy.default.rows import (
    LARGE,
    MANY,
    Aim,
    Results,
    Section,
    Share,
    beside,
    by_family,
    columns,
    common_sizes,
    covered,
    family_of,
    load,
    rejected,
    size,
    uniformity,
    warned,
    wide,
    width,
)
from benchmarks.errors import Row, absolute_error, at, by_task
from benchmarks.report import provenance, table

#: What the default is held to: shares of intervals that hold the truth, and of tests that reject independence.
COVERAGE, REJECTIONS = (0.90, 0.98), (0.03, 0.07)
#: What was tried as a further warning.
GROWTH = (
    "A value that still grows with the number of rows was tried as one (quick estimates of both halves of the rows "
    "beside one of all, 15 of the tasks that the default was designed on, n = 1,000, two draws each) and dropped: for "
    "spirals, whose intervals miss, it grew by 0.03 at most, within the scatter of tasks that were measured well, and "
    "it took 20 to 80 % more time. Larger than log n predicts little, and is said because it is a statement of theory."
)
#: CPU seconds by mode, the error of the quick mode, and MB; with up to so many columns a side.
SECONDS, QUICK_SECONDS, QUICK_ERROR, MEMORY, COLUMNS = 10, 1, 0.10, 1_000, 50


def write_report(path: Path, path_of_tests: Path, known_mi: Path, peers: Path) -> str:
    """Write ``default.md`` and figures beside the CSV ``path``; return the summary.

    Args:
        path, path_of_tests: of this benchmark. known_mi, peers: of those; any may be missing, and the report says so.

    Raises:
        SweepError: if there is nothing to report.
    """
    results = load(path, path_of_tests, known_mi, peers)
    images = {}
    for name, (draw, caption) in figures.FIGURES.items():
        figure = draw(results)
        if figure is not None:
            image = path.with_name(f"{path.stem}_{name}.png")
            figure.savefig(image, dpi=110)
            images[name] = f"![{caption}]({image.name})"
    text, summary = report(results, images)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return summary


def report(results: Results, images: dict[str, str]) -> tuple[str, str]:
    """Markdown, and its summary alone; ``images`` has the Markdown of the figures that there are."""
    parts, aims = [], []
    for title, section, image in SECTIONS:
        body, lines = section(results)
        aims += lines
        parts += [f"## {title}", body, *([images[image]] if image in images else [])]
    summary = table(
        ["figure", "target", "reached", "kept"],
        [[aim.figure, aim.target, aim.reached, {True: "yes", False: "**no**", None: "–"}[aim.kept]] for aim in aims],
    )
    facts = [
        f"`infomax.estimate(x, y)` with no options. {provenance([*results.runs, *results.tests, *results.ours])}.",
        *(f"Nothing was found in {name}." for name in results.missing),
        f"Runs that failed: {len(results.failures)}{', listed at the end' if results.failures else ''}.",
    ]
    head = "\n\n".join(["# The default estimator", " ".join(facts), summary])
    if results.failures:
        parts += ["## Runs that failed", "\n".join(f"- {line}" for line in results.failures)]
    return "\n\n".join([head, *parts]) + "\n", head


def intervals(results: Results) -> Section:
    """How often the 95 % intervals hold the truth."""
    low, high = COVERAGE
    goal = _range(low, high, 0)
    ns = common_sizes(results.runs)
    if not ns:
        figures = ("95 % intervals that hold the truth", "families and n in that range")
        absent = f"There are no runs in default.csv to count.\n\n{_width_beside_peers(results)}"
        return absent, [Aim(figure, goal) for figure in figures]
    lines, aims, inside, outside = [], [], 0, []
    for n in ns:
        rows = at(results.runs, n)
        share = covered(rows)
        reached = f"{share.value:.1%} of {share.runs:,} runs ({_between(share)})"
        aims.append(Aim(f"95 % intervals that hold the truth, n = {n:,}", goal, reached, low <= share.value <= high))
        for family, some in [*by_family(rows).items(), ("**all**", rows)]:
            share = covered(some)
            ends = share.interval
            lines.append([family, f"{n:,}", *_share(share), f"{width(some):.3f}", f"{size(some):.3f}"])
            if family != "**all**":
                inside += low <= share.value <= high
                outside += [f"{family} at {n:,}"] if ends[1] < low or ends[0] > high else []
    shown = f"{inside} of {len(lines) - len(ns)}"
    aims.append(Aim("families and n with a share in that range", "all", shown, inside == len(lines) - len(ns)))
    notes = (
        "Each task and seed has draws of its own: runs are independent trials, behind the exact (Clopper-Pearson) 95 % "
        "intervals of the shares."
    )
    chance = f"Outside {goal} by more than chance (the whole interval is): {', '.join(outside) or 'none'}."
    header = ["family", "n", "runs", "covered", "share", "95 % interval", "mean width", "mean abs. error"]
    return "\n\n".join([notes, table(header, lines), chance, _width_beside_peers(results)]), aims


def _width_beside_peers(results: Results) -> str:
    pairs = beside(results)
    if not pairs:
        return "There are no peers on the samples of the default to compare the widths with."
    most = max(len(theirs) for _, (theirs, _) in pairs)
    found = {name: absolute_error(theirs) for name, (theirs, _) in pairs if len(theirs) >= 0.9 * most}
    best = min(found, key=found.__getitem__)
    given = {(row["task"], row["seed"]) for row in results.peers}
    ours = [row for row in at(results.ours, MANY) if (row["task"], row["seed"]) in given]
    return (
        f"On the {len(ours)} samples that peers were given (n = {MANY:,}) our intervals are {width(ours):.3f} wide on "
        f"average. Of the {len(found)} peers with an estimate of nine tenths of them or more, the most accurate "
        f"({best}) has a mean absolute error of {found[best]:.3f}, the median one {median(found.values()):.3f}."
    )


def independence(results: Results) -> Section:
    """The test of independence: its level, and its power beside a permutation test of nearest neighbours."""
    nulls = [row for row in results.tests if row["dependent"] == "0"]
    powers = [row for row in results.tests if row["dependent"] == "1"]
    low, high = REJECTIONS
    goal = _range(low, high, 0)
    level = Aim("tests that reject at 5 % under independence", goal)
    power = Aim("dependent pairs with at least the power of the nearest-neighbour test", "–")
    parts = []
    if nulls:
        share = rejected(nulls)
        reached = f"{share.value:.1%} of {share.runs} draws ({_between(share)})"
        level = Aim(level.figure, goal, reached, low <= share.value <= high)
        groups = [*_grouped(nulls).items(), ("**all**", nulls)]
        lines = [[name, some[0]["n"], *_share(rejected(some)), f"{covered(some).value:.0%}"] for name, some in groups]
        header = ["independent pair", "n", "draws", "rejected", "share", "95 % interval", "intervals that hold 0"]
        distance, p = uniformity(nulls)
        parts += [
            table(header, lines),
            f"All {len(nulls)} p-values lie at most {distance:.3f} from the uniform distribution (Kolmogorov-Smirnov "
            f"p = {p:.2f}; conservative, for they are multiples of 1/200).",
        ]
    if powers:
        pairs, better = [], 0
        for name, some in _grouped(powers).items():
            ours, theirs = rejected(some), rejected([row for row in some if row["peer"]], "peer")
            better += ours.value >= theirs.value
            shares = (f"{share.value:.0%} ({_between(share)})" for share in (ours, theirs))
            pairs.append([name, some[0]["n"], str(len(some)), *shares])
        power = Aim(power.figure, "–", f"{better} of {len(pairs)}")
        parts.append(table(["dependent pair", "n", "draws", "power at 5 %", "nearest neighbours"], pairs))
    zero = [row for row in results.runs if float(row["truth"]) == 0 and row["pvalue"]]
    if zero:
        share = rejected(zero)
        parts.append(
            f"Of the tasks whose truth is 0, p ≤ 5 % in {share.hits} of {share.runs} runs ({_between(share)})."
        )
    for kind, rows in (("independent", nulls), ("dependent", powers)):
        parts += [] if rows else [f"There are no tests of {kind} pairs."]
    return "\n\n".join(parts), [level, power]


def warnings(results: Results) -> Section:
    """Do warnings tell of large errors?"""
    if not results.runs:
        return "There are no runs in default.csv to count.", []
    large = Share(sum(abs(float(row["bias"])) > LARGE for row in results.runs), len(results.runs))
    notes = (
        f"{large.hits:,} of {large.runs:,} runs ({large.value:.0%}) are more than {LARGE} nats from the truth. "
        "Precision: the share of these among the runs that warned; recall: the share of these that warned."
    )
    missed = [row for row in results.runs if row["covered"] == "0"]
    outside = sum(abs(float(row["bias"])) > LARGE for row in missed)
    limits = (
        f"Of the large errors, {large.hits - outside} lie inside the interval, whose width tells of them (the last "
        f"line of the table; it is no warning). {len(missed)} intervals miss the truth, and "
        f"{sum(bool(row['warnings']) for row in missed)} of these had warned: what is not found gives no sign. "
        f"{GROWTH}"
    )
    found = warned(results.runs)
    none = "" if found else "No run warned.\n\n"
    lines = [
        [one.kind, str(one.runs), _percent(one.precision), _percent(one.recall)] for one in [*found, wide(results.runs)]
    ]
    return f"{notes}\n\n{none}{table(['warning', 'runs', 'precision', 'recall'], lines)}\n\n{limits}", []


def cost(results: Results) -> Section:
    """CPU seconds and memory of one estimate, and of a quick one."""
    where = f"n = {MANY:,}, up to {COLUMNS} columns a side"
    aims = [
        Aim(f"CPU seconds of an estimate, median, {where}", f"≤ {SECONDS}"),
        Aim("peak memory of its process in MB, with the libraries", f"< {MEMORY:,}"),
        Aim(f"CPU seconds of a quick estimate, median, {where}", f"≤ {QUICK_SECONDS}"),
        Aim(f'mean absolute error of quick estimates, "Beyond Normal", n = {MANY:,}', f"≤ {QUICK_ERROR:.2f}"),
    ]
    groups = {
        "all tasks": _timed(results.runs),
        '"Beyond Normal", the peers\' samples': _timed(results.ours),
        "quick": _timed(results.quick),
    }
    usual = groups["all tasks"] or groups['"Beyond Normal", the peers\' samples']
    if usual:
        seconds, memory = median(_numbers(usual, "seconds")), max(_numbers(usual, "memory"), default=None)
        aims[0] = Aim(aims[0].figure, aims[0].target, f"{seconds:.1f}", seconds <= SECONDS)
        if memory is not None:
            aims[1] = Aim(aims[1].figure, aims[1].target, f"{memory:,.0f}", memory < MEMORY)
    if groups["quick"]:
        seconds = median(_numbers(groups["quick"], "seconds"))
        aims[2] = Aim(aims[2].figure, aims[2].target, f"{seconds:.2f}", seconds <= QUICK_SECONDS)
    quick = by_task(
        [row for row in at(results.quick, MANY) if family_of(row["task"]) == "beyond-normal"], absolute=True
    )
    if quick:
        value, few = mean(quick.values()), len(quick) < len(infomax.tasks.names("beyond-normal"))
        reached = f"{value:.3f}" + (f" (on {len(quick)} of them)" if few else "")
        aims[3] = Aim(aims[3].figure, aims[3].target, reached, None if few else value <= QUICK_ERROR)
    lines = [
        [name, str(len(rows)), *(f"{found(_numbers(rows, 'seconds')):.2f}" for found in (median, max)), _peak(rows)]
        for name, rows in groups.items()
        if rows
    ]
    absent = [f"There are no runs with {where}: {name}." for name, rows in groups.items() if not rows]
    header = ["runs", "number", "CPU seconds, median", "longest", "memory in MB, peak"]
    return "\n\n".join([*([f"With {where}:", table(header, lines)] if lines else []), *absent]), aims


SECTIONS: tuple[tuple[str, Callable[[Results], Section], str], ...] = (
    ('"Beyond Normal", beside the best of the peers', accuracy, "error"),
    ("Staircases and a secret", hard_cases, ""),
    ("Do the 95 % intervals hold the truth?", intervals, "coverage"),
    ("The test of independence", independence, "power"),
    ("Do warnings tell of large errors?", warnings, ""),
    ("Time and memory", cost, ""),
    ("Families that were held out", families, ""),
)


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["pair"], []).append(row)
    return found


def _timed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in at(rows, MANY) if columns(row["task"]) <= COLUMNS]


def _numbers(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column]]


def _peak(rows: Iterable[Row]) -> str:
    return f"{max(_numbers(rows, 'memory'), default=0):,.0f}"


def _share(share: Share) -> list[str]:
    return [str(share.runs), str(share.hits), f"{share.value:.1%}", _between(share)]


def _between(share: Share) -> str:
    return _range(*share.interval, 1)


def _range(low: float, high: float, decimals: int) -> str:
    return f"{100 * low:.{decimals}f} to {100 * high:.{decimals}f} %"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"
