"""The default estimator where one side is a label: entropy less the held-out cross-entropy of classifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from infomax.estimators.base import Measurement
from infomax.estimators.default.alternatives import NEAR_DIMENSIONS, at_most, with_neighbours_of_labels
from infomax.estimators.default.class_columns import by_columns
from infomax.estimators.default.class_kernels import by_kernels
from infomax.estimators.default.class_network import fit_network
from infomax.estimators.default.discriminants import Classes, affords_quadratic, fit_model, linear, quadratic
from infomax.estimators.default.label_test import labels_pvalue, principal_directions
from infomax.exceptions import TrainingWarning
from infomax.statistics.counts import copied_rows
from infomax.statistics.labels import Labels
from infomax.statistics.marginals import Floats, fit_margins, normal_scores
from infomax.statistics.row_structure import RowStructure

#: Fewer rows are split into ten folds, others into five.
_FEW_ROWS = 4_000
#: Nats that the classes may leave unexplained, and fewest rows, in all and for each class, for a network to be trained.
_EXPLAINED, _NETWORK_ROWS, _ROWS_PER_CLASS = 0.02, 300, 20
#: Largest slope of the information by the held-out value.
_STEEPEST = 4.0
#: Weights that candidates are compared with before they are calibrated; prior rows of quadratic ones, in D + 1.
_WEIGHTS, _PRIOR_ROWS = (0.5, 0.75, 1.0), (1.0, 8.0)
#: Most sizes of drawn rows after the first; relative distance of their held-out value that is near enough.
_DRAWN, _NEAR = 2, 0.02
#: Shares of the corrections, and of the networks' contribution, by which the interval is widened.
_UNCERTAIN, _MISSED = 0.25, 0.25
#: The share of the value from which a correction is a reason for caution.
_LARGE = 0.2
#: What is missing because the value still grows with the rows is at most so many times what is not a discriminant's.
_MOST_GROWN = 3.0
#: Multiple of √(D / N), the order of the information that functions of so many columns can hide in so few rows.
_HIDDEN = 0.5
#: Ridge penalty of the weights of a stack, in rows.
_RIDGE = 2.0
#: Most columns that classifiers see.
_MOST_COLUMNS = 256


@dataclass(frozen=True, eq=False)
class Predicted:
    """Held-out class probabilities: ``logits (N, K)`` and the log-probability of each row's own class ``(N,)``."""

    logits: Tensor
    own: Tensor

    @staticmethod
    def of(logits: Tensor, labels: Tensor) -> Predicted:
        logits = torch.log_softmax(logits, 1)
        return Predicted(logits, logits.gather(1, labels[:, None])[:, 0])

    @property
    def score(self) -> float:
        return float(self.own.mean())


@dataclass(frozen=True)
class Candidate:
    """A discriminant: of which view of the columns, its name, and how its covariance is shrunk."""

    view: str
    name: str
    shrunk: bool
    prior_rows: float | None = None

    def held_out(self, data: Classes) -> Tensor:
        """Log-likelihoods ``(N, K)`` of held-out rows."""
        return (
            linear(data, self.shrunk)[self.name] if self.prior_rows is None else quadratic(data, [self.prior_rows])[0]
        )


