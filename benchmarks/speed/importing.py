"""Import and command line.

CPU time of new processes, which alternate with a process that only imports torch: `import infomax`, which loads public
names on first use; all public names; and `infomax --help`, which does not need torch. Files are in the page cache, and
bytecode is written in a warm-up round.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
from collections.abc import Iterator

from benchmarks.children import run_child
from benchmarks.speed.timing import Ratio, duration, slower

_ALL = "import torch, infomax\nfor name in dir(infomax): getattr(infomax, name)"
COMMANDS = {
    "torch": ["-c", "import torch"],
    "import infomax": ["-c", "import infomax"],
    "all public names": ["-c", _ALL],
    "infomax --help": ["-m", "infomax", "--help"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """CPU time of a Python process with these arguments, including its start."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_child([sys.executable, *arguments], env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(repeats: int) -> dict[str, float]:
    """Median seconds of each command over ``repeats`` rounds, after a warm-up round."""
    rounds = [{name: cpu_seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(each[name] for each in rounds[1:]) for name in COMMANDS}


def ratios(quick: bool) -> Iterator[Ratio]:
    seconds = medians(3 if quick else 9)
    torch = seconds["torch"]
    for case, target in (("import infomax", ""), ("all public names", "≤ 1.15")):
        yield slower(case, "times the CPU time of `import torch`", seconds[case], torch, target)
    ours = seconds["infomax --help"]
    yield Ratio("infomax --help", "s of CPU time", ours, "≤ 0.5", duration(ours), f"`import torch`: {duration(torch)}")
