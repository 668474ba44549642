"""The default estimator: an elliptical copula and a network for its residual, calibrated on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from infomax.estimators.base import Estimator, Measurement, register, untrained
from infomax.estimators.candidates.base import FEWEST_DISTINCT, Side
from infomax.estimators.candidates.copulas import principal_axes
from infomax.estimators.default.alternatives import NEAR_DIMENSIONS, with_neighbours, with_residuals
from infomax.estimators.default.corrections import Correction, copula_correction
from infomax.estimators.default.folds import Fold, calibrated, separable
from infomax.estimators.default.labelled import Labelled, better
from infomax.estimators.default.portfolio import Fitted, Portfolio, trainings
from infomax.estimators.problem import Problem
from infomax.exceptions import InfomaxWarning, TrainingWarning
from infomax.progress import no_progress
from infomax.statistics.counts import codes, copied_rows, plugin, plugin_stderr
from infomax.statistics.labels import Booleans, indicators
from infomax.statistics.marginals import Floats, normal_scores
from infomax.statistics.neighbours import tie_breaker
from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue
from infomax.statistics.row_structure import RowStructure
from infomax.training.fit import Schedule
from infomax.training.streaming import MOST_MEASURED

#: Rows for each combination of values from which on discrete sides are measured by counts.
_ROWS_PER_CELL = 5
#: A side with more columns than this, and with fewer rows for each, is reduced to so many principal components.
_MOST_COLUMNS, _ROWS_PER_COLUMN, _MOST_AXES = 128, 8, 64
#: If they have less than this share of the variance, a remark says so.
_SEEN = 0.5
#: Below this, rows are scarce: each fold has several networks, and training is validated more often.
_FEW_ROWS = 4_000
#: Below this, each fold trains on nine tenths of them.
_VERY_FEW_ROWS = 1_000
#: The gap, beyond half of the overfitting: this share of the network's contribution, and this multiple of
#: √((Dx + Dy) / N), the order of the information that functions of so many columns can hide in so few rows. Both were
#: chosen on the design families of tasks.
_MISSED, _HIDDEN = 0.25, 0.5
#: If the loss of fitting is proportional to 1/√N, all rows lose so many times what they gain on half of them.
_LEFT = 1 / (math.sqrt(2) - 1)
#: A KSG estimate is computed as well if all pairs of rows have at most so many differences of coordinates.
_NEAR_DIFFERENCES = 2e8
#: A growth from half of the rows to all that exceeds these nats and this share of the value is remarked.
_LARGE_GROWTH, _LARGE_SHARE = 0.15, 0.1
#: So is a value of more than log N less these nats: fewer than eight shuffled pairs of a row then resemble joint pairs.
_NEAR_LIMIT = 2.0
#: So is a closed form of a rejected normal copula that exceeds the value by these nats and that share.
_LARGE_EXCESS = 0.3
#: Entropies of residuals are computed as well if the estimate has at least so many nats, from so many rows and at most
#: so many columns a side. Below, networks and KSG do not saturate.
_MANY_NATS, _RESIDUAL_ROWS, _RESIDUAL_COLUMNS = 2.0, 500, 3


@register("default")
class DefaultEstimator(Estimator):
    """:func:`measure` with the usual folds, replicas and schedule for the number of rows."""

    cost = "a few thousand N, D³"
    use_when = "the default: the most accurate without tuning; with a test of independence"
    reference = "this library; copulas: Ince et al. 2017; JS training: arXiv 1606.00709; stacking: Wolpert 1992"
    trains = True
    takes_codes = True
    most_rows: ClassVar[int] = MOST_MEASURED
    most_cells: ClassVar[int] = 6 * 2**20  # it holds each cell several times
    takes_dependent_rows = True

    def check(self, problem: Problem) -> None:
        if problem.margins != "normal":
            raise ValueError(f"margins must be 'normal' for {self.name!r}; got {problem.margins!r}")

    def select(self, problem: Problem) -> Problem:
        return problem.drawn(self.most_cells)

    def steps(self, problem: Problem) -> int:
        """Steps of the schedule, for each time that networks are trained at most: all folds are trained together."""
        return self._schedule(problem).steps * trainings(len(problem.x))

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
            nominal=problem.flags,
            structure=problem.structure,
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
        patience=4 if n < _VERY_FEW_ROWS else 8 if n < _FEW_ROWS else 15,
    )


def default_folds(n: int, *, quick: bool) -> int:
    """Number of folds of ``n`` pairs, by default."""
    return 2 if quick else 10 if n < _VERY_FEW_ROWS else 5


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
    nominal: tuple[Booleans, Booleans] | None = None,
    structure: RowStructure | None = None,
    tick: Callable[[int], None] = no_progress,
) -> Measurement:
    r"""Estimate mutual information by the log-ratio of the best of several models, and a network for its residual.

    1. Each column is replaced by its normal scores, which does not change the mutual information. A side with more than
       128 columns and fewer than eight rows for each is replaced by the principal components that exceed noise.
    2. The candidates (:mod:`infomax.estimators.candidates`) are fitted to the rows outside a few folds, and compared by
       their value on the held-out rows; the simplest one within two standard errors of the largest is chosen, and
       fitted for the other folds. The value is calibrated: it is the larger of two values that do not exceed the mutual
       information in expectation, whatever the candidate is (:func:`infomax.estimators.default.folds.calibrated`).
    3. Networks of several kinds (:mod:`infomax.estimators.default.networks`) learn the residual of its log-ratio by
       logistic loss; validation rows stop their training. The kind with the largest held-out value is trained for all
       folds, unless none improves the candidate. With ``replicas`` there are several networks for each fold, each with
       initial parameters and validation rows of its own, and the score is their mean. The calibrated mean log-ratio
       over all held-out rows is V.
    4. Two corrections for the finite-sample bias are added. If the candidate is a normal copula of continuous columns:
       the value of the copula on all rows, bias-corrected, less the held-out one; at most what sampling of a normal
       copula explains, and nothing where the rows reject it
       (:func:`infomax.estimators.default.corrections.normal_correction`). For the
       network: half of the overfitting gap, which is the loss from errors of the parameters when the model is right
       (Efron 1983, doi:10.1080/01621459.1983.10477973: held-out and in-sample errors are equal).
    5. In few dimensions, or with few rows, a KSG estimate is computed as well
       (:func:`infomax.estimators.by_neighbours`). It rarely exceeds the truth; its error is a negative bias. So where
       it exceeds V, with k = 3 or with k = 12 (more bias, less noise), by more than three standard errors of the
       difference (z of them), the estimate moves towards KSG with k = 3 by the share :math:`1 - 9 / z^2`. This finds
       relations that a smooth network does not express: sums of heavy-tailed columns, outliers, codes without an
       order, edges. The interval follows: its upper end includes the rest of the difference and the bias of KSG, at
       most as much again as the value.
    6. With at least two nats in at most three columns a side, the estimate moves in the same way towards one by
       residuals of regressions (:func:`infomax.statistics.residuals.residual_terms`): scores of networks and numbers
       of neighbours saturate, since pairs are separable. The gap remains.

    With fewer than 72 rows (128 with two folds) no network is trained and the candidate is used alone; the estimate
    says so. Where both sides are discrete, with many rows for each combination of values, the estimate is computed from
    counts instead (:func:`infomax.statistics.plugin`). Where a side is a label otherwise, as one column or as several
    (:func:`infomax.statistics.labels.as_labels`), the estimate is its entropy less the cross-entropy of classifiers
    (:func:`infomax.estimators.default.nominal.measure_labels`), or that of smoothed frequencies if both sides are
    labels (:func:`infomax.estimators.default.tables.measure_tables`). Ten and more numbers whose order carries
    information are measured both ways, and the larger value is kept.

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)``, without constant columns.
        seed, folds, schedule, device: as :func:`infomax.estimate`. replicas: networks of each fold. draws:
            permutations of the test of independence.
        nominal: which columns of x, and of y, are codes of nominal variables: a side of such columns is a label, and
            beside others they are indicators of their categories.
        structure: which rows depend on each other; None: none do.
        tick: called with the number of training steps done.

    Returns:
        the estimate. Its gap is the sum of half of the overfitting (the half that is not in the value); a quarter of
        what exceeds the simplest candidate; 2.4 times the growth of the held-out value from fits to half of the rows to
        fits to all, which is what remains if the loss of fitting is proportional to 1/√N; and ½ √((Dx + Dy) / N), the
        order of the information that functions of so many columns can hide in so few rows.

    >>> import numpy as np
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500, 1))
    >>> schedule = default_schedule(500, quick=True)
    >>> found = measure(x, x + noise, seed=0, folds=3, schedule=schedule, device=torch.device("cpu"))
    >>> bool(abs(found.value - 0.5 * np.log(2)) < 3 * found.stderr + found.gap), found.pvalue
    (True, 0.005)
    """
    rng = np.random.default_rng(seed)
    structure = structure or RowStructure.independent(len(x))
    left = schedule.steps * trainings(len(x))
    if structure.is_independent and _is_table(x, y):
        tick(left)
        return _of_table(x, y, draws, rng)
    nominal = nominal or (np.zeros(x.shape[1], dtype=bool), np.zeros(y.shape[1], dtype=bool))
    labelled, of_labels = Labelled.of(x, y, nominal, structure), None
    if labelled is not None:
        labels_rng = np.random.default_rng((seed, 2))
        of_labels = labelled.measure(draws, labels_rng, structure)
        if labelled.explained(of_labels) or not labelled.ordered(labels_rng):
            tick(left)
            return of_labels
    x, y = (indicators(side, flags) for side, flags in zip((x, y), nominal, strict=True))
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    parts = structure.parts(folds, rng)
    with torch.no_grad():
        views = _principal(x), _principal(y)
        sides = Side.of(views[0][0]), Side.of(views[1][0])
        all_folds, shuffles = Fold.of(parts, rng, replicas, structure), int(rng.integers(2**31))
        fitted = Portfolio(sides, all_folds, schedule, generator, shuffles, device, tick).fit()
        tick(left - fitted.steps)
        test_rng = np.random.default_rng((seed, 1))
        pvalue = independence_pvalue(sides[0].scores, sides[1].scores, draws, test_rng, structure)
        found = _combine(fitted, sides, x.shape[1] + y.shape[1], int(rng.integers(2**31)), structure)
    dim = sides[0].dim + sides[1].dim
    cheap = dim <= NEAR_DIMENSIONS or dim * len(x) ** 2 <= _NEAR_DIFFERENCES
    if cheap and structure.is_independent and not copied_rows(x, y):
        u, v = (side.scores.numpy() + tie_breaker(tuple(side.scores.shape), rng) for side in sides)
        found = with_neighbours(found, u, v)
    continuous = not (sides[0].discrete or sides[1].discrete)
    few = max(sides[0].dim, sides[1].dim) <= _RESIDUAL_COLUMNS and len(x) >= _RESIDUAL_ROWS
    confirmed = False
    if few and continuous and structure.is_independent and found.value >= _MANY_NATS:
        found, confirmed = with_residuals(found, sides, np.random.default_rng((seed, 3)))
    remarks = list(_remarks(fitted, found.value, trains=schedule.steps > 0))
    most = math.log(len(x))  # beyond, every estimator warns
    if not confirmed and most - _NEAR_LIMIT < found.value <= most:
        remarks.append(_near_limit(found.value, len(x)))
    for (kept, share), side in zip(views, (x, y), strict=True):
        if share < _SEEN:
            remarks.insert(0, _unseen(side.shape[1], kept.shape[1], share))
    found = replace(
        found,
        pvalue=pvalue,
        permutations=draws,
        history=tuple(fitted.history),
        remarks=(*found.remarks, *remarks),
        candidates=tuple(fitted.trials),
        folds=() if found.local is None else tuple(float(found.local[part].mean()) for part in parts),
    )
    return found if labelled is None or of_labels is None else better(of_labels, found, labelled.entropy)


def _remarks(fitted: Fitted, value: float, *, trains: bool) -> Iterator[InfomaxWarning]:
    """What the user should know about how the value was found."""
    if trains and not fitted.folds[0].trains:
        yield untrained("a closed-form model")
    growth, error = fitted.growth
    if growth > max(2 * error, _LARGE_GROWTH, _LARGE_SHARE * value):
        yield TrainingWarning(
            f"the held-out value grows with the number of rows: by {growth:.2f} nats from fits to half of the "
            f"rows to fits to all; the truth may be larger by as much or more"
        )


def _near_limit(value: float, rows: int) -> TrainingWarning:
    """The remark that hardly any shuffled pair resembles a joint pair."""
    return TrainingWarning(
        f"a value of {value:.1f} nats is near what {rows:,} rows can show, log N = {math.log(rows):.1f}: hardly any "
        f"shuffled pair resembles a joint pair, so held-out rows do not show what the model misses; the truth may be "
        f"larger than the interval says"
    )


def _principal(samples: Floats) -> tuple[Floats, float]:
    """Of samples with very many columns the principal components that exceed noise, and their share of the variance.

    They do not depend on the other side, so that they can only lose information. Other samples are returned as they
    are, with share 1.
    """
    n, dim = samples.shape
    if dim <= max(_MOST_COLUMNS, n // _ROWS_PER_COLUMN):
        return samples, 1.0
    scores = torch.from_numpy(normal_scores(samples))
    found = (scores @ principal_axes(scores)[:, -_MOST_AXES:]).numpy()
    return found, float(found.var(0).sum() / scores.numpy().var(0).sum())


def _unseen(columns: int, kept: int, share: float) -> InfomaxWarning:
    """The remark that principal components replace a side."""
    return InfomaxWarning(
        f"a side has too many columns ({columns}) for this many rows: {kept} principal components replace them, with "
        f"{100 * share:.0f} % of the variance; what its other directions share with the other side is missed"
    )


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


def _combine(fitted: Fitted, sides: tuple[Side, Side], columns: int, seed: int, structure: RowStructure) -> Measurement:
    """Steps 3 and 4 of :func:`measure`: calibration, corrections, standard error and gap.

    Nothing is added to the held-out value of dependent rows, as all corrections assume independent ones.
    """
    scored, n, independent = fitted.scored, len(sides[0]), structure.is_independent
    n_independent = structure.units
    alone = calibrated(scored, networks=False)
    best = calibrated(scored, networks=True) if fitted.kind else alone
    overfitted = max(0.0, best.weight * scored.overfitting)
    correction = copula_correction(fitted, alone.value, sides, seed) if independent else Correction()
    local = np.empty(n)
    local[scored.rows] = best.local.numpy()
    error = structure.mean_error(local)
    stderr = math.hypot(error, correction.stderr, overfitted / math.sqrt(12), 1 / n_independent)
    learned = max(0.0, best.value - fitted.trials[0].score)
    gap = (
        0.5 * overfitted
        + _MISSED * learned
        + _HIDDEN * math.sqrt(columns / n_independent)
        + _LEFT * max(0.0, fitted.growth[0])
    )
    # Half of the overfitting is lost by errors of the parameters; no more than what the network contributes, and none
    # where pairs are nearly separable: held-out scores then do not show what is lost.
    returned = (
        0.0
        if separable(best.value, n) or not independent
        else min(0.5 * overfitted, max(0.0, best.value - alone.value))
    )
    local = local + correction.value + returned
    value = float(local.mean())
    remarks = []
    if correction.unexplained > max(_LARGE_EXCESS, _LARGE_SHARE * value):
        text = (
            f"a normal copula with the correlations of these columns would have {correction.unexplained + value:.2f} "
            f"nats, but the rows reject it: there are directions of small variance, which may contain more than these "
            f"rows show"
        )
        remarks.append(InfomaxWarning(text))
    return Measurement(value, stderr, gap, local, overfitted, remarks=tuple(remarks))
