"""Pieces that the reports share: the line that names the machine, Markdown tables, numbers in them."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy
import torch

import infomax


def machine() -> str:
    """Versions and machine, on one line."""
    memory = _memory()
    parts = [
        f"infomax {infomax.__version__}",
        f"torch {torch.__version__}",
        f"numpy {numpy.__version__}",
        f"Python {platform.python_version()}",
        f"{os.cpu_count()} cores ({_processor()})",
        *([f"{memory} GB memory"] if memory is not None else []),
    ]
    return ", ".join(parts)


def _processor() -> str:
    """The model, where the system tells, without signs of trade marks; else the kind."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return " ".join(models[0].replace("(R)", "").replace("(TM)", "").split()) if models else platform.machine()


def provenance(rows: Iterable[Mapping[str, str]]) -> str:
    """When, with what and on what the rows of a sweep were measured, on one line."""
    found = {(row["machine"], row["date"]) for row in rows if row["machine"]}
    days: dict[str, list[str]] = {}
    for where, day in sorted(found):
        days.setdefault(where, []).append(day)
    return "; ".join(f"{some[0]}{f' to {some[-1]}' if len(some) > 1 else ''}: {where}" for where, some in days.items())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right.

    Raises:
        ValueError: for a row that has not as many cells as the header.
    """
    lines = [_line(header), _line([":---", *["---:"] * (len(header) - 1)])]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row must have {len(header)} cells, as the header; got {len(row)}: {row}")
        lines.append(_line(row))
    return "\n".join(lines)


def number(value: float, *, signed: bool = False) -> str:
    """Two decimals, none from 100 on, and a power of ten from 100,000 on; "–" for NaN."""
    if math.isnan(value):
        return "–"
    size = abs(value)
    return format(value, ("+" if signed else "") + (".2f" if size < 100 else ",.0f" if size < 1e5 else ".1e"))


def _line(cells: Sequence[str]) -> str:
    # A bar inside a cell would begin another one.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _memory() -> int | None:
    """Of this machine, in GB (10⁹ bytes); ``None`` where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (AttributeError, ValueError, OSError):
        return None
