"""Rows that depend on each other, on independent sides: how often the default finds information where there is none.

    python -m benchmarks.accuracy.dependence               # 400 draws of each case
    python -m benchmarks.accuracy.dependence --seeds 800   # more of them; rows of the CSV stay
    python -m benchmarks.accuracy.dependence --report      # the table from the CSV alone

writes ``dependence.csv`` and ``dependence.md``. Each draw is tested by the test of the default, with groups or blocks
of automatic length and as if its rows were independent, and judged for a warning. The first 40 draws are also
estimated both ways. An interrupted sweep resumes.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.default.rows import Share
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.errors import Row
from benchmarks.report import every_run, provenance, table, write_page
from infomax import interrupts
from infomax import statistics as samples

Floats = NDArray[np.float64]
COLUMNS = ("pvalue", "free_pvalue", "warned", "warned_in_blocks", "estimate", "low", "high", "covered", "free_covered")
#: The level of the test, its permutations, and how many of the draws are estimated too.
_LEVEL, _DRAWS, _ESTIMATED = 0.05, 199, 40

_NOTES = """\
Both sides are independent of each other: the truth is 0 nats. "Rejected": p-values of at most 0.05, which should be
5 % of the draws (with 370 draws: 3 to 7 %). "As independent": the same draws, tested and estimated as if their rows
were independent. "Warned": how often a `DependenceWarning` says what to pass where nothing is passed; "warned with
blocks": how often one says that the series may be random walks where blocks are passed. "Covers 0": 95 % intervals that
contain 0, of the first 40 draws, estimated with `quick=True`. The interval is wide, since nothing that assumes
independent rows is added to a held-out value that is biased low: it covers 0 more often than in 95 % of the draws."""


def autoregression(n: int, phi: float | Sequence[float], rng: np.random.Generator) -> Floats:
    """N steps of z_t = φ_1 z_(t-1) + φ_2 z_(t-2) + … + normal noise, after 500 others; one number: φ_1."""
    coefficients = [phi] if isinstance(phi, float) else phi
    noise, found = rng.standard_normal(n + 500), np.zeros(n + 500)
    for t in range(len(coefficients), n + 500):
        found[t] = sum(each * found[t - lag] for lag, each in enumerate(coefficients, 1)) + noise[t]
    return found[500:]


def oscillation(n: int, period: float, radius: float, rng: np.random.Generator) -> Floats:
    """N steps of a second-order autoregression that oscillates with this period."""
    return autoregression(n, (2 * radius * np.cos(2 * np.pi / period), -(radius**2)), rng)


def returns(n: int, rng: np.random.Generator) -> Floats:
    """N steps of normal noise whose logarithmic size is a standardised autoregression, φ = .95."""
    size = autoregression(n, 0.95, rng)
    found: Floats = np.exp(size / size.std()) * rng.standard_normal(n)
    return found


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
    "AR(2), period 25, n = 500": (lambda rng: oscillation(500, 25, 0.95, rng), _blocks),
    "noise of changing size, n = 1,000": (lambda rng: returns(1000, rng), _blocks),
    "random walks, n = 500": (lambda rng: rng.standard_normal(500).cumsum(), _blocks),
    "random walks, n = 500, differences": (lambda rng: np.diff(rng.standard_normal(500).cumsum()), _blocks),
    "40 subjects × 25 rows": (lambda rng: subjects(40, 25, 1.0, rng), _groups(40)),
    "60 subjects × 20 nearly equal rows": (lambda rng: subjects(60, 20, 0.01, rng), _groups(60)),
    "independent rows, n = 400": (lambda rng: rng.standard_normal(400), lambda _: {"block_length": 1}),
}


def structure_of(x: Floats, y: Floats, options: Mapping[str, Any]) -> samples.RowStructure:
    """The structure that :func:`infomax.estimate` makes of these options."""
    if "groups" in options:
        return samples.RowStructure.of_groups(options["groups"])
    length = options["block_length"]
    return samples.RowStructure.of_blocks(len(x), samples.block_length(x, y) if length == "auto" else length)


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One draw of a case, tested with what to pass and without; and estimated, if it is one of the first."""
    case, seed = str(cell["case"]), int(cell["seed"])
    side, options = CASES[case]
    rng = np.random.default_rng(seed_of(case, seed))
    x, y = side(rng)[:, None], side(rng)[:, None]
    given = options(len(x))
    scores = [torch.from_numpy(samples.normal_scores(one)) for one in (x, y)]
    free = samples.RowStructure.independent(len(x))
    found: dict[str, sweep.Value] = {
        name: samples.independence_pvalue(scores[0], scores[1], _DRAWS, np.random.default_rng(seed), structure)
        for name, structure in (("pvalue", structure_of(x, y, given)), ("free_pvalue", free))
    }
    found["warned"] = int(_warned(x, y, bound="gaussian"))  # every bound judges the rows
    if seed >= _ESTIMATED:
        return found
    common: dict[str, Any] = {"seed": seed, "quick": True, "progress": False}
    found["warned_in_blocks"] = int(_warned(x, y, **given, **common))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)
        estimates = infomax.estimate(x, y, **given, **common), infomax.estimate(x, y, **common)
    (low, high), (free_low, free_high) = (estimate.confidence_interval() for estimate in estimates)
    return found | {
        "estimate": round(estimates[0].mi, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "covered": int(low <= 0 <= high),
        "free_covered": int(free_low <= 0 <= free_high),
    }


def _warned(x: Floats, y: Floats, **options: Any) -> bool:
    """Whether an estimate warns of rows that depend on each other."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        infomax.estimate(x, y, **options)
    return any(issubclass(one.category, infomax.DependenceWarning) for one in caught)


def summary(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    """One line for each case."""
    cases: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cases[row["case"]].append(row)
    for case in [case for case in CASES if case in cases]:
        own = cases[case]
        estimated = [row for row in own if row["estimate"]]

        def share(hits: Callable[[Row], bool], some: Sequence[Row]) -> str:
            found = Share(sum(map(hits, some)), len(some))
            return f"{100 * found.hits / found.runs:.0f} %" if found.runs else ""

        def is_one(column: str, some: Sequence[Row]) -> str:
            return share(lambda one: one[column] == "1", some)

        yield (
            case,
            share(lambda row: float(row["pvalue"]) <= _LEVEL, own),
            share(lambda row: float(row["free_pvalue"]) <= _LEVEL, own),
            is_one("warned", own),
            is_one("warned_in_blocks", estimated),
            is_one("covered", estimated),
            is_one("free_covered", estimated),
            f"{mean(float(row['high']) for row in estimated):.2f}" if estimated else "",
        )


def write_report(path: Path) -> str:
    """Write ``dependence.md`` beside the CSV, and return it."""
    rows = [row for row in sweep.read(path) if not row["error"]]
    head = [
        "case",
        "rejected",
        "as independent",
        "warned",
        "warned with blocks",
        "covers 0",
        "as independent",
        "mean upper end",
    ]
    draws = sorted(Counter(row["case"] for row in rows).values())
    counts = f"{draws[0]} draws" if draws[0] == draws[-1] else f"{draws[0]} to {draws[-1]} draws"
    text = [
        "# Independent sides whose rows depend on each other",
        _NOTES,
        f"{counts} of each case. {provenance(rows)}.",
    ]
    return write_page(path.with_suffix(".md"), [*text, table(head, list(summary(rows))), every_run(path)])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="by name")
    sweep.add_arguments(parser, "accuracy", seeds=400)
    arguments = parser.parse_args(argv)
    path = results.folder("accuracy", arguments.output) / "dependence.csv"
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
    seeds = sorted(range(arguments.seeds), key=lambda seed: seed < _ESTIMATED)  # those that are tested only come first
    cells: list[sweep.Cell] = [{"case": case, "seed": seed} for seed in seeds for case in arguments.cases]
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
