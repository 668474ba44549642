"""The folds of the default estimator: rows, fitted candidates, and scores of held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from infomax.estimators.candidates.base import LogRatio, Rows, Side
from infomax.estimators.default.networks import Kind, even
from infomax.estimators.default.residual import BatchedCritic
from infomax.estimators.default.stacking import apply, stack
from infomax.statistics.row_structure import RowStructure
from infomax.training.fit import LEAST_VALIDATION, History, validation_rows

#: Held-out rows whose pairs are all scored at a time.
_BLOCK = 1024
#: Shuffled pairs for each joint pair when scores are calibrated, and their total.
_NEGATIVES, _MOST_MIXED = 20, 1_000_000
#: Of at most so many rows, the log-ratios of all pairs are kept.
_FEW = 1024
#: Fewest rows that a model is fitted to.
_FEWEST_OTHERS = 10
#: Most validation rows.
_MOST_VALIDATION = 4096
#: The largest scores of shuffled pairs that are kept of each block.
_LARGEST = 10
#: If the largest scores have more than this share of the mean of e^f, that mean is unreliable.
_DOMINATED = 0.5


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: its held-out rows, and for each replica the rows of training and of validation."""

    held_out: Rows
    train: list[Rows]
    validation: list[Rows]
    structure: RowStructure

    @staticmethod
    def of(parts: Sequence[Rows], rng: np.random.Generator, replicas: int, structure: RowStructure) -> list[Fold]:
        """Each part is held out in turn.

        Raises:
            ValueError: if too few rows are independent of a part.
        """
        folds = []
        for part in parts:
            others = structure.others(part)
            if len(others) < _FEWEST_OTHERS and not structure.is_independent:
                name = "groups" if structure.block_length is None else "block_length"
                raise ValueError(
                    f"{name} must leave at least {_FEWEST_OTHERS} rows that are independent of a held-out fold; got "
                    f"{len(others)} of {len(structure.unit)} rows"
                )
            split = min(validation_rows(len(others)), _MOST_VALIDATION)
            divided = [structure.divided(others, split, rng) for _ in range(replicas)]
            folds.append(Fold(part, [train for _, train in divided], [held for held, _ in divided], structure))
        return folds

    @property
    def others(self) -> Rows:
        """All rows that are not held out."""
        return np.concatenate([self.validation[0], self.train[0]])

    @property
    def half(self) -> Fold:
        """The same with half of the training and validation rows of the first replica."""
        train, validation = self.train[0], self.validation[0]
        if self.structure.is_independent:
            return Fold(self.held_out, [train[::2]], [validation[::2]], self.structure)
        few = slice(len(train) // 2), slice(max(1, len(validation) // 2))  # rows are in the order of their units
        return Fold(self.held_out, [train[few[0]]], [validation[few[1]]], self.structure)

    @property
    def trains(self) -> bool:
        """Whether there are enough validation rows to stop training."""
        return len(self.validation[0]) >= LEAST_VALIDATION


@dataclass(frozen=True, eq=False)
class Anchor:
    """A candidate fitted to the other rows of a fold, with the embeddings of all rows."""

    log_ratio: LogRatio
    x: Tensor
    y: Tensor

    @staticmethod
    def of(log_ratio: LogRatio, x: Side, y: Side) -> Anchor:
        return Anchor(log_ratio, *log_ratio.embed(x, y))

    def scores(self, rows: Tensor) -> Tensor:
        """Log-ratios of all pairs of these rows, ``(N, N)``, in float32."""
        return self.log_ratio.scores(self.x[rows], self.y[rows]).float()


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks for the residuals of some folds; replicas of a fold are next to each other.

    Attributes:
        critic: of all networks. x, y: their inputs, ``(networks, N, F)``.
        train, validation: rows of each network. history: of each network, once trained.
    """

    critic: BatchedCritic
    x: Tensor
    y: Tensor
    train: Tensor
    validation: Tensor
    history: list[History] = field(default_factory=list)

    @staticmethod
    def untrained(
        kind: Kind, sides: tuple[Side, Side], folds: Sequence[Fold], generator: torch.Generator, device: torch.device
    ) -> Networks:
        """One network of this kind for each replica of each fold."""
        inputs = [kind.inputs(*sides, rows) for fold in folds for rows in fold.train]
        x, y = (even([pair[side] for pair in inputs]).to(device) for side in (0, 1))
        train = _rows([rows for fold in folds for rows in fold.train], device)
        validation = _rows([rows for fold in folds for rows in fold.validation], device)
        critic = kind.critic(len(train), x.shape[2], y.shape[2], generator).to(device)
        return Networks(critic, x, y, train, validation)

    def anchored(self, anchors: Sequence[Anchor], replicas: int) -> Callable[[Tensor], Tensor]:
        """The anchors' scores of all pairs of rows ``(networks, N)``, as a function: ``(networks, N, N)``."""
        device = self.train.device
        if self.x.shape[1] <= _FEW:
            everything = torch.arange(self.x.shape[1])
            all_pairs = torch.stack([anchor.scores(everything) for anchor in anchors]).to(device)
            fold = (torch.arange(len(self.train), device=device) // replicas)[:, None, None]
            return lambda rows: all_pairs[fold, rows[:, :, None], rows[:, None]]
        of_network = [anchor for anchor in anchors for _ in range(replicas)]

        def scores(rows: Tensor) -> Tensor:
            each = [anchor.scores(own) for anchor, own in zip(of_network, rows.cpu(), strict=True)]
            return torch.stack(each).to(device)

        return scores

    def residuals(self, critic: BatchedCritic, rows: Tensor) -> Tensor:
        """The scores of a critic of all networks, of all pairs of rows ``(networks, N)``: ``(networks, N, N)``."""
        network = torch.arange(len(rows), device=rows.device)[:, None]
        scores: Tensor = critic(self.x[network, rows], self.y[network, rows])
        return scores

    def by_fold(self, replicas: int) -> list[list[Model]]:
        """The models of each fold."""
        models = [Model(self, self.critic.one(m), m) for m in range(len(self.train))]
        return [models[first : first + replicas] for first in range(0, len(models), replicas)]


@dataclass(frozen=True, eq=False)
class Model:
    """One of several networks, with its place among them."""

    networks: Networks
    critic: BatchedCritic
    place: int

    def scores(self, rows: Tensor) -> Tensor:
        """Of all pairs of these rows, on the CPU: ``(N, N)``."""
        rows = rows.to(self.networks.train.device)
        x, y = self.networks.x[self.place, rows], self.networks.y[self.place, rows]
        scores: Tensor = self.critic(x[None], y[None])[0].cpu()
        return scores

    def in_sample(self) -> float:
        """The mean score of some of the pairs of its training rows."""
        train = self.networks.train[self.place]
        seen = train[:: max(1, len(train) // _BLOCK)]
        pairs = self.critic.pairs(self.networks.x[self.place, seen][None], self.networks.y[self.place, seen][None])
        return float(pairs.mean())


class Normaliser:
    """The mean of e^f over all shuffled pairs of several blocks, in log space."""

    def __init__(self) -> None:
        self._totals: list[Tensor] = []
        self._largest: list[Tensor] = []
        self._count = 0

    def add(self, scores: Tensor) -> None:
        """The pairs of a block, ``(N, N)``; its diagonal, the joint pairs, is overwritten."""
        shuffled = scores.fill_diagonal_(-torch.inf).flatten()
        self._totals.append(shuffled.logsumexp(0).double())
        self._largest.append(shuffled.topk(min(_LARGEST, len(shuffled))).values.double())
        self._count += len(scores) * (len(scores) - 1)

    @property
    def log_mean(self) -> float:
        return float(torch.stack(self._totals).logsumexp(0)) - math.log(self._count)

    @property
    def dominated(self) -> bool:
        """Whether a few pairs have most of the mean, which is then unreliable."""
        largest = torch.cat(self._largest)
        few = largest.topk(min(_LARGEST, len(largest))).values.logsumexp(0)
        return float((few - torch.stack(self._totals).logsumexp(0)).exp()) > _DOMINATED


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of held-out joint pairs and of shuffled pairs, by the anchor and by the mean of the networks.

    Attributes:
        pairs: ``(N, 2)``. mixed: ``(M, 2)``. rows: of the pairs.
        normalisers: of the anchor, and of the sum.
        overfitting: of the networks: their mean on training rows less that on held-out rows.
    """

    pairs: Tensor
    mixed: Tensor
    rows: Rows
    normalisers: tuple[Normaliser, Normaliser]
    overfitting: float


def score(
    folds: Sequence[Fold], anchors: Sequence[Anchor], models: Sequence[list[Model]], rng: np.random.Generator
) -> Scored:
    """Score the held-out rows of these folds; ``models`` are the networks of each fold, none if none was trained."""
    order = np.concatenate([fold.held_out for fold in folds])
    negatives = max(1, min(_NEGATIVES, _MOST_MIXED // len(order)))
    pairs, mixed, gap = [], [], 0.0
    normalisers = Normaliser(), Normaliser()
    for fold, anchor, own in zip(folds, anchors, models, strict=True):
        for block in np.array_split(fold.held_out, math.ceil(len(fold.held_out) / _BLOCK)):
            index, n = torch.from_numpy(block), len(block)
            base = anchor.scores(index)
            learned = sum((model.scores(index) for model in own), torch.zeros_like(base)) / max(len(own), 1)
            shifts = 1 + torch.from_numpy(rng.permutation(n - 1)[:negatives])
            partners = (torch.arange(n)[:, None] + shifts) % n
            pairs.append(torch.stack([base.diagonal(), learned.diagonal()], 1))
            mixed.append(torch.stack([base.gather(1, partners), learned.gather(1, partners)], 2).flatten(0, 1))
            normalisers[1].add(base + learned if own else base)
            normalisers[0].add(base)
        gap += len(fold.held_out) * sum(model.in_sample() for model in own) / max(len(own), 1)
    joined = torch.cat(pairs)
    overfitting = gap / len(order) - float(joined[:, 1].mean()) if any(models) else 0.0
    return Scored(joined, torch.cat(mixed), order, normalisers, overfitting)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A calibrated log-ratio of each held-out row, ``(N,)``, in nats, and the weight of the networks in it."""

    local: Tensor
    weight: float

    @property
    def value(self) -> float:
        return float(self.local.mean())


def calibrated(scored: Scored, *, networks: bool) -> HeldOut:
    """The better of two log-ratios that are at most the mutual information in expectation.

    One is stacked (:func:`stack`). The other is the sum of the scores less the logarithm of the mean of e^f over
    shuffled pairs, if that is positive (Donsker and Varadhan 1983). The latter is used if it is clearly larger and that
    mean does not depend on a few pairs; and where it exceeds log N - 1: so few shuffled pairs then resemble joint pairs
    that their logistic regression is an extrapolation.
    """
    columns = [0, 1] if networks else [0]
    pairs, mixed = scored.pairs[:, columns], scored.mixed[:, columns]
    weights = stack(pairs, mixed, torch.ones(len(columns)))
    stacked = apply(weights, pairs)
    normaliser = scored.normalisers[int(networks)]
    total = pairs.double().sum(1) - max(normaliser.log_mean, 0.0)
    more = total - stacked
    clearly = float(more.mean()) > 2 * float(more.std()) / math.sqrt(len(more))
    if (clearly or separable(float(total.mean()), len(total))) and not normaliser.dominated:
        return HeldOut(total, 1.0)
    return HeldOut(stacked, float(weights[2]) if networks else 0.0)


def separable(value: float, rows: int) -> bool:
    """Whether so few shuffled pairs resemble joint pairs that held-out scores hardly show errors of the log-ratio."""
    return value > math.log(rows) - 1


def _rows(each: list[Rows], device: torch.device) -> Tensor:
    """Index arrays whose lengths differ by at most one, cut to the shortest: ``(networks, N)``."""
    least = min(map(len, each))
    return torch.from_numpy(np.stack([rows[:least] for rows in each])).to(device)