@dataclass(frozen=True, eq=False)
class Setting:
    """The labels ``(N,)``, the folds, and the log of the class frequencies among the other folds: ``(N, K)``.

    ``unseen (N, K)``: the classes of which the other folds have no row, where rows depend on each other; else None.
    """

    labels: Tensor
    folds: list[Tensor]
    prior: Predicted
    unseen: Tensor | None = None

    @staticmethod
    def of(labels: Tensor, classes: int, folds: list[Tensor], *, independent: bool) -> Setting:
        others = _other_rows(labels, classes, folds)
        prior = (others + 0.5) / (others + 0.5).sum(1, keepdim=True)  # half a row is added to each class
        return Setting(labels, folds, Predicted.of(prior.log(), labels), None if independent else others == 0)

    def ratio(self, likelihoods: Tensor) -> Tensor:
        """The log-ratio of posterior and prior, ``(N, K)``; unseen classes keep their prior probability.

        Otherwise rows unlike all others would be taken for rows of an unseen class: whole groups of rows are unlike
        others, whether or not the label depends on the columns.
        """
        if self.unseen is None:
            return torch.log_softmax(likelihoods + self.prior.logits, 1) - self.prior.logits
        known = self.prior.logits.masked_fill(self.unseen, -torch.inf).logsumexp(1, keepdim=True)
        logits = (likelihoods + self.prior.logits).masked_fill(self.unseen, -torch.inf)
        ratio = torch.log_softmax(logits, 1) + known - self.prior.logits
        return ratio.masked_fill(self.unseen, 0.0)

    def informed(self, predicted: Predicted) -> Tensor:
        """The log-ratio of each row's own class, ``(N,)``; zero if the class is unseen."""
        own = predicted.own - self.prior.own
        return own if self.unseen is None else own.masked_fill(self.unseen.gather(1, self.labels[:, None])[:, 0], 0.0)

    def stacked(self, ratios: list[Tensor]) -> Predicted:
        return stacked(self.prior.logits, ratios, self.labels, self.folds)


@dataclass(frozen=True, eq=False)
class Free:
    """Classifiers that assume no form of the classes: kernels of all columns, and histograms of single ones.

    Attributes:
        scaled: the columns that kernels see, ``(N, D)``. x: all columns.
    """

    scaled: Tensor
    x: Floats
    setting: Setting
    rng: np.random.Generator

    def ratios(self, rows: Tensor, folds: list[Tensor]) -> list[Tensor]:
        """Log-ratios ``(N, K)`` from these rows, unless they are zero everywhere; ``folds`` are places in them."""
        labels, prior = self.setting.labels[rows], self.setting.prior.logits[rows]
        classes = prior.shape[1]
        kernels = by_kernels(self.scaled[rows], labels, classes, self.rng) - prior
        columns = by_columns(self.x[rows.numpy()], labels, classes, folds)
        return [kernels, columns] if bool(columns.any()) else [kernels]

    def growth(self, found: list[Tensor]) -> float:
        """By how much these ratios gain from the second half of the rows, in nats."""
        rows = torch.cat(self.setting.folds[0::2])
        places = torch.from_numpy(self.rng.permutation(len(rows)))
        half = self.ratios(rows, list(torch.tensor_split(places, len(self.setting.folds))))
        parts = list(torch.tensor_split(torch.arange(len(rows)), 2))
        less = stacked(self.setting.prior.logits[rows], half, self.setting.labels[rows], parts).score
        gain = self.setting.stacked(found).score - self.setting.prior.score
        return max(0.0, gain - (less - float(self.setting.prior.own[rows].mean())))


@dataclass(frozen=True)
class Parts:
    """What the interval is made of, in nats.

    Attributes:
        error: standard error of the rows' mean log-ratio, times the slope of the information by that mean.
        lost: correction for errors of the discriminant's parameters. overfitted: overfitting of the networks.
        learned: what kernels, histograms and networks add to the discriminants. growth: what kernels and histograms
            gain from the second half of the rows.
    """

    error: float
    lost: float
    overfitted: float
    learned: float
    growth: float

    def interval(self, n: int, columns: int) -> tuple[float, float]:
        """Standard error, and by how much the upper end is raised; ``n`` rows, or groups of them, are independent."""
        uncertain = _UNCERTAIN * (self.lost + 0.5 * self.overfitted)
        stderr = math.hypot(self.error, uncertain, 1 / n)
        growing = min(self.growth / (math.sqrt(2) - 1), _MOST_GROWN * self.learned)  # if the loss falls as 1 / √N
        hidden = _HIDDEN * math.sqrt(columns / n)
        return stderr, _UNCERTAIN * self.lost + 0.5 * self.overfitted + _MISSED * self.learned + growing + hidden


