"""The numbers behind the tables and figures on the default estimator, from the rows of several sweeps."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import infomax
from benchmarks import sweep
from benchmarks.choices import DEFAULT
from benchmarks.errors import MARGIN, Row, at, by_task, failure, sizes
from benchmarks.report import number

#: Families that the default was designed on, and held-out families (CONTRIBUTING.md).
DESIGNED = ("beyond-normal", "normal", "staircase", "secret")
HELD_OUT = ("mixtures", "noise", "student", "margins", "discrete", "images", "trimodal")
#: An absolute error above this should come with a warning.
LARGE = 0.1
#: Level of the tests; 1 − nominal coverage of the intervals.
LEVEL = 0.05
#: Width of the intervals that are evaluated as if they were warnings.
WIDE = 0.3
#: The sample size of most targets.
MANY = 10_000


@dataclass(frozen=True)
class Aim:
    """A line of the summary; ``met`` is None if too few runs are available."""

    criterion: str
    target: str
    result: str = "not run"
    met: bool | None = None


#: A section: Markdown, and its lines of the summary.
Section = tuple[str, list[Aim]]


@dataclass(frozen=True)
class Results:
    """Rows with an estimate, and one line per failed run.

    Attributes:
        runs, quick: the default on all tasks, with default and quick settings. tests: tests of independence.
        ours, peers: the default and other packages on the tasks of "Beyond Normal", with the same samples.
        failures: one line each. missing: names of missing or empty files.
    """

    runs: Sequence[Row]
    quick: Sequence[Row]
    tests: Sequence[Row]
    ours: Sequence[Row]
    peers: Sequence[Row]
    failures: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True)
class Share:
    """``hits`` of ``runs`` independent trials."""

    hits: int
    runs: int

    @property
    def value(self) -> float:
        return self.hits / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval (Clopper and Pearson 1934).

        >>> [round(end, 3) for end in Share(0, 10).interval]
        [0.0, 0.308]
        """
        from scipy.stats import beta  # noqa: PLC0415 - slow to import

        k, n = self.hits, self.runs
        low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
        high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
        return float(low), float(high)


@dataclass(frozen=True)
class Duel:
    """Signed errors on one sample: ours, and that of the most accurate peer."""

    task: str
    ours: float
    peer: str
    theirs: float

    @property
    def lead(self) -> float:
        """How much closer to the truth we are; negative if the peer is closer."""
        return round(abs(self.theirs) - abs(self.ours), 6)

    @property
    def lost(self) -> bool:
        return self.lead < -MARGIN

    @property
    def tied(self) -> bool:
        return abs(self.lead) <= MARGIN


@dataclass(frozen=True)
class Warned:
    """How well a kind of warning predicts large errors."""

    kind: str
    large: int
    runs: int
    all_large: int

    @property
    def precision(self) -> float:
        """Share of large errors among the runs with this warning."""
        return self.large / self.runs if self.runs else math.nan

    @property
    def recall(self) -> float:
        """Share of the large errors with this warning."""
        return self.large / self.all_large if self.all_large else math.nan


def load(path: Path, path_of_tests: Path, known_mi: Path, peers: Path) -> Results:
    """The rows of these files, any of which may be missing.

    Raises:
        SweepError: if none contains a run of the default, or one is not the CSV of a sweep.
    """
    all_runs, all_tests = _rows(path), _rows(path_of_tests)
    wanted = set(infomax.tasks.names("beyond-normal"))
    all_ours = [
        row
        for row in _rows(known_mi)
        if row["estimator"] == DEFAULT and row["mode"] == "default" and row["task"] in wanted
    ]
    if not (all_runs or all_tests or all_ours):
        raise sweep.SweepError(
            f"{path}, {path_of_tests.name} or {known_mi.name} must contain runs of the default; got none"
        )
    found = {path: all_runs, path_of_tests: all_tests, known_mi: all_ours, peers: _rows(peers)}
    done = {file: [row for row in rows if not failure(row)] for file, rows in found.items()}
    failures = [
        _described(row, file.name) for file, rows in found.items() if file != peers for row in rows if failure(row)
    ]
    return Results(
        runs=[row for row in done[path] if row["mode"] == "default"],
        quick=[row for row in done[path] if row["mode"] == "quick"],
        tests=done[path_of_tests],
        ours=done[known_mi],
        peers=[row for row in done[peers] if row["task"] in wanted],
        failures=failures,
        missing=[file.name for file, rows in done.items() if not rows],
    )


def common_sizes(rows: Sequence[Row]) -> list[int]:
    """Every n with runs of more than one family, ascending; every n if there is only one family."""
    ns = sizes(rows)
    several = [n for n in ns if len({family_of(row["task"]) for row in at(rows, n)}) > 1]
    return several or ns


def family_of(task: str) -> str:
    """The family of a task in the registry; "other" for unknown tasks, for example of a plugin."""
    try:
        return infomax.tasks.get(task).family
    except ValueError:
        return "other"


