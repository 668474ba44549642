"""How fast, how large: ratios to plain torch, to peers and to the machine's limit, each pair of numbers in one run.

    python -m benchmarks.speed                        # everything, on a machine that does nothing else
    python -m benchmarks.speed --sections contrastive # a part; rows of others, or other machines, stay
    python -m benchmarks.speed --quick --output DIR   # small sizes, to see that it works
    python -m benchmarks.speed --report               # the tables anew, from the CSV

writes ``speed.csv``, ``speed.md`` and ``speed.png``. Times are medians of ways that take turns in one process; memory
is what a process of its own needs above its inputs. No number here is asserted in a test.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date
from importlib import import_module
from pathlib import Path

from benchmarks.report import machine, table
from benchmarks.speed_figure import draw
from benchmarks.sweep import RESULTS
from benchmarks.timing import Ratio

#: Modules ``benchmarks.speed_NAME``, each with a docstring and ``ratios(quick) -> Iterator[Ratio]``.
SECTIONS = ("contrastive", "concat", "replicas", "feeding", "neighbours", "entropy", "ranks", "default")

Row = dict[str, str]
COLUMNS = ("section", *(field.name for field in fields(Ratio)), "date", "machine")


def measure(section: str, *, quick: bool) -> Iterator[Row]:
    """The section's rows, one by one."""
    ratios: Callable[[bool], Iterable[Ratio]] = import_module(f"benchmarks.speed_{section}").ratios
    facts = {"section": section, "date": str(date.today()), "machine": machine()}
    for ratio in ratios(quick):
        values = asdict(ratio) | {"ratio": f"{ratio.ratio:.3g}", "x": "" if ratio.x is None else f"{ratio.x:g}"}
        yield {**{name: str(value) for name, value in values.items()}, **facts}


def read(path: Path) -> list[Row]:
    """Rows of an earlier run; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[Row]) -> None:
    """All rows, sections in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: SECTIONS.index(row["section"])))


def by_machine(rows: Sequence[Row], section: str) -> list[list[Row]]:
    """The section's rows of each machine, the last measured first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["section"] == section:
            found.setdefault(row["machine"], []).append(row)
    return sorted(found.values(), key=lambda own: own[0]["date"], reverse=True)


def report(rows: Sequence[Row]) -> str:
    """A table for each section and machine."""
    parts = []
    for section in SECTIONS:
        machines = by_machine(rows, section)
        if not machines:
            continue
        about = (import_module(f"benchmarks.speed_{section}").__doc__ or section).strip()
        parts += [f"## {about.splitlines()[0].rstrip('.')}", *about.split("\n\n")[1:]]
        for own in machines:
            parts.append(table(_HEADER, map(_line, own)))
            parts.append(f"{own[0]['date']}: {own[0]['machine']}. `python -m benchmarks.speed --sections {section}`")
    return "\n\n".join(parts) + "\n"


_HEADER = ["case", "ratio", "is", "target", "reached", "ours", "other", "threads"]


def _line(row: Row) -> list[str]:
    ratio = Ratio(row["case"], row["figure"], float(row["ratio"]), row["target"], row["ours"], row["other"])
    reached = {True: "yes", False: "**no**", None: ""}[ratio.reached]
    return [
        *(row[name] for name in ("case", "ratio", "figure", "target")),
        reached,
        row["ours"],
        row["other"],
        row["threads"],
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the tables anew from the CSV")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder to write to (default: benchmarks/results)")
    arguments = parser.parse_args(argv)
    path = arguments.output / "speed.csv"
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
    (arguments.output / "speed.md").write_text(report(rows), encoding="utf-8")
    last = [row for section in SECTIONS for own in by_machine(rows, section)[:1] for row in own]
    draw(last, arguments.output / "speed.png")
    print(f"wrote {arguments.output / 'speed.md'}")


if __name__ == "__main__":
    main()
