"""Speed and memory as ratios: ways of doing the same thing, in turn in one process, and what each adds to memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """One line of the report: what was compared, the ratio, and what was hoped for.

    Attributes:
        case: sizes and types, for a person ("N = 4,096, d = 128, float32").
        figure: what the ratio is, in words ("times faster than cross-entropy of all scores, as torch does it").
        ratio: the number. target: what it should be, as "≥ 4.5" or "≤ 1.2"; empty: reported only.
        ours, other: the two numbers, with their unit ("71 ms", "22 MiB"). threads: of each process.
        x: where the case stands on the axis of a figure of its own (N, ranks); None: in no figure.
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
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, number = self.target.split()
        return self.ratio >= float(number) if sign == "≥" else self.ratio <= float(number)


def in_turn(works: Mapping[str, Work], *, repeats: int = 9, threads: int = 1, wall: bool = False) -> dict[str, float]:
    """Median seconds of each, one after the other ``repeats`` times, after one call each that is not counted.

    CPU time of the process, or wall time: for work on several threads or in other processes.
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
    """Peak resident memory that a piece of work adds to its inputs, in MiB, in a process of its own (Linux).

    Args:
        prepare: "module:function", called with the arguments; it makes the inputs and returns the work.
    """
    command = [sys.executable, "-m", "benchmarks.speed.timing", prepare, json.dumps(arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError(f"{prepare}{arguments} failed ({done.returncode}): {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"the system does not tell {field}")


def _measure_memory(prepare: str, arguments: list[str | float]) -> float:
    torch.set_num_threads(1)
    module, function = prepare.split(":")
    return added_mebibytes(getattr(import_module(module), function)(*arguments))


def added_mebibytes(work: Work) -> float:
    """Peak resident memory that a piece of work adds to this process, in MiB (Linux); what is there already counts."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


if __name__ == "__main__":
    print(_measure_memory(sys.argv[1], json.loads(sys.argv[2])))
