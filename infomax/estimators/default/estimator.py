"""The default estimator: an elliptical copula and a network for its residual, calibrated on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from infomax.estimators.base import Estimator, Measurement, register, untrained
from infomax.estimators.default.copulas import normal_information
from infomax.estimators.default.folds import FEWEST_DISTINCT, Folds, Scored, Side
from infomax.estimators.default.labelled import Labelled, better
from infomax.estimators.default.residual import fit_residuals
from infomax.estimators.default.stacking import apply, stack
from infomax.estimators.nearest_neighbours import FAR, NEAR, by_neighbours
from infomax.estimators.problem import Problem
from infomax.progress import no_progress
from infomax.statistics.counts import codes, copied_rows, plugin, plugin_stderr
from infomax.statistics.marginals import Floats
from infomax.statistics.neighbours import tie_breaker
from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue
from infomax.training.fit import LEAST_VALIDATION, History, Schedule
from infomax.training.streaming import MOST_MEASURED

#: Rows for each combination of values from which on discrete sides are measured by counts.
_ROWS_PER_CELL = 5
#: Below this, rows are scarce: each fold trains on more of them, and training is validated more often.
_FEW_ROWS = 4_000
#: The gap, beyond half of the overfitting: this share of the network's contribution, and this multiple of
#: √((Dx + Dy) / N), the order of the information that functions of so many columns can hide in so few rows. Both were
#: chosen on the design families of tasks.
_MISSED, _HIDDEN = 0.25, 0.5
#: A KSG estimate is computed as well in at most so many dimensions, or if all pairs of rows have at most so many
#: differences of coordinates.
_NEAR_DIMENSIONS, _NEAR_DIFFERENCES = 6, 2e8
#: By how many standard errors the KSG estimate must exceed the stacked one.
_CLEARLY = 3.0


@register("default")
class DefaultEstimator(Estimator):
    """:func:`measure` with the usual folds, replicas and schedule for the number of rows."""

    cost = "a few thousand N, D³"
    use_when = "the default: the most accurate without tuning; with a test of independence"
    reference = "this library; copulas: Ince et al. 2017; JS training: arXiv 1606.00709; stacking: Wolpert 1992"
    trains = True
    most_rows: ClassVar[int] = MOST_MEASURED
    most_cells: ClassVar[int] = 6 * 2**20  # it holds each cell several times

    def check(self, problem: Problem) -> None:
        if problem.margins != "normal":
            raise ValueError(f"margins must be 'normal' for {self.name!r}; got {problem.margins!r}")

    def select(self, problem: Problem) -> Problem:
        return problem.drawn(self.most_cells)

    def steps(self, problem: Problem) -> int:
        """Steps of the schedule: all folds are trained together."""
        return self._schedule(problem).steps

    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        n, schedule = len(problem.x), self._schedule(problem)
        return measure(
            problem.x,
            problem.y,
            seed=problem.seed,
            folds=problem.split(default_folds(n, quick=problem.quick)),
            schedule=schedule,
            device=problem.device,
            replicas=default_replicas(n, quick=problem.quick),
            draws=99 if problem.quick else 199,
            tick=tick,
        )

    @staticmethod
    def _schedule(problem: Problem) -> Schedule:
        return problem.schedule or default_schedule(len(problem.x), quick=problem.quick)


def default_schedule(n: int, *, quick: bool) -> Schedule:
    """How the networks are trained on ``n`` pairs, by default."""
    return Schedule(
        steps=200 if quick else 1500,
        batch_size=128,
        learning_rate=1.5e-2,
        check_every=10 if n < _FEW_ROWS else 25,  # with few rows, a network soon overfits
        patience=15,
    )


def default_folds(n: int, *, quick: bool) -> int:
    """Number of folds of ``n`` pairs, by default."""
    return 2 if quick else 10 if n < _FEW_ROWS else 5


def default_replicas(n: int, *, quick: bool) -> int:
    """Number of networks for each fold of ``n`` pairs: with few rows, a single network overfits their noise."""
    return 2 if n < _FEW_ROWS and not quick else 1


def measure(
    x: Floats,
    y: Floats,
    *,
    seed: int,
    folds: int,
    schedule: Schedule,
    device: torch.device,
    replicas: int = 1,
    draws: int = 199,
    tick: Callable[[int], None] = no_progress,
) -> Measurement:
    r"""Estimate mutual information by a stacked log-ratio of a copula and a network.

    1. Each column is replaced by its normal scores, which does not change the mutual information.
    2. For each fold an elliptical copula is fitted to the other rows
       (:func:`infomax.estimators.default.copulas.fit_copula`). A network learns the residual of the log-ratio by
       logistic loss; validation rows stop its training. Its inputs are the scores, their norm, and indicators of each
       column's frequent values; of many columns, the canonical and principal directions. With ``replicas`` there are
       several networks, each with initial parameters and validation rows of its own, and the score is their mean.
    3. Both scores are computed for the fold's held-out rows, joint and shuffled, and stacked into one calibrated
       log-ratio (:func:`infomax.estimators.default.stacking.stack`). Its mean over the held-out rows is V.
    4. Two corrections for the finite-sample bias are added. For the normal part: the value of the normal copula on all
       rows, bias-corrected, less the held-out one, raw or calibrated, whichever is larger; shrunk towards zero where
       that difference is no larger than its noise, and omitted if a column is discrete. For the network: half of the
       overfitting gap, which is the loss from errors of the parameters when the model is right
       (Efron 1983, doi:10.1080/01621459.1983.10477973: held-out and in-sample errors are equal).
    5. In few dimensions, or with few rows, a KSG estimate is computed as well
       (:func:`infomax.estimators.by_neighbours`). It rarely exceeds the truth; its error is a negative bias. So where
       it exceeds V, with k = 3 or with k = 12 (more bias, less noise), by more than three standard errors of the
       difference (z of them), the estimate moves towards KSG with k = 3 by the share :math:`1 - 9 / z^2`. This finds
       relations that a smooth network does not express: sums of heavy-tailed columns, outliers, codes without an
       order, edges. The interval follows: its upper end includes the rest of the difference and the bias of KSG, at
       most as much again as the value.

    With fewer than 72 rows (128 with two folds) no network is trained and the copula is used alone; the estimate says
    so. Where both sides are discrete, with many rows for each combination of values, the estimate is computed from
    counts instead (:func:`infomax.statistics.plugin`). Where a side is a label otherwise, as one column or as several
    (:func:`infomax.statistics.labels.as_labels`), the estimate is its entropy less the cross-entropy of classifiers
    (:func:`infomax.estimators.default.nominal.measure_labels`), or that of smoothed frequencies if both sides are
    labels (:func:`infomax.estimators.default.tables.measure_tables`). Ten and more numbers whose order carries
    information are measured both ways, and the larger value is kept.

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)``, without constant columns.
        seed, folds, schedule, device: as :func:`infomax.estimate`. replicas: networks of each fold. draws:
            permutations of the test of independence.
        tick: called with the number of training steps done.

    Returns:
        the estimate. Its gap is half of the overfitting (the half that is not in the value), a share of the network's
        contribution, and the order of the information that so many columns can hide in so few rows.
    """
    rng = np.random.default_rng(seed)
    if _is_table(x, y):
        tick(schedule.steps)
        return _of_table(x, y, draws, rng)
    labelled, of_labels = Labelled.of(x, y), None
    if labelled is not None:
        labels_rng = np.random.default_rng((seed, 2))
        of_labels = labelled.measure(draws, labels_rng)
        if labelled.explained(of_labels) or not labelled.ordered(labels_rng):
            tick(schedule.steps)
            return of_labels
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    parts = np.array_split(rng.permutation(len(x)), folds)
    with torch.no_grad():
        sides = Side.of(x), Side.of(y)
        problem = Folds.prepare(sides, parts, rng, device, replicas)
        critic = problem.critic(generator)
        trains = schedule if problem.validation.shape[1] >= LEAST_VALIDATION else None
        history: list[History] = []
        if trains is not None:
            with torch.enable_grad():
                history = fit_residuals(
                    critic,
                    problem.anchors,
                    lambda model, rows: model(*problem.features(rows)),
                    problem.train,
                    problem.validation,
                    schedule=trains,
                    generator=generator,
                    tick=tick,
                )
        tick(schedule.steps - (history[0].steps[-1] if history else 0))
        scored = problem.score(critic, rng)
        pvalue = independence_pvalue(sides[0].scores, sides[1].scores, draws, np.random.default_rng((seed, 1)))
        found = _combine(scored, sides)
    dim = x.shape[1] + y.shape[1]
    cheap = dim <= _NEAR_DIMENSIONS or dim * len(x) ** 2 <= _NEAR_DIFFERENCES
    if cheap and found.local is not None and not copied_rows(x, y):
        found = _with_neighbours(found, found.local, sides, rng)
    remarks = () if history or not schedule.steps else (untrained("an elliptical copula"),)
    found = replace(found, pvalue=pvalue, permutations=draws, history=tuple(history), remarks=remarks)
    return found if labelled is None or of_labels is None else better(of_labels, found, labelled.entropy)


def _is_table(x: Floats, y: Floats) -> bool:
    """Whether every column has few values, and there are many rows for each possible combination of them."""
    few = all(len(np.unique(column)) < FEWEST_DISTINCT for side in (x, y) for column in side.T)
    return few and _ROWS_PER_CELL * math.prod(len(codes(side)[1]) for side in (x, y)) <= len(x)


def _of_table(x: Floats, y: Floats, draws: int, rng: np.random.Generator) -> Measurement:
    """The plug-in estimate, with a permutation test of the same statistic."""
    local, n = plugin(x, y), len(x)
    (values_x, counts_x), (values_y, counts_y) = codes(x), codes(y)
    cells = len(counts_x) * len(counts_y)
    statistics = np.empty((draws + 1, 1))
    for draw in range(draws + 1):
        order = rng.permutation(n) if draw else np.arange(n)
        counts = np.bincount(values_x * len(counts_y) + values_y[order], minlength=cells)
        statistics[draw] = (counts * np.log(np.maximum(counts, 1))).sum()
    pvalue = permutation_pvalue(statistics)
    return Measurement(float(local.mean()), plugin_stderr(x, y), local=local, pvalue=pvalue, permutations=draws)


def _combine(scored: Scored, sides: tuple[Side, Side]) -> Measurement:
    """Steps 3 and 4 of :func:`measure`: calibration, corrections, standard error and gap."""
    n = len(scored.pairs)
    (held_out, weights), (copula, _) = (_calibrated(scored, columns) for columns in ([1, 2], [1]))
    overfitted = max(0.0, float(weights[2]) * scored.gap)
    correction, spread = _normal_correction(scored, sides)
    local = np.empty(n)
    local[scored.rows] = held_out.numpy()
    stderr = math.hypot(float(held_out.std()) / math.sqrt(n), spread, overfitted / math.sqrt(12), 1 / n)
    learned = max(0.0, float(held_out.mean() - copula.mean()))
    columns = sides[0].scores.shape[1] + sides[1].scores.shape[1]
    gap = 0.5 * overfitted + _MISSED * learned + _HIDDEN * math.sqrt(columns / n)
    local = local + correction + 0.5 * overfitted
    return Measurement(float(local.mean()), stderr, gap, local, overfitted)


def _with_neighbours(
    found: Measurement, before: Floats, sides: tuple[Side, Side], rng: np.random.Generator
) -> Measurement:
    """Step 5 of :func:`measure`: moved towards the KSG estimate where that is clearly larger."""
    from scipy.special import polygamma  # noqa: PLC0415 - loaded on first use

    n = len(before)
    u, v = (side.scores.numpy() + tie_breaker(tuple(side.scores.shape), rng) for side in sides)
    shares = by_neighbours(u, v)
    difference = shares.local - before
    more = float(difference.mean())
    compared = (difference, NEAR), (shares.far - before[shares.rows], min(FAR, n - 1))
    clearly = max(
        float(excess.mean()) / math.sqrt((float(excess.var()) + float(polygamma(1, k))) / len(excess))
        for excess, k in compared
    )
    if more <= 0 or clearly <= _CLEARLY:
        return found
    trust = 1 - (_CLEARLY / clearly) ** 2
    local = before + trust * difference
    missed = min(shares.gap, float(local.mean()))  # in many columns the comparison is unbounded
    return replace(
        found,
        value=float(local.mean()),
        local=local,
        stderr=(1 - trust) * found.stderr + trust * shares.stderr,
        gap=(1 - trust) * (found.gap + more) + trust * missed,
    )


def _calibrated(scored: Scored, columns: list[int]) -> tuple[Tensor, Tensor]:
    """The log-ratio of each pair from some of the scores, ``(N,)``, and their weights."""
    pairs, mixed = scored.pairs[:, columns], scored.mixed[:, columns]
    weights = stack(pairs, mixed, torch.ones(len(columns)))
    return apply(weights, pairs), weights


def _normal_correction(scored: Scored, sides: tuple[Side, Side]) -> tuple[float, float]:
    """The finite-sample bias of the held-out normal copula, and the standard error of that correction."""
    x, y = sides[0].scores, sides[1].scores
    if sides[0].discrete or sides[1].discrete or len(x) <= x.shape[1] + y.shape[1] + 2:
        return 0.0, 0.0
    value, variance = normal_information(x, y)
    # The mean of the copula's log-ratio is its information for every distribution with these correlations. Where the
    # calibrated one is smaller, that is not a loss of fitting; where it is larger, calibration has corrected the loss.
    lost = value - max(float(scored.pairs[:, 0].double().mean()), float(_calibrated(scored, [0])[0].mean()))
    trust = lost**2 / (lost**2 + variance) if lost and math.isfinite(variance) else 0.0
    return trust * lost, trust * math.sqrt(variance) if trust else 0.0
