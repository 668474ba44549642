"""Whether the default's corrections vanish: its value at 20,000 rows beside the largest held-out candidate.

    python -m benchmarks.accuracy.corrections                    # the home tasks, and families of the design
    python -m benchmarks.accuracy.corrections --report           # the table from the CSV alone

writes ``corrections.csv`` and ``corrections.md``. An interrupted sweep resumes.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.abroad import DESIGNED
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.choices import chosen_tasks
from benchmarks.errors import Row, failure
from benchmarks.report import provenance, table, write_page
from infomax import interrupts

COLUMNS = ("truth", "estimate", "stderr", "largest", "largest_stderr", "rows", "candidate")
ROWS = 20_000
#: A difference of more standard errors than this is listed.
_MOST = 3.0

_NOTES = """\
The estimate of the default from 20,000 rows, less the largest held-out value among the models that it compared
(`Estimate.candidates`), in standard errors of the difference. The models are compared on a fifth of the rows, and their
networks are trained for a third of the steps, so that the estimate may be larger because its networks are better. What
the corrections add is tested directly (`tests/estimators/default/test_corrections_vanish.py`)."""


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One estimate by the default, and the largest held-out value of its candidates."""
    task, seed = infomax.tasks.get(str(cell["task"])), seed_of(str(cell["task"]), int(cell["seed"]))
    x, y = task.sample(int(cell["n"]), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)
        found = infomax.estimate(x, y, seed=seed, progress=False)
    if not found.candidates:
        raise ValueError("the estimate is that of a label or a table, which has no candidates")
    largest = max(found.candidates, key=lambda trial: trial.score)
    return {
        "truth": task.mi,
        "estimate": found.mi,
        "stderr": found.stderr,
        "largest": largest.score,
        "largest_stderr": largest.stderr,
        "rows": largest.rows,
        "candidate": largest.name,
    }


def apart(row: Row) -> float:
    """The estimate less the largest candidate, in standard errors.

    The compared rows are a share of all rows, so that the variance of the difference is that of the compared rows'
    mean less that of the mean of all.
    """
    share = float(row["rows"]) / float(row["n"])
    stderr = math.sqrt(max(1 - share, share)) * float(row["largest_stderr"])
    return (float(row["estimate"]) - float(row["largest"])) / stderr


def write_report(path: Path) -> str:
    """Write ``corrections.md`` beside the CSV, and return it."""
    rows = sorted((row for row in sweep.read(path) if not failure(row)), key=apart)
    far = [row for row in rows if abs(apart(row)) > _MOST]
    summary = f"{len(rows) - len(far)} of {len(rows)} tasks differ by less than three standard errors."
    lines = [
        (row["task"], row["truth"], row["estimate"], row["largest"], row["candidate"], f"{apart(row):+.1f}")
        for row in rows
    ]
    columns = ("task", "truth", "estimate", "largest candidate", "which", "standard errors")
    text = ["# The default at 20,000 rows, and its largest candidate", _NOTES, provenance(rows), summary]
    return write_page(path.with_suffix(".md"), [*text, table(columns, lines)])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", help="names or families (default: beyond-normal and the design)")
    parser.add_argument("--n", type=int, default=ROWS, help="number of rows (default: %(default)s)")
    sweep.add_arguments(parser, "accuracy", seeds=1)
    arguments = parser.parse_args(argv)
    path = results.folder("accuracy", arguments.output) / "corrections.csv"
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        families = [family for family in DESIGNED if family not in ("codes", "grid")]  # codes have no candidates
        tasks = chosen_tasks(arguments.tasks or ["beyond-normal", *families])
    cells: list[sweep.Cell] = [
        {"task": task, "n": arguments.n, "seed": seed} for seed in range(arguments.seeds) for task in tasks
    ]
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
