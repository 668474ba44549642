"""Which candidate, and which kind of network on top of it: chosen on held-out rows, then fitted for every fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from infomax.estimators import candidates
from infomax.estimators.candidates.base import Side
from infomax.estimators.default.folds import (
    Anchor,
    Fold,
    HeldOut,
    Model,
    Networks,
    Scored,
    calibrated,
    score,
    separable,
)
from infomax.estimators.default.networks import KINDS, Kind
from infomax.estimators.default.residual import fit_residuals
from infomax.progress import no_progress
from infomax.training.fit import History, Schedule
from infomax.training.trials import Trial

#: The simplest candidate within so many standard errors of the best one is chosen, or within this share of its value.
_WITHIN, _NEGLIGIBLE = 2.0, 0.01
#: Below so many rows, one kind of network is trained, and is not compared with others; above the second number, a
#: single fold is enough for comparisons, otherwise two.
_FEW, _MANY = 1_000, 4_000
#: A network on top of the simplest candidate is chosen if it reaches this share of the largest value.
_ALMOST = 0.95
#: With many rows, networks are compared after this fraction of the steps.
_BRIEFLY = 3
#: Folds in which half of the rows are fitted as well, with few rows; and the fewest rows of such a fit.
_GROWN, _LEAST_ROWS = 4, 20


def trainings(rows: int) -> int:
    """How often networks are trained, at most: each kind, the best for the other folds, and on half of the rows."""
    return len(KINDS) + 3 if rows >= _FEW else 1


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was chosen and fitted.

    Attributes:
        candidate: its name. anchors: the candidate, fitted to the other rows of each fold.
        scored: scores of the held-out rows. folds: all. compared: those on which the choice was made.
        kind: of the network, or None. history: of all its models. trials: everything that was tried.
        growth: how much the held-out value grows when the candidate and its network are fitted to all rows of a fold
            instead of half of them, in nats; and the standard error of that. steps: training steps of all networks.
    """

    candidate: str
    anchors: list[Anchor]
    scored: Scored
    folds: list[Fold]
    compared: list[Fold]
    kind: Kind | None = None
    history: list[History] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    growth: tuple[float, float] = (0.0, 0.0)
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Contender:
    """A candidate that was fitted to the compared folds, and a network on top of it, if one was trained.

    ``alone`` are held-out log-ratios of the candidate without a network.
    """

    name: str
    anchors: list[Anchor]
    alone: HeldOut
    kind: Kind | None = None
    networks: Networks | None = None


