"""The default estimator: a closed-form copula, a network for what it leaves, both calibrated on rows new to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from infomax.bounds.base import Kind
from infomax.estimators.classical import FAR, NEAR, by_neighbours
from infomax.estimators.default.copulas import normal_information
from infomax.estimators.default.folds import FEWEST_DISTINCT, Folds, Scored, Side
from infomax.estimators.default.residual import fit_residuals
from infomax.estimators.default.stacking import apply, stack
from infomax.progress import no_progress
from infomax.statistics.counts import codes, copied_rows, plugin, plugin_stderr
from infomax.statistics.marginals import Floats
from infomax.statistics.neighbours import tie_breaker
from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue
from infomax.training.fit import LEAST_VALIDATION, History, Schedule, single_thread

#: Rows for each combination of values from which on discrete sides are counted.
_ROWS_PER_CELL = 5
#: Below this, rows are scarce: more of them train each fold, and training is watched more closely.
_FEW_ROWS = 4_000
#: What may be there and not in the value, beyond half of what was overfitted: this share of what the network found, and
#: this multiple of √((Dx + Dy) / N), the order of what functions of so many columns can hide from so many rows. Both
#: chosen on the families of tasks that defaults are chosen on.
_MISSED, _HIDDEN = 0.25, 0.5
#: Nearest neighbours are asked in so few dimensions, or of so few rows that all pairs of them have so many differences.
_NEAR_DIMENSIONS, _NEAR_DIFFERENCES = 6, 2e8
#: By how many standard errors they must find more than all else did.
_CLEARLY = 3.0


@dataclass(frozen=True)
class DefaultEstimator:
    """What tables say of this estimator; see :func:`measure`."""

    name = "default"
    kind: Kind = "estimate"
    ceiling_formula = "none"
    cost = "a few thousand N, D³"
    use_when = "the default: the most accurate without tuning; with a test of independence"
    reference = "this library; copulas: Ince et al. 2017; JS training: arXiv 1606.00709; stacking: Wolpert 1992"


ESTIMATOR = DefaultEstimator()


@dataclass(frozen=True, eq=False)
class Measured:
    """What :func:`measure` found.

    Attributes:
        local: each row's share, in the order of the rows, ``(N,)``, nats; their mean is the estimate.
        stderr: its standard error.
        gap: how much more there may be: half of what is overfitted, the half that is not in ``local``; a share of what
            the network found; and what so many columns can hide from so few rows.
        overfitted: how much more the network says of the rows that trained it than of others, calibrated.
        pvalue: of independence.
        history: of each network; none if their rows are too few, or were counted.
        counted: whether they were.
    """

    local: Floats
    stderr: float
    gap: float
    overfitted: float
    pvalue: float
    history: tuple[History, ...]
    counted: bool = False


def default_schedule(n: int, *, quick: bool) -> Schedule:
    """How the networks are trained on ``n`` pairs unless the user says otherwise."""
    return Schedule(
        steps=200 if quick else 1500,
        batch_size=128,
        learning_rate=1.5e-2,
        check_every=10 if n < _FEW_ROWS else 25,  # of few rows, a network has soon learned too much
        patience=15,
    )


def default_folds(n: int, *, quick: bool) -> int:
    """How many folds ``n`` pairs are split into unless the user says otherwise."""
    return 2 if quick else 10 if n < _FEW_ROWS else 5


def default_replicas(n: int, *, quick: bool) -> int:
    """How many networks each fold of ``n`` pairs has: of few rows one alone learns too much of their noise."""
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
) -> Measured:
    r"""Estimate mutual information by a stacked log-ratio of a copula and a network.

    1. Each column is replaced by its normal scores, which changes no information.
    2. For each fold an elliptical copula is fitted to the other rows
       (:func:`infomax.estimators.default.copulas.fit_copula`). A network learns the residual of the log-ratio by
       logistic loss; validation rows stop its training. Its inputs are the scores, their norm, and indicators of each
       column's frequent values; of many columns, the canonical and principal directions. With ``replicas`` there are
       several networks, each with initial parameters and validation rows of its own, and the score is their mean.
    3. Both scores of the fold's own rows, of pairs and of mixed pairs, are stacked into one calibrated log-ratio
       (:func:`infomax.estimators.default.stacking.stack`). Its mean over the pairs is V.
    4. Two corrections are added, for what fitting on finitely many rows loses. For the normal part: the value of the
       normal copula on all rows, without its bias, less the held-out one, as it is or calibrated, whichever says more;
       shrunk towards zero where that is no larger than its noise, and left out when a column is discrete. For the
       network: half of the gap between the rows that trained it and others, which is what is lost when a model is right
       and its parameters have errors
       (Efron 1983, doi:10.1080/01621459.1983.10477973: held-out and in-sample err alike).
    5. In few dimensions, or of few rows, nearest neighbours are asked too (:func:`infomax.estimators.by_neighbours`).
       They hardly ever find too much; what they miss is their error. So where three of them, or twelve, which miss
       more but with less noise, find more by more than three standard errors of the difference (z of them), the
       estimate moves towards that of three by the share :math:`1 - 9 / z^2`. Relations that a smooth network does not
       express are found so: sums of heavy-tailed columns, outliers, codes without an order, edges. The interval
       follows: its upper end has what is left of the difference, and what neighbours say that they miss, at most as
       much again as was found.

    With fewer than 72 rows (128 with two folds) no network is trained, and the copula stands alone; the estimate says
    so.

    Where both sides are discrete, and the rows are many for the combinations of their values, these are counted instead
    (:func:`infomax.statistics.plugin`).

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)``, no constant column.
        seed, folds, schedule, device: as :func:`infomax.estimate`. replicas: networks of each fold. draws:
            permutations of the test of independence.
        tick: called with the number of steps done.
    """
    rng = np.random.default_rng(seed)
    if _is_table(x, y):
        tick(schedule.steps)
        return _of_table(x, y, draws, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    parts = np.array_split(rng.permutation(len(x)), folds)
    with single_thread(device), torch.no_grad():
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
        found = _combine(scored, sides, pvalue, tuple(history))
    asked = x.shape[1] + y.shape[1]
    few = asked <= _NEAR_DIMENSIONS or asked * len(x) ** 2 <= _NEAR_DIFFERENCES
    return _with_neighbours(found, sides, rng) if few and not copied_rows(x, y) else found


def _is_table(x: Floats, y: Floats) -> bool:
    """Whether every column has few values, and rows are many for the combinations that may occur."""
    few = all(len(np.unique(column)) < FEWEST_DISTINCT for side in (x, y) for column in side.T)
    return few and _ROWS_PER_CELL * math.prod(len(codes(side)[1]) for side in (x, y)) <= len(x)


def _of_table(x: Floats, y: Floats, draws: int, rng: np.random.Generator) -> Measured:
    """Counted, with a permutation test of the same statistic."""
    local, n = plugin(x, y), len(x)
    (values_x, counts_x), (values_y, counts_y) = codes(x), codes(y)
    cells = len(counts_x) * len(counts_y)
    statistics = np.empty((draws + 1, 1))
    for draw in range(draws + 1):
        order = rng.permutation(n) if draw else np.arange(n)
        counts = np.bincount(values_x * len(counts_y) + values_y[order], minlength=cells)
        statistics[draw] = (counts * np.log(np.maximum(counts, 1))).sum()
    return Measured(local, plugin_stderr(x, y), 0.0, 0.0, permutation_pvalue(statistics), (), counted=True)


def _combine(scored: Scored, sides: tuple[Side, Side], pvalue: float, history: tuple[History, ...]) -> Measured:
    """Calibrate, correct, and say how far it may be off; see :func:`measure`."""
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
    return Measured(local + correction + 0.5 * overfitted, stderr, gap, overfitted, pvalue, history)


def _with_neighbours(found: Measured, sides: tuple[Side, Side], rng: np.random.Generator) -> Measured:
    """Moved towards nearest neighbours, where these clearly find more; see :func:`measure`."""
    from scipy.special import polygamma  # noqa: PLC0415 - as elsewhere, loaded late

    n = len(found.local)
    u, v = (side.scores.numpy() + tie_breaker(tuple(side.scores.shape), rng) for side in sides)
    shares = by_neighbours(u, v)
    difference = shares.local - found.local
    more = float(difference.mean())
    compared = (difference, NEAR), (shares.far - found.local[shares.rows], min(FAR, n - 1))
    clearly = max(
        float(excess.mean()) / math.sqrt((float(excess.var()) + float(polygamma(1, k))) / len(excess))
        for excess, k in compared
    )
    if more <= 0 or clearly <= _CLEARLY:
        return found
    trust = 1 - (_CLEARLY / clearly) ** 2
    local = found.local + trust * difference
    missed = min(shares.gap, float(local.mean()))  # in many columns that comparison has no end
    return replace(
        found,
        local=local,
        stderr=(1 - trust) * found.stderr + trust * shares.stderr,
        gap=(1 - trust) * (found.gap + more) + trust * missed,
    )


def _calibrated(scored: Scored, columns: list[int]) -> tuple[Tensor, Tensor]:
    """The log-ratio of each pair by some of the scores, ``(N,)``, and the weights of these."""
    pairs, mixed = scored.pairs[:, columns], scored.mixed[:, columns]
    weights = stack(pairs, mixed, torch.ones(len(columns)))
    return apply(weights, pairs), weights


def _normal_correction(scored: Scored, sides: tuple[Side, Side]) -> tuple[float, float]:
    """What the held-out normal copula lost by being fitted on finitely many rows, and the standard error of that."""
    x, y = sides[0].scores, sides[1].scores
    if sides[0].discrete or sides[1].discrete or len(x) <= x.shape[1] + y.shape[1] + 2:
        return 0.0, 0.0
    value, variance = normal_information(x, y)
    # The mean of the copula's log-ratio is its information for every distribution with these correlations; what a
    # calibrated one says less is no loss of fitting, what it says more has been won back.
    lost = value - max(float(scored.pairs[:, 0].double().mean()), float(_calibrated(scored, [0])[0].mean()))
    trust = lost**2 / (lost**2 + variance) if lost and math.isfinite(variance) else 0.0
    return trust * lost, trust * math.sqrt(variance) if trust else 0.0
