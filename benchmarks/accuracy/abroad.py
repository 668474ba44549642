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
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.default.rows import covered
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.accuracy.known_mi import measured
from benchmarks.choices import chosen_tasks
from benchmarks.errors import Row, at, by_task, failure, sizes
from benchmarks.report import every_run, provenance, table, write_page
from infomax import interrupts

COLUMNS = ("truth", "estimate", "bias", "stderr", "low", "high", "covered", "pvalue", "warnings")
#: Families on which the candidates of the default were designed, and families held out, as a coin decided.
DESIGNED = ("embeddings", "clusters", "sines", "codes", "interactions", "periodic", "redundant", "grid")
HELD_OUT = ("wrapped", "spirals", "couplings", "labels", "tiles")
SIZES = (200, 1_000, 10_000)
#: An estimate is far off beyond so many nats and this share of the truth.
FAR, FAR_SHARE = 0.3, 0.1
#: How many of the largest errors the report lists for each n, and of those in silence.
_LISTED, _SILENT = 5, 10

_NOTES = """\
"Far off" counts runs with an error above 0.3 nats and 10 % of the truth; "said" counts those of them whose interval
contains the truth or that have a warning. The tables by family have the mean absolute error in nats (each task with
equal weight), the empirical coverage of the 95 % intervals with the number of runs, and the median CPU seconds of an
estimate from the most rows. Each run has its own draws."""


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


def summary(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The header, and one line for each family: errors and coverage by n, and the time of the largest n."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[infomax.tasks.get(row["task"]).family].append(row)
    ns = sizes(rows)
    order = {family: place for place, family in enumerate((*DESIGNED, *HELD_OUT))}
    lines = []
    for family, own in sorted(groups.items(), key=lambda item: order.get(item[0], len(order))):
        some = {n: at(own, n) for n in ns}
        lines.append([
            family,
            *(f"{mean(by_task(some[n], absolute=True).values()):.3f}" if some[n] else "–" for n in ns),
            *(f"{100 * covered(some[n]).value:.0f} % of {len(some[n])}" if some[n] else "–" for n in ns),
            f"{median(float(row['seconds']) for row in some[max(n for n in ns if some[n])]):.1f}",
        ])  # fmt: skip
    head = ["family", *(f"error, n = {n:,}" for n in ns), *(f"coverage, n = {n:,}" for n in ns), "CPU s"]
    return head, lines


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
    text = ["# The default on data of other structure", _NOTES, provenance(rows)]
    for title, families in (("Families of the design", DESIGNED), ("Held-out families", HELD_OUT)):
        own = [row for row in rows if infomax.tasks.get(row["task"]).family in families]
        if not own:
            continue
        text += [f"## {title}", _said_of(own), table(*summary(own))]
        off = sorted((row for row in own if far(row)), key=lambda row: -abs(float(row["bias"])))
        silent = [row for row in off if not said(row)]
        if silent:
            first = f"The largest {_SILENT} of {len(silent)} errors" if len(silent) > _SILENT else "Errors"
            text += [f"{first} in silence (no warning, and the interval misses the truth):", _listed(silent[:_SILENT])]
        for n in sorted({int(row["n"]) for row in off}):
            worst = [row for row in off if int(row["n"]) == n][:_LISTED]
            text += [f"The largest errors with {n:,} rows:", _listed(worst)]
    text.append(every_run(path, "standard errors and p-values"))
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
