"""Rows of ``benchmarks.speed``, and the page with one table per section and machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from benchmarks import sweep
from benchmarks.report import table
from benchmarks.speed.timing import Ratio

#: Modules ``benchmarks.speed.NAME``, each with ``ratios(quick) -> Iterator[Ratio]``; the report has their docstrings.
SECTIONS = (
    "contrastive",
    "options",
    "concat",
    "feeding",
    "neighbours",
    "pairs",
    "entropy",
    "ranks",
    "default",
    "importing",
)

#: A table with more rows than this is shortened.
LONGEST = 16

Row = dict[str, str]
COLUMNS = ("section", *(field.name for field in fields(Ratio)), "date", "machine")


def read(path: Path) -> list[Row]:
    """Rows of earlier runs; empty without a file."""
    return sweep.read(path) if path.exists() else []


def write(path: Path, rows: Sequence[Row]) -> None:
    """Replace the file by these rows, in the order of `SECTIONS`."""
    sweep.write(path, COLUMNS, sorted(rows, key=lambda row: SECTIONS.index(row["section"])))


def by_machine(rows: Sequence[Row], section: str) -> list[list[Row]]:
    """The rows of a section by machine, the most recent first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["section"] == section:
            found.setdefault(row["machine"], []).append(row)
    return sorted(found.values(), key=lambda own: own[0]["date"], reverse=True)


def report(rows: Sequence[Row]) -> str:
    """The page: for each section a table of the machine that was measured last."""
    parts = []
    for section in SECTIONS:
        machines = by_machine(rows, section)
        if not machines:
            continue
        about = (import_module(f"benchmarks.speed.{section}").__doc__ or section).strip()
        last, *others = machines
        shown = headline(last)
        parts += [
            f"## {about.splitlines()[0].rstrip('.')}",
            *about.split("\n\n")[1:],
            table(_HEADER, map(_line, shown)),
        ]
        parts.append(f"{last[0]['date']}: {last[0]['machine']}. `python -m benchmarks.speed --sections {section}`")
        more = len(last) - len(shown) + sum(map(len, others))
        if more:
            parts.append(f"{more} more rows, of this and of other machines: [speed.csv](./speed.csv).")
    return "\n\n".join(parts) + "\n"


def headline(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows that a page shows: all of a short table; of a long one those with a target, and where infomax is slower.

    If there are none, the first of a long table.
    """
    chosen = [row for row in rows if row["target"] or _slower(row)]
    return rows if len(rows) <= LONGEST else (chosen or rows[:LONGEST])


def _slower(row: Row) -> bool:
    return row["figure"].startswith("times faster") and float(row["ratio"]) < 1


_HEADER = ["case", "ratio", "unit", "target", "met", "infomax", "other"]


def _line(row: Row) -> list[str]:
    ratio = Ratio(row["case"], row["figure"], float(row["ratio"]), row["target"], row["ours"], row["other"])
    reached = {True: "yes", False: "**no**", None: ""}[ratio.reached]
    return [
        *(row[name] for name in ("case", "ratio", "figure", "target")),
        reached,
        row["ours"],
        row["other"],
    ]
