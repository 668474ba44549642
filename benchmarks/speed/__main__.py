"""Speed and memory: ratios to plain PyTorch, to other packages and to the limit of the machine.

    python -m benchmarks.speed                        # everything, on an idle machine
    python -m benchmarks.speed --sections contrastive # a part; rows of other sections and machines stay
    python -m benchmarks.speed --quick --output DIR   # small sizes, as a check
    python -m benchmarks.speed --report               # the tables from the CSV alone

writes ``speed.csv``, ``speed.md`` and ``speed.png``. Times are medians over repetitions, in which the compared versions
alternate in one process. Memory is measured in a separate process, without the inputs. No test asserts these numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date
from importlib import import_module

from benchmarks import results
from benchmarks.report import machine
from benchmarks.speed.figure import draw
from benchmarks.speed.report import SECTIONS, Row, by_machine, read, report, write
from benchmarks.speed.timing import Ratio
from infomax import interrupts


def measure(section: str, *, quick: bool) -> Iterator[Row]:
    """The rows of a section, one by one."""
    ratios: Callable[[bool], Iterable[Ratio]] = import_module(f"benchmarks.speed.{section}").ratios
    facts = {"section": section, "date": str(date.today()), "machine": machine()}
    for ratio in ratios(quick):
        values = asdict(ratio) | {"ratio": f"{ratio.ratio:.3g}", "x": "" if ratio.x is None else f"{ratio.x:g}"}
        yield {**{name: str(value) for name, value in values.items()}, **facts}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the tables from the CSV")
    results.add_output(parser, "speed")
    arguments = parser.parse_args(argv)
    path = results.folder("speed", arguments.output) / "speed.csv"
    rows = read(path)
    for section in () if arguments.report else arguments.sections:
        new = []
        for row in measure(section, quick=arguments.quick):
            new.append(row)
            print(
                f"{section}: {row['case']}: {row['ratio']} {row['figure']} ({row['ours']}, {row['other']})", flush=True
            )
        replaced = {(row["section"], row["machine"]) for row in new}
        rows = [row for row in rows if (row["section"], row["machine"]) not in replaced] + new
        write(path, rows)
    results.replace(path.with_suffix(".md"), report(rows))
    last = [row for section in SECTIONS for own in by_machine(rows, section)[:1] for row in own]
    draw(last, path.with_suffix(".png"))
    print(f"wrote {path.with_suffix('.md')}")


if __name__ == "__main__":
    interrupts.run(main)
