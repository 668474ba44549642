"""The default estimator: accuracy, coverage of its intervals, its test of independence, its warnings.

    python -m benchmarks.accuracy.default                     # every task; 20 seeds, 3 at n = 10,000
    python -m benchmarks.accuracy.default --quick             # the same with quick=True
    python -m benchmarks.accuracy.default --report            # tables and figures from the CSVs alone

writes ``default.csv`` (one row per estimate), ``independence.csv`` (one row per test), ``default.md`` and figures. An
interrupted sweep resumes. Every task and seed has its own random draws, so that runs are independent trials. (With the
seeds of ``known_mi``, versions of one distribution share their draws.)

The report also compares the default with other packages on the same samples, from ``known_mi.csv`` and ``peers.csv``.
It says which files are missing.
"""

from __future__ import annotations

import argparse
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.default.report import write_report
from benchmarks.accuracy.known_mi import measured
from benchmarks.choices import chosen_tasks

COLUMNS = ("truth", "estimate", "bias", "stderr", "low", "high", "covered", "pvalue", "warnings")
TEST_COLUMNS = ("estimate", "low", "high", "covered", "pvalue", "peer")
#: Smallest sample that an estimate accepts.
LEAST_ROWS = 20
#: Number of seeds by sample size; fewer where a run takes longer.
SEEDS = {200: 20, 1_000: 20, 5_000: 3, 10_000: 3}
#: Sample sizes that only one family is run with, unless they are named on the command line.
ONLY = {5_000: "secret"}
#: Independent pairs, by marginals and dimension; dependent pairs for comparing power, with their sample sizes.
NULLS = ("normal-1", "normal-5", "normal-20", "student-1", "student-5", "uniform-1", "discrete-1", "mixed-2")
POWERS = {
    "1v1-additive-0.75": 30,
    "swissroll_x-normal_cdf-1v1-normal-0.75": 40,
    "student-identity-1-1-1": 80,
    "student-identity-3-3-3": 120,
    "student-identity-5-5-3": 100,
    "spiral-multinormal-sparse-3-3-2-2.0": 40,
    "spiral-multinormal-sparse-5-5-2-2.0": 50,
}
NULL_ROWS, NULL_DRAWS, POWER_DRAWS = 200, 50, 40
_PERMUTATIONS = 99


def seed_of(task: str, seed: int) -> int:
    """A seed that is unique to this task."""
    return int(np.random.SeedSequence([zlib.crc32(task.encode()), seed]).generate_state(1)[0])


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One estimate by the default, with ``quick=True`` if the mode of the cell is "quick"."""
    return measured(cell, seed_of(str(cell["task"]), int(cell["seed"])))


def independent(name: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Independent x and y, from a name with marginals and dimension. Student columns of one side are dependent."""
    marginal, dim = name.split("-")

    def side() -> np.ndarray:
        shape = n, int(dim)
        normal = rng.standard_normal(shape)
        if marginal == "student":
            return normal / np.sqrt(rng.chisquare(2, (n, 1)) / 2)
        if marginal == "uniform":
            return rng.random(shape)
        if marginal == "discrete":
            return rng.integers(0, 4, shape).astype(float)
        if marginal == "mixed":
            return np.where(rng.random(shape) < 0.3, 0.0, normal)
        return normal

    return side(), side()


def test(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One test of independence by the default; for dependent pairs, also a permutation test of the KSG estimate."""
    name, seed, n = str(cell["pair"]), int(cell["seed"]), int(cell["n"])
    rng = np.random.default_rng(seed_of(name, seed))
    if cell["dependent"]:
        x, y = infomax.tasks.get(name).sample(n, int(rng.integers(2**31)))
    else:
        x, y = independent(name, n, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)
        result = infomax.estimate(x, y, seed=seed, progress=False)
        low, high = result.confidence_interval()
        peer = None
        if cell["dependent"]:
            draws = [y, *(rng.permutation(y) for _ in range(_PERMUTATIONS))]
            values = [infomax.estimate(x, draw, bound="ksg").mi for draw in draws]
            peer = float(np.mean(np.asarray(values) >= values[0]))
    return {
        "estimate": round(result.mi, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "covered": None if cell["dependent"] else int(low <= 0 <= high),
        "pvalue": result.pvalue,
        "peer": peer,
    }


def cells_of(tasks: Sequence[str], sizes: Sequence[int] | None, seeds: int, mode: str) -> list[sweep.Cell]:
    """The estimates of a sweep; without ``sizes``, with those of `SEEDS`."""
    return [
        {"task": task, "n": n, "seed": seed, "mode": mode}
        for seed in range(seeds)
        for n in sorted(sizes or SEEDS)
        if seed < SEEDS.get(n, seeds)
        for task in tasks
        if sizes or n not in ONLY or infomax.tasks.get(task).family == ONLY[n]
    ]


def tests_of() -> list[sweep.Cell]:
    """The tests of a sweep, on independent and dependent pairs."""
    nulls: list[sweep.Cell] = [
        {"pair": pair, "n": NULL_ROWS, "seed": seed, "dependent": 0} for seed in range(NULL_DRAWS) for pair in NULLS
    ]
    return nulls + [
        {"pair": pair, "n": n, "seed": seed, "dependent": 1}
        for seed in range(POWER_DRAWS)
        for pair, n in POWERS.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["all"], help="names, families, or all")
    only = ", ".join(f"{n} for {family} only" for n, family in ONLY.items())
    parser.add_argument(
        "--n", nargs="+", type=int, help=f"sample sizes (default: {', '.join(map(str, SEEDS))}; {only})"
    )
    parser.add_argument("--quick", action="store_true", help="estimate with quick=True")
    parser.add_argument("--no-tests", action="store_true", help="skip the tests of independence")
    parser.add_argument(
        "--known-mi",
        type=Path,
        help="CSV of benchmarks.accuracy.known_mi (default: known_mi.csv in the folder for the results)",
    )
    parser.add_argument("--peers", type=Path, help="CSV of benchmarks.peers (default: peers.csv in its folder)")
    sweep.add_arguments(parser, "accuracy", seeds=max(SEEDS.values()))
    arguments = parser.parse_args(argv)
    with sweep.usage_errors(parser):
        options, tasks = sweep.options(arguments), chosen_tasks(arguments.tasks)
        if arguments.n and min(arguments.n) < LEAST_ROWS:
            raise ValueError(f"n must be at least {LEAST_ROWS}; got {min(arguments.n)}")
        for path in (arguments.known_mi, arguments.peers):
            if path is not None and not path.exists():
                raise ValueError(f"known-mi and peers must be files; {path} does not exist")
    folder = results.folder("accuracy", arguments.output)
    path, path_of_tests = folder / "default.csv", folder / "independence.csv"
    with sweep.usage_errors(parser, sweep.SweepError):
        if not arguments.report:
            cells = cells_of(tasks, arguments.n, arguments.seeds, "quick" if arguments.quick else "default")
            sweep.sweep(path, cells, run, COLUMNS, **options)
            if not arguments.no_tests:
                sweep.sweep(path_of_tests, tests_of(), test, TEST_COLUMNS, **options)
        known_mi = arguments.known_mi or folder / "known_mi.csv"
        peers = arguments.peers or results.folder("peers", arguments.output) / "peers.csv"
        print(write_report(path, path_of_tests, known_mi, peers))
