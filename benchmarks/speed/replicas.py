"""Replicas in one pass.

Several InfoNCE bounds with separable critics (20 and 20 columns, two hidden layers, embeddings of 32), each with
initial parameters, rows and batches of its own, trained for the same steps and validated alike, in two ways. Other:
a loop for each one after the other, as public code writes it, with `torch.optim.Adam` as it comes (no fused steps).
Ours: `infomax.training.fit_replicas`, all as one batched model. Both take batches by index from tensors in memory,
neither loads data otherwise. "Difference" is the largest of the values on validation rows, of the two ways, after the
last step; it is rounding, in float32, that training has amplified.

The rows of `estimate` are those of a whole call with five folds, against the same call with its folds in turn, which
takes fused steps. Bounds of several kinds can be one batched model too, each replica with the loss of its own kind; the
last row says what is gained over one kind after the other, as `estimate(bound=[…])` takes them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.speed.timing import Ratio, in_turn
from infomax import InfoNCE, Schedule, bounds, critics, estimate, tasks
from infomax import training as machinery  # not public: what is measured here has no public name

_DIM, _ROWS, _VALIDATION = 20, 4000, 256
#: Hidden width, batch, and the speed-up that is hoped for with eight replicas.
_CASES = ((64, 64, "≥ 4.5"), (256, 256, "≥ 2.5"), (64, 256, ""), (256, 64, ""))
_COUNTS = (1, 2, 4, 8, 16)


@dataclass
class _Problem:
    """Replicas to be trained, and what both ways made of them."""

    hidden: int
    replicas: int
    schedule: Schedule

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = _ROWS + _VALIDATION
        x = torch.randn(self.replicas, rows, _DIM, generator=generator)
        y = 0.6 * x + 0.8 * torch.randn(self.replicas, rows, _DIM, generator=generator)
        self.trains = list(zip(x[:, :_ROWS], y[:, :_ROWS], strict=True))
        self.validations = list(zip(x[:, _ROWS:], y[:, _ROWS:], strict=True))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.bounds = [self._build() for _ in range(self.replicas)]
        self.values: dict[str, list[float]] = {}

    def _build(self) -> InfoNCE:
        return InfoNCE(_DIM, _DIM, critic=critics.Separable(_DIM, _DIM, hidden=(self.hidden, self.hidden)))

    def _generators(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in range(self.replicas)]

    def in_turn(self) -> None:
        """Plain PyTorch, bound by bound."""
        self.values["in turn"] = []
        each = zip(self.bounds, self.trains, self.validations, self._generators(), strict=True)
        for bound, train, validation, generator in each:
            self.values["in turn"].append(_train(copy.deepcopy(bound), train, validation, self.schedule, generator))

    def together(self) -> None:
        """One batched model."""
        fitted = machinery.fit_replicas(
            self.bounds, self.trains, self.validations, schedule=self.schedule, generators=self._generators()
        )
        if fitted is None:
            raise RuntimeError("the replicas were not trained together")
        self.values["together"] = [history.validation[-1] for _, history in fitted]

    def difference(self) -> float:
        """Largest difference of values, nats."""
        pairs = zip(self.values["in turn"], self.values["together"], strict=True)
        return max(abs(one - other) for one, other in pairs)


def _train(
    bound: InfoNCE,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    schedule: Schedule,
    generator: torch.Generator,
) -> float:
    x, y = train
    optimizer = torch.optim.Adam(bound.parameters(), lr=schedule.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps)
    order = torch.empty(0, dtype=torch.long)
    best, state = -torch.inf, copy.deepcopy(bound.state_dict())
    for step in range(schedule.steps + 1):
        if step % schedule.check_every == 0 or step == schedule.steps:
            with torch.no_grad():
                value = float(bound(*validation))
            if value > best:
                best, state = value, copy.deepcopy(bound.state_dict())
        if step == schedule.steps:
            break
        if len(order) < schedule.batch_size:
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        rows, order = order[: schedule.batch_size], order[schedule.batch_size :]
        optimizer.zero_grad()
        loss = -bound(x[rows], y[rows])
        loss.backward()
        optimizer.step()
        scheduler.step()
    bound.load_state_dict(state)
    return value


def ratios(quick: bool) -> Iterator[Ratio]:
    """Eight replicas, growth with their number, and calls of ``estimate``."""
    steps, repeats = (10, 1) if quick else (200, 5)
    for hidden, batch, target in _CASES[: 1 if quick else None]:
        yield _against_loops(_Problem(hidden, 8, _schedule(batch, steps)), target, repeats)
    for hidden, batch, _ in _CASES[: 1 if quick else 2]:
        for count in _COUNTS[: 2 if quick else None]:
            yield _growth(hidden, batch, count, steps, repeats)
    for name in ("infonce", "nwj", "ba")[: 1 if quick else None]:
        yield _folds(name, 500 if quick else 5000, repeats)
    yield _kinds(("infonce", "nwj", "js"), steps, repeats)


def _schedule(batch: int, steps: int) -> Schedule:
    return Schedule(steps=steps, batch_size=batch, learning_rate=1e-3, check_every=25, patience=1000)


def _against_loops(problem: _Problem, target: str, repeats: int) -> Ratio:
    seconds = in_turn({"in turn": problem.in_turn, "together": problem.together}, repeats=repeats)
    milliseconds = {name: 1e3 * value / problem.schedule.steps for name, value in seconds.items()}
    sizes = f"{problem.replicas} replicas, hidden {problem.hidden}, batch {problem.schedule.batch_size}"
    return Ratio(
        f"{sizes}; difference {problem.difference():.0e} nats",
        "times faster than loops in turn",
        seconds["in turn"] / seconds["together"],
        target,
        f"{milliseconds['together']:.2f} ms a step of all",
        f"{milliseconds['in turn']:.2f} ms",
    )


def _growth(hidden: int, batch: int, count: int, steps: int, repeats: int) -> Ratio:
    many, one = (_Problem(hidden, replicas, _schedule(batch, steps)) for replicas in (count, 1))
    seconds = in_turn({"many": many.together, "one": one.in_turn}, repeats=repeats)
    return Ratio(
        f"{count} {'replica' if count == 1 else 'replicas'}, hidden {hidden}, batch {batch}",
        "times the cost of one loop",
        seconds["many"] / seconds["one"],
        "",
        f"{1e3 * seconds['many'] / steps:.2f} ms a step of all",
        f"{1e3 * seconds['one'] / steps:.2f} ms",
        x=count,
    )


def _folds(name: str, n: int, repeats: int) -> Ratio:
    x, y = tasks.get("multinormal-dense-5-5-0.5").sample(n, 0)
    found: dict[str, float] = {}

    def measure(way: str) -> Callable[[], None]:
        def work() -> None:
            found[way] = estimate(x, y, bound=name, progress=False).mi

        return work

    def folds_in_turn() -> None:
        with patch("infomax.training.cross_fitting.fit_replicas", lambda *_, **__: None):
            measure("in turn")()

    seconds = in_turn({"together": measure("together"), "in turn": folds_in_turn}, repeats=repeats)
    difference = abs(found["together"] - found["in turn"])
    return Ratio(
        f"estimate(bound={name!r}), n = {n:,}, 5 + 5 columns; difference {difference:.0e} nats",
        "times faster than folds in turn",
        seconds["in turn"] / seconds["together"],
        "",
        f"{seconds['together']:.2f} s",
        f"{seconds['in turn']:.2f} s",
    )


def _kinds(names: Sequence[str], steps: int, repeats: int) -> Ratio:
    folds, schedule = 5, _schedule(128, steps)
    problem = _Problem(64, folds, schedule)
    made = {name: [bounds.get(name).for_estimation(_DIM, _DIM, _ROWS) for _ in range(folds)] for name in names}

    def fit(*kinds: str) -> None:
        fitted = machinery.fit_replicas(
            [bound for kind in kinds for bound in made[kind]],
            problem.trains * len(kinds),
            problem.validations * len(kinds),
            schedule=schedule,
            generators=[torch.Generator().manual_seed(seed) for _ in kinds for seed in range(folds)],
        )
        if fitted is None:
            raise RuntimeError("the replicas were not trained together")

    def kind_after_kind() -> None:
        for name in names:
            fit(name)

    seconds = in_turn({"together": partial(fit, *names), "in turn": kind_after_kind}, repeats=repeats)
    return Ratio(
        f"{len(names)} kinds of {folds} bounds ({', '.join(names)}) with gaussian_residual critics, batch 128",
        "times faster than kind after kind",
        seconds["in turn"] / seconds["together"],
        "",
        f"{1e3 * seconds['together'] / steps:.2f} ms a step of all",
        f"{1e3 * seconds['in turn'] / steps:.2f} ms",
    )
