"""Which sides are labels, and the estimate where one or both are; numeric codes whose order carries information."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from infomax.estimators.base import Measurement
from infomax.estimators.default.alternatives import at_most
from infomax.estimators.default.nominal import measure_labels
from infomax.estimators.default.tables import measure_tables
from infomax.statistics.labels import Booleans, Floats, Labels, indicators, labels_of
from infomax.statistics.marginals import normal_scores
from infomax.statistics.row_structure import RowStructure

#: Fewest values of a column whose order may carry information that is tested, permutations of the values, and level.
_FEWEST_ORDERED, _ORDERS, _LEVEL = 10, 199, 0.01
#: Share of the entropy above which an order of the labels is not looked for.
_EXPLAINED = 0.97
#: In so many groups of rows each of several numbers occurs on average, if they are labels.
_UNITS_PER_LABEL = 2
#: Fewest rows for classifiers.
_LEAST_ROWS = 60
#: Most features that the test of order sees.
_MOST_FEATURES = 32


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples of which a side, or both, are labels; nominal columns are indicators of their categories.

    Attributes:
        x, y: ``(N, D)``. labels_x, labels_y: the labels of each side, or None. named: whether the labels of each side
            are names for certain, so that they have no order.
    """

    x: Floats
    y: Floats
    labels_x: Labels | None
    labels_y: Labels | None
    named: tuple[bool, bool] = (False, False)

    @staticmethod
    def of(
        x: Floats,
        y: Floats,
        nominal: tuple[Booleans, Booleans] | None = None,
        structure: RowStructure | None = None,
    ) -> Labelled | None:
        """None if neither side is a label, or if there are too few rows, unless a side is nominal.

        Args:
            nominal: which columns of x, and of y, are codes of nominal variables; by default none.
            structure: which rows depend on each other. Numbers that repeat only within groups, such as the age of each
                subject, are no labels.
        """
        nominal = nominal or (np.zeros(x.shape[1], dtype=bool), np.zeros(y.shape[1], dtype=bool))
        labels = [labels_of(side, flags) for side, flags in zip((x, y), nominal, strict=True)]
        named = [bool(flags.any()) and own is not None for flags, own in zip(nominal, labels, strict=True)]
        if structure is not None and not structure.is_independent:
            labels = [
                own if own is None or is_named or _repeats(own, structure) else None
                for own, is_named in zip(labels, named, strict=True)
            ]
        if labels == [None, None] or (len(x) < _LEAST_ROWS and not any(named)):
            return None
        x, y = (indicators(side, flags) for side, flags in zip((x, y), nominal, strict=True))
        return Labelled(x, y, labels[0], labels[1], (named[0], named[1]))

    @property
    def entropy(self) -> float:
        """The smaller entropy of the labels, bias-corrected, in nats."""
        return min(float(one.entropies().mean()) for one in (self.labels_x, self.labels_y) if one is not None)

    def measure(self, draws: int, rng: np.random.Generator, structure: RowStructure | None = None) -> Measurement:
        """The estimate from the labels alone, whatever their names are."""
        structure = structure or RowStructure.independent(len(self.x))
        if self.labels_x is not None and self.labels_y is not None:
            if structure.is_independent:
                return measure_tables(self.labels_x, self.labels_y, draws=draws, rng=rng)
            indicators = np.eye(len(self.labels_x.counts))[self.labels_x.of_row]
            return measure_labels(self.labels_y, indicators, draws=draws, rng=rng, structure=structure)
        if self.labels_y is not None:
            return measure_labels(self.labels_y, self.x, draws=draws, rng=rng, structure=structure)
        if self.labels_x is not None:
            return measure_labels(self.labels_x, self.y, draws=draws, rng=rng, structure=structure)
        raise ValueError("at least one side must be a label")

    def explained(self, found: Measurement) -> bool:
        """Whether the estimate is close to the entropy, so that an order of the labels cannot add much."""
        return found.value > _EXPLAINED * self.entropy

    def ordered(self, rng: np.random.Generator) -> bool:
        """Whether the labels of a side are numbers whose order carries information: see :func:`carries_order`."""
        sides = (self.labels_x, self.x, self.y, self.named[0]), (self.labels_y, self.y, self.x, self.named[1])
        return any(
            labels is not None and not named and own.shape[1] == 1 and carries_order(labels, own[:, 0], other, rng)
            for labels, own, other, named in sides
        )


def _repeats(labels: Labels, structure: RowStructure) -> bool:
    """Whether a label occurs in several groups of rows on average."""
    classes = len(labels.counts)
    return len(np.unique(structure.unit * classes + labels.of_row)) >= _UNITS_PER_LABEL * classes


def carries_order(labels: Labels, values: Floats, other: Floats, rng: np.random.Generator) -> bool:
    """Whether neighbouring values have similar rows on the other side: a permutation test of the names of the values.

    The statistic is the sum of squared differences of neighbouring classes' means, of normal scores and their squares.
    For names without an order, all orders of the classes are equally probable.

    Args:
        values: ``(N,)``, the number that each label is. other: ``(N, D)``.
    """
    classes = len(labels.counts)
    if classes < _FEWEST_ORDERED:
        return False
    scores = normal_scores(other[:, :_MOST_FEATURES])
    features = np.hstack([scores, scores**2])
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels.of_row, features - features.mean(0))
    means = sums / labels.counts[:, None]
    of_label = np.empty(classes)
    of_label[labels.of_row] = values
    weights = labels.counts

    def roughness(order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        first, second = order[:-1], order[1:]
        weight = weights[first] * weights[second] / (weights[first] + weights[second])
        return float((weight * ((means[first] - means[second]) ** 2).sum(1)).sum())

    order = np.argsort(of_label)
    found = roughness(order)
    smoother = sum(roughness(rng.permutation(order)) <= found for _ in range(_ORDERS))
    return bool((1 + smoother) / (1 + _ORDERS) <= _LEVEL)


def better(nominal: Measurement, numeric: Measurement, entropy: float) -> Measurement:
    """The larger of the estimates of the same rows as labels and as numbers, at most ``entropy``.

    Held-out values rarely exceed the truth, so the larger is nearer to it. The price of the choice: its standard error
    includes half of that of the difference.
    """
    if nominal.local is None or numeric.local is None:
        return nominal
    difference = numeric.local - nominal.local
    noise = float(difference.std()) / math.sqrt(len(difference))
    chosen, other = (numeric, nominal) if float(difference.mean()) > noise else (nominal, numeric)
    kept = at_most(chosen, entropy)
    return replace(
        kept,
        stderr=math.hypot(chosen.stderr, 0.5 * noise),
        gap=max(chosen.gap, other.value + other.gap - kept.value),
        pvalue=nominal.pvalue,
        permutations=nominal.permutations,
    )
