"""The losses of other packages and those of infomax on the same embeddings: values, gradients, time and memory.

    python -m benchmarks.speed.losses [--pairs 256 4096 32768]   # 15 minutes; makes an environment for the packages

writes ``losses.json`` and ``losses.md``; what was found with other numbers of pairs remains. The packages are installed
in ``.peers/losses`` (``benchmarks/peers/requirements/losses.txt``).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.children import run_child
from benchmarks.peers.environments import PINS, SETTINGS, interpreter, make_environment
from benchmarks.report import machine, number, table
from benchmarks.speed.loss_peers import CASES, MANY_ROWS, MOST_BYTES
from benchmarks.speed.timing import duration
from infomax import interrupts

ROOT = Path(__file__).parents[2]
PAIRS = (256, 4096, MANY_ROWS)
PACKAGES = ("info-nce-pytorch", "pytorch-metric-learning", "lightly", "open_clip_torch")
ABOUT = """The inputs are N pairs of float32 embeddings of dimension 128, divided by their length in the loss, at
temperature 0.1. The work is a loss and its gradients, on one thread. The two versions alternate in one process; times
are medians of CPU time. Memory is the peak of one call in addition to the inputs, in a process of its own. NT-Xent and
SupCon have N rows of both views together, SupCon 16 of each class. Memory banks and `negative_keys` have 4 N rows, and
the packages compare a row with these and its own partner alone, as `mask=` does here. "Difference" is the largest one
of three batches (one, for 4,096 pairs): of the loss less the documented constant (the logarithm of the number
compared; none for SigLIP), in nats, and of the gradients, relative to their length.

NTXentLoss of pytorch-metric-learning compares each pair of positives with each pair of negatives, which is too much
memory for 4,096 rows. With 32,768 rows, each version is run once; a matrix of scores has 4 GiB. A package is not run if
it needs more than 20 GB, or more than the machine had free: what it needs is then computed from its memory for fewer
rows, which grows with the square of their number (in NTXentLoss of pytorch-metric-learning with its cube).
With 256, nearly all of the memory is code and pages of the process that any call touches."""


def measured(environments: Path, pairs: Sequence[int]) -> list[dict[str, Any]]:
    """What `benchmarks.speed.loss_peers` found, by case and number of pairs."""
    environments.mkdir(exist_ok=True)
    make_environment("losses", environments, sys.executable)
    done = run_child(
        [
            str(interpreter(environments, "losses")),
            "-W",
            "ignore",
            "-m",
            "benchmarks.speed.loss_peers",
            *map(str, pairs),
        ],
        cwd=ROOT,
        env=os.environ | SETTINGS | {"PYTHONPATH": str(ROOT)},
        stderr=None,
        limit=1800,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(found: Sequence[dict[str, Any]]) -> str:
    """The page: a table of cases that were run several times, and one of those with many rows."""
    several = [_compared(case) for case in found if "difference" in case]
    many = [_once(case) for case in found if "difference" not in case]
    both = "infomax, package"
    header = ["loss", "N", "difference: loss, gradients", "time", both, "memory", both]
    return "\n\n".join(
        [
            ABOUT,
            "Time and memory: those of infomax over those of the package.",
            table(header, several),
            f"With {MANY_ROWS:,} rows, once:",
            table(["loss", "time", "infomax", "package", "memory", "infomax", "package"], many),
            *dict.fromkeys(case["about"] for case in found),
            "`python -m benchmarks.speed.losses`\n",
        ]
    )


def _compared(case: dict[str, Any]) -> list[str]:
    seconds, memory = case["seconds"], case["mebibytes"]
    return [
        case["case"],
        f"{case['pairs']:,}",
        ", ".join(f"{each:.0e}" for each in case["difference"]),
        number(seconds[0] / seconds[1]),
        ", ".join(map(duration, seconds)),
        number(memory[0] / memory[1]),
        f"{memory[0]:,.1f}, {memory[1]:,.1f} MiB",
    ]


def _once(case: dict[str, Any]) -> list[str]:
    (own, other), (of_own, of_other) = case["seconds"], case["mebibytes"]
    known = not math.isnan(other)
    gigabytes = of_other * 2**20 / 1e9
    reason = "out of memory" if gigabytes * 1e9 > MOST_BYTES else "not run"
    return [
        case["case"],
        number(own / other) if known else "",
        duration(own),
        duration(other) if known else f"{reason} (needs {gigabytes:,.0f} GB)",
        number(of_own / of_other) if known else "",
        f"{of_own:,.0f} MiB",
        f"{of_other:,.0f} MiB" if known else "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_output(parser, "speed")
    parser.add_argument("--environments", type=Path, default=ROOT / ".peers", help="folder (default: .peers)")
    parser.add_argument("--pairs", nargs="+", type=int, choices=PAIRS, default=PAIRS, help="default: all")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    found = measured(arguments.environments, arguments.pairs)
    pins = dict(line.split("==") for line in (PINS / "losses.txt").read_text(encoding="utf-8").splitlines())
    versions = ", ".join(f"{name} {pins[name]}" for name in PACKAGES)
    busy = f" {load:.1f} processes of others were running on average when it started." if load > 0.5 else ""
    numbers = ", ".join(f"{n:,}" for n in arguments.pairs)
    about = f"{numbers} pairs, {date.today()}: {versions}; {machine()}.{busy}"
    folder = results.folder("speed", arguments.output)
    found = [case | {"about": about} for case in found]
    if (folder / "losses.json").exists():
        kept = json.loads((folder / "losses.json").read_text(encoding="utf-8"))
        found += [case for case in kept if case["pairs"] not in arguments.pairs]
    names = list(CASES)
    found.sort(key=lambda case: (names.index(case["case"]), case["pairs"]))
    results.replace(folder / "losses.json", json.dumps(found, indent=1) + "\n")
    text = report(found)
    results.replace(folder / "losses.md", text)
    print(text)


if __name__ == "__main__":
    interrupts.run(main)