@dataclass(frozen=True, eq=False)
class Portfolio:
    """The samples, their folds, and how networks are trained.

    Attributes:
        sides: x and y. folds: of their rows, with as many replicas as networks are trained for each.
        schedule: of the networks. generator: for random numbers, on the CPU. shuffles: seed of the shuffled pairs that
            rows are scored with; they are the same for all models, so that differences are due to the models.
        device: of the networks. tick: called with the number of training steps done.
    """

    sides: tuple[Side, Side]
    folds: list[Fold]
    schedule: Schedule
    generator: torch.Generator
    shuffles: int
    device: torch.device
    tick: Callable[[int], None] = no_progress

    def fit(self) -> Fitted:
        """Compare candidates, then kinds of networks, on a few folds; fit the best to all folds and score all rows."""
        rows = len(self.sides[0])
        few = min(len(self.folds), 1 if rows >= _MANY else 2 if rows >= _FEW else len(self.folds))
        compared, others = self.folds[:few], self.folds[few:]
        contenders, trials = self._choose_candidate(compared)
        kinds = [kind for kind in KINDS if kind.suits(*self.sides)]
        best, steps = contenders[0], 0
        alone = next(trial for trial in trials if trial.name == best.name)
        learnable = not separable(alone.score, alone.rows)  # otherwise held-out scores show no error
        if self.folds[0].trains and self.schedule.steps and learnable:
            few_rows = rows < _FEW
            best, more, steps = self._choose_network(
                contenders[:1] if few_rows else contenders, compared, kinds[:1] if few_rows else kinds
            )
            trials += more
        name, anchors, kind, trained = best.name, list(best.anchors), best.kind, best.networks
        if others:
            anchors += self._anchors(name, others)
            plainest = contenders[-1]
            if name != plainest.name:  # the compared rows may have chosen it by chance
                plain = plainest.anchors + self._anchors(plainest.name, others)
                if self._held_out(self.folds, plain).value >= self._held_out(self.folds, anchors).value:
                    name, anchors, kind = plainest.name, plain, None
        models: list[list[Model]] = [[] for _ in self.folds]
        history: list[History] = []
        if kind is not None and trained is not None:
            if rows >= _MANY:  # those of the comparison were trained briefly
                groups = [self._train(kind, self.folds, anchors)]
                steps += groups[0].history[0].steps[-1]
            else:
                longest = max(one.best_step for one in trained.history)
                more_folds = [self._train(kind, others, anchors[few:], at_least=longest)] if others else []
                groups = [trained, *more_folds]
                steps += sum(networks.history[0].steps[-1] for networks in groups[1:])
            models = [fold for networks in groups for fold in networks.by_fold(self.replicas)]
            history = [one for networks in groups for one in networks.history]
        chosen = name if kind is None else f"{name} + {kind.name}"
        trials = [replace(trial, chosen=trial.name == chosen) for trial in trials]
        scored = self._score(self.folds, anchors, models)
        compared_models = models
        if kind is not None and trained is not None and rows >= _MANY:
            compared_models = trained.by_fold(self.replicas)
        growth, more_steps = self._growth(name, kind, anchors, compared_models)
        return Fitted(name, anchors, scored, self.folds, compared, kind, history, trials, growth, steps + more_steps)

    @property
    def replicas(self) -> int:
        """Networks of each fold."""
        return len(self.folds[0].train)

    def _choose_candidate(self, folds: Sequence[Fold]) -> tuple[list[Contender], list[Trial]]:
        """The simplest candidate whose held-out value is within two standard errors of the largest; and all trials.

        The standard error is that of the difference, row by row. If it is not the simplest of all, that one is the
        second in the list: a network may learn more on top of it.
        """
        tried: list[Contender] = []
        for name in candidates.names():
            if candidates.get(name).suits(*(side[folds[0].others] for side in self.sides)):
                anchors = self._anchors(name, folds)
                tried.append(Contender(name, anchors, self._held_out(folds, anchors)))
        place = simplest([one.alone for one in tried])
        trials = [_trial(one.name, candidates.get(one.name).assumes, one.alone) for one in tried]
        return [tried[i] for i in sorted({place, 0}, reverse=True)], trials

    def _choose_network(
        self, contenders: Sequence[Contender], folds: Sequence[Fold], kinds: Sequence[Kind]
    ) -> tuple[Contender, list[Trial], int]:
        """The candidate and the kind with the largest held-out value; everything that was tried; and the steps.

        All kinds are trained on top of the first candidate; one is kept if it improves the candidate by more than the
        standard error. The first kind is also trained on top of the simplest candidate, if that is another one, and is
        kept if it reaches 95 % of the largest value.
        """
        best, alone = contenders[0], contenders[0].alone
        greatest = alone.value
        trials, steps = [], 0
        pairs = [(contenders[0], kind) for kind in kinds] + [(one, kinds[0]) for one in contenders[1:] if kinds]
        for contender, kind in pairs:
            networks = self._train(kind, folds, contender.anchors, briefly=len(self.sides[0]) >= _MANY)
            steps += networks.history[0].steps[-1]
            scored = self._score(folds, contender.anchors, networks.by_fold(self.replicas))
            held_out = calibrated(scored, networks=True)
            trials.append(_trial(f"{contender.name} + {kind.name}", kind.assumes, held_out))
            # The simpler candidate, which is the last one, leaves more to the network, which is trained longer later.
            needed = _ALMOST * greatest
            if contender is contenders[0]:
                needed = max(greatest, alone.value + _error(held_out.local - alone.local))
            if held_out.value > needed:
                best, greatest = replace(contender, kind=kind, networks=networks), held_out.value
        return best, trials, steps

    def _growth(
        self, name: str, kind: Kind | None, anchors: Sequence[Anchor], models: Sequence[list[Model]]
    ) -> tuple[tuple[float, float], int]:
        """The held-out value of some folds less that of fits to half of the rows, its standard error, and the steps.

        With few rows, of the candidate alone.
        """
        some = 1 if len(self.sides[0]) >= _MANY else _GROWN
        folds, halves = self.folds[:some], [fold.half for fold in self.folds[:some]]
        if len(halves[0].others) < _LEAST_ROWS:
            return (0.0, 0.0), 0
        trains = kind is not None and halves[0].trains and len(self.sides[0]) >= _FEW
        fitted = self._anchors(name, halves)
        none: list[list[Model]] = [[] for _ in folds]
        learned, steps = none, 0
        if kind is not None and trains:
            networks = self._train(kind, halves, fitted, briefly=some == 1)
            learned, steps = networks.by_fold(1), networks.history[0].steps[-1]
        values = []
        for of_folds, each, own in ((folds, anchors[:some], models[:some]), (halves, fitted, learned)):
            scored = self._score(of_folds, each, own if trains else none)
            values.append(calibrated(scored, networks=trains).local)
        more = values[0] - values[1]
        return (float(more.mean()), _error(more)), steps

    def _anchors(self, name: str, folds: Sequence[Fold]) -> list[Anchor]:
        """The candidate of that name, fitted to the other rows of each fold."""
        candidate = candidates.get(name)
        x, y = self.sides
        fits = [candidate.fit(x[fold.others], y[fold.others], self.generator) for fold in folds]
        return [Anchor.of(fit, x, y) for fit in fits]

    def _held_out(self, folds: Sequence[Fold], anchors: Sequence[Anchor]) -> HeldOut:
        """The calibrated log-ratio of these candidates without networks."""
        return calibrated(self._score(folds, anchors, [[] for _ in folds]), networks=False)

    def _score(self, folds: Sequence[Fold], anchors: Sequence[Anchor], models: Sequence[list[Model]]) -> Scored:
        return score(folds, anchors, models, np.random.default_rng(self.shuffles))

    def _train(
        self,
        kind: Kind,
        folds: Sequence[Fold],
        anchors: Sequence[Anchor],
        *,
        briefly: bool = False,
        at_least: int = 0,
    ) -> Networks:
        """Networks of this kind for the residual of each fold's anchor, which stop after ``at_least`` steps or later.

        A relation of high frequency is found after many steps without any improvement.
        """
        steps = self.schedule.steps // _BRIEFLY if briefly else self.schedule.steps
        patience = max(self.schedule.patience, math.ceil(at_least / self.schedule.check_every))
        networks = Networks.untrained(kind, self.sides, folds, self.generator, self.device)
        with torch.enable_grad():
            networks.history.extend(
                fit_residuals(
                    networks.critic,
                    networks.anchored(anchors, len(folds[0].train)),
                    networks.residuals,
                    networks.train,
                    networks.validation,
                    schedule=replace(self.schedule, steps=steps, patience=patience),
                    generator=self.generator,
                    tick=self.tick,
                )
            )
        return networks


def simplest(tried: Sequence[HeldOut]) -> int:
    """The place of the first one that is within two standard errors of the largest value."""
    best = max(tried, key=lambda one: one.value)
    for place, one in enumerate(tried):
        difference = best.local - one.local
        if float(difference.mean()) <= max(_WITHIN * _error(difference), _NEGLIGIBLE * best.value):
            return place
    return 0


def _error(local: Tensor) -> float:
    """The standard error of their mean."""
    return float(local.std()) / math.sqrt(len(local))


def _trial(name: str, assumes: str, held_out: HeldOut) -> Trial:
    return Trial(name, assumes, held_out.value, _error(held_out.local), len(held_out.local))
