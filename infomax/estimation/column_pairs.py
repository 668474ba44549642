"""Each pair of columns in a block of rows without gaps: its value, its uncertainty, and its p-value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.estimation.estimate import estimates
from infomax.estimators import BoundLike, by_neighbours
from infomax.estimators.candidates.base import FEWEST_DISTINCT
from infomax.estimators.default.tables import measure_tables
from infomax.estimators.default.tables import table_pvalue as permuted_table_pvalue
from infomax.estimators.nearest_neighbours import NEAR, categories_apart
from infomax.io.columns import Columns
from infomax.io.samples import Floats
from infomax.statistics.counts import codes, plugin, plugin_stderr
from infomax.statistics.labels import Labels, labels_of
from infomax.statistics.marginals import normal_scores
from infomax.statistics.neighbours import NO_ORDERS, Orders, ksg_terms, tie_breaker
from infomax.statistics.ordering import in_order
from infomax.statistics.rank_tests import Nulls, class_pvalues, rank_pvalues, table_pvalue

_NEAR_CEILING = (
    "within a nat of the largest value that this many rows can show: the truth may be much larger, or infinite"
)
#: Rows for each combination of values from which on two discrete columns are measured by counts.
_ROWS_PER_CELL = 5
#: Most rows that permutations of two nominal columns count, and fewest permutations.
_MOST_COUNTED, _FEWEST_DRAWS = 20_000_000, 199

#: Value, standard error and gap of a pair of columns, warnings, and a p-value if the bound tests the pair itself.
Measured = tuple[tuple[float, float, float], Sequence[str], float | None]
#: From columns i and j to these.
Measure = Callable[[int, int], Measured]
#: From two sides, and the rows of the table that they have, to that.
MeasureWith = Callable[["Side", "Side", NDArray[np.int64]], Measure]


@dataclass(frozen=True, eq=False)
class Side:
    """Columns ``(N, D)`` without missing values.

    Attributes:
        constant: which of them are constant. values: the codes of discrete ones. entropies: of discrete ones, in nats;
            NaN for others.
    """

    columns: Columns
    constant: NDArray[np.bool_]
    values: list[NDArray[np.int64] | None]
    entropies: Floats

    @staticmethod
    def of(columns: Columns) -> Side:
        samples, nominal = columns.samples, columns.nominal
        distinct = [codes(column[:, None]) for column in samples.T]
        values = [
            found if named or len(counts) < FEWEST_DISTINCT else None
            for (found, counts), named in zip(distinct, nominal, strict=True)
        ]
        labels = [labels_of(samples[:, [j]], nominal[[j]]) for j in range(len(nominal))]
        entropies = [np.nan if label is None else float(label.entropies().mean()) for label in labels]
        return Side(columns, (samples == samples[0]).all(0), values, np.array(entropies))

    @property
    def samples(self) -> Floats:
        return self.columns.samples

    def table_with(self, other: Side, i: int, j: int) -> bool:
        """Whether column i and column j of the other are discrete, with many rows for each combination of values."""
        mine, its = self.values[i], other.values[j]
        if mine is None or its is None:
            return False
        return bool(_ROWS_PER_CELL * (mine.max() + 1) * (its.max() + 1) <= len(mine))

    def named_with(self, other: Side, i: int, j: int) -> tuple[Labels, Labels] | None:
        """The labels of column i and of column j of the other, if both are nominal."""
        mine, its = self.values[i], other.values[j]
        both = self.columns.nominal[i] and other.columns.nominal[j]
        return None if mine is None or its is None or not both else (_labels(mine), _labels(its))


def by_default(left: Side, right: Side, rows: NDArray[np.int64], seed: int, *, values_only: bool = False) -> Measure:
    """KSG with the noise of :func:`infomax.estimators.ksg`; counts where both columns are discrete.

    Categories are no neighbours of each other (Ross 2014, doi:10.1371/journal.pone.0087357). Two nominal columns with
    few rows for each combination are measured by smoothed frequencies, as by the default estimator.

    Args:
        values_only: leave standard errors and gaps 0, which nearly halves the time.
    """
    from scipy.special import digamma  # noqa: PLC0415 - loaded on first use

    n, sides = len(rows), (left, right)
    rng = np.random.default_rng(seed)
    scores = [normal_scores(side.samples) for side in sides]
    noise = [tie_breaker((n, 1), rng) for _ in range(2)]
    ceiling = float(digamma(n) - digamma(NEAR))  # if no other point is closer in x or in y

    @cache
    def noisy(side: int, column: int, place: int) -> tuple[Floats, NDArray[np.intp]]:
        """A column of either side as the first or second of a pair, and its order; pairs share them."""
        values = scores[side][:, [column]] + noise[place]
        return values, np.argsort(values[:, 0])

    def neighbours(u: Floats, v: Floats, orders: Orders) -> tuple[float, float, float]:
        if values_only:
            return float(ksg_terms(u, v, NEAR, orders=orders).mean()), 0.0, 0.0
        shares = by_neighbours(u, v, seed=seed, orders=orders)
        return float(shares.local.mean()), shares.stderr, shares.gap

    def measure(i: int, j: int) -> Measured:
        pair, named = (left.samples[:, [i]], right.samples[:, [j]]), left.named_with(right, i, j)
        if left.table_with(right, i, j):
            return (float(plugin(*pair).mean()), plugin_stderr(*pair), 0.0), (), None
        if named is not None:
            found = measure_tables(*named, draws=0, rng=np.random.default_rng(seed))
            return (found.value, found.stderr, found.gap), (), None
        flags = left.columns.nominal[[i]], right.columns.nominal[[j]]
        u, v = scores[0][:, [i]], scores[1][:, [j]]
        if flags[0].any() or flags[1].any():
            u, v = categories_apart((u, v), pair, flags)
            u, v = (u, v) if in_order(u, v) else (v, u)  # as `estimate` does
            values = neighbours(u + noise[0], v + noise[1], NO_ORDERS)
        else:
            first, second = ((0, i), (1, j)) if in_order(u, v) else ((1, j), (0, i))
            (u, order_u), (v, order_v) = noisy(*first, 0), noisy(*second, 1)
            values = neighbours(u, v, (order_u, order_v))
        return values, [_NEAR_CEILING] if values[0] > ceiling - 1 else [], None

    return measure


def by_bound(
    left: Side, right: Side, rows: NDArray[np.int64], *, bound: BoundLike, seed: int, options: dict[str, Any]
) -> Measure:
    """Each pair by :func:`infomax.estimate`, with its p-value if rows depend on each other.

    Args:
        rows: of the table, which the sides have; those of the labels ``options["groups"]``.
    """
    labels = options.get("groups")
    dependent = labels is not None or options.get("block_length") is not None
    if labels is not None:
        options = {**options, "groups": [labels[row] for row in rows.tolist()]}

    def measure(i: int, j: int) -> Measured:
        pair = [Columns((), side.samples[:, [k]], side.columns.nominal[[k]]) for side, k in ((left, i), (right, j))]
        ((result, _),) = estimates(*pair, bound=[bound], seed=seed, progress=False, **options)
        return (result.mi, result.stderr, result.gap), result.warnings, result.pvalue if dependent else None

    return measure


def pvalues(left: Side, right: Side, draws: int, rng: np.random.Generator, *, tables: bool, nulls: Nulls) -> Floats:
    """For every column of left with every column of right.

    Args:
        draws: permutations. tables: whether discrete columns with many rows for each combination are tested by their
            likelihood ratio; two nominal ones always are. nulls: null distributions, to be filled.
    """
    found = rank_pvalues(left.samples, right.samples, draws=draws, rng=rng, nulls=nulls)
    for one, other, result in ((left, right, found), (right, left, found.T)):
        for i in np.flatnonzero(one.columns.nominal & ~one.constant).tolist():
            classes, plain = one.values[i], ~other.columns.nominal
            if classes is not None and plain.any():
                result[i, plain] = class_pvalues(classes, other.samples[:, plain], draws=draws, rng=rng, nulls=nulls)
    most = max(_FEWEST_DRAWS, min(draws, _MOST_COUNTED // len(left.samples)))
    for i, mine in enumerate(left.values):
        for j, its in enumerate(right.values):
            named = left.named_with(right, i, j)
            if mine is not None and its is not None and (tables or named) and left.table_with(right, i, j):
                found[i, j] = table_pvalue(mine, its)
            elif named is not None and (left is not right or i < j):
                found[i, j] = permuted_table_pvalue(*named, most, rng)
    found[left.constant] = 1.0
    found[:, right.constant] = 1.0
    return found


def measure_of(bound: BoundLike | None, seed: int, options: dict[str, Any], *, values_only: bool) -> MeasureWith:
    """How pairs of two sides are measured."""
    if bound is None:
        return partial(by_default, seed=seed, values_only=values_only)
    return partial(by_bound, bound=bound, seed=seed, options=options)


def _labels(values: NDArray[np.int64]) -> Labels:
    return Labels(values, np.bincount(values))
