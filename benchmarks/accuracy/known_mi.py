"""Errors, coverage and time of every estimator on distributions with known mutual information.

    python -m benchmarks.accuracy.known_mi                                   # 40 tasks, all estimators, every n
    python -m benchmarks.accuracy.known_mi --tasks discrete images --n 5000  # two families
    python -m benchmarks.accuracy.known_mi --report                          # table and figures from the CSV alone

writes ``known_mi.csv`` (one row per run), ``known_mi.md`` and figures. An interrupted sweep resumes. With
``--backend dask --address tcp://...`` the command runs on a cluster whose workers can import ``infomax`` and
``benchmarks``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.known_mi_report import write_report
from benchmarks.choices import CORE, DEFAULT, OTHERS, chosen_estimators, chosen_tasks
from infomax import interrupts

COLUMNS = ("truth", "estimate", "bias", "stderr", "low", "high", "covered", "kind", "ceiling", "warnings")


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One estimate, with default settings unless the mode of the cell is "quick"."""
    return measured(cell, int(cell["seed"]), bound=str(cell["estimator"]))


def measured(cell: sweep.Cell, draw: int, bound: str = DEFAULT) -> dict[str, sweep.Value]:
    """One estimate from samples drawn with the seed ``draw``, and the truth; a sweep keeps only its own columns."""
    task = infomax.tasks.get(str(cell["task"]))
    x, y = task.sample(int(cell["n"]), draw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)  # the result contains them
        start = time.process_time()
        result = infomax.estimate(
            x, y, seed=int(cell["seed"]), quick=cell["mode"] == "quick", progress=False, bound=bound
        )
        seconds = time.process_time() - start
    low, high = result.confidence_interval()
    return {
        "truth": round(task.mi, 6),
        "estimate": round(result.mi, 6),
        "bias": round(result.mi - task.mi, 6),
        "stderr": round(result.stderr, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "covered": int(low <= task.mi <= high),
        "kind": result.kind,
        "ceiling": None if result.ceiling is None else round(result.ceiling, 4),
        "pvalue": result.pvalue,
        "warnings": " | ".join(result.warnings),
        "seconds": round(seconds, 3),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["beyond-normal"], help="names, families, or all")
    parser.add_argument("--estimators", nargs="+", help=f"bounds or {', '.join(OTHERS)} (default: {', '.join(CORE)})")
    parser.add_argument(
        "--n", nargs="+", type=int, default=[200, 1_000, 5_000, 10_000], help="sample sizes (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="two folds and short training")
    sweep.add_arguments(parser, "accuracy", seeds=3)
    arguments = parser.parse_args(argv)
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        tasks, estimators = chosen_tasks(arguments.tasks), chosen_estimators(arguments.estimators)
        if min(arguments.n) < 1:
            raise ValueError(f"n must be at least 1; got {min(arguments.n)}")
    mode = "quick" if arguments.quick else "default"
    cells = [
        {"task": task, "estimator": estimator, "n": n, "seed": seed, "mode": mode}
        for seed in range(arguments.seeds)
        for n in sorted(arguments.n, reverse=True)
        for task in tasks
        for estimator in estimators
    ]
    path = results.folder("accuracy", arguments.output) / "known_mi.csv"
    sweep.run_and_report(
        path, cells, run, COLUMNS, partial(write_report, mode=mode), parser=parser, arguments=arguments, **options
    )


if __name__ == "__main__":
    interrupts.run(main)
