"""Cross-fitting: for each fold, fit a bound on the other folds and measure it on the held-out one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.bounds import Bound
from infomax.bounds.base import Kind
from infomax.distributed.ranks import shared_out
from infomax.progress import no_progress
from infomax.training.fit import (
    BLOCK,
    History,
    Schedule,
    blocks,
    can_train,
    evaluate,
    fit,
    own_draws,
    validation_rows,
)

Pairs = tuple[Tensor, Tensor]
Rows = NDArray[np.int64]

#: Groups that the jackknife leaves out in turn, in each block of held-out rows.
_JACKKNIFE_GROUPS = 20


@dataclass(frozen=True)
class Fold:
    """The values of one fold's bound: on its held-out rows, and on training rows (``in_sample``).

    >>> Fold(rows=200, value=0.5, variance=1e-4, in_sample=0.6, kind="lower", ceiling=None, history=History()).rows
    200
    """

    rows: int
    value: float
    variance: float
    in_sample: float
    kind: Kind
    ceiling: float | None
    history: History


def cross_fit(
    n: int,
    prepare: Callable[[Sequence[Rows]], Sequence[Pairs]],
    build: Callable[[int, int], Bound],
    *,
    seed: int,
    folds: int,
    schedule: Schedule,
    device: torch.device,
    shared: bool = False,
    tick: Callable[[int], None] = no_progress,
) -> list[Fold]:
    """Fit and measure a bound for each fold; every row is held out once.

    Args:
        n: number of rows.
        prepare: the pairs of several parts of the rows, standardised with the statistics of the first part.
        build: a fresh bound, from the number of rows to train on and the seed of its initial parameters.
        seed, folds, schedule, device: as :func:`infomax.estimate`. shared: whether the ranks share the folds.
        tick: called with the number of steps done.

    >>> from infomax import NWJ
    >>> data = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> def prepare(parts):
    ...     return [(data[part, :1], data[part, 1:]) for part in parts]
    >>> schedule, device = Schedule(steps=20), torch.device("cpu")
    >>> found = cross_fit(200, prepare, lambda n, seed: NWJ(1, 1), seed=0, folds=2, schedule=schedule, device=device)
    >>> [fold.rows for fold in found]
    [100, 100]
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    plans = [_Plan.draw(measured, order, rng) for measured in np.array_split(order, folds)]
    # With too few validation rows to stop training, only the parts with a closed form are fitted.
    steps = schedule if can_train(n - len(plans[-1].measured)) else replace(schedule, steps=0)

    def fit_and_judge(plans: Sequence[_Plan]) -> list[Fold]:
        found = []
        for plan in plans:
            train, validation, held_out = prepare((plan.train, plan.validation, plan.measured))
            bound = build(len(train[0]), plan.seed)
            with own_draws(bound, plan.seed, device):
                generator = torch.Generator().manual_seed(plan.batches)
                history = fit(bound, train, validation, schedule=steps, generator=generator, tick=tick)
                tick(schedule.steps - history.steps[-1])
                found.append(_judge(bound, history, plan, train, held_out))
        return found

    return shared_out(plans, fit_and_judge) if shared else fit_and_judge(plans)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The rows of one fold, and everything random about it."""

    measured: Rows
    train: Rows
    validation: Rows
    seed: int  # of the initial parameters
    batches: int  # seed of the batches
    groups: list[Rows]  # of each block of held-out rows: a random order, whose parts the jackknife leaves out
    sample: Rows  # of the training rows, for the in-sample value

    @staticmethod
    def draw(measured: Rows, rows: Rows, rng: np.random.Generator) -> _Plan:
        others = rng.permutation(np.setdiff1d(rows, measured))
        split = validation_rows(len(others))
        seed, batches = int(rng.integers(2**63)), int(rng.integers(2**63))
        groups = orders_of_blocks(len(measured), rng)
        sample = rng.permutation(len(others) - split)[: 4 * BLOCK]
        return _Plan(measured, others[split:], others[:split], seed, batches, groups, sample)


def _judge(bound: Bound, history: History, plan: _Plan, train: Pairs, held_out: Pairs) -> Fold:
    value, variance = measure_rows(bound, *held_out, plan.groups)
    block = min(map(len, blocks(len(plan.measured), train[0].device)))
    rows = torch.from_numpy(plan.sample).to(train[0].device)
    in_sample = evaluate(bound, train[0][rows], train[1][rows], most=block)
    return Fold(len(plan.measured), value, variance, in_sample, bound.kind, bound.ceiling(block), history)


def orders_of_blocks(n: int, rng: np.random.Generator) -> list[Rows]:
    """A random order of the rows of each block of ``n`` held-out rows."""
    return [rng.permutation(len(block)) for block in blocks(n, torch.device("cpu"))]


@torch.no_grad()
def measure_rows(bound: Bound, x: Tensor, y: Tensor, orders: Sequence[Rows]) -> tuple[float, float]:
    """The bound on held-out rows, and the variance of that value by a delete-a-group jackknife.

    Args:
        orders: of the rows of each block (:func:`orders_of_blocks`); the jackknife leaves out parts of them.
    """
    value, variance = evaluate(bound, x, y), 0.0
    for rows, order in zip(blocks(len(x), x.device), orders, strict=True):
        share = len(rows) / len(x)
        groups = list(torch.from_numpy(order).to(x.device).chunk(_JACKKNIFE_GROUPS))
        left_out = bound.leave_out(x[rows], y[rows], groups).double()
        factor = (len(groups) - 1) / len(groups)
        variance += share**2 * factor * float((left_out - left_out.mean()).square().sum())
    return value, variance
