"""Each pair of columns in a block of rows without gaps: its value, its uncertainty, and its p-value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
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
from infomax.statistics.rank_tests import Nulls as NullsByKey
from infomax.statistics.rank_tests import (
    Ranks,
    class_null,
    pvalues_of_classes,
    pvalues_of_ranks,
    random_ranks,
    rank_null,
    table_pvalue,
)

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
#: From two sides to that.
MeasureWith = Callable[["Side", "Side"], Measure]


@dataclass(frozen=True, eq=False)
class Side:
    """Columns ``(N, D)`` without missing values, and what all pairs of a column share.

    Attributes:
        constant: which of them are constant. values: the codes of discrete ones. entropies: of discrete ones, in nats;
            NaN for others. scores: their normal scores, ``(N, D)``. ranks: with ties in random order, ``(N, D)``; no
            columns if nothing is tested.
    """

    columns: Columns
    constant: NDArray[np.bool_]
    values: list[NDArray[np.int64] | None]
    entropies: Floats
    scores: Floats
    ranks: Ranks

    @staticmethod
    def of(columns: Columns, rng: np.random.Generator | None = None) -> Side:
        """Those of columns; without a generator, ranks are left out."""
        samples, nominal = columns.samples, columns.nominal
        distinct = [codes(column[:, None]) for column in samples.T]
        values = [
            found if named or len(counts) < FEWEST_DISTINCT else None
            for (found, counts), named in zip(distinct, nominal, strict=True)
        ]
        labels = [labels_of(samples[:, [j]], nominal[[j]]) for j in range(len(nominal))]
        entropies = [np.nan if label is None else float(label.entropies().mean()) for label in labels]
        ranks = np.zeros((len(samples), 0), dtype=np.int32) if rng is None else random_ranks(samples, rng)
        constant = (samples == samples[0]).all(0)
        return Side(columns, constant, values, np.array(entropies), normal_scores(samples), ranks)

    def take(self, which: slice) -> Side:
        """Consecutive columns; their arrays are not copied."""
        columns = Columns((), self.samples[:, which], self.columns.nominal[which])
        arrays = self.entropies[which], self.scores[:, which], self.ranks[:, which]
        return Side(columns, self.constant[which], self.values[which], *arrays)

    def mapped(self, path: Callable[[], Path]) -> Side:
        """The same with arrays in files, whose parts other processes of this machine map instead of copying them.

        Args:
            path: gives the name of a new file.
        """

        def store(array: NDArray[Any]) -> Any:
            file = path()
            np.save(file, np.asfortranarray(array))
            return np.load(file, mmap_mode="r")

        columns = Columns((), store(self.samples), self.columns.nominal)
        return replace(self, columns=columns, scores=store(self.scores), ranks=store(self.ranks))

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


def by_default(left: Side, right: Side, seed: int, *, values_only: bool = False) -> Measure:
    """KSG with the noise of :func:`infomax.estimators.ksg`; counts where both columns are discrete.

    Categories are no neighbours of each other (Ross 2014, doi:10.1371/journal.pone.0087357). Two nominal columns with
    few rows for each combination are measured by smoothed frequencies, as by the default estimator.

    Args:
        values_only: leave standard errors and gaps 0, which nearly halves the time.
    """
    from scipy.special import digamma  # noqa: PLC0415 - loaded on first use

    n, scores = len(left.samples), (left.scores, right.scores)
    rng = np.random.default_rng(seed)
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


def by_bound(left: Side, right: Side, *, bound: BoundLike, seed: int, options: dict[str, Any]) -> Measure:
    """Each pair by :func:`infomax.estimate`, with its p-value if rows depend on each other.

    Args:
        options: ``options["groups"]`` are the labels of the rows of the sides; with ``options["kept"]``, blocks are
            those of a table of which the sides have these rows.
    """
    dependent = options.get("groups") is not None or options.get("block_length") is not None

    def measure(i: int, j: int) -> Measured:
        x, y = (side.columns.of_columns(np.arange(side.samples.shape[1]) == k) for side, k in ((left, i), (right, j)))
        if "kept" in options:
            codes = (x.nominal, y.nominal) if (x.nominal | y.nominal).any() else None
            found = estimates(
                x.samples, y.samples, bound=[bound], seed=seed, progress=False, checked=True, codes=codes, **options
            )
        else:
            found = estimates(x, y, bound=[bound], seed=seed, progress=False, **options)
        result = found[0][0]
        return (result.mi, result.stderr, result.gap), result.warnings, result.pvalue if dependent else None

    return measure


@dataclass(frozen=True, eq=False)
class Nulls:
    """Null distributions in ascending order, each of the same number of permutations.

    Attributes:
        of_ranks: of :func:`infomax.statistics.rank_pvalues`. left, right: of
            :func:`infomax.statistics.class_pvalues` for each column; None for those that are not nominal.
    """

    of_ranks: Floats
    left: Sequence[Floats | None]
    right: Sequence[Floats | None]

    @staticmethod
    def of(left: Columns, right: Columns, draws: int, seed: int, known: NullsByKey) -> Nulls:
        """Those of two sides without missing values, from or added to ``known``."""
        ranks = rank_null(len(left), draws, np.random.default_rng([seed, 0]), known)

        def of_classes(columns: Columns, other: Columns) -> list[Floats | None]:
            """Those of nominal columns, where the other side has numbers."""
            wanted = columns.nominal & ~other.nominal.all() & (columns.samples != columns.samples[0]).any(0)
            return [
                class_null(codes(column[:, None])[0], draws, np.random.default_rng([seed, 1]), known) if named else None
                for column, named in zip(columns.samples.T, wanted, strict=True)
            ]

        own = of_classes(left, right)
        return Nulls(ranks, own, own if left is right else of_classes(right, left))


def pvalues(left: Side, right: Side, nulls: Nulls, rng: np.random.Generator, *, tables: bool, same: bool) -> Floats:
    """For every column of left with every column of right.

    Args:
        tables: whether discrete columns with many rows for each combination are tested by their likelihood ratio; two
            nominal ones always are. same: whether both are the same columns, of which only i < j are pairs.
    """
    found = pvalues_of_ranks(left.ranks, right.ranks, nulls.of_ranks)
    for one, other, given, result in ((left, right, nulls.left, found), (right, left, nulls.right, found.T)):
        plain = ~other.columns.nominal
        for i, null in enumerate(given):
            classes = one.values[i]
            if null is not None and classes is not None and plain.any() and not one.constant[i]:
                result[i, plain] = pvalues_of_classes(classes, other.ranks[:, plain], null)
    draws = len(nulls.of_ranks)
    most = max(_FEWEST_DRAWS, min(draws, _MOST_COUNTED // len(left.samples)))
    for i, mine in enumerate(left.values):
        for j, its in enumerate(right.values):
            if mine is None or its is None or (same and j <= i):
                continue
            named = left.named_with(right, i, j)
            if (tables or named) and left.table_with(right, i, j):
                found[i, j] = table_pvalue(mine, its)
            elif named is not None:
                found[i, j] = permuted_table_pvalue(*named, most, rng)
    found[left.constant] = 1.0
    found[:, right.constant] = 1.0
    return found


def _labels(values: NDArray[np.int64]) -> Labels:
    return Labels(values, np.bincount(values))
