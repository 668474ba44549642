"""Fit several bounds of one structure as one batched model: folds, seeds, or bounds of the same scores."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from infomax.batched import Batch, MappedBounds, SeparableBounds
from infomax.bounds import Bound
from infomax.fitting import History, Schedule, draws, no_progress, validate
from infomax.products import fast_products

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
    """What :func:`infomax.fitting.fit` makes of a copy of each, all trained in one pass.

    Each bound has its own rows, batches and validation, and stops by itself: from then on the others go on without it.
    Values differ from those of separate fits by rounding, in float32 through a faster product of matrices too.

    Args:
        bounds: of one structure: equal shapes and options; classes may differ where the critic is separable.
        trains, validations: pairs of each one. generators: draw each one's batches.
        schedule, tick: as of ``fit``.

    Returns:
        fitted copies, each with its history; ``None`` if these bounds cannot be trained together: their structures
        differ, :func:`torch.vmap` refuses them, they draw random numbers, or the first gradients are not those that
        each computes alone. Nothing has happened to them, or to random states, then.
    """
    sizes = {schedule.batch(len(x)) for x, _ in trains}
    if len(sizes) > 1 or not schedule.steps:
        return None
    (batch,) = sizes
    fitted = [copy.deepcopy(bound).train() for bound in bounds]
    for bound, pairs in zip(fitted, trains, strict=True):
        bound.warm_start(*pairs)
    with fast_products():
        for way in (SeparableBounds, MappedBounds):
            if _agrees(way, fitted, trains, batch):
                return _fit(way, fitted, trains, validations, schedule, batch, generators, tick)
    return None


Way = type[SeparableBounds] | type[MappedBounds]


def _agrees(way: Way, bounds: Sequence[Bound], trains: Sequence[Pairs], batch: int) -> bool:
    """Whether bounds that are trained together have, at the start, the gradients that each has alone."""
    device = trains[0][0].device
    rows = torch.arange(batch, device=device).expand(len(bounds), -1)
    together, alone = copy.deepcopy(list(bounds)), copy.deepcopy(list(bounds))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        before = torch.get_rng_state()
        try:
            model = way(together, trains, batch)
            model.differentiate(rows)
        except Exception:  # whatever it is: alone they work, or will say why not
            return False
        if not torch.equal(torch.get_rng_state(), before):
            return False
    found = model.optimiser.gradients_of()
    for one, other, (x, y) in zip(together, alone, trains, strict=True):
        other.loss(x[:batch], y[:batch]).backward()  # type: ignore[no-untyped-call]
        learned = [(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True) if q.requires_grad]
        wanted = torch.cat([torch.zeros_like(q).flatten() if q.grad is None else q.grad.flatten() for _, q in learned])
        got = torch.cat([found[p].flatten() for p, _ in learned])
        largest = float(wanted.abs().max())
        close = torch.isclose(got, wanted, rtol=0.0, atol=_TOLERANCE * largest, equal_nan=True)
        if math.isfinite(largest) and not bool(close.all()):
            return False
    return True


def _fit(
    way: Way,
    bounds: list[Bound],
    trains: Sequence[Pairs],
    validations: Sequence[Pairs],
    schedule: Schedule,
    batch: int,
    generators: Sequence[torch.Generator],
    tick: Callable[[int], None],
) -> list[tuple[Bound, History]]:
    device = trains[0][0].device
    histories = [History() for _ in bounds]
    best = [copy.deepcopy(bound.state_dict()) for bound in bounds]
    least = [math.inf] * len(bounds)
    batches = [draws(len(x), batch, generator) for (x, _), generator in zip(trains, generators, strict=True)]
    active = list(range(len(bounds)))
    model: Batch = way(bounds, trains, batch)
    for step in range(schedule.steps + 1):
        if schedule.checks(step):
            model.store()
            going = []
            for i in active:
                value, loss = validate(bounds[i], validations[i])
                histories[i].steps.append(step)
                histories[i].validation.append(value)
                tick(min(schedule.check_every, step))
                histories[i].diverged = not math.isfinite(loss)
                if loss < least[i]:
                    least[i], histories[i].best_step = loss, step
                    best[i] = copy.deepcopy(bounds[i].state_dict())
                stale = step - histories[i].best_step >= schedule.patience * schedule.check_every
                if not stale and not histories[i].diverged and step < schedule.steps:
                    going.append(i)
            if not going:
                break
            if len(going) < len(active):
                active = going
                model = way([bounds[i] for i in active], [trains[i] for i in active], batch, model.optimiser)
        rows = torch.stack([next(batches[i]) for i in active]).to(device)
        model.differentiate(rows)
        model.optimiser.step(schedule.rate(step))
    for bound, state in zip(bounds, best, strict=True):
        for parameter in bound.parameters():
            parameter.data = parameter.data.clone()  # no longer a view of what they shared
        bound.load_state_dict(state)
        bound.eval()
    return list(zip(bounds, histories, strict=True))
