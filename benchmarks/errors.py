"""Errors of estimates, from the rows of a sweep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

Row = Mapping[str, str]

#: Two errors count as equal if they differ by no more than this, in nats.
MARGIN = 0.01


def failure(row: Row) -> str:
    """Why a run has no finite estimate, in one word; empty if it has one."""
    if row["error"].startswith("TimeoutExpired"):
        return "time-out"
    if row["error"] or not row["estimate"]:
        return row["estimate"] or "error"
    return "" if math.isfinite(float(row["estimate"])) else row["estimate"]


def signed_errors(rows: Iterable[Row]) -> list[float]:
    """Estimate − truth of the runs with an estimate."""
    return [float(row["estimate"]) - float(row["truth"]) for row in rows if not failure(row)]


def absolute_error(rows: Iterable[Row]) -> float:
    """Mean absolute error over the runs with an estimate; infinite without any."""
    errors = signed_errors(rows)
    return mean(map(abs, errors)) if errors else math.inf


def by_task(rows: Iterable[Row], *, absolute: bool = False) -> dict[str, float]:
    """Mean error of each task over its runs, or mean absolute error."""
    found: dict[str, list[float]] = {}
    for row in rows:
        error = float(row["bias"])
        found.setdefault(row["task"], []).append(abs(error) if absolute else error)
    return {task: mean(values) for task, values in found.items()}


def at(rows: Iterable[Row], n: int) -> list[Row]:
    """The rows with ``n`` samples."""
    return [row for row in rows if row["n"] == str(n)]


def sizes(rows: Sequence[Row]) -> list[int]:
    """Every n, ascending."""
    return sorted({int(row["n"]) for row in rows})
