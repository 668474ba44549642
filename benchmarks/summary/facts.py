"""Numbers that documents quote, from the committed CSV files; the tests compare documents with these."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from statistics import mean, median

from benchmarks import sweep
from benchmarks.accuracy import abroad
from benchmarks.accuracy.default.rows import (
    DESIGNED,
    HELD_OUT,
    LARGE,
    MANY,
    Duel,
    Results,
    Share,
    columns,
    covered,
    duels,
    family_of,
    load,
    on_common_samples,
    rejected,
)
from benchmarks.choices import DEFAULT
from benchmarks.errors import Row, absolute_error, at, by_task, failure
from benchmarks.results import folder

#: The families that version 0.2 was measured on, and those of its design.
FAMILIES = (*abroad.DESIGNED, *abroad.HELD_OUT)


@cache
def rows(room: str, name: str) -> Sequence[Row]:
    """The rows of a committed CSV without those that failed."""
    found = sweep.read(folder(room) / f"{name}.csv")
    return [row for row in found if not (failure(row) if "estimator" in row else row.get("error"))]


@cache
def results() -> Results:
    """All rows of the default, and those of the peers."""
    own = folder("accuracy")
    return load(own / "default.csv", own / "independence.csv", own / "known_mi.csv", folder("peers") / "peers.csv")


def known(estimator: str, n: int) -> list[Row]:
    """Runs of an estimator of infomax on the 40 tasks of "Beyond Normal"."""
    return [row for row in at(rows("accuracy", "known_mi"), n) if row["estimator"] == estimator]


def error_on_the_40(n: int, estimator: str = DEFAULT) -> float:
    """Mean absolute error in nats, each task with equal weight."""
    return mean(by_task(known(estimator, n), absolute=True).values())


def seconds_on_the_40(n: int, estimator: str = DEFAULT) -> float:
    """Median CPU seconds of one estimate."""
    return median(float(row["seconds"]) for row in known(estimator, n))


def peers() -> list[tuple[str, float, float, int]]:
    """Peers with an estimate on nine tenths of the 40 samples: name, error, ours on the same samples, their number."""
    pairs = on_common_samples(results())
    most = max(len(theirs) for _, (theirs, _) in pairs)
    found = [
        (name, absolute_error(theirs), absolute_error(ours), len(ours))
        for name, (theirs, ours) in pairs
        if len(theirs) >= 0.9 * most
    ]
    return sorted(found, key=lambda peer: peer[1])


def comparisons() -> list[Duel]:
    """The default and the most accurate peer on each of the 40 samples, selected with knowledge of the truth."""
    return duels(results().ours, results().peers, MANY)


def lost() -> list[Duel]:
    """Comparisons in which a peer is closer by more than the margin."""
    return [duel for duel in comparisons() if duel.lost]


def one_column() -> dict[str, tuple[float, float]]:
    """Mean absolute error and median CPU seconds on the samples that scikit-learn accepts, by estimator."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows("peers", "peers"):
        found[row["estimator"]].append(row)
    tasks = {row["task"] for row in found["scikit-learn: mutual_info_regression"]}
    for name in (DEFAULT, "ksg"):
        found[f"infomax: {name}"] = [row for row in known(name, MANY) if row["seed"] == "0"]
    own = {name: [row for row in some if row["task"] in tasks] for name, some in found.items()}
    return {
        name: (absolute_error(some), median(float(row["seconds"]) for row in some))
        for name, some in own.items()
        if len(some) == len(tasks)
    }


def times_as_long(peer: str) -> float:
    """CPU time of the default over that of a peer, for one column on each side."""
    found = one_column()
    return found[f"infomax: {DEFAULT}"][1] / found[peer][1]


def own_draws(n: int, families: Sequence[str] = ()) -> Share:
    """Intervals that contain the truth, of runs with draws of their own (version 0.1)."""
    some = at(results().runs, n)
    return covered([row for row in some if not families or family_of(row["task"]) in families])


def own_draws_of_the_design() -> list[Share]:
    """The same for the families of the design, by n."""
    return [own_draws(n, DESIGNED) for n in (200, 1_000, MANY)]


def own_draws_held_out() -> Share:
    """The same for the families that were held out for version 0.1."""
    return own_draws(1_000, HELD_OUT)


def level() -> Share:
    """Tests that reject where the sides are independent (version 0.1)."""
    return rejected([row for row in results().tests if row["dependent"] == "0"])


def elsewhere(families: Sequence[str] = FAMILIES, *, least: int = 0, most: int = MANY) -> list[Row]:
    """Runs of version 0.2 on data of other structure, with these numbers of rows."""
    return [
        row
        for row in rows("accuracy", "abroad")
        if family_of(row["task"]) in families and least <= int(row["n"]) <= most
    ]


def far_off(some: Iterable[Row]) -> tuple[int, int]:
    """How many runs are far off, and how many of these have a warning or an interval that contains the truth."""
    off = [row for row in some if abroad.far(row)]
    return len(off), sum(map(abroad.said, off))


def worst(n: int, least: float) -> list[Row]:
    """The run with the largest error of each family, where that exceeds ``least`` nats, the largest first."""
    found: dict[str, Row] = {}
    for row in at(elsewhere(), n):
        family = family_of(row["task"])
        if abs(float(row["bias"])) > max(least, _error(found.get(family))):
            found[family] = row
    return sorted(found.values(), key=lambda row: -_error(row))


def _error(row: Row | None) -> float:
    return abs(float(row["bias"])) if row else 0.0


def dependent(case: str, column: str = "pvalue") -> Share:
    """Tests that reject, of independent sides whose rows depend on each other."""
    return rejected([row for row in rows("accuracy", "dependence") if row["case"] == case], column)


def power(effect: str, test: str) -> Share:
    """Tests of time series that reject, by effect and package."""
    return rejected(
        [row for row in sweep.read(folder("accuracy") / "dependence_power.csv") if row["case"] == effect], test
    )


def warned() -> tuple[Share, Share]:
    """Runs of version 0.1 with a large error: those with a warning; those whose interval contains the truth."""
    large = [row for row in results().runs if _error(row) > LARGE]
    return Share(sum(bool(row["warnings"]) for row in large), len(large)), covered(large)


def selection_seconds(data: str, method: str) -> float:
    """Mean CPU seconds to rank the features of one fold."""
    some = [row for row in rows("accuracy", "selection") if (row["data"], row["method"]) == (data, method)]
    return mean(float(row["seconds_a_fold"]) for row in some)


def ratio(case: str, figure: str) -> float:
    """A ratio of ``speed.csv``, from the most recent machine that has it."""
    found = [row for row in sweep.read(folder("speed") / "speed.csv") if (row["case"], row["figure"]) == (case, figure)]
    return float(max(found, key=lambda row: row["date"])["ratio"])


def slower_losses(pairs: int) -> tuple[int, int, float]:
    """How many losses with this many pairs take longer than those of other packages, of how many; the largest ratio."""
    found = json.loads((folder("speed") / "losses.json").read_text(encoding="utf-8"))
    ratios = [case["seconds"][0] / case["seconds"][1] for case in found if case["pairs"] == pairs]
    return sum(ratio > 1 for ratio in ratios), len(ratios), max(ratios)


def quick_seconds() -> float:
    """Median CPU seconds of a quick estimate with at most 50 columns a side (version 0.1)."""
    return median(float(row["seconds"]) for row in at(results().quick, MANY) if columns(row["task"]) <= 50)


def share(found: Share, decimals: int = 0) -> str:
    """In per cent."""
    return f"{found.value:.{decimals}%}".replace("%", " %")
