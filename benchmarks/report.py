"""What the reports share: the description of the machine, Markdown tables and pages, numbers, figures."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy
import torch

import infomax
from benchmarks.results import replace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")


def machine() -> str:
    """Versions of the software and the machine, on one line."""
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
    """The model without trade mark signs if the system reports it; else the architecture."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return " ".join(models[0].replace("(R)", "").replace("(TM)", "").split()) if models else platform.machine()


def provenance(rows: Iterable[Mapping[str, str]]) -> str:
    """Dates, versions and machines of the rows of a sweep, on one line."""
    found = {(row["machine"], row["date"]) for row in rows if row["machine"]}
    days: dict[str, list[str]] = {}
    for where, day in sorted(found):
        days.setdefault(where, []).append(day)
    return "; ".join(f"{some[0]}{f' to {some[-1]}' if len(some) > 1 else ''}: {where}" for where, some in days.items())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column aligned left, the others right.

    Raises:
        ValueError: if a row and the header differ in their number of cells.
    """
    lines = [_line(header), _line([":---", *["---:"] * (len(header) - 1)])]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row must have {len(header)} cells, as the header; got {len(row)}: {row}")
        lines.append(_line(row))
    return "\n".join(lines)


def every_run(path: Path, columns: str = "") -> str:
    """A sentence that links the CSV beside the page; ``columns`` says what it has in addition to the page."""
    return f"Every run{f', with {columns}' if columns else ''}: [{path.name}](./{path.name})."


def number(value: float, *, signed: bool = False) -> str:
    """Two decimals below 100, none below 100,000, scientific notation above; "–" for NaN."""
    if math.isnan(value):
        return "–"
    size = abs(value)
    return format(value, ("+" if signed else "") + (".2f" if size < 100 else ",.0f" if size < 1e5 else ".1e"))


def failures(rows: Iterable[Mapping[str, str]], *columns: str) -> list[str]:
    """Paragraphs with the runs that have an error, named by these columns; empty without any."""
    lines = [f"- {', '.join(row[name] for name in columns)}: {row['error']}" for row in rows if row["error"]]
    return ["Failed runs:", "\n".join(lines)] if lines else []


def write_page(path: Path, parts: Iterable[str]) -> str:
    """Write the paragraphs to the Markdown file beside a CSV; return the text."""
    text = "\n\n".join(parts) + "\n"
    replace(path.with_suffix(".md"), text)
    return text


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw in the style of all figures of the benchmarks; the settings of matplotlib stay as they were."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **options: P.kwargs) -> R:
        import matplotlib  # noqa: PLC0415 - an extra

        with matplotlib.rc_context(_STYLE):
            return draw(*args, **options)

    return wrapped


#: The width of figures, in inches: that of a text column of 740 pixels at 100 dots per inch.
WIDTH = 7.4
#: Colours that do not depend on red and green: Okabe and Ito 2008, without yellow.
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f", "#8c564b")
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 11,
    "figure.labelsize": 9.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.title_fontsize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that does not depend on a display."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    return Figure(figsize=(width, height), layout="constrained")


def _line(cells: Sequence[str]) -> str:
    # A bar inside a cell would start a new cell.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _memory() -> int | None:
    """Memory of this machine in GB (10⁹ bytes); ``None`` if the system does not report it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (AttributeError, ValueError, OSError):
        return None
