"""A bound as an estimator: fitted and measured by cross-fitting."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch

from infomax.bounds import Bound
from infomax.bounds import base as bounds
from infomax.critics.initialisation import initialised, is_own, may_draw
from infomax.estimators.base import Estimator, Measurement, untrained
from infomax.estimators.problem import Problem
from infomax.isolation import seeded
from infomax.progress import no_progress
from infomax.training.cross_fitting import cross_fit
from infomax.training.fit import BLOCK, Schedule, can_train, own_draws
from infomax.training.streaming import MOST_TRAINED


class TrainedBound(Estimator):
    """A bound that is fitted on the other folds and measured on its own.

    Args:
        bound: a name from :func:`infomax.bounds.names`, or a module. Copies of a module start from new initial
            parameters; the module itself does not change.

    Raises:
        ValueError: for a name that is not known.

    >>> estimator = TrainedBound("infonce")
    >>> estimator.name, estimator.kind, estimator.trains
    ('infonce', 'lower', True)
    """

    trains = True
    symmetric = False
    shares_folds = True
    usage = "measured, drawn at random; the others are used for training"
    most_rows: ClassVar[int] = MOST_TRAINED

    def __init__(self, bound: str | Bound) -> None:
        self.bound = bound
        self.facts: Bound | type[Bound] = bounds.get(bound) if isinstance(bound, str) else bound
        self.name = bound if isinstance(bound, str) else bound.name or type(bound).__name__
        self.kind = self.facts.kind
        self.ceiling_formula = self.facts.ceiling_formula
        self.densities = (False, self.facts.density_of_y)

    @property
    def family(self) -> type[Bound]:
        """The class of the bound."""
        return self.facts if isinstance(self.facts, type) else type(self.facts)

    def check(self, problem: Problem) -> None:
        """Raise unless float32 represents the samples, and a bound that was passed as a module fits four rows."""
        bound, dims = self.bound, problem.dims
        if problem.margins == "none":
            problem.check_float32()
        if not isinstance(bound, Bound) or not all(dims):
            return
        if (bound.x_dim, bound.y_dim) != dims:
            came = (bound.x_dim, bound.y_dim)
            raise ValueError(
                f"bound must have dimensions {dims}, those of x and y without constant columns; got {came}"
            )
        if bound.fixed_units() and problem.margins != "none":
            raise ValueError(f"margins must be 'none' for a bound with a known entropy of y; got {problem.margins!r}")
        if any(part.is_meta for part in (*bound.parameters(), *bound.buffers())):
            raise ValueError("bound must have data; got parameters on the meta device")
        scripted = [type(part).__name__ for part in bound.modules() if isinstance(part, torch.jit.ScriptModule)]
        if scripted:
            raise TypeError(f"bound must not have TorchScript modules: copies do not train; got {scripted[0]}")
        tried = copy.deepcopy(bound).float().to(problem.device).eval()
        with own_draws(tried, 0, problem.device):
            value = tried(*problem.tensors(problem.x[:4], problem.y[:4]))
        if any(parameter.requires_grad for parameter in tried.parameters()) and not value.requires_grad:
            raise ValueError(
                "bound must return values with a gradient for its parameters; got none: its modules detach their "
                "outputs, or compute without torch"
            )

    def select(self, problem: Problem) -> Problem:
        """For samples that are not copied, the rows that are measured; the remaining rows are used for training."""
        return problem if problem.sampled is None else problem.first(problem.sampled.measured)

    def steps(self, problem: Problem) -> int:
        """Steps of the schedule for every fold."""
        return self._schedule(problem).steps * self._folds(problem)

    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        """The mean of the folds' values on their held-out rows, with a jackknife's standard error."""
        n, folds, schedule = len(problem.x), self._folds(problem), self._schedule(problem)
        build = partial(self._build, problem)
        method = (
            partial(cross_fit, n, problem.prepare, build, shared=problem.shared)
            if problem.sampled is None
            else partial(problem.sampled.fit, build, problem.margins)
        )
        measured = method(seed=problem.seed, folds=folds, schedule=schedule, device=problem.device, tick=tick)
        value = sum(fold.rows / n * fold.value for fold in measured)
        in_sample = sum(fold.rows / n * fold.in_sample for fold in measured)
        variance = sum((fold.rows / n) ** 2 * fold.variance for fold in measured)
        trained = not schedule.steps or can_train(problem.rows - n // folds)
        return Measurement(
            value,
            math.hypot(math.sqrt(variance), 1 / n),  # 1/n nats, worth one parameter, is indistinguishable from zero
            in_sample - value,
            overfitting=in_sample - value,
            rows_at_a_time=min(BLOCK, n // folds),
            kind=measured[0].kind,
            ceiling=min((fold.ceiling for fold in measured if fold.ceiling is not None), default=None),
            history=tuple(fold.history for fold in measured),
            folds=tuple(fold.value for fold in measured),
            remarks=() if trained else (untrained("what this bound fits in closed form"),),
        )

    def _folds(self, problem: Problem) -> int:
        return problem.split(1 if problem.sampled is not None else 2 if problem.quick else 5)

    def _schedule(self, problem: Problem) -> Schedule:
        return problem.schedule or (Schedule(steps=200) if problem.quick else Schedule())

    def _build(self, problem: Problem, n: int, seed: int) -> Bound:
        """A fresh bound for one fold, to be trained on ``n`` rows."""
        bound = self.bound
        if isinstance(bound, Bound):
            build, foreign = partial(copy.deepcopy, bound), may_draw(bound)
        else:
            family = bounds.get(bound)
            build, foreign = (
                partial(family.for_estimation, *problem.dims, n),
                not is_own(family),
            )
        with seeded(seed, problem.device) if foreign else contextlib.nullcontext():
            return initialised(build, seed).to(problem.device)