def measure_labels(
    labels: Labels, x: Floats, *, draws: int, rng: np.random.Generator, structure: RowStructure | None = None
) -> Measurement:
    r"""Mutual information of a label and other columns: its entropy less the held-out cross-entropy of classifiers.

    1. Linear and quadratic discriminants (:mod:`infomax.estimators.default.discriminants`) are cross-fitted, on the
       standardised columns and on their normal scores. The best linear and the best quadratic one are stacked: weights
       of their log-ratios minimise the cross-entropy, those of each half of the folds on the other half.
    2. Unless almost everything is explained, kernel regression (:mod:`infomax.estimators.default.class_kernels`) and
       histograms of single columns (:mod:`infomax.estimators.default.class_columns`) join the stack, and networks
       learn what to add (:func:`infomax.estimators.default.class_network.fit_network`); they are stacked as well.
    3. The value is the mean held-out log-ratio of posterior and prior probability. Three corrections are added: the
       bias of the entropy of the sample, as far as it is explained; what the best discriminant loses by errors of its
       parameters, as measured on rows drawn from it; half of the overfitting of the networks.
    4. In at most five columns it moves towards Ross's estimate by nearest neighbours where that is clearly larger:
       classes in many narrow ranges, which no smooth function tells apart
       (:func:`infomax.estimators.default.alternatives.with_neighbours_of_labels`). The value is at most the entropy,
       bias-corrected by a jackknife.

    Args:
        labels: N labels. x: ``(N, D)``. draws: permutations of the test of independence. rng: of the folds, networks
            and permutations. structure: which rows depend on each other; they are held out together, kernels and
            neighbours, which would see rows of the same group, are not used, nothing is added to the held-out value,
            and classes that only held-out groups have carry no information.
    """
    n, classes = len(x), len(labels.counts)
    structure = structure or RowStructure.independent(n)
    independent = structure.is_independent
    pvalue = labels_pvalue(labels, x, draws, rng, structure)
    y = torch.from_numpy(labels.of_row)
    count = 10 if n < _FEW_ROWS else 5
    folds = stratified_folds(labels, count, rng) if independent else _unit_folds(structure, count, rng)
    setting = Setting.of(y, classes, folds, independent=independent)
    data = {view: Classes.of(values, y, classes, setting.folds) for view, values in _views(x).items()}
    ratios = _best_ratios(data, setting)
    alone = {candidate: setting.stacked([ratio]) for candidate, ratio in ratios.items()}
    best = max(alone, key=lambda candidate: alone[candidate].score)
    found = max(alone[best], setting.stacked(list(ratios.values())), key=lambda predicted: predicted.score)
    before, overfitted, growth = found.score, 0.0, 0.0
    if independent and -found.score > _EXPLAINED:
        free = Free(data[best.view].x, x, setting, rng)
        more = free.ratios(torch.arange(n), setting.folds)
        for extra in [[ratio] for ratio in more] + [more] * (len(more) > 1):
            found = max(found, setting.stacked([*ratios.values(), *extra]), key=lambda predicted: predicted.score)
        growth = free.growth(more) if found.score > before else 0.0
    if n >= max(_NETWORK_ROWS, _ROWS_PER_CLASS * classes) and -found.score > _EXPLAINED:
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        found, overfitted = _with_network(found, data[best.view].x, setting, generator)
    seen, held_out = setting.informed(alone[best]), setting.informed(found)
    lost, slope = _lost(data[best.view], best, seen, setting, rng) if independent else (0.0, 1.0)
    value = float(held_out.mean())
    lost *= min(1.0, max(0.0, float(seen.mean())) / max(value, 1e-12))
    entropy = float(labels.entropies().mean())
    # The frequencies of the labels are those of the sample: where all is explained, this lacks their entropy's bias.
    lacking = (entropy + setting.prior.score) * min(1.0, max(0.0, value / entropy))
    added = lacking + lost + 0.5 * overfitted if independent else 0.0
    corrected = min(value + added, entropy)
    error = slope * structure.mean_error(held_out.numpy())
    parts = Parts(error, lost, overfitted, found.score - before, growth)
    stderr, gap = parts.interval(structure.units, x.shape[1])
    shares = held_out.numpy() + (corrected - value)
    remarks = (_mostly_corrected(lost),) if lost > max(0.1, _LARGE * corrected) else ()
    modelled = Measurement(corrected, stderr, gap, shares, overfitted, remarks=remarks)
    if independent and x.shape[1] < NEAR_DIMENSIONS and not copied_rows(x, x):
        modelled = at_most(with_neighbours_of_labels(modelled, labels.of_row, x, rng), entropy)
    return replace(modelled, pvalue=pvalue, permutations=draws)


