"""`estimate`: split, fit, measure on rows that trained nothing, judge → :class:`Estimate`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict, overload

import numpy as np
import torch
from torch import Tensor

from infomax import bounds
from infomax.bounds import Bound
from infomax.distributed.ranks import check_same, rank, shared_out, world_size
from infomax.estimation.diagnostics import SubsampleWarning, judge_result, judge_samples, judge_training
from infomax.estimation.problem import DEFAULT, BoundLike, Problem, check_bound, check_device, is_classical
from infomax.estimators import classical
from infomax.estimators.default import estimator as anchored
from infomax.io.samples import InfomaxWarning
from infomax.progress import progress_bar
from infomax.results.estimate import Estimate
from infomax.statistics.counts import entropy_limit
from infomax.statistics.marginals import Margins, fit_margins
from infomax.training.cross_fitting import cross_fit
from infomax.training.fit import BLOCK, Schedule, can_train


@overload
def estimate(
    x: Any,
    y: Any,
    *,
    bound: BoundLike = ...,
    seed: int = ...,
    device: str | torch.device | None = ...,
    progress: bool = ...,
    quick: bool = ...,
    folds: int | None = ...,
    margins: Margins = ...,
    schedule: Schedule | None = ...,
    shared: bool = ...,
) -> Estimate: ...
@overload
def estimate(
    x: Any,
    y: Any,
    *,
    bound: list[BoundLike] | list[str] | list[Bound],
    seed: int = ...,
    device: str | torch.device | None = ...,
    progress: bool = ...,
    quick: bool = ...,
    folds: int | None = ...,
    margins: Margins = ...,
    schedule: Schedule | None = ...,
    shared: bool = ...,
) -> list[Estimate]: ...
def estimate(
    x: Any,
    y: Any,
    *,
    bound: BoundLike | Sequence[BoundLike] = DEFAULT,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
    quick: bool = False,
    folds: int | None = None,
    margins: Margins = "normal",
    schedule: Schedule | None = None,
    shared: bool = False,
) -> Estimate | list[Estimate]:
    """How much do ``x`` and ``y`` tell about each other?

    The rows are split into folds. For each fold a bound is fitted on the other rows (a tenth of them or more kept apart
    to stop training), and measured on the fold: every row is measured once, by a bound that it did not train. By
    default that is a log-ratio which starts from the copula that fits best and learns the rest, "anchored": an
    estimate, not a bound, and not the critic of that name, the most accurate that there is here without tuning;
    :func:`infomax.estimators.default.measure` says how it works. It comes with a test of independence, ``pvalue``.

    Args:
        x, y: samples, ``(N,)`` or ``(N, D)``, row i of ``x`` paired with row i of ``y`` by position: numpy arrays,
            memory maps, :class:`StoredColumns`, torch tensors, data frames or sequences, of real, integer or boolean
            numbers. At least 20 rows.
        bound: "anchored", a name from :func:`infomax.bounds.names`, "gaussian", "ksg" or "plugin", a
            :class:`~infomax.Bound` of fitting dimensions, or a list of these for a list of estimates. Copies of a
            module are fitted from new initial parameters (``reset_parameters`` of its parts; those without one, and
            frozen ones, are taken as they come, and must not have been trained on these rows); the module itself is
            not changed.
        seed: decides the split, the initial parameters and the batches; the same seed gives the same number.
        device: where to compute; by default the device of ``x`` if that is a tensor, else the CPU.
        progress: show a bar on standard error (with tqdm installed).
        quick: two folds and short training, for a first look.
        folds: number of folds, 2 or more, at most a quarter of the rows; by default 5, 2 if quick, and for "anchored"
            10 below 4,000 rows.
        margins: how columns are standardised, with the training rows' statistics: "normal" (normal scores, see
            :func:`infomax.statistics.fit_margins`), "standard" or "none". "anchored" always takes normal scores.
        schedule: steps, batch size and learning rate.
        shared: whether all ranks of ``torch.distributed`` call this with the same samples, and share the work: bounds,
            if there are as many as ranks, else the folds of each. Every rank gets the estimate that one process would
            make, to rounding. "anchored", whose folds are one model, and what trains nothing are computed by one rank.

    Samples of more than 2²⁴ cells in all (rows by columns of both) are not copied: memory maps (``np.load(path,
    mmap_mode="r")``) and columns of files (:func:`infomax.open_columns`) may be larger than memory. All is read once
    and checked, and rows are drawn at random, 2²⁰ at most. Bounds that are trained read the rest again, in batches,
    and measure up to 100,000 of the drawn rows, in one fold unless more are asked for; what trains nothing takes those
    drawn. "anchored" takes up to 100,000 rows of any samples. ``n`` is the number of rows that were measured, and a
    :class:`~infomax.SubsampleWarning` says of how many.

    Returns:
        an :class:`Estimate`, in nats.

    Raises:
        ValueError: for rows that differ or are too few, or are labelled alike in another order, values that are missing
            or infinite, an unknown bound, and a critic that returns a wrong shape.
        TypeError: for columns that are not numbers, and a bound that is none.
        infomax.RankError: if ranks share the work and another one fails or dies.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=2000)
    >>> result = estimate(x, x + rng.normal(size=2000), quick=True, progress=False)
    >>> low, high = result.confidence_interval()
    >>> bool(low < 0.5 * np.log(2) < high)  # the truth
    True
    """
    candidates = [bound] if isinstance(bound, str | Bound) else bound
    if not isinstance(candidates, Sequence) or not candidates:
        raise TypeError(f"bound must be a name, a Bound, or a list of these; got {bound!r}")
    if folds is not None and (not isinstance(folds, int | np.integer) or folds < 2):
        raise ValueError(f"folds must be a whole number of at least 2; got {folds!r}")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be an infomax.Schedule; got {schedule!r}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0; got {seed!r}")
    fit_margins(np.zeros((1, 1)), margins)
    for candidate in candidates:
        check_bound(candidate)
    device = check_device(x.device if device is None and isinstance(x, Tensor) else device)
    problem = Problem.of(
        x,
        y,
        candidates,
        seed=int(seed),
        device=device,
        quick=quick,
        folds=folds,
        margins=margins,
        schedule=schedule,
        shared=shared and len(candidates) < world_size(),
    )
    for candidate in candidates:
        problem.check(candidate)
    if shared:
        check_same({"x": problem.x, "y": problem.y})
    # What trains nothing comes first: if it refuses, no work is lost.
    order = sorted(range(len(candidates)), key=lambda i: not is_classical(candidates[i]))
    own = order[rank() :: world_size()] if shared and not problem.shared else order
    problems = [problem.for_bound(candidate) for candidate in candidates]
    steps = sum(problems[i].steps_of(candidates[i]) for i in own) // (world_size() if problem.shared else 1)
    with (
        progress_bar(progress and steps > 0, steps) as advance,
        torch.inference_mode(False),
        torch.enable_grad(),
    ):

        def judge(some: Sequence[int]) -> list[_Judged]:
            return [_estimate_one(problems[i], candidates[i], advance) for i in some]

        if not shared:
            found = judge(order)
        elif not problem.shared:
            found = shared_out(order, judge)
        else:
            found = [judge([i])[0] if problem.trains(candidates[i]) else shared_out([i], judge)[0] for i in order]
    judged = dict(zip(order, found, strict=True))
    results = []
    for i in range(len(candidates)):
        result, cautions = judged[i]
        for caution in cautions:
            warnings.warn(f"{result.bound}: {caution}", type(caution), stacklevel=2)
        results.append(replace(result, warnings=tuple(map(str, cautions))))
    return results[0] if isinstance(bound, str | Bound) else results


_Judged = tuple[Estimate, list[InfomaxWarning]]


def _estimate_one(problem: Problem, bound: BoundLike, advance: Callable[[int], None]) -> _Judged:
    """The estimate, and what to say of it."""
    x, y = problem.x, problem.y
    name = bound if isinstance(bound, str) else bound.name or type(bound).__name__
    facts: _Facts = {"bound": name, "n": len(x), "seed": problem.seed, "limit": None}
    if not x.shape[1] or not y.shape[1]:
        side = "x" if not x.shape[1] else "y"
        caution = InfomaxWarning(f"{side} is constant: it tells nothing, and the mutual information is 0 exactly")
        return Estimate(0.0, 0.0, 0.0, "estimate", **facts), [caution]
    facts["limit"] = entropy_limit(x, y)
    cautions = list(judge_samples(*problem.looked_at(), *_densities(bound)))
    if len(x) < problem.rows:
        cautions.insert(0, SubsampleWarning(f"{len(x)} of {problem.rows} rows are {_used_for(problem, bound)}"))
    if is_classical(bound):
        estimator = classical.ESTIMATORS[name]
        shares = estimator.measure(x, y)
        text = estimator.caution(x, y, shares)
        cautions += [InfomaxWarning(text)] if text else []
        mi = float(shares.local.mean())
        result = Estimate(mi, shares.stderr, shares.gap, "estimate", **facts, local=shares.local)
        return result, cautions + list(judge_result(replace(result, gap=0.0), len(x)))
    if bound == DEFAULT:
        draws = 99 if problem.quick else 199
        found = anchored.measure(
            x,
            y,
            seed=problem.seed,
            folds=problem.folds_of(bound),
            schedule=problem.schedule_of(bound),
            device=problem.device,
            replicas=anchored.default_replicas(len(x), quick=problem.quick),
            draws=draws,
            tick=advance,
        )
        result = Estimate(
            float(found.local.mean()),
            found.stderr,
            found.gap,
            anchored.ESTIMATOR.kind,
            **facts,
            pvalue=found.pvalue,
            permutations=draws,
            history=found.history,
            local=found.local,
        )
        idle = found.counted or not problem.schedule_of(bound).steps
        cautions += judge_training(idle or bool(found.history), "an elliptical copula")
        # Of the gap, the share of what the network found is no sign of too few rows.
        return result, cautions + list(judge_result(replace(result, gap=found.overfitted), len(x)))
    folds = problem.folds_of(bound)
    build = partial(problem.build, bound)
    if problem.sampled is None:
        method = partial(cross_fit, len(x), problem.prepare, build, shared=problem.shared)
    else:
        method = partial(problem.sampled.fit, build, problem.margins)
    measured = method(
        seed=problem.seed,
        folds=folds,
        schedule=problem.schedule_of(bound),
        device=problem.device,
        tick=advance,
    )
    learned_from = problem.rows - len(x) // folds
    trained = not problem.schedule_of(bound).steps or can_train(learned_from)
    cautions += judge_training(trained, "what this bound fits in closed form")
    mi = sum(fold.rows / len(x) * fold.value for fold in measured)
    in_sample = sum(fold.rows / len(x) * fold.in_sample for fold in measured)
    variance = sum((fold.rows / len(x)) ** 2 * fold.variance for fold in measured)
    result = Estimate(
        mi,
        _floored(math.sqrt(variance), len(x)),
        in_sample - mi,
        measured[0].kind,
        **facts,
        ceiling=min((fold.ceiling for fold in measured if fold.ceiling is not None), default=None),
        history=tuple(fold.history for fold in measured),
    )
    return result, cautions + list(judge_result(result, min(BLOCK, len(x) // folds)))


def _used_for(problem: Problem, bound: BoundLike) -> str:
    if problem.sampled is None or bound == DEFAULT or is_classical(bound):
        return "used, drawn at random"
    return "measured, drawn at random; others train"


def _densities(bound: BoundLike) -> tuple[bool, bool]:
    """Whether x, and whether y, is described by a density."""
    if bound == DEFAULT:
        return False, False
    if is_classical(bound):
        return (bound == "gaussian",) * 2
    return False, (bound if isinstance(bound, Bound) else bounds.get(bound)).density_of_y


def _floored(stderr: float, n: int) -> float:
    """Information worth less than one parameter, 1/n nats, cannot be told from none."""
    return math.hypot(stderr, 1 / n)


class _Facts(TypedDict):
    bound: str
    n: int
    seed: int
    limit: float | None
