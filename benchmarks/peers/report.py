"""The table of signed errors of other packages, and of infomax on the same samples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import infomax
from benchmarks.choices import DEFAULT, OTHERS
from benchmarks.errors import MARGIN, Row, absolute_error, failure, signed_errors
from benchmarks.peers.runner import ESTIMATORS, peer_of
from benchmarks.report import every_run, provenance, table, write_page
from benchmarks.sweep import read

#: Runs by task and estimator.
Runs = Mapping[tuple[str, str], Sequence[Row]]

OURS = "infomax: "
REFERENCE = f"{OURS}{DEFAULT}"

NOTES = """\
Mean absolute errors in nats{mean}, over the tasks on which the estimator has a result. All packages run with their
own defaults on one thread. torch-mist evaluates on its training samples; the neural estimators of benchmark-mi train
on one half and evaluate on the other. scikit-learn and ennemi accept one column of x and one of y only.

"CPU s" is the median CPU time of a call; "MB" is the peak memory of the process. Each run of a peer has its own
process; the processes of infomax include torch and ran other estimates before. Versions of one pair share their draws
and differ in their marginals only. Estimators based on ranks, such as those of infomax, return the same value for all
of them."""


def write_report(path: Path, ours: Path, pins: Path) -> str:
    """Write the report of a CSV beside it, with our runs from the CSV ``ours`` if it exists; return the text."""
    rows = read(path)
    parts = report(rows, our_rows(read(ours) if ours.exists() else [], rows), versions(pins, rows))
    return write_page(path, [*parts, every_run(path)])


def our_rows(rows: Iterable[Row], peers: Iterable[Row]) -> list[Row]:
    """Our rows with default settings on samples of the peers; the names of our estimators get a prefix."""
    given = {(row["task"], row["n"], row["seed"]) for row in peers}
    return [
        {**row, "estimator": OURS + row["estimator"]}
        for row in rows
        if (row["task"], row["n"], row["seed"]) in given and row.get("mode", "default") == "default"
    ]


def versions(pins: Path, rows: Iterable[Row]) -> list[str]:
    """``name version`` of each peer in the rows, from its list of packages."""
    found = []
    for peer in dict.fromkeys(map(peer_of, _ordered({row["estimator"] for row in rows}, ESTIMATORS))):
        lines = (pins / f"{peer}.txt").read_text(encoding="utf-8").splitlines()
        found += [line.replace("==", " ") for line in lines if line.startswith(f"{peer}==")]
    return found


def report(rows: Sequence[Row], ours: Sequence[Row], peer_versions: Sequence[str]) -> list[str]:
    """Paragraphs: what was run; for each n a table, and the tasks on which a peer is better."""
    parts = [f"{provenance(rows)}. Peers: {', '.join(peer_versions)}."]
    for n in sorted({row["n"] for row in rows}, key=int):
        runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in (*ours, *rows):
            if row["n"] == n:
                runs[row["task"], row["estimator"]].append(row)
        seeds = max(len(some) for some in runs.values())
        notes = NOTES.format(mean=f" (means over {seeds} seeds)" if seeds > 1 else "")
        parts += [f"## n = {int(n):,}", notes, errors_table(runs), where_better(runs)]
    return parts


def errors_table(runs: Runs) -> str:
    """One line per estimator: ours, then those of the peers by their error."""
    tasks, estimators = _axes(runs)
    lines = []
    for name in estimators:
        own = [row for task in tasks for row in runs.get((task, name), [])]
        done = [task for task in tasks if math.isfinite(absolute_error(runs.get((task, name), [])))]
        ours = [row for task in done for row in runs.get((task, REFERENCE), [])]
        order = (not name.startswith(OURS), absolute_error(own))
        cells = [name, str(len(done)), _size(own), _size(ours), str(sum(bool(failure(row)) for row in own))]
        cells += [_number(median, own, "seconds", ".1f"), _number(max, own, "memory", ".0f")]
        lines.append((order, cells))
    header = ["estimator", "tasks", "mean abs. error", f"{REFERENCE} on these", "failed runs", "CPU s", "MB"]
    return table(header, [cells for _, cells in sorted(lines, key=lambda line: line[0])])


def where_better(runs: Runs) -> str:
    """A list of the tasks on which peers are more accurate than our default by more than `MARGIN`."""
    tasks, estimators = _axes(runs)
    if REFERENCE not in estimators:
        return f"{REFERENCE} was not run on these samples."
    lines = []
    for task in tasks:
        mine = runs.get((task, REFERENCE), [])
        sizes = {name: absolute_error(runs.get((task, name), [])) for name in estimators if not name.startswith(OURS)}
        better = sorted((size, name) for name, size in sizes.items() if mine and size < absolute_error(mine) - MARGIN)
        if better:
            peers = ", ".join(f"{name} ({_cell(runs[task, name])})" for _, name in better)
            lines.append(f"- {task} ({REFERENCE}: {_cell(mine)}): {peers}.")
    if not lines:
        return f"On no task is a peer more accurate than {REFERENCE} by more than {MARGIN} nats."
    return "\n".join(
        [f"Tasks on which a peer is more accurate than {REFERENCE} by more than {MARGIN} nats:", "", *lines]
    )


def _cell(rows: Sequence[Row]) -> str:
    errors, failures = signed_errors(rows), sorted({failure(row) for row in rows} - {""})
    if not errors:
        return ", ".join(failures) or "–"
    text = _short(mean(errors), "+.3f")
    return f"{text} (failed: {', '.join(failures)})" if failures else text


def _size(rows: Sequence[Row]) -> str:
    size = absolute_error(rows)
    return _short(size, ".3f") if math.isfinite(size) else "–"


def _short(value: float, form: str) -> str:
    """Fixed decimals below 1,000, scientific notation above."""
    return format(value, form if abs(value) < 1000 else form.replace("3f", "1e"))


def _number(summary: Callable[[list[float]], float], rows: Iterable[Row], column: str, form: str) -> str:
    values = [float(row[column]) for row in rows if row[column]]
    return format(summary(values), form) if values else "–"


def _axes(runs: Runs) -> tuple[list[str], list[str]]:
    """Tasks and estimators, in the order of their registries, our estimators first."""
    estimators = [*(OURS + name for name in [*OTHERS, *infomax.bounds.names()]), *ESTIMATORS]
    return _ordered({task for task, _ in runs}, infomax.tasks.names()), _ordered({name for _, name in runs}, estimators)


def _ordered(names: Iterable[str], order: Iterable[str]) -> list[str]:
    place = {name: i for i, name in enumerate(order)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))
