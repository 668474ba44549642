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
from benchmarks.report import provenance, table, write_page
from benchmarks.sweep import read

#: Runs by task and estimator.
Runs = Mapping[tuple[str, str], Sequence[Row]]

OURS = "infomax: "
REFERENCE = f"{OURS}{DEFAULT}"

NOTES = """\
Signed errors in nats, estimate − truth{mean}; the smallest error on each task is bold. All packages run with their own
defaults on one thread. torch-mist evaluates on its training samples; the neural estimators of benchmark-mi train on one
half and evaluate on the other. –: not run (scikit-learn and ennemi accept one column of x and one of y only).

Seconds are CPU time of the call. Memory is the peak of the process in MB. Each run of a peer has its own process; the
processes of infomax include torch and ran other estimates before. Versions of one pair share their draws and differ in
their marginals only. Estimators based on ranks, such as those of infomax, return the same value for all of them."""


def write_report(path: Path, ours: Path, pins: Path) -> str:
    """Write the report of a CSV beside it, with our runs from the CSV ``ours`` if it exists; return the text."""
    rows = read(path)
    return write_page(path, report(rows, our_rows(read(ours) if ours.exists() else [], rows), versions(pins, rows)))


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
    """One line per task, then summaries of the estimators."""
    tasks, estimators = _axes(runs)
    lines = []
    for task in tasks:
        sizes = {name: absolute_error(runs.get((task, name), [])) for name in estimators}
        best = min(sizes.values())
        truths = [row["truth"] for (of, _), some in runs.items() if of == task for row in some if row["truth"]]
        cells = (_cell(runs.get((task, name), []), sizes[name] == best < math.inf) for name in estimators)
        lines.append([task, f"{float(truths[0]):.3f}" if truths else "–", *cells])

    def foot(title: str, of: Callable[[str], str]) -> list[str]:
        return [f"**{title}**", "", *map(of, estimators)]

    def all_runs(name: str) -> list[Row]:
        return [row for task in tasks for row in runs.get((task, name), [])]

    def reference(name: str) -> str:
        mine = [task for task in tasks if math.isfinite(absolute_error(runs.get((task, name), [])))]
        return _size([row for task in mine for row in runs.get((task, REFERENCE), [])])

    lines.append(foot("mean absolute error", lambda name: _size(all_runs(name))))
    if REFERENCE in estimators:
        lines.append(foot(f"{REFERENCE} on the same tasks", reference))
    lines.append(foot("failed runs", lambda name: str(sum(bool(failure(row)) for row in all_runs(name)))))
    lines.append(foot("CPU seconds, median", lambda name: _number(median, all_runs(name), "seconds", ".1f")))
    lines.append(foot("memory in MB, peak", lambda name: _number(max, all_runs(name), "memory", ".0f")))
    return table(["task", "truth", *estimators], lines)


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


def _cell(rows: Sequence[Row], bold: bool = False) -> str:
    errors, failures = signed_errors(rows), sorted({failure(row) for row in rows} - {""})
    if not errors:
        return ", ".join(failures) or "–"
    text = f"**{_short(mean(errors), '+.3f')}**" if bold else _short(mean(errors), "+.3f")
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
