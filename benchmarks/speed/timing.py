"""Time and memory of different versions of the same work, and their ratios."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import torch

from benchmarks import memory
from benchmarks.children import run_child
from infomax import interrupts

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """One line of the report: a case, the ratio of two numbers, and the target.

    Attributes:
        case: sizes and types as text ("N = 4,096, d = 128, float32").
        figure: the unit of the ratio in words ("times faster than cross-entropy of all scores").
        ratio: the number. target: "≥ 4.5" or "≤ 1.2", for example; empty without a target.
        ours, other: the two numbers with units ("71 ms", "22 MiB"). threads: number of threads per process.
        x: position on the horizontal axis of the figure (N, ranks); None: not in the figure.
    """

    case: str
    figure: str
    ratio: float
    target: str
    ours: str
    other: str
    threads: int = 1
    x: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if not self.target:
            return None
        sign, number = self.target.split()
        return self.ratio >= float(number) if sign == "≥" else self.ratio <= float(number)


def duration(seconds: float) -> str:
    """Three significant digits in s, ms or µs."""
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "µs")
    value = factor * seconds
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def faster(case: str, figure: str, ours: float, other: float, target: str = "", *, x: float | None = None) -> Ratio:
    """Seconds of the other version relative to ours."""
    return Ratio(case, figure, other / ours, target, duration(ours), duration(other), x=x)


def slower(case: str, figure: str, ours: float, other: float, target: str = "", *, x: float | None = None) -> Ratio:
    """Our seconds relative to those of the other version."""
    return Ratio(case, figure, ours / other, target, duration(ours), duration(other), x=x)


def smaller(case: str, figure: str, ours: float, other: float, target: str = "", *, x: float | None = None) -> Ratio:
    """MiB of the other version relative to ours."""
    return Ratio(case, figure, other / ours, target, f"{ours:,.0f} MiB", f"{other:,.0f} MiB", x=x)


def in_turn(works: Mapping[str, Work], *, repeats: int = 9, threads: int = 1, wall: bool = False) -> dict[str, float]:
    """Median seconds of each work, alternating ``repeats`` times after one warm-up call each.

    CPU time of the process, or wall time for work on several threads or in other processes.
    """
    clock = time.perf_counter if wall else time.process_time
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    taken: dict[str, list[float]] = {name: [] for name in works}
    try:
        for repeat in range(repeats + 1):
            for name, work in works.items():
                start = clock()
                work()
                if repeat:
                    taken[name].append(clock() - start)
    finally:
        torch.set_num_threads(before)
    return {name: statistics.median(values) for name, values in taken.items()}


def extra_mebibytes(prepare: str, *arguments: str | float) -> float:
    """Peak resident memory that the work needs in addition to its inputs, in MiB, in a separate process (Linux).

    Args:
        prepare: "module:function"; called with the arguments, it makes the inputs and returns the work.
    """
    command = [sys.executable, "-m", "benchmarks.speed.timing", prepare, json.dumps(arguments)]
    done = run_child(command, check=False)
    if done.returncode:
        raise RuntimeError(f"{prepare}{arguments} failed ({done.returncode}): {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Print what `extra_mebibytes` reads, in a process of its own."""
    torch.set_num_threads(1)
    module, function = sys.argv[1].split(":")
    print(added_mebibytes(getattr(import_module(module), function)(*json.loads(sys.argv[2]))))


def added_mebibytes(work: Work) -> float:
    """Peak resident memory that the work adds to the memory of this process, in MiB.

    Raises:
        OSError: if the system does not report it (all but Linux).
    """
    memory.forget_peak()
    before = memory.status("VmRSS")
    work()
    peak = memory.status("VmHWM")
    if before is None or peak is None:
        raise OSError("the system does not report the memory of a process")
    return (peak - before) / 2**20


if __name__ == "__main__":
    interrupts.run(main)
