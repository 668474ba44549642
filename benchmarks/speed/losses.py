"""The losses of other packages and those of infomax on the same embeddings: values, gradients, time and memory.

    python -m benchmarks.speed.losses            # ten minutes; makes an environment for the packages

writes ``losses.md``. The packages are installed in ``.peers/losses`` (``benchmarks/peers/requirements/losses.txt``).
"""

from __future__ import annotations

import argparse
import json
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
from benchmarks.speed.timing import duration
from infomax import interrupts

ROOT = Path(__file__).parents[2]
PACKAGES = ("info-nce-pytorch", "pytorch-metric-learning", "lightly", "open_clip_torch")
ABOUT = """The inputs are N pairs of float32 embeddings of dimension 128, divided by their length in the loss, at
temperature 0.1. The work is a loss and its gradients, on one thread. The two versions alternate in one process; times
are medians of CPU time. Memory is the peak of one call in addition to the inputs, in a process of its own. NT-Xent and
SupCon have N rows of both views together, SupCon 16 of each class. Memory banks and `negative_keys` have 4 N rows, and
the packages compare a row with these and its own partner alone, as `mask=` does here. "Difference" is the largest one
of three batches (one, for 4,096 pairs): of the loss less the documented constant (the logarithm of the number
compared; none for SigLIP), in nats, and of the gradients, relative to their length.

NTXentLoss of pytorch-metric-learning compares each pair of positives with each pair of negatives, which is too much
memory for 4,096 rows. With 32,768 rows, infomax is run alone: a matrix of scores has 4 GiB.
With 256, nearly all of the memory is code and pages of the process that any call touches."""


def measured(environments: Path) -> list[dict[str, Any]]:
    """What `benchmarks.speed.loss_peers` found, by case and number of pairs."""
    environments.mkdir(exist_ok=True)
    make_environment("losses", environments, sys.executable)
    done = run_child(
        [str(interpreter(environments, "losses")), "-W", "ignore", "-m", "benchmarks.speed.loss_peers"],
        cwd=ROOT,
        env=os.environ | SETTINGS | {"PYTHONPATH": str(ROOT)},
        stderr=None,
        limit=1800,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(found: Sequence[dict[str, Any]], about: str) -> str:
    """The page: a table of cases with both versions, and one of infomax alone."""
    both = [_compared(case) for case in found if "difference" in case]
    alone = [_alone(case) for case in found if "difference" not in case]
    header = ["loss", "N", "difference", "of gradients", "time", "infomax", "package", "memory", "infomax", "package"]
    return "\n\n".join(
        [
            ABOUT,
            "Time and memory: those of infomax over those of the package.",
            table(header, both),
            "infomax alone:",
            table(["loss", "N", "time", "memory"], alone),
            about + "\n",
        ]
    )


def _compared(case: dict[str, Any]) -> list[str]:
    seconds, memory = case["seconds"], case["mebibytes"]
    return [
        case["case"],
        f"{case['pairs']:,}",
        *(f"{each:.0e}" for each in case["difference"]),
        number(seconds[0] / seconds[1]),
        *map(duration, seconds),
        number(memory[0] / memory[1]),
        *(f"{each:,.1f} MiB" for each in memory),
    ]


def _alone(case: dict[str, Any]) -> list[str]:
    return [
        case["case"],
        f"{case['pairs']:,}",
        duration(case["seconds"][0]),
        f"{case['mebibytes'][0]:,.0f} MiB",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_output(parser, "speed")
    parser.add_argument("--environments", type=Path, default=ROOT / ".peers", help="folder (default: .peers)")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    found = measured(arguments.environments)
    pins = dict(line.split("==") for line in (PINS / "losses.txt").read_text(encoding="utf-8").splitlines())
    versions = ", ".join(f"{name} {pins[name]}" for name in PACKAGES)
    busy = f"{load:.1f} processes of others were running on average when it started." if load > 0.5 else ""
    about = f"{date.today()}: {versions}; {machine()}. {busy} `python -m benchmarks.speed.losses`"
    text = report(found, about)
    results.replace(results.folder("speed", arguments.output) / "losses.md", text)
    print(text)


if __name__ == "__main__":
    interrupts.run(main)
