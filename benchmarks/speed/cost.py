"""What ``import infomax`` costs over ``import torch``, what one estimate takes, and what drawing samples takes.

    python -m benchmarks.speed.cost            # two minutes, on a machine that does nothing else

writes ``cost.md``. Imports: CPU time of whole processes, the two in turn, the ratio pair by pair. Estimates:
wall time in one process, one after the other, with default settings. Samples: wall time of the first draw of each task.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from datetime import date

import infomax
from benchmarks import results
from benchmarks.report import machine, table

PAIRS = 15
TASKS = ["normal-1d-0.5", "normal-5d-1", "normal-20d-2"]


def cpu_seconds(statement: str) -> float:
    """User and system time of a fresh interpreter that runs one statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603 - our own statements
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def import_ratios() -> list[float]:
    """CPU time of ``import infomax`` over that of ``import torch``, pair by pair, in ascending order."""
    for statement in ("import torch", "import infomax"):  # once, to fill the caches
        cpu_seconds(statement)
    return sorted(cpu_seconds("import infomax") / cpu_seconds("import torch") for _ in range(PAIRS))


def estimate_seconds(task_name: str, bound: str) -> float:
    """Wall time of one estimate of 10,000 pairs with default settings."""
    x, y = infomax.tasks.get(task_name).sample(10_000, 0)
    start = time.perf_counter()
    infomax.estimate(x, y, bound=bound, progress=False)
    return time.perf_counter() - start


def sampling_seconds(task_name: str) -> float:
    """Wall time of drawing 10,000 pairs for the first time."""
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
    ratios = import_ratios()
    lines = [
        f"{date.today()}: {machine()}.",
        "",
        f"`import infomax` / `import torch`, CPU time, {PAIRS} pairs: median {statistics.median(ratios):.3f}, "
        f"from {ratios[0]:.3f} to {ratios[-1]:.3f} (limit of the project: 1.15).",
        "",
        f"Drawing 10,000 pairs, {len(sampling)} tasks: median {statistics.median(sampling.values()):.3f} s, "
        f"slowest {sampling[slowest]:.2f} s, {slowest} (limit of the project: 1 s).",
        "",
        "Seconds for one estimate of 10,000 pairs, one thread (limit of the project: 20):",
        "",
        table(
            ["bound", *TASKS],
            [[bound, *(f"{estimate_seconds(task, bound):.1f}" for task in TASKS)] for bound in infomax.bounds.names()],
        ),
    ]
    text = "\n".join(lines) + "\n"
    output.mkdir(parents=True, exist_ok=True)
    (output / "cost.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
