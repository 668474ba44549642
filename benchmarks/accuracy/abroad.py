"""The default estimator on data of other structure than it was first designed on: one row per estimate.

    python -m benchmarks.accuracy.abroad                          # families of the design, n = 200, 1,000 and 10,000
    python -m benchmarks.accuracy.abroad --held-out               # held-out families: run only to report
    python -m benchmarks.accuracy.abroad --tasks sines --n 1000   # a part; other rows of the CSV stay
    python -m benchmarks.accuracy.abroad --report                 # the table from the CSV alone

writes ``abroad.csv`` and ``abroad.md``. An interrupted sweep resumes. Every task and seed has its own random draws.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.default.rows import covered, width
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.accuracy.known_mi import measured
from benchmarks.choices import chosen_tasks
from benchmarks.errors import Row, by_task, failure
from benchmarks.report import provenance, table, write_page
from infomax import interrupts

COLUMNS = ("truth", "estimate", "bias", "stderr", "low", "high", "covered", "pvalue", "warnings")
#: Families on which the candidates of the default were designed, and families held out, as a coin decided.
DESIGNED = ("embeddings", "clusters", "sines", "codes", "interactions", "periodic", "redundant", "grid")
HELD_OUT = ("wrapped", "spirals", "couplings", "labels", "tiles")
SIZES = (200, 1_000, 10_000)
#: An estimate is far off beyond so many nats and this share of the truth, and near within so many nats.
FAR, FAR_SHARE, NEAR = 0.3, 0.1, 0.05
#: The largest errors that the report lists for each n.
_LISTED = 5

_NOTES = """\
Mean absolute error (each task with equal weight), empirical coverage and mean width of the 95 % intervals, in nats, and
the median of the CPU seconds of one estimate. "Far off" counts runs with an error above 0.3 nats and 10 % of the truth;
"said" counts those of them whose interval contains the truth or that have a warning. "Near" counts runs within 0.05
nats."""


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One estimate by the default."""
    return measured({**cell, "mode": "default"}, seed_of(str(cell["task"]), int(cell["seed"])))


def far(row: Row) -> bool:
    """Whether the estimate is far off."""
    error = abs(float(row["bias"]))
    return error > FAR and error > FAR_SHARE * float(row["truth"])


def said(row: Row) -> bool:
    """Whether the interval contains the truth, or there is a warning."""
    return row["covered"] == "1" or bool(row["warnings"])


def summary(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    """One line for each family and n."""
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[infomax.tasks.get(row["task"]).family, int(row["n"])].append(row)
    order = {family: place for place, family in enumerate((*DESIGNED, *HELD_OUT))}
    for (family, n), own in sorted(groups.items(), key=lambda item: (order.get(item[0][0], len(order)), item[0][1])):
        off, near = [row for row in own if far(row)], [row for row in own if abs(float(row["bias"])) <= NEAR]
        yield (
            family,
            f"{n:,}",
            str(len(own)),
            f"{mean(by_task(own, absolute=True).values()):.3f}",
            f"{mean(by_task(own).values()):+.3f}",
            f"{100 * covered(own).value:.0f} %",
            f"{width(own):.2f}",
            f"{len(off)}, {sum(map(said, off))} said",
            f"{len(near)}, {sum(bool(row['warnings']) for row in near)} warned",
            f"{median(float(row['seconds']) for row in own):.1f}",
        )


def _said_of(rows: Sequence[Row]) -> str:
    """How many runs are far off, and how many of these are said, for each n."""
    parts = []
    for n in sorted({int(row["n"]) for row in rows}):
        off = [row for row in rows if int(row["n"]) == n and far(row)]
        runs = sum(int(row["n"]) == n for row in rows)
        parts.append(f"{len(off)} of {runs} runs with {n:,} rows, {sum(map(said, off))} said")
    return f"Far off: {'; '.join(parts)}."


def _listed(rows: Sequence[Row]) -> str:
    """One line for each run."""
    lines = [
        (row["task"], f"{int(row['n']):,}", f"{float(row['truth']):.3f}", f"{float(row['estimate']):.3f}",
         f"[{float(row['low']):.2f}, {float(row['high']):.2f}]", "yes" if row["warnings"] else "no")
        for row in rows
    ]  # fmt: skip
    return table(("task", "n", "truth", "estimate", "95 % interval", "warned"), lines)


def write_report(path: Path) -> str:
    """Write ``abroad.md`` beside the CSV, and return it."""
    rows = [row for row in sweep.read(path) if not failure(row)]
    head = ("family", "n", "runs", "error", "bias", "coverage", "width", "far off", "near", "CPU s")
    text = ["# The default on data of other structure", _NOTES, provenance(rows)]
    for title, families in (("Families of the design", DESIGNED), ("Held-out families", HELD_OUT)):
        own = [row for row in rows if infomax.tasks.get(row["task"]).family in families]
        if not own:
            continue
        text += [f"## {title}", _said_of(own)]
        off = sorted((row for row in own if far(row)), key=lambda row: -abs(float(row["bias"])))
        silent = [row for row in off if not said(row)]
        if silent:
            text += ["Far off in silence (no warning, and the interval misses the truth):", _listed(silent)]
        for n in sorted({int(row["n"]) for row in off}):
            worst = [row for row in off if int(row["n"]) == n][:_LISTED]
            text += [f"The largest errors with {n:,} rows:", _listed(worst)]
        text.append(table(head, list(summary(own))))
    return write_page(path.with_suffix(".md"), text)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="the held-out families instead of those of the design")
    parser.add_argument("--tasks", nargs="+", help="names or families (default: all of the design)")
    parser.add_argument("--n", nargs="+", type=int, default=list(SIZES), help="sample sizes (default: 200 1000 10000)")
    sweep.add_arguments(parser, "accuracy", seeds=1)
    arguments = parser.parse_args(argv)
    path = results.folder("accuracy", arguments.output) / "abroad.csv"
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        tasks = chosen_tasks(arguments.tasks or (HELD_OUT if arguments.held_out else DESIGNED))
    cells: list[sweep.Cell] = [
        {"task": task, "n": n, "seed": seed}
        for seed in range(arguments.seeds)
        for n in sorted(arguments.n)
        for task in tasks
    ]
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
