"""The default estimator: a closed-form copula, a network for what it leaves, both calibrated on rows new to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from infomax.bounds.base import Kind
from infomax.classical import codes, plugin
from infomax.copulas import EllipticalCopula, Embedded, fit_copula, normal_information, principal_axes, significant_rank
from infomax.fitting import History, Schedule, no_progress, single_thread
from infomax.independence import dependence_of_features, permutation_pvalue, permutations
from infomax.margins import Floats, fit_margins
from infomax.residual import BatchedCritic, fit_residuals
from infomax.stacking import apply, stack

Rows = NDArray[np.int64]

#: Held-out rows whose every pair is scored at a time.
_BLOCK = 2048
#: Mixed pairs for each true pair when scores are calibrated.
_NEGATIVES = 20
#: A side of more columns than this is seen by the network through a few directions.
_WIDE = 8
_MOST_DIRECTIONS, _MOST_AXES = 16, 4
#: A value with this share of a column's rows is an atom; from the second share on it makes the column discrete.
_ATOM, _DISCRETE_ATOM = 0.02, 0.1
_MOST_ATOMS, _FEWEST_DISTINCT = 32, 20
#: Rows for each combination of values from which on discrete sides are counted.
_ROWS_PER_CELL = 5
#: Each of one or two columns is also seen in this many steps of its ranks, scaled by two.
_RANK_STEPS = 16
#: Below this, rows are scarce: more of them train each fold, and training is watched more closely.
_FEW_ROWS = 4_000
#: Fewest validation rows that decide when to stop; with fewer the network is left out.
_LEAST_VALIDATION = 16
#: Of what the network found, the share that it may have missed beyond the gap; see :func:`_combine`.
_MISSED = 0.25


@dataclass(frozen=True)
class AnchoredEstimator:
    """What tables say of this estimator; see :func:`measure`."""

    name = "anchored"
    kind: Kind = "estimate"
    ceiling_formula = "none"
    cost = "a few thousand N, D³"
    use_when = "the default: the most accurate without tuning; with a test of independence"
    reference = "this library; copulas: Ince et al. 2017; JS training: arXiv 1606.00709; stacking: Wolpert 1992"


ESTIMATOR = AnchoredEstimator()


@dataclass(frozen=True, eq=False)
class Measured:
    """What :func:`measure` found.

    Attributes:
        local: each row's share, in the order of the rows, ``(N,)``, nats; their mean is the estimate.
        stderr: its standard error.
        gap: how much more there may be: half of what is overfitted, the half that is not in ``local``, and a share of
            what the network found.
        overfitted: how much more the network says of the rows that trained it than of others, calibrated.
        pvalue: of independence.
        history: of each fold's network; none if its rows are too few, or were counted.
    """

    local: Floats
    stderr: float
    gap: float
    overfitted: float
    pvalue: float
    history: tuple[History, ...]


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


def measure(
    x: Floats,
    y: Floats,
    *,
    seed: int,
    folds: int,
    schedule: Schedule,
    device: torch.device,
    draws: int = 199,
    tick: Callable[[int], None] = no_progress,
) -> Measured:
    r"""Estimate mutual information by a log-ratio with an anchor.

    1. Each column is replaced by its normal scores, which changes no information.
    2. For each fold an elliptical copula is fitted to the other rows (:func:`infomax.copulas.fit_copula`), and a
       network learns by logistic loss what is left of the log-ratio, stopped on rows of their own. It sees the scores,
       their norm, and which of a column's frequent values a row has; of many columns the canonical and principal
       directions.
    3. Both scores of the fold's own rows, of pairs and of mixed pairs, are stacked into one calibrated log-ratio
       (:func:`infomax.stacking.stack`). Its mean over the pairs is V.
    4. Two corrections are added, for what fitting on finitely many rows loses. For the normal part: the value of the
       normal copula on all rows, without its bias, less the held-out and calibrated one; shrunk towards zero where it
       is no larger than its noise, and left out when a column is discrete. For the network: half of the gap between
       the rows that trained it and others, which is what is lost when a model is right and its parameters have errors
       (Efron 1983, doi:10.1080/01621459.1983.10477973: held-out and in-sample err alike).

    Where both sides are discrete, and the rows are many for the combinations of their values, these are counted instead
    (:func:`infomax.classical.plugin`).

    Args:
        x, y: finite samples ``(N, Dx)``, ``(N, Dy)``, no constant column.
        seed, folds, schedule, device: as :func:`infomax.estimate`. draws: permutations of the test of independence.
        tick: called with the number of steps done.
    """
    rng = np.random.default_rng(seed)
    if _is_table(x, y):
        tick(schedule.steps)
        return _of_table(x, y, draws, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    parts = np.array_split(rng.permutation(len(x)), folds)
    with single_thread(device), torch.no_grad():
        sides = _Side.of(x), _Side.of(y)
        problem = _Folds.prepare(sides, parts, rng, device)
        critic = problem.critic(generator)
        trains = schedule if problem.validation.shape[1] >= _LEAST_VALIDATION else None
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
        value = _combine(scored, sides)
        pvalue = _pvalue(scored, sides, draws, rng)
    return Measured(value.local, value.stderr, value.gap, value.overfitted, pvalue, tuple(history))


def _is_table(x: Floats, y: Floats) -> bool:
    """Whether every column has few values, and rows are many for the combinations that may occur."""
    few = all(len(np.unique(column)) < _FEWEST_DISTINCT for side in (x, y) for column in side.T)
    return few and _ROWS_PER_CELL * math.prod(len(codes(side)[1]) for side in (x, y)) <= len(x)


def _of_table(x: Floats, y: Floats, draws: int, rng: np.random.Generator) -> Measured:
    """Counted, with a permutation test of the same statistic."""
    local, n = plugin(x, y), len(x)
    (values_x, counts_x), (values_y, counts_y) = codes(x), codes(y)
    cells = len(counts_x) * len(counts_y)
    orders = permutations([np.arange(n)], draws, rng)
    statistics = np.empty((draws + 1, 1))
    for draw, order in enumerate(orders):
        counts = np.bincount(values_x * len(counts_y) + values_y[order], minlength=cells)
        statistics[draw] = (counts * np.log(np.maximum(counts, 1))).sum()
    # By chance, 2 N times the value scatters like chi squared of as many degrees of freedom.
    chance = math.sqrt(2 * (len(counts_x) - 1) * (len(counts_y) - 1)) / (2 * n)
    stderr = math.hypot(float(local.std()) / math.sqrt(n), chance, 1 / n)
    return Measured(local, stderr, 0.0, 0.0, permutation_pvalue(statistics), ())


@dataclass(frozen=True, eq=False)
class _Side:
    """One variable: normal scores, indicators of frequent values, and whether a column is discrete."""

    scores: Tensor  # (N, D), float64
    atoms: Tensor  # (N, A), float64
    discrete: bool

    @staticmethod
    def of(samples: Floats) -> _Side:
        n = len(samples)
        indicators, discrete = [], False
        for column in samples.T:
            values, counts = np.unique(column, return_counts=True)
            heaviest = counts.max() / n
            discrete |= len(values) < min(_FEWEST_DISTINCT, n // 2) or heaviest >= _DISCRETE_ATOM
            frequent = counts >= max(_ATOM * n, 5)
            most = values[frequent][np.argsort(-counts[frequent], kind="stable")][:_MOST_ATOMS]
            indicators += [column == value for value in most]
        wide = samples.shape[1] > _WIDE
        atoms = np.stack(indicators, 1) if indicators and not wide else np.zeros((n, 0))
        scores = torch.from_numpy(fit_margins(samples)(samples))
        return _Side(scores, torch.from_numpy(atoms.astype(np.float64)), discrete)

    @property
    def wide(self) -> bool:
        return self.scores.shape[1] > _WIDE

    def features(self, rows: Rows, directions: Tensor) -> Tensor:
        """What the network sees, ``(N, F)``: given the rows that it may learn from, and canonical directions."""
        scores, dim = self.scores, self.scores.shape[1]
        seen = [scores, self.atoms]
        if self.wide:
            train = scores[torch.from_numpy(rows)]
            axes = principal_axes(train)[:, -_MOST_AXES:]
            views = [scores @ directions, scores @ axes]
            seen = [view / view[torch.from_numpy(rows)].std(0).clamp_min(1e-12) for view in views]
        if dim <= 2:
            ranks = torch.special.ndtr(scores) * _RANK_STEPS
            seen += [2 * (ranks[:, [j]] - torch.arange(_RANK_STEPS)).clamp(0, 1) - 1 for j in range(dim)]
        if dim > 1:
            seen.append((scores.square().sum(1, keepdim=True) - dim) / math.sqrt(2 * dim))
        return torch.cat(seen, 1)


@dataclass(frozen=True, eq=False)
class _Folds:
    """What is fixed for each fold: its rows, its copulas, and what its network sees."""

    train: Tensor  # (folds, N)
    validation: Tensor
    held_out: list[Rows]
    copulas: list[tuple[EllipticalCopula, EllipticalCopula]]  # the best, and the normal one
    embedded: list[tuple[Embedded, Embedded]]
    features_x: Tensor  # (folds, N, F)
    features_y: Tensor

    @staticmethod
    def prepare(
        sides: tuple[_Side, _Side], parts: list[Rows], rng: np.random.Generator, device: torch.device
    ) -> _Folds:
        everything = np.concatenate(parts)
        trains, validations, copulas, embedded = [], [], [], []
        features: tuple[list[Tensor], list[Tensor]] = [], []
        for part in parts:
            others = rng.permutation(np.setdiff1d(everything, part))
            split = max(len(others) // 10, min(64, len(others) // 4))
            validations.append(others[:split])
            trains.append(others[split:])
            x, y = (side.scores[torch.from_numpy(others)] for side in sides)
            best, normal = fit_copula(x, y)
            copulas.append((best, normal))
            seen_by = [copula.embed(sides[0].scores, sides[1].scores).to(device) for copula in (best, normal)]
            embedded.append((seen_by[0], seen_by[1]))
            kept = 0
            if sides[0].wide or sides[1].wide:
                kept = min(significant_rank(x, y) + 2, _MOST_DIRECTIONS)
            directions = normal.coupling.directions_x[:, :kept], normal.coupling.directions_y[:, :kept]
            for side, along, seen in zip(sides, directions, features, strict=True):
                seen.append(side.features(trains[-1], along).float().to(device))
        stacked = [_even([seen_of.T for seen_of in seen]).transpose(1, 2) for seen in features]
        return _Folds(
            _rows(trains, device), _rows(validations, device), parts, copulas, embedded, stacked[0], stacked[1]
        )

    def critic(self, generator: torch.Generator) -> BatchedCritic:
        dims = self.features_x.shape[2], self.features_y.shape[2]
        return BatchedCritic(len(self.held_out), *dims, generator).to(self.train.device)

    def features(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows ``(folds, N)``: ``(folds, N, F)`` of x and of y."""
        fold = torch.arange(len(rows), device=rows.device)[:, None]
        return self.features_x[fold, rows], self.features_y[fold, rows]

    def anchors(self, rows: Tensor) -> Tensor:
        """The copulas' scores of rows ``(folds, N)``: ``(folds, N, N)``."""
        each = zip(self.copulas, self.embedded, rows, strict=True)
        return torch.stack([copula[0].scores(seen[0][own]) for copula, seen, own in each])

    def score(self, critic: BatchedCritic, rng: np.random.Generator) -> _Scored:
        """Scores by the normal copula, the best copula and the network, of rows that trained none of them."""
        pairs, mixed, rows, gaps, logits = [], [], [], [], []
        for fold, own in enumerate(self.held_out):
            model = critic.one(fold)
            for block in np.array_split(own, math.ceil(len(own) / _BLOCK)):
                index = torch.from_numpy(block).to(self.train.device)
                n = len(block)
                learned = model(self.features_x[fold, index][None], self.features_y[fold, index][None])[0]
                known = [
                    copula.scores(seen[index])
                    for copula, seen in zip(self.copulas[fold], self.embedded[fold], strict=True)
                ]
                scores = torch.stack([known[1], known[0], learned], 2)
                shifts = 1 + torch.from_numpy(rng.permutation(n - 1)[:_NEGATIVES])
                partners = (torch.arange(n)[:, None] + shifts) % n
                pairs.append(scores[torch.arange(n), torch.arange(n)].cpu())
                mixed.append(scores[torch.arange(n)[:, None], partners].reshape(-1, 3).cpu())
                rows.append(block)
                logits.append(-F.softplus(-(known[0] + learned)).cpu())
            seen = self.train[fold, :: max(1, self.train.shape[1] // _BLOCK)]
            in_sample = model.pairs(self.features_x[fold, seen][None], self.features_y[fold, seen][None])
            gaps.append(len(own) * float(in_sample.mean()))
        order = np.concatenate(rows)
        stacked = torch.cat(pairs)
        gap = sum(gaps) / len(order) - float(stacked[:, 2].mean())
        return _Scored(stacked, torch.cat(mixed), rows, gap, logits)


@dataclass(frozen=True, eq=False)
class _Scored:
    """Scores (normal copula, best copula, network) of held-out pairs and of mixed pairs, in blocks of rows."""

    pairs: Tensor  # (N, 3)
    mixed: Tensor  # (M, 3)
    rows: list[Rows]
    gap: float  # of the network: training rows less others
    logits: list[Tensor]  # each block's log-probability that (x_i, y_j) is a pair


@dataclass(frozen=True, eq=False)
class _Value:
    local: Floats
    stderr: float
    gap: float
    overfitted: float


def _combine(scored: _Scored, sides: tuple[_Side, _Side]) -> _Value:
    """Calibrate, correct, and say how far it may be off; see :func:`measure`."""
    n = len(scored.pairs)
    (held_out, weights), (anchored, _) = (_calibrated(scored, columns) for columns in ([1, 2], [1]))
    overfitted = max(0.0, float(weights[2]) * scored.gap)
    correction, spread = _normal_correction(scored, sides)
    local = np.empty(n)
    local[np.concatenate(scored.rows)] = held_out.numpy()
    stderr = math.hypot(float(held_out.std()) / math.sqrt(n), spread, overfitted / math.sqrt(12), 1 / n)
    learned = max(0.0, float(held_out.mean() - anchored.mean()))
    return _Value(local + correction + 0.5 * overfitted, stderr, 0.5 * overfitted + _MISSED * learned, overfitted)


def _calibrated(scored: _Scored, columns: list[int]) -> tuple[Tensor, Tensor]:
    """The log-ratio of each pair by some of the scores, ``(N,)``, and the weights of these."""
    pairs, mixed = scored.pairs[:, columns], scored.mixed[:, columns]
    weights = stack(pairs, mixed, torch.ones(len(columns)))
    return apply(weights, pairs), weights


def _normal_correction(scored: _Scored, sides: tuple[_Side, _Side]) -> tuple[float, float]:
    """What the held-out normal copula lost by being fitted on finitely many rows, and the standard error of that."""
    x, y = sides[0].scores, sides[1].scores
    if sides[0].discrete or sides[1].discrete or len(x) <= x.shape[1] + y.shape[1] + 2:
        return 0.0, 0.0
    value, variance = normal_information(x, y)
    lost = value - float(_calibrated(scored, [0])[0].mean())
    trust = lost**2 / (lost**2 + variance) if lost else 0.0
    return trust * lost, trust * math.sqrt(variance)


def _pvalue(scored: _Scored, sides: tuple[_Side, _Side], draws: int, rng: np.random.Generator) -> float:
    """Two statistics under the same permutations, each within its block of held-out rows: what the log-ratio says of
    the pairs, and the covariance of random features.
    """
    starts = np.cumsum([0, *map(len, scored.rows)])
    blocks = [np.arange(a, b) for a, b in pairwise(starts)]
    orders = permutations(blocks, draws, rng)
    by_ratio = np.zeros(draws + 1)
    for block, start, logits in zip(blocks, starts[:-1], scored.logits, strict=True):
        own = torch.arange(len(block))
        by_ratio += logits[own, torch.from_numpy(orders[:, block] - start)].double().sum(1).numpy()
    rows = torch.from_numpy(np.concatenate(scored.rows))
    x, y = (side.scores[rows].float() for side in sides)
    by_features = dependence_of_features(x, y, torch.from_numpy(orders), rng).double().numpy()
    return permutation_pvalue(np.stack([by_ratio, by_features], 1))


def _rows(each: list[Rows], device: torch.device) -> Tensor:
    """Rows of folds that differ by one at most, ``(folds, N)``; the odd one is left out."""
    least = min(map(len, each))
    return torch.from_numpy(np.stack([rows[:least] for rows in each])).to(device)


def _even(each: list[Tensor]) -> Tensor:
    """Feature matrices ``(F, N)`` of folds, some with fewer features: filled with zeros, ``(folds, F, N)``."""
    most = max(map(len, each))
    return torch.stack([F.pad(one, (0, 0, 0, most - len(one))) for one in each])
