"""The large attack: every generator at its full size, and the table of what became of the inputs."""

import argparse
import csv
import importlib
import sys
import time
from collections import Counter
from pathlib import Path

#: Modules of this directory, each with ``TITLE``, ``LARGE`` (inputs of the large attack) and ``attack(count, seed)``.
GENERATORS = ("settings", "in_memory", "files", "losses", "pickles", "archives", "checkpoints", "kills", "disks")


def main() -> int:
    """Run the generators and print the table."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GENERATORS, default=GENERATORS)
    parser.add_argument("--count", type=int, help="inputs of each generator; by default its own large number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the table here, as CSV")
    arguments = parser.parse_args()
    rows, faults = [], 0
    for name in arguments.only:
        generator = importlib.import_module(f"attack.{name}")
        start, count = time.monotonic(), Counter()
        for outcome in generator.attack(arguments.count or generator.LARGE, arguments.seed):
            count[outcome.kind] += 1
            if outcome.kind == "wrong":
                print(f"{name}: {outcome.case}: {outcome.detail}", file=sys.stderr, flush=True)
        faults += count["wrong"]
        rows.append((generator.TITLE, count.total(), count["right"], count["refused"], count["wrong"]))
        print(f"{name}: {dict(count)} in {time.monotonic() - start:.0f} s", flush=True)
    header = ("inputs", "tried", "right", "refused by name", "wrong")
    for row in (header, *rows):
        print("{:45} {:>8} {:>8} {:>16} {:>8}".format(*row))
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows((header, *rows))
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
