"""Fit a bound on all folds of the rows but one, and measure it on that one, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.bounds import Bound
from infomax.bounds.base import Kind
from infomax.fitting import (
    BLOCK,
    LEAST_VALIDATION,
    History,
    Schedule,
    blocks,
    evaluate,
    fit,
    no_progress,
    seeded,
    single_thread,
    validation_rows,
)

Pairs = tuple[Tensor, Tensor]

#: Groups of rows that the jackknife leaves out in turn, in each block of held-out rows.
_JACKKNIFE_GROUPS = 20


@dataclass(frozen=True)
class Fold:
    """What one fold's bound said of the rows that it never saw."""

    rows: int
    value: float
    variance: float
    in_sample: float
    kind: Kind
    ceiling: float | None
    history: History


def cross_fit(
    n: int,
    prepare: Callable[[Sequence[NDArray[np.int64]]], Sequence[Pairs]],
    build: Callable[[int], Bound],
    *,
    seed: int,
    folds: int,
    schedule: Schedule,
    device: torch.device,
    tick: Callable[[int], None] = no_progress,
) -> list[Fold]:
    """What each fold's bound says of the rows that trained the others.

    Args:
        n: number of rows.
        prepare: pairs of each of some parts of the rows, standardised with the statistics of the first part.
        build: a fresh bound, to be trained on so many rows.
        seed, folds, schedule, device: as :func:`infomax.estimate`. tick: called with the number of steps done.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    found = []
    for measured in np.array_split(order, folds):
        others = rng.permutation(np.setdiff1d(order, measured))
        split = validation_rows(len(others))
        # A handful of validation rows cannot tell when to stop: then only what has a closed form is fitted.
        steps = schedule if split >= LEAST_VALIDATION else replace(schedule, steps=0)
        with single_thread(device), seeded(int(rng.integers(2**63)), device):
            train, validation, held_out = prepare((others[split:], others[:split], measured))
            fitted = build(len(train[0]))
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            history = fit(fitted, train, validation, schedule=steps, generator=generator, tick=tick)
            tick(schedule.steps - history.steps[-1])
            value, variance = measure_rows(fitted, *held_out, rng)
            block = min(map(len, blocks(len(measured), device)))
            in_sample = evaluate(fitted, *_sample(train, rng), most=block)
        found.append(Fold(len(measured), value, variance, in_sample, fitted.kind, fitted.ceiling(block), history))
    return found


def _sample(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """At most four blocks of the rows, drawn without replacement."""
    x, y = pairs
    rows = torch.from_numpy(rng.permutation(len(x))[: 4 * BLOCK]).to(x.device)
    return x[rows], y[rows]


@torch.no_grad()
def measure_rows(bound: Bound, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[float, float]:
    """The bound on held-out rows, and the variance of that value by a delete-a-group jackknife."""
    value, variance = evaluate(bound, x, y), 0.0
    for rows in blocks(len(x), x.device):
        share = len(rows) / len(x)
        groups = list(torch.from_numpy(rng.permutation(len(rows))).to(x.device).chunk(_JACKKNIFE_GROUPS))
        left_out = bound.leave_out(x[rows], y[rows], groups).double()
        factor = (len(groups) - 1) / len(groups)
        variance += share**2 * factor * float((left_out - left_out.mean()).square().sum())
    return value, variance