def _mostly_corrected(lost: float) -> TrainingWarning:
    return TrainingWarning(
        f"few rows for so many classes and columns: {lost:.2f} nats of the value are a correction for errors of the "
        f"classifier's parameters, which holds if the classes are normal"
    )


def _best_ratios(data: dict[str, Classes], setting: Setting) -> dict[Candidate, Tensor]:
    """The held-out log-ratios ``(N, K)`` of the best linear and the best quadratic discriminant."""
    best: dict[bool, tuple[float, Candidate, Tensor]] = {}

    def offer(candidate: Candidate, likelihoods: Tensor) -> None:
        ratio, kind = setting.ratio(likelihoods), candidate.prior_rows is None
        score = max(Predicted.of(setting.prior.logits + w * ratio, setting.labels).score for w in _WEIGHTS)
        if kind not in best or score > best[kind][0]:
            best[kind] = score, candidate, ratio

    for view, one in data.items():
        n, dim = one.x.shape
        for shrunk in (False, True):
            if shrunk or n * (1 - 1 / len(setting.folds)) - one.classes > 2 * dim:
                for name, likelihoods in linear(one, shrunk).items():
                    offer(Candidate(view, name, shrunk), likelihoods)
        if affords_quadratic(one):
            prior_rows = [rows * (dim + 1) for rows in _PRIOR_ROWS]
            for rows, likelihoods in zip(prior_rows, quadratic(one, prior_rows), strict=True):
                offer(Candidate(view, "quadratic", True, rows), likelihoods)
    return {candidate: ratio for _, candidate, ratio in best.values()}


def _with_network(found: Predicted, x: Tensor, setting: Setting, generator: torch.Generator) -> tuple[Predicted, float]:
    """The better of the prediction and of that with networks; and the overfitting of these, in nats."""
    added, fitted = fit_network(x, setting.labels, found.logits, setting.folds, generator)
    more = stacked(found.logits, [added.double()], setting.labels, setting.folds)
    if more.score <= found.score:
        return found, 0.0
    return more, max(0.0, Predicted.of(found.logits + fitted.double(), setting.labels).score - more.score)


def _lost(
    data: Classes, candidate: Candidate, seen: Tensor, setting: Setting, rng: np.random.Generator
) -> tuple[float, float]:
    """What a discriminant loses on held-out rows by errors of its parameters, if it is the right model.

    Rows with the same labels are drawn from the fitted model, at several sizes of its differences between classes, and
    the same discriminant is cross-fitted to them. The loss is taken at the size at which its held-out value is nearest
    to that of the sample, the mean of ``seen (N,)``.

    Returns:
        the loss, and the slope of the information by the held-out value there, at least 1.
    """
    n, value = len(data.x), float(seen.mean())
    if value <= 2 * float(seen.std()) / math.sqrt(n):
        return 0.0, 1.0
    model = fit_model(data, candidate.name, candidate.shrunk, candidate.prior_rows)
    noise = torch.from_numpy(rng.standard_normal(data.x.shape))
    frequencies = (torch.bincount(data.labels) / n).double().log()

    def draw(size: float) -> tuple[float, float]:
        z, densities = model.sample(data.labels, noise, size)
        ratio = setting.ratio(candidate.held_out(Classes.of(z, data.labels, data.classes, setting.folds)))
        truth = Predicted.of(densities + frequencies, data.labels).score - float(frequencies[data.labels].mean())
        return setting.stacked([ratio]).score - setting.prior.score, truth

    points, size = [(0.0, 0.0), draw(1.0)], 1.0
    for _ in range(_DRAWN):
        if abs(points[-1][0] - value) < _NEAR * value:
            break
        size *= min(2.0, math.sqrt(value / max(points[-1][0], value / 16)))
        points.append(draw(size))
    values, truths = map(np.array, zip(*sorted(points), strict=True))
    place = int(np.clip(np.searchsorted(values, value), 1, len(values) - 1))
    slope = (truths[place] - truths[place - 1]) / max(values[place] - values[place - 1], 1e-12)
    nearest = place if abs(values[place] - value) < abs(values[place - 1] - value) else place - 1
    return max(0.0, float(truths[nearest] - values[nearest])), float(np.clip(slope, 1.0, _STEEPEST))


