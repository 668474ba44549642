"""Of the report of :mod:`benchmarks.accuracy.default`, the sections that are about errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean

import infomax
from benchmarks.accuracy.default.rows import (
    DESIGNED,
    HELD_OUT,
    MANY,
    Aim,
    Duel,
    Results,
    Section,
    beside,
    by_family,
    common_sizes,
    duels,
    family_of,
    number3,
    size,
)
from benchmarks.errors import MARGIN, Row, absolute_error, at, by_task
from benchmarks.report import table

#: What the default is held to: the mean absolute error on the 40 tasks of "Beyond Normal", by rows of data.
ACCURACY = {10_000: 0.030, 1_000: 0.060, 200: 0.15}
SEEDS = 3
#: With `MANY` rows: the error of the worst task, and the tasks on which no peer is nearer by more than `MARGIN`.
WORST, UNBEATEN = 0.15, 36
#: Relative errors: of staircases with `MANY` rows, and of one secret task.
STAIRCASE, SECRET, SECRET_TASK, SECRET_ROWS = 0.03, 0.10, "secret-5in500-3", 5_000


def accuracy(results: Results) -> Section:
    """The 40 tasks of "Beyond Normal", beside the best peer on each."""
    wanted = infomax.tasks.names("beyond-normal")
    aims, errors = [], {n: by_task(at(results.ours, n), absolute=True) for n in ACCURACY}
    for n, target in ACCURACY.items():
        figure, goal = f'mean absolute error, 40 tasks of "Beyond Normal", n = {n:,}', f"≤ {target:.2f}"
        if errors[n]:
            value = mean(errors[n].values())
            few = _incomplete(at(results.ours, n), wanted)
            aims.append(Aim(figure, goal, f"{value:.3f}{few}", None if few else value <= target))
        else:
            aims.append(Aim(figure, goal))
    aims += [
        _worst(errors[MANY], _incomplete(at(results.ours, MANY), wanted)),
        _unbeaten(found := duels(results.ours, results.peers, MANY), len(wanted)),
    ]
    if not results.ours:
        return "There are no runs of the default on these tasks.", aims
    of_task = {duel.task: duel for duel in found}
    truth = {row["task"]: float(row["truth"]) for row in results.ours}
    lines = [
        [
            task,
            f"{truth[task]:.3f}",
            *(f"{errors[n][task]:.3f}" if task in errors[n] else "–" for n in sorted(ACCURACY)),
            *(_duel(of_task[task]) if task in of_task else ["–"] * 4),
        ]
        for task in wanted
        if task in truth
    ]
    seeds = len({row["seed"] for row in results.ours})
    notes = (
        f"Mean absolute errors in nats over {seeds} seeds; then signed errors on one sample (seed 0, n = {MANY:,}), "
        "ours and that of the peer nearest to the truth, which is chosen knowing the truth, another from task to task. "
        "Lead: by how much we are nearer. Versions of one pair share their draws."
    )
    header = ["task", "truth", *(f"n = {n:,}" for n in sorted(ACCURACY)), "seed 0", "best peer", "its error", "lead"]
    return "\n\n".join([notes, table(header, lines), _lost(found), _peers(results)]), aims


def _incomplete(rows: Iterable[Row], wanted: Sequence[str]) -> str:
    """Empty if every task has its `SEEDS`; else what there is, in brackets."""
    counts = Counter(row["task"] for row in rows)
    few, many = min(counts.values(), default=0), max(counts.values(), default=0)
    if len(counts) == len(wanted) and few >= SEEDS:
        return ""
    return (
        f" (so far {len(counts)} of {len(wanted)} tasks, {few if few == many else f'{few} to {many}'} of {SEEDS} seeds)"
    )


def _worst(errors: dict[str, float], incomplete: str) -> Aim:
    figure, goal = f"error of the worst of these tasks, n = {MANY:,}", f"≤ {WORST:.2f}"
    if not errors:
        return Aim(figure, goal)
    worst = max(errors, key=errors.__getitem__)
    return Aim(figure, goal, f"{errors[worst]:.3f} ({worst})", None if incomplete else errors[worst] <= WORST)


def _unbeaten(found: Sequence[Duel], tasks: int) -> Aim:
    """Ties count for us, and are told."""
    figure = f"tasks on which no peer is nearer to the truth by more than {MARGIN} (n = {MANY:,}, seed 0)"
    goal = f"≥ {UNBEATEN} of {tasks}"
    if not found:
        return Aim(figure, goal)
    lost, tied = sum(duel.lost for duel in found), sum(duel.tied for duel in found)
    unbeaten = len(found) - lost
    reached = f"{unbeaten} of {len(found)} ({unbeaten - tied} nearer by more than that, {tied} tied)"
    return Aim(figure, goal, reached, unbeaten >= UNBEATEN if len(found) == tasks else None)


def _duel(duel: Duel) -> list[str]:
    return [f"{duel.ours:+.3f}", duel.peer, f"{duel.theirs:+.3f}", f"{duel.lead:+.3f}"]


def _lost(found: Sequence[Duel]) -> str:
    if not found:
        return "There are no runs of peers on these samples to compare with."
    lines = [
        f"- {duel.task}: {duel.peer} by {-duel.lead:.3f} ({duel.theirs:+.3f}, ours {duel.ours:+.3f})."
        for duel in found
        if duel.lost
    ]
    if not lines:
        return f"On none of {len(found)} tasks is a peer nearer to the truth by more than {MARGIN} nats."
    return "\n".join([f"Where a peer is nearer to the truth by more than {MARGIN} nats:", "", *lines])


def _peers(results: Results) -> str:
    """Each peer's mean absolute error beside ours on the samples that it was given."""
    found = {
        name: (absolute_error(theirs), absolute_error(ours), len(ours)) for name, (theirs, ours) in beside(results)
    }
    lines = [
        [name, str(samples), number3(theirs), number3(ours)]
        for name, (theirs, ours, samples) in sorted(found.items(), key=lambda item: item[1])
    ]
    header = ["peer", f"samples with an estimate, n = {MANY:,}", "its mean abs. error", "ours on these samples"]
    return table(header, lines) if lines else ""


