"""Time of one estimate with each bound, and of drawing samples.

    python -m benchmarks.speed.cost            # two minutes, on an idle machine

writes ``cost.md``. Estimates: wall time in one process, with default settings. Samples: wall time of the first draw of
each task. The section "importing" of ``benchmarks.speed`` has the time of imports.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from datetime import date

import infomax
from benchmarks import results
from benchmarks.report import machine, table
from infomax import interrupts

TASKS = ["normal-1d-0.5", "normal-5d-1", "normal-20d-2"]


def estimate_seconds(task_name: str, bound: str) -> float:
    """Wall time of one estimate of 10,000 pairs with default settings."""
    x, y = infomax.tasks.get(task_name).sample(10_000, 0)
    start = time.perf_counter()
    infomax.estimate(x, y, bound=bound, progress=False)
    return time.perf_counter() - start


def sampling_seconds(task_name: str) -> float:
    """Wall time of the first draw of 10,000 pairs."""
    task = infomax.tasks.get(task_name)
    start = time.perf_counter()
    task.sample(10_000, 0)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_output(parser, "speed")
    output = results.folder("speed", parser.parse_args().output)
    warnings.simplefilter("ignore", infomax.InfomaxWarning)
    sampling = {name: sampling_seconds(name) for name in infomax.tasks.names()}
    slowest = max(sampling, key=lambda name: sampling[name])
    lines = [
        f"{date.today()}: {machine()}.",
        "",
        f"Drawing 10,000 pairs, {len(sampling)} tasks: median {statistics.median(sampling.values()):.3f} s, "
        f"slowest {sampling[slowest]:.2f} s, {slowest} (limit of the project: 1 s).",
        "",
        "Seconds per estimate from 10,000 pairs, one thread (limit of the project: 20):",
        "",
        table(
            ["bound", *TASKS],
            [[bound, *(f"{estimate_seconds(task, bound):.1f}" for task in TASKS)] for bound in infomax.bounds.names()],
        ),
    ]
    text = "\n".join(lines) + "\n"
    results.replace(output / "cost.md", text)
    print(text)


if __name__ == "__main__":
    interrupts.run(main)
