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


HEADER = ("inputs", "tried", "right", "refused by name", "wrong")


def main() -> int:
    """Run the generators and print the table."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GENERATORS, default=GENERATORS)
    parser.add_argument("--count", type=int, help="inputs of each generator; by default its own large number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV file of the table; rows of other generators stay as they are")
    arguments = parser.parse_args()
    rows = read(arguments.output) if arguments.output and arguments.output.exists() else {}
    faults = 0
    for name in arguments.only:
        generator = importlib.import_module(f"attack.{name}")
        start, count = time.monotonic(), Counter()
        for outcome in generator.attack(arguments.count or generator.LARGE, arguments.seed):
            count[outcome.kind] += 1
            if outcome.kind == "wrong":
                print(f"{name}: {outcome.case}: {outcome.detail}", file=sys.stderr, flush=True)
        faults += count["wrong"]
        rows[generator.TITLE] = [count.total(), count["right"], count["refused"], count["wrong"]]
        print(f"{name}: {dict(count)} in {time.monotonic() - start:.0f} s", flush=True)
        if arguments.output:  # after each, so that an interruption loses one
            with arguments.output.open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(
                    [HEADER, *([title, *row] for title, row in rows.items())]
                )
    for row in (HEADER, *([title, *row] for title, row in rows.items())):
        print("{:50} {:>8} {:>8} {:>16} {:>8}".format(*row))
    return min(faults, 1)


def read(path):
    """The counts of a table by title."""
    with path.open(newline="") as file:
        return {title: list(map(int, counts)) for title, *counts in list(csv.reader(file))[1:]}


if __name__ == "__main__":
    sys.exit(main())
