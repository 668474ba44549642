"""Fit several bounds of one structure as one batched model: folds, seeds, or bounds of the same scores."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infomax.bounds import Bound
from infomax.io.batches import draws
from infomax.progress import no_progress
from infomax.training.batched import MOST, BatchedBounds
from infomax.training.fit import History, Schedule, validate

Pairs = tuple[Tensor, Tensor]

#: Largest difference of gradients, relative to the largest of a bound's, from those that the bound computes alone.
_TOLERANCE = 1e-3


def fit_replicas(
    bounds: Sequence[Bound],
    trains: Sequence[Pairs],
    validations: Sequence[Pairs],
    *,
    schedule: Schedule,
    generators: Sequence[torch.Generator],
    tick: Callable[[int], None] = no_progress,
) -> list[tuple[Bound, History]] | None:
    """What :func:`infomax.training.fit` makes of a copy of each, all trained in one pass.

    Each bound has its own rows, batches and validation, and stops by itself: from then on the others go on without it.
    Values differ from those of separate fits by rounding.

    Args:
        bounds: of one class and structure: equal shapes and options.
        trains, validations: pairs of each one. generators: draw each one's batches.
        schedule, tick: as of ``fit``.

    Returns:
        fitted copies, each with its history; ``None`` if these bounds cannot be trained together: their structures
        differ, :func:`torch.vmap` refuses them, their losses draw random numbers or keep what is no buffer, or the
        first gradients are not those that each computes alone. Nothing has happened to them, or to random states.
    """
    sizes = {schedule.batch(len(x)) for x, _ in trains}
    if len(sizes) > 1 or not schedule.steps:
        return None
    (batch,) = sizes
    copies = [copy.deepcopy(bound).train() for bound in bounds]
    for bound, pairs in zip(copies, trains, strict=True):
        bound.warm_start(*pairs)
    if not _agrees(copies, trains, batch):
        return None
    batches = [draws(len(x), batch, own) for (x, _), own in zip(trains, generators, strict=True)]
    replicas = [_Replica(*each) for each in zip(copies, trains, validations, batches, strict=True)]
    for first in range(0, len(replicas), MOST):
        _train(replicas[first : first + MOST], schedule, tick)
    return [(replica.bound, replica.history) for replica in replicas]


def _agrees(bounds: Sequence[Bound], trains: Sequence[Pairs], batch: int) -> bool:
    """Whether bounds that are trained together have, at the start, the gradients that each has alone."""
    if len({type(bound) for bound in bounds}) > 1:
        return False
    together, alone = copy.deepcopy(list(bounds)), copy.deepcopy(list(bounds))
    device = trains[0][0].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        before = torch.get_rng_state()
        try:
            model = BatchedBounds(together)
            for part in (slice(batch), slice(-batch, None)):  # the second time, of what the first may have left behind
                pairs = [(x[part], y[part]) for x, y in trains]
                model.differentiate(pairs)
                if not torch.equal(torch.get_rng_state(), before):
                    return False
                found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.learned.values()]
                known = [_attributes(bound) for bound in alone]
                if not all(
                    _close([g[i] for g in found], *each) for i, each in enumerate(zip(alone, pairs, strict=True))
                ):
                    return False
                if not all(map(_same, known, map(_attributes, alone))):
                    return False
        except Exception:  # whatever it is: alone they work, or will say why not
            return False
    return True


def _attributes(bound: Bound) -> list[dict[str, object]]:
    """Of each part, what it holds beside the tensors of its state."""
    return [dict(vars(part)) for part in bound.modules()]


def _same(before: list[dict[str, object]], after: list[dict[str, object]]) -> bool:
    """Whether nothing was put in an attribute: it would be lost."""
    return all(
        old.keys() == new.keys() and all(new[name] is old[name] for name in old)
        for old, new in zip(before, after, strict=True)
    )


def _close(found: Sequence[Tensor], bound: Bound, pairs: Pairs) -> bool:
    """Whether these are the gradients that ``bound`` has of these pairs."""
    learned = [parameter for parameter in bound.parameters() if parameter.requires_grad]
    wanted = torch.autograd.grad(bound.loss(*pairs), learned, allow_unused=True, materialize_grads=True)
    differences = [one - other for one, other in zip(found, wanted, strict=True)]
    largest, furthest = (torch.stack([each.abs().max() for each in of]).max() for of in (wanted, differences))
    # One that diverges at the first batch does so in either way.
    return bool(furthest <= _TOLERANCE * largest) or not bool(largest.isfinite())


@dataclass(eq=False)
class _Replica:
    """One of several bounds in training, with the best state so far."""

    bound: Bound
    pairs: Pairs
    validation: Pairs
    batches: Iterator[Tensor]
    history: History = field(default_factory=History)
    least: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._keep()

    def _keep(self) -> None:
        self.best = {name: value.clone() for name, value in self.bound.state_dict().items()}

    def goes_on(self, step: int, schedule: Schedule) -> bool:
        """Validate, and say whether more steps may help."""
        value, loss = validate(self.bound, self.validation)
        self.history.steps.append(step)
        self.history.validation.append(value)
        self.history.diverged = not math.isfinite(loss)
        if loss < self.least:
            self.least, self.history.best_step = loss, step
            self._keep()
        stale = step - self.history.best_step >= schedule.patience * schedule.check_every
        return not stale and not self.history.diverged

    def finish(self) -> None:
        """Leave the bound as it was best."""
        self.bound.load_state_dict(self.best)
        self.bound.eval()


def _train(replicas: Sequence[_Replica], schedule: Schedule, tick: Callable[[int], None]) -> None:
    device = replicas[0].pairs[0].device
    active, model, done = list(replicas), BatchedBounds([replica.bound for replica in replicas]), 0
    for step in range(schedule.steps + 1):
        if schedule.checks(step):
            model.store()
            going = [i for i, replica in enumerate(active) if replica.goes_on(step, schedule)]
            tick(len(active) * (step - done))
            done = step
            if not going or step == schedule.steps:
                break
            if len(going) < len(active):
                active = [active[i] for i in going]
                model.keep(going)
        rows = [next(replica.batches).to(device) for replica in active]
        model.differentiate([(r.pairs[0][own], r.pairs[1][own]) for r, own in zip(active, rows, strict=True)])
        model.step(schedule.rate(step))
    for replica in replicas:
        replica.finish()