def by_family(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by family: first the families of the design, then held-out ones, then others."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[family_of(row["task"])].append(row)
    order = [*DESIGNED, *HELD_OUT, *sorted(set(found) - {*DESIGNED, *HELD_OUT})]
    return {family: found[family] for family in order if family in found}


def columns(task: str) -> int:
    """Number of columns of x or y, whichever is larger; 0 for an unknown task."""
    try:
        found = infomax.tasks.get(task)
    except ValueError:
        return 0
    return max(found.x_dim, found.y_dim)


def covered(rows: Sequence[Row]) -> Share:
    """Intervals that contain the truth."""
    return Share(sum(int(row["covered"]) for row in rows), len(rows))


def rejected(rows: Sequence[Row], column: str = "pvalue") -> Share:
    """Tests that reject independence."""
    return Share(sum(float(row[column]) <= LEVEL for row in rows), len(rows))


def uniformity(rows: Sequence[Row]) -> tuple[float, float]:
    """The Kolmogorov-Smirnov statistic of the p-values against the uniform distribution, and its p-value."""
    from scipy.stats import kstest  # noqa: PLC0415 - slow to import

    found = kstest([float(row["pvalue"]) for row in rows], "uniform")
    return float(found.statistic), float(found.pvalue)


def duels(ours: Iterable[Row], peers: Iterable[Row], n: int, seed: int = 0) -> list[Duel]:
    """Comparisons on every task that both were run on with this sample."""
    theirs: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in peers:
        if row["n"] == str(n) and row["seed"] == str(seed):
            theirs[row["task"]].append((float(row["bias"]), row["estimator"]))
    found = []
    for row in ours:
        if row["n"] == str(n) and row["seed"] == str(seed) and row["task"] in theirs:
            error, name = min(theirs[row["task"]], key=lambda pair: (abs(pair[0]), pair[1]))
            found.append(Duel(row["task"], float(row["bias"]), name, error))
    return sorted(found, key=lambda duel: duel.lead)


def on_common_samples(results: Results, n: int = MANY) -> list[tuple[str, tuple[list[Row], list[Row]]]]:
    """The runs of each peer with an estimate, and ours on the same samples."""
    ours = {(row["task"], row["seed"]): row for row in at(results.ours, n)}
    found: dict[str, tuple[list[Row], list[Row]]] = {}
    for row in at(results.peers, n):
        if mine := ours.get((row["task"], row["seed"])):
            pair = found.setdefault(row["estimator"], ([], []))
            pair[0].append(row)
            pair[1].append(mine)
    return sorted(found.items())


def kind_of(warning: str) -> str:
    """The kind of a warning: its text up to the first ":" or "(", with # for numbers.

    >>> kind_of("3 of 10 columns have fewer than 20 values: the value may exceed the truth")
    '# of # columns have fewer than # values'
    """
    return re.sub(r"\d[\d,.]*\d|[1-9]", "#", re.split(r"[:(]", warning)[0]).strip()


def warned(rows: Sequence[Row]) -> list[Warned]:
    """Each kind of warning, the most frequent first, after all kinds together ("any")."""
    large = [abs(float(row["bias"])) > LARGE for row in rows]
    found: dict[str, list[bool]] = defaultdict(list)
    for row, is_large in zip(rows, large, strict=True):
        for kind in {kind_of(text) for text in row["warnings"].split(" | ") if text}:
            found[kind].append(is_large)
        if row["warnings"]:
            found["any"].append(is_large)
    order = sorted(found, key=lambda kind: (kind != "any", -len(found[kind]), kind))
    return [Warned(kind, sum(found[kind]), len(found[kind]), sum(large)) for kind in order]


def wide(rows: Sequence[Row]) -> Warned:
    """Wide intervals, evaluated as if they were a warning."""
    large = [abs(float(row["bias"])) > LARGE for row in rows]
    flagged = [is_large for row, is_large in zip(rows, large, strict=True) if width([row]) > WIDE]
    return Warned(f"(interval wider than {WIDE})", sum(flagged), len(flagged), sum(large))


def number3(value: float | None) -> str:
    """Three decimals below 10, fewer above."""
    return "–" if value is None else f"{value:.3f}" if value < 10 else number(value)


def width(rows: Iterable[Row]) -> float:
    return mean(float(row["high"]) - float(row["low"]) for row in rows)


def size(rows: Sequence[Row]) -> float:
    """Mean absolute error, with equal weight for every task."""
    return mean(by_task(rows, absolute=True).values())


def _described(row: Row, file: str) -> str:
    what = row.get("task") or row["pair"]
    quick = ", quick" if row.get("mode") == "quick" else ""
    why = row["error"] or f"the estimate is {failure(row)}"
    return f"{what}, n = {int(row['n']):,}, seed {row['seed']}{quick} ({file}): {why}"


def _rows(path: Path) -> list[sweep.Row]:
    """The rows of a file; empty if it is missing or has only a header."""
    return sweep.read(path) if path.exists() and path.read_bytes().count(b"\n") > 1 else []
