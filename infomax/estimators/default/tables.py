"""Labels on both sides, with few rows for each combination: smoothed frequencies, left-one-out, bias-corrected."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from infomax.estimators.base import Measurement
from infomax.statistics.labels import Floats, Integers, Labels
from infomax.statistics.permutation_test import permutation_pvalue

#: Discounts and concentrations that are tried.
_DISCOUNTS, _CONCENTRATIONS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0), tuple(2.0 ** np.arange(-2, 15))
#: Most cells of a table that is drawn from.
_MOST_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Frequencies of y given x: counts less a discount, and the marginal frequencies of y.

    The predictive distribution of a Pitman-Yor process (Teh, "A hierarchical Bayesian language model based on
    Pitman-Yor processes", 2006, doi:10.3115/1220175.1220299); without a discount, of Dirichlet's distribution.
    """

    discount: float
    concentration: float

    def left_one_out(self, x: Labels, y: Labels) -> Floats:
        """The log-ratio of each row from the other rows, ``(N,)``."""
        pair, counts, distinct = _cells(x, y)
        others, share = counts[pair] - 1, y.counts[y.of_row] / len(pair)
        occupied = distinct[x.of_row] - (others == 0)
        mass = self.concentration + self.discount * occupied
        seen = np.maximum(others - self.discount, 0) / share
        ratio = (seen + mass) / (x.counts[x.of_row] - 1 + self.concentration)
        return np.asarray(np.log(ratio))

    def table(self, x: Labels, y: Labels) -> tuple[Floats, Floats]:
        """Of y given x, ``(Kx, Ky)``: counts less the discount, and the mass that the marginal frequencies share."""
        counts = np.zeros((len(x.counts), len(y.counts)))
        np.add.at(counts, (x.of_row, y.of_row), 1)
        mass = self.concentration + self.discount * (counts > 0).sum(1, keepdims=True)
        return np.maximum(counts - self.discount, 0), mass * (y.counts / len(y.of_row))


def measure_tables(x: Labels, y: Labels, *, draws: int, rng: np.random.Generator) -> Measurement:
    """Mutual information of two labels.

    The log-ratio of each row is computed from the smoothed frequencies of the other rows, in the direction and with the
    smoothing that give the largest mean. What this loses by errors of the frequencies is measured on tables drawn from
    the smoothed ones: with the smooth part as it is, and drawn from Dirichlet's distribution, which spreads it over few
    cells. The larger the discount, the more of the rows that occur once are noise, and the more the first counts. Few
    rows do not distinguish the two well, so the interval allows for both.
    """
    if not _in_order(x, y):
        x, y = y, x
    n = len(x.of_row)
    pvalue = table_pvalue(x, y, draws, rng)
    fits = [
        (float(local.mean()), local, smoothed, given, label)
        for given, label in ((x, y), (y, x))
        for smoothed, local in _fits(given, label)
    ]
    _, local, smoothed, given, label = max(fits, key=lambda fit: fit[0])
    held_out = float(local.mean())
    entropies = [side.entropies() for side in (x, y)]
    entropy = min(float(one.mean()) for one in entropies)
    smooth = rough = 0.0
    if held_out > 2 * float(local.std()) / math.sqrt(n) and len(given.counts) * len(label.counts) <= _MOST_CELLS:
        smooth, rough = (_lost(given, label, smoothed, spread, rng) for spread in (False, True))
    plugin = math.log(n) - float((label.counts * np.log(label.counts)).sum()) / n
    lacking = (float(label.entropies().mean()) - plugin) * max(0.0, min(1.0, held_out / plugin))
    lost = smoothed.discount * smooth + (1 - smoothed.discount) * rough
    value = min(held_out + lost + lacking, entropy)
    unknown = 0.5 * abs(rough - smooth)
    stderr = math.sqrt(float(local.var()) / n + unknown**2 / 3 + (0.15 * lost) ** 2 + 1 / n**2)
    shares = local + (value - held_out)
    return Measurement(value, stderr, unknown + 0.15 * lost, shares, pvalue=pvalue, permutations=draws)


def _in_order(x: Labels, y: Labels) -> bool:
    """Whether x comes first, by the numbers of labels and by their rows, so that the order of sides does not matter."""
    first = int((x.of_row != y.of_row).argmax())
    return (len(x.counts), x.of_row[first]) <= (len(y.counts), y.of_row[first])


def table_pvalue(x: Labels, y: Labels, draws: int, rng: np.random.Generator) -> float:
    """P-value of independence by permutations, with the likelihood ratio and Pearson's statistic."""
    size, expected = len(y.counts), x.counts[:, None] * y.counts / len(x.of_row)
    inverse = 1 / expected.reshape(-1)
    statistics = np.empty((draws + 1, 2))
    for draw in range(draws + 1):
        of_y = y.of_row[rng.permutation(len(y.of_row))] if draw else y.of_row
        cells, counts = np.unique(x.of_row * size + of_y, return_counts=True)
        statistics[draw] = (counts * np.log(counts)).sum(), (counts**2 * inverse[cells]).sum()
    return permutation_pvalue(statistics)


def _cells(x: Labels, y: Labels) -> tuple[Integers, Integers, Integers]:
    """The occupied cell of each row, the rows in each, and the number of occupied cells for each label of x."""
    codes, pair, counts = np.unique(x.of_row * len(y.counts) + y.of_row, return_inverse=True, return_counts=True)
    return pair, counts, np.bincount(codes // len(y.counts), minlength=len(x.counts))


def _fits(x: Labels, y: Labels) -> list[tuple[Smoothed, Floats]]:
    tried = [Smoothed(*pair) for pair in itertools.product(_DISCOUNTS, _CONCENTRATIONS)]
    fits = [(smoothed, smoothed.left_one_out(x, y)) for smoothed in tried]
    return [max(fits, key=lambda fit: float(fit[1].mean()))]


def _lost(x: Labels, y: Labels, smoothed: Smoothed, spread: bool, rng: np.random.Generator) -> float:
    """The information of a table drawn around the smoothed one, less what is measured on rows of that table."""
    seen, share = smoothed.table(x, y)
    weights = seen + share
    if spread:
        weights = np.maximum(rng.standard_gamma(weights), 1e-300)
    conditional = weights / weights.sum(1, keepdims=True)
    below = np.cumsum(conditional, axis=1)
    uniform = rng.random(len(x.of_row))
    drawn = np.empty(len(x.of_row), dtype=np.int64)
    for k in range(len(x.counts)):
        rows = x.of_row == k
        drawn[rows] = np.searchsorted(below[k, :-1], uniform[rows], "right")
    marginal = (x.counts[:, None] * conditional).sum(0) / len(drawn)  # not a product, whose rounding depends on threads
    truth = float(np.log(conditional[x.of_row, drawn] / marginal[drawn]).mean())
    kept, codes = np.unique(drawn, return_inverse=True)
    again = Labels(codes, np.bincount(codes, minlength=len(kept)))
    return max(0.0, truth - float(smoothed.left_one_out(x, again).mean()))