def stratified_folds(labels: Labels, count: int, rng: np.random.Generator) -> list[Tensor]:
    """Rows of each fold, with about as many rows of each label in every fold."""
    mixed = rng.permutation(len(labels.of_row))
    dealt = mixed[np.argsort(labels.of_row[mixed], kind="stable")]
    return [torch.from_numpy(np.sort(dealt[fold::count])) for fold in range(count)]


def _unit_folds(structure: RowStructure, count: int, rng: np.random.Generator) -> list[Tensor]:
    """Rows of each fold, without empty ones."""
    return [torch.from_numpy(part) for part in structure.parts(min(count, structure.units), rng) if len(part)]


def stacked(offsets: Tensor, ratios: list[Tensor], labels: Tensor, folds: list[Tensor]) -> Predicted:
    """The calibrated sum of held-out log-ratios ``(N, K)``: weights for each half of the folds from the other half."""
    halves = [torch.cat(folds[0::2]), torch.cat(folds[1::2])]
    logits = offsets.clone()
    for own, other in (halves, halves[::-1]):
        weights = _weights(offsets[other], [ratio[other] for ratio in ratios], labels[other])
        for weight, ratio in zip(weights, ratios, strict=True):
            logits[own] += weight * ratio[own]
    return Predicted.of(logits, labels)


def _weights(offsets: Tensor, ratios: list[Tensor], labels: Tensor) -> list[float]:
    """Weights of the ratios with the least cross-entropy, by Newton's method with a small ridge penalty."""
    start = torch.full((len(ratios),), 1 / len(ratios), dtype=offsets.dtype)
    weights, features = start.clone(), torch.stack(ratios, 2)  # (N, K, C)
    own = features[torch.arange(len(labels)), labels]

    def loss(w: Tensor) -> float:
        logits = offsets + features @ w
        return float((torch.logsumexp(logits, 1) - logits.gather(1, labels[:, None])[:, 0]).sum()) + _RIDGE * float(
            (w - start).square().sum()
        )

    least = loss(weights)
    for _ in range(30):
        shares = torch.softmax(offsets + features @ weights, 1)
        means = (shares[:, :, None] * features).sum(1)
        gradient = (means - own).sum(0) + 2 * _RIDGE * (weights - start)
        flat = (shares.sqrt()[:, :, None] * features).reshape(-1, len(ratios))
        curvature = flat.T @ flat - means.T @ means + 2 * _RIDGE * torch.eye(len(ratios), dtype=offsets.dtype)
        step = torch.linalg.solve(curvature, gradient)
        scale = 1.0
        while scale > 1e-3 and loss(weights - scale * step) > least:
            scale /= 2
        weights = weights - scale * step
        before, least = least, loss(weights)
        if before - least < 1e-6 * len(labels):
            break
    return [float(weight) for weight in weights]


def _views(x: Floats) -> dict[str, Tensor]:
    """The columns standardised, and their normal scores; of very many columns, the principal directions."""
    views = {
        "standard": fit_margins(x, "standard")(x),
        "normal scores": fit_margins(normal_scores(x), "standard")(normal_scores(x)),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in views.items()}
    most = min(_MOST_COLUMNS, max(1, len(x) // 2))
    if x.shape[1] <= most:
        return tensors
    return {name: principal_directions(values, most) for name, values in tensors.items()}


def _other_rows(labels: Tensor, classes: int, folds: list[Tensor]) -> Tensor:
    """For each row, the number of rows of each class in the other folds: ``(N, K)``."""
    counts = torch.bincount(labels, minlength=classes)
    others = torch.empty(len(labels), classes, dtype=torch.float64)
    for rows in folds:
        others[rows] = (counts - torch.bincount(labels[rows], minlength=classes)).double()
    return others