def hard_cases(results: Results) -> Section:
    """Staircases and a secret in 500 dimensions: relative errors of the means over seeds."""
    stairs = {task: _relative(at(results.runs, MANY), task) for task in infomax.tasks.names("staircase")}
    stairs = {task: errors for task, errors in stairs.items() if errors}
    secret = _relative(at(results.runs, SECRET_ROWS), SECRET_TASK)
    aims = [
        Aim(f"staircases (d = 20, Gaussian and cubed), I = 2 to 10, n = {MANY:,}", f"within {STAIRCASE:.0%}"),
        Aim(f"{SECRET_TASK} (500 dimensions), n = {SECRET_ROWS:,}", f"within {SECRET:.0%}"),
    ]
    if stairs:
        means = {task: mean(errors) for task, errors in stairs.items()}
        worst = max(means, key=lambda task: abs(means[task]))
        within = sum(abs(value) <= STAIRCASE for value in means.values())
        complete = len(means) == len(infomax.tasks.names("staircase"))
        reached = f"{within} of {len(means)}; farthest {means[worst]:+.1%} ({worst})"
        kept = within == len(means) if complete or within < len(means) else None
        aims[0] = Aim(aims[0].figure, aims[0].target, reached, kept)
    if secret:
        aims[1] = Aim(aims[1].figure, aims[1].target, f"{mean(secret):+.1%}", abs(mean(secret)) <= SECRET)
    lines = [
        [task, f"{n:,}", str(len(errors)), f"{mean(errors):+.1%}", f"{max(errors, key=abs):+.1%}"]
        for task, n, errors in [*((t, MANY, e) for t, e in stairs.items()), (SECRET_TASK, SECRET_ROWS, secret)]
        if errors
    ]
    if not lines:
        return "None of these was run with so many rows.", aims
    notes = (
        "Errors relative to the truth: the mean over seeds, which the target is for, and the farthest of single runs."
    )
    absent = [] if secret else [f"{SECRET_TASK} was not run with n = {SECRET_ROWS:,}."]
    absent += [] if stairs else [f"Staircases were not run with n = {MANY:,}."]
    header = ["task", "n", "seeds", "mean error", "farthest run"]
    return "\n\n".join([notes, table(header, lines), *absent]), aims


def families(results: Results) -> Section:
    """Families that the default was designed on, and those that were held out."""
    ns = common_sizes(results.runs)
    if not ns:
        return "There are no runs in default.csv to tell the families apart.", []
    aims = []
    for n in ns:
        held = [row for row in at(results.runs, n) if family_of(row["task"]) in HELD_OUT]
        if held:
            aims.append(Aim(f"mean absolute error, families held out, n = {n:,}", "–", f"{size(held):.3f}"))
    found = by_family(results.runs)
    parts = ["Mean absolute errors in nats, and the task with the largest one where n is largest."]
    for title, wanted in (
        (
            "Families that were held out while the default was designed (their first runs showed two faults, which "
            "were mended; CONTRIBUTING tells which):",
            [f for f in found if f in HELD_OUT],
        ),
        ("Families that it was designed on:", [f for f in found if f in DESIGNED]),
        ("Neither:", [f for f in found if f not in (*DESIGNED, *HELD_OUT)]),
    ):
        if wanted:
            lines = [_family(family, found[family], ns) for family in wanted]
            header = ["family", "tasks", *(f"n = {n:,}" for n in ns), "worst task"]
            parts += [title, table(header, lines)]
    held = [row for family in HELD_OUT for row in found.get(family, [])]
    truth = {row["task"]: float(row["truth"]) for row in held}
    errors = {n: by_task(at(held, n), absolute=True) for n in ns}
    lines = [
        [family_of(task), task, f"{truth[task]:.3f}", *(number3(errors[n].get(task)) for n in ns)] for task in truth
    ]
    if lines:
        parts += ["Task by task, those held out:"]
        parts += [table(["family", "task", "truth", *(f"n = {n:,}" for n in ns)], lines)]
    else:
        parts += ["No family that was held out has been run."]
    return "\n\n".join(parts), aims


def _family(family: str, rows: Sequence[Row], ns: Sequence[int]) -> list[str]:
    errors = {n: by_task(at(rows, n), absolute=True) for n in ns}
    last = next((errors[n] for n in reversed(ns) if errors[n]), {})
    worst = max(last, key=last.__getitem__, default="–")
    means = (number3(mean(errors[n].values()) if errors[n] else None) for n in ns)
    return [family, str(len({row["task"] for row in rows})), *means, f"{worst} ({number3(last.get(worst))})"]


def _relative(rows: Iterable[Row], task: str) -> list[float]:
    return [float(row["bias"]) / float(row["truth"]) for row in rows if row["task"] == task]
