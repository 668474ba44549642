"""The folds of the default estimator: their rows, copulas, network inputs, and held-out scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from infomax.estimators.default.copulas import EllipticalCopula, Embedded, fit_copula, principal_axes, significant_rank
from infomax.estimators.default.residual import BatchedCritic
from infomax.statistics.marginals import Floats, fit_margins
from infomax.training.fit import validation_rows

Rows = NDArray[np.int64]

#: A column with fewer distinct values than this is discrete.
FEWEST_DISTINCT = 20
#: Held-out rows whose pairs are all scored at a time.
_BLOCK = 2048
#: Shuffled pairs for each joint pair when scores are calibrated, and their total.
_NEGATIVES, _MOST_MIXED = 20, 1_000_000
#: Of a side with more columns than this, the network's inputs are a few directions.
_WIDE = 8
_MOST_DIRECTIONS, _MOST_AXES = 16, 4
#: A value with this share of a column's rows is an atom; with the second share it makes the column discrete.
_ATOM, _DISCRETE_ATOM = 0.02, 0.1
_MOST_ATOMS = 32
#: Each of one or two columns is also an input in this many steps of its ranks.
_RANK_STEPS = 16
#: Most validation rows.
_MOST_VALIDATION = 4096


@dataclass(frozen=True, eq=False)
class Side:
    """One side: normal scores, indicators of frequent values, and whether a column is discrete."""

    scores: Tensor  # (N, D), float64
    atoms: Tensor  # (N, A), float64
    discrete: bool

    @staticmethod
    def of(samples: Floats) -> Side:
        n = len(samples)
        indicators, discrete = [], False
        for column in samples.T:
            values, counts = np.unique(column, return_counts=True)
            heaviest = counts.max() / n
            discrete |= len(values) < min(FEWEST_DISTINCT, n // 2) or heaviest >= _DISCRETE_ATOM
            frequent = counts >= max(_ATOM * n, 5)
            most = values[frequent][np.argsort(-counts[frequent], kind="stable")][:_MOST_ATOMS]
            indicators += [column == value for value in most]
        wide = samples.shape[1] > _WIDE
        atoms = np.stack(indicators, 1) if indicators and not wide else np.zeros((n, 0))
        scores = torch.from_numpy(fit_margins(samples)(samples))
        return Side(scores, torch.from_numpy(atoms.astype(np.float64)), discrete)

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
class Folds:
    """The fixed data of each fold and its networks: rows, copulas, and the networks' inputs.

    Network m belongs to fold m modulo the number of folds. Each network of a fold has validation rows of its own.
    """

    train: Tensor  # (networks, N)
    validation: Tensor
    held_out: list[Rows]
    copulas: list[tuple[EllipticalCopula, EllipticalCopula]]  # the best, and the normal one
    embedded: list[tuple[Embedded, Embedded]]
    features_x: Tensor  # (networks, N, F)
    features_y: Tensor

    @staticmethod
    def prepare(
        sides: tuple[Side, Side], parts: list[Rows], rng: np.random.Generator, device: torch.device, replicas: int = 1
    ) -> Folds:
        """From parts that are held out in turn, with ``replicas`` networks for each."""
        everything = np.concatenate(parts)
        others = [rng.permutation(np.setdiff1d(everything, part)) for _ in range(replicas) for part in parts]
        splits = [min(validation_rows(len(rows)), _MOST_VALIDATION) for rows in others]
        validations = [rows[:split] for rows, split in zip(others, splits, strict=True)]
        trains = [rows[split:] for rows, split in zip(others, splits, strict=True)]
        copulas, embedded, along = [], [], []
        for rows in others[: len(parts)]:
            x, y = (side.scores[torch.from_numpy(rows)] for side in sides)
            best, normal = fit_copula(x, y)
            copulas.append((best, normal))
            seen_by = [copula.embed(sides[0].scores, sides[1].scores).to(device) for copula in (best, normal)]
            embedded.append((seen_by[0], seen_by[1]))
            kept = 0
            if sides[0].wide or sides[1].wide:
                kept = min(significant_rank(x, y) + 2, _MOST_DIRECTIONS)
            along.append((normal.coupling.directions_x[:, :kept], normal.coupling.directions_y[:, :kept]))
        features = []
        for side, of_folds in zip(sides, zip(*along, strict=True), strict=True):
            seen = [side.features(rows, of_folds[m % len(parts)]) for m, rows in enumerate(trains)]
            features.append(_even([own.float().to(device).T for own in seen]).transpose(1, 2))
        return Folds(_rows(trains, device), _rows(validations, device), parts, copulas, embedded, *features)

    def critic(self, generator: torch.Generator) -> BatchedCritic:
        dims = self.features_x.shape[2], self.features_y.shape[2]
        return BatchedCritic(len(self.train), *dims, generator).to(self.train.device)

    def features(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of x and of y, ``(networks, N, F)``, for rows ``(networks, N)``."""
        network = torch.arange(len(rows), device=rows.device)[:, None]
        return self.features_x[network, rows], self.features_y[network, rows]

    def anchors(self, rows: Tensor) -> Tensor:
        """The copulas' scores of rows ``(networks, N)``: ``(networks, N, N)``."""
        folds = len(self.held_out)
        each = [(self.copulas[m % folds][0], self.embedded[m % folds][0][own]) for m, own in enumerate(rows)]
        return torch.stack([copula.scores(seen) for copula, seen in each])

    def score(self, critic: BatchedCritic, rng: np.random.Generator) -> Scored:
        """Scores of held-out rows by the normal copula, the best copula and the networks' mean."""
        order = np.concatenate(self.held_out)
        negatives = max(1, min(_NEGATIVES, _MOST_MIXED // len(order)))
        split = [np.array_split(own, math.ceil(len(own) / _BLOCK)) for own in self.held_out]
        count = sum(len(block) * min(negatives, len(block) - 1) for blocks in split for block in blocks)
        # Allocated first: small tensors that outlive the large ones of each block would fragment memory.
        pairs, mixed = torch.empty(len(order), 3, dtype=torch.float32), torch.empty(count, 3, dtype=torch.float32)
        gap, done, mixed_done = 0.0, 0, 0
        for fold, blocks in enumerate(split):
            models = {m: critic.one(m) for m in range(fold, len(self.train), len(self.held_out))}
            for block in blocks:
                index = torch.from_numpy(block).to(self.train.device)
                n = len(block)
                shifts = 1 + torch.from_numpy(rng.permutation(n - 1)[:negatives])
                partners = (torch.arange(n)[:, None] + shifts) % n
                others = slice(mixed_done, mixed_done + partners.numel())
                for column, scores in enumerate(self._scores_by_each(fold, models, index)):
                    pairs[done : done + n, column] = scores.diagonal().cpu()
                    mixed[others, column] = scores.gather(1, partners.to(scores.device)).flatten().cpu()
                done, mixed_done = done + n, others.stop
            for m, model in models.items():
                seen = self.train[m, :: max(1, self.train.shape[1] // _BLOCK)]
                in_sample = model.pairs(self.features_x[m, seen][None], self.features_y[m, seen][None])
                gap += len(self.held_out[fold]) * float(in_sample.mean()) / len(models)
        return Scored(pairs, mixed, order, gap / len(order) - float(pairs[:, 2].mean()))

    def _scores_by_each(self, fold: int, models: dict[int, BatchedCritic], rows: Tensor) -> Iterator[Tensor]:
        """Scores ``(N, N)`` of rows by the normal copula, the best copula and the networks' mean, in this order."""
        for copula, seen in zip(reversed(self.copulas[fold]), reversed(self.embedded[fold]), strict=True):
            yield copula.scores(seen[rows])
        total = torch.zeros(len(rows), len(rows), dtype=torch.float32, device=rows.device)
        for m, model in models.items():
            total += model(self.features_x[m, rows][None], self.features_y[m, rows][None])[0]
        yield total / len(models)


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores (normal copula, best copula, mean of the networks) of held-out joint pairs and of shuffled pairs."""

    pairs: Tensor  # (N, 3)
    mixed: Tensor  # (M, 3)
    rows: Rows  # of the pairs
    gap: float  # of the networks: training rows less held-out rows


def _rows(each: list[Rows], device: torch.device) -> Tensor:
    """Index arrays whose lengths differ by at most one, cut to the shortest: ``(networks, N)``."""
    least = min(map(len, each))
    return torch.from_numpy(np.stack([rows[:least] for rows in each])).to(device)


def _even(each: list[Tensor]) -> Tensor:
    """Feature matrices ``(F, N)``, padded with zeros to the same number of features: ``(networks, F, N)``."""
    most = max(map(len, each))
    return torch.stack([F.pad(one, (0, 0, 0, most - len(one))) for one in each])
