"""Rows that depend on each other, on independent sides: how often the default finds information where there is none.

    python -m benchmarks.accuracy.dependence               # 40 draws of each case
    python -m benchmarks.accuracy.dependence --seeds 400   # more of them; rows of the CSV stay
    python -m benchmarks.accuracy.dependence --report      # the table from the CSV alone

writes ``dependence.csv`` and ``dependence.md``. Each draw is estimated with ``groups=`` or ``block_length="auto"``, and
as if its rows were independent; the latter shows whether a warning says so. An interrupted sweep resumes.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.default.rows import Share
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.errors import Row, failure
from benchmarks.report import provenance, table, write_page
from infomax import interrupts

Floats = NDArray[np.float64]
COLUMNS = ("estimate", "low", "high", "covered", "pvalue", "free_estimate", "free_covered", "free_pvalue", "warned")
_LEVEL = 0.05

_NOTES = """\
Both sides are independent of each other: the truth is 0 nats. "Rejected": p-values of at most 0.05, which should be
5 % of the draws; "covered": 95 % intervals that contain 0. The last columns are of the same draws as if their rows were
independent, with how often a `DependenceWarning` said what to pass. All estimates have `quick=True`."""


def autoregression(n: int, phi: float, rng: np.random.Generator) -> Floats:
    """N steps of z_t = φ z_(t-1) + normal noise, after 500 others."""
    noise, found = rng.standard_normal(n + 500), np.zeros(n + 500)
    for t in range(1, n + 500):
        found[t] = phi * found[t - 1] + noise[t]
    return found[500:]


def subjects(groups: int, rows: int, noise: float, rng: np.random.Generator) -> Floats:
    """The value of each subject, with noise, for each of its rows."""
    return np.repeat(rng.standard_normal(groups), rows) + noise * rng.standard_normal(groups * rows)


def _blocks(_: int) -> dict[str, Any]:
    return {"block_length": "auto"}


def _groups(count: int) -> Callable[[int], dict[str, Any]]:
    return lambda n: {"groups": np.repeat(np.arange(count), n // count)}


#: Each case: one side, drawn twice, and what to pass for that many rows.
CASES: dict[str, tuple[Callable[[np.random.Generator], Floats], Callable[[int], dict[str, Any]]]] = {
    "AR(1), φ = .5, n = 400": (lambda rng: autoregression(400, 0.5, rng), _blocks),
    "AR(1), φ = .9, n = 400": (lambda rng: autoregression(400, 0.9, rng), _blocks),
    "AR(1), φ = .95, n = 400": (lambda rng: autoregression(400, 0.95, rng), _blocks),
    "AR(1), φ = .95, n = 2,000": (lambda rng: autoregression(2000, 0.95, rng), _blocks),
    "random walks, n = 500": (lambda rng: rng.standard_normal(500).cumsum(), _blocks),
    "40 subjects × 25 rows": (lambda rng: subjects(40, 25, 1.0, rng), _groups(40)),
    "60 subjects × 20 nearly equal rows": (lambda rng: subjects(60, 20, 0.01, rng), _groups(60)),
    "independent rows, n = 400": (lambda rng: rng.standard_normal(400), lambda _: {"block_length": 1}),
}


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One draw of a case, estimated with what to pass and without."""
    case, seed = str(cell["case"]), int(cell["seed"])
    side, options = CASES[case]
    rng = np.random.default_rng(seed_of(case, seed))
    x, y = side(rng), side(rng)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        free = infomax.estimate(x, y, seed=seed, quick=True, progress=False)
    warned = any(issubclass(one.category, infomax.DependenceWarning) for one in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)
        found = infomax.estimate(x, y, seed=seed, quick=True, progress=False, **options(len(x)))
    (low, high), (free_low, free_high) = found.confidence_interval(), free.confidence_interval()
    return {
        "estimate": round(found.mi, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "covered": int(low <= 0 <= high),
        "pvalue": found.pvalue,
        "free_estimate": round(free.mi, 6),
        "free_covered": int(free_low <= 0 <= free_high),
        "free_pvalue": free.pvalue,
        "warned": int(warned),
    }


def summary(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    """One line for each case."""
    cases: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cases[row["case"]].append(row)
    for case in [case for case in CASES if case in cases]:
        own = cases[case]

        def share(hits: Callable[[Row], bool], own: Sequence[Row] = own) -> str:
            found = Share(sum(map(hits, own)), len(own))
            return f"{100 * found.hits / found.runs:.0f} %"

        yield (
            case,
            str(len(own)),
            share(lambda row: float(row["pvalue"]) <= _LEVEL),
            share(lambda row: row["covered"] == "1"),
            f"{mean(float(row['estimate']) for row in own):.3f}",
            f"{mean(float(row['high']) for row in own):.2f}",
            share(lambda row: float(row["free_pvalue"]) <= _LEVEL),
            share(lambda row: row["free_covered"] == "1"),
            share(lambda row: row["warned"] == "1"),
        )


def write_report(path: Path) -> str:
    """Write ``dependence.md`` beside the CSV, and return it."""
    rows = [row for row in sweep.read(path) if not failure(row)]
    head = (
        "case", "draws", "rejected", "covered", "mean estimate", "mean upper end",
        "rejected as independent rows", "covered so", "warned of",
    )  # fmt: skip
    text = ["# Independent sides whose rows depend on each other", _NOTES, provenance(rows)]
    return write_page(path.with_suffix(".md"), [*text, table(head, list(summary(rows)))])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="by name")
    sweep.add_arguments(parser, "accuracy", seeds=40)
    arguments = parser.parse_args(argv)
    path = results.folder("accuracy", arguments.output) / "dependence.csv"
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
    cells: list[sweep.Cell] = [
        {"case": case, "seed": seed} for seed in range(arguments.seeds) for case in arguments.cases
    ]
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
