"""Which rows depend on each other: groups, or blocks of consecutive rows. Folds, permutations and errors of means."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infomax.statistics.marginals import Floats, normal_scores

Rows = NDArray[np.int64]

#: The largest block is this share of the rows: permutations of fewer blocks cannot show a dependence.
_FEWEST_BLOCKS = 8
#: Blocks are longer than those with the least error of a variance by this factor: permutations of those rejected 9 to
#: 11 % of independent autoregressions (φ = .9 and .95, 200 draws of each), and of these 5 to 7 %.
_LONGER = 1.5
#: Of the units that are exchanged: the share that may have fewer rows than the others, the fewest, and the fewest rows.
_SMALL_UNITS, _FEWEST_EXCHANGED, _FEWEST_TESTED = 0.1, 4, 20


@dataclass(frozen=True, eq=False)
class RowStructure:
    """Units of rows: rows of different units are independent.

    Attributes:
        unit: the unit of each row, ``(N,)``, 0, 1, …, U - 1. Each row is one if all are independent.
        block_length: of blocks of consecutive rows; None for groups, and for independent rows.

    >>> RowStructure.of_groups(["ann", "ann", "bob"]).unit.tolist(), RowStructure.of_blocks(5, 2).unit.tolist()
    ([0, 0, 1], [0, 0, 1, 1, 2])
    """

    unit: Rows
    block_length: int | None = None

    @staticmethod
    def independent(n: int) -> RowStructure:
        """All rows are independent."""
        return RowStructure(np.arange(n))

    @staticmethod
    def of_groups(labels: Sequence[Hashable] | NDArray[np.generic]) -> RowStructure:
        """Rows with equal labels belong together; groups are numbered as they first occur, whatever they are called.

        >>> RowStructure.of_groups(["ann", "ann", "bob"]).unit.tolist()
        [0, 0, 1]
        """
        each = labels.tolist() if isinstance(labels, np.ndarray) else labels
        places: dict[Hashable, int] = {}
        unit = [places.setdefault(label, len(places)) for label in each]
        return RowStructure(np.array(unit, dtype=np.int64))

    @staticmethod
    def of_blocks(n: int, length: int) -> RowStructure:
        """Rows are in the order of time, and blocks of that many rows are nearly independent.

        >>> RowStructure.of_blocks(5, 2).unit.tolist()
        [0, 0, 1, 1, 2]
        """
        return RowStructure(np.arange(n) // length, length)

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max(initial=-1)) + 1

    @property
    def is_independent(self) -> bool:
        """Whether every row is a unit of its own."""
        return self.units == len(self.unit)

    @property
    def effective_units(self) -> float:
        r"""The number of units of equal size from which a mean has the same error, :math:`(\sum n_u)^2 / \sum n_u^2`.

        Source: Kish, "Survey Sampling", 1965.

        >>> RowStructure.of_groups([1, 1, 1, 2]).effective_units  # 4² / (3² + 1²)
        1.6
        """
        sizes = np.bincount(self.unit).astype(np.float64)
        return float(sizes.sum() ** 2 / (sizes**2).sum())

    def to_dict(self) -> dict[str, int | None]:
        """The number of units, and the length of blocks."""
        return {"units": self.units, "block_length": self.block_length}

    def take(self, rows: Rows) -> RowStructure:
        """The structure of these rows, in their order."""
        unit = np.unique(self.unit[rows], return_inverse=True)[1].astype(np.int64).reshape(-1)
        return RowStructure(unit, self.block_length)

    def parts(self, count: int, rng: np.random.Generator) -> list[Rows]:
        """Rows of each of ``count`` folds: random rows, random groups, or consecutive rows."""
        n = len(self.unit)
        if self.is_independent:
            return list(np.array_split(rng.permutation(n), count))
        if self.block_length is not None:
            return list(np.array_split(np.arange(n), count))
        # The largest groups first, each to the smallest fold, so that folds have about equally many rows.
        sizes = np.bincount(self.unit)
        order = rng.permutation(self.units)
        order = order[np.argsort(-sizes[order], kind="stable")]
        fold_of_unit, filled = np.empty(self.units, dtype=np.int64), np.zeros(count)
        for unit in order:
            fold_of_unit[unit] = filled.argmin()
            filled[fold_of_unit[unit]] += sizes[unit]
        fold = fold_of_unit[self.unit]
        return [np.flatnonzero(fold == place) for place in range(count)]

    def others(self, part: Rows) -> Rows:
        """Rows that are independent of these, sorted: of consecutive rows, those that are a block or more away."""
        outside = np.setdiff1d(np.arange(len(self.unit)), part)
        if self.block_length is None or self.is_independent:
            return outside
        away = min(self.block_length, max(1, len(part) // 2))
        distance = np.maximum(part.min() - outside, outside - part.max())
        return np.asarray(outside[distance > away])

    def divided(self, rows: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """About ``count`` of the rows, drawn unit by unit, and the rest, in random order of the units."""
        if self.is_independent:
            order = rng.permutation(rows)
            return order[:count], order[count:]
        unit = self.unit[rows]
        place = np.empty(self.units, dtype=np.int64)
        place[rng.permutation(self.units)] = np.arange(self.units)
        within = rows if self.block_length is not None else rng.permutation(len(rows))
        order = rows[np.lexsort((within, place[unit]))]
        ends = np.flatnonzero(np.diff(place[self.unit[order]], append=-1)) + 1  # of the units
        if len(ends) == 1:  # all rows are of one unit, which is divided
            return order[:count], order[count:]
        split = int(ends[min(int(np.searchsorted(ends, count)), len(ends) - 2)])
        return order[:split], order[split:]

    def balanced(self, rng: np.random.Generator) -> Rows:
        """Rows of which each unit has equally many, so that units can be exchanged: sorted.

        As many as nine tenths of the units have, or more if these are fewer than 20 rows in all; smaller units have
        none. Of a group they are drawn at random, and of a block they are the first ones.
        """
        sizes = np.bincount(self.unit)
        if (sizes == sizes[0]).all():
            return np.arange(len(self.unit))
        possible = [size for size in np.unique(sizes).tolist() if (sizes >= size).sum() >= _FEWEST_EXCHANGED]
        usual = int(np.quantile(sizes, _SMALL_UNITS, method="lower"))
        enough = [size for size in possible if size >= usual and size * (sizes >= size).sum() >= _FEWEST_TESTED]
        if not enough:
            return np.arange(len(self.unit))
        rank = np.arange(len(self.unit)) if self.block_length is not None else rng.permutation(len(self.unit))
        order = np.lexsort((rank, self.unit))
        within = np.empty(len(order), dtype=np.int64)
        within[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.flatnonzero((within < enough[0]) & (sizes[self.unit] >= enough[0]))

    def permutation(self, rng: np.random.Generator) -> Rows:
        """For each row another row, as units in random order have it: row i is paired with row ``found[i]``.

        Units should have equally many rows (:meth:`balanced`): otherwise one is paired with the end of another and the
        beginning of a third, and what its rows share is averaged out.
        """
        n = len(self.unit)
        if self.is_independent:
            return rng.permutation(n)
        place = rng.permutation(self.units)
        within = np.arange(n) if self.block_length is not None else rng.permutation(n)
        found = np.empty(n, dtype=np.int64)
        found[np.argsort(self.unit, kind="stable")] = np.lexsort((within, place[self.unit]))
        return found

    def mean_error(self, local: Floats) -> float:
        """The standard error of the mean of one number for each row, by sums over the units.

        A normal interval of this width has the coverage that Student's distribution gives with so many units of equal
        size (:attr:`effective_units`).
        """
        n, units = len(local), self.units
        if self.is_independent:
            return float(local.std(ddof=1)) / math.sqrt(n)
        from scipy.stats import t  # noqa: PLC0415 - loaded on first use

        sums = np.bincount(self.unit, local - local.mean(), minlength=units)
        wider = float(t.ppf(0.975, max(self.effective_units - 1, 1))) / 1.959964
        return wider * math.sqrt(float((sums**2).sum()) * units / max(units - 1, 1)) / n


def block_length(x: Floats, y: Floats | None = None) -> int:
    r"""A length of blocks of consecutive rows that keeps the serial dependence of both sides.

    Of the normal scores of a column, and of their absolute values (in returns of prices, sizes stay alike for longer
    than signs), it is one and a half times the length with the least error of the variance of a mean over blocks,
    :math:`(2 G^2 / D)^{1/3} N^{1/3}` with :math:`G = \sum_k |k| R(k)`, :math:`D = \tfrac43 (\sum_k R(k))^2`, and
    absolute autocovariances R, weighted by a flat-top window whose width follows from the first lags without
    correlation. (The source has signed ones, which cancel where a series oscillates; in the products of two such
    series, of which tests of independence consist, they do not.) The length for a side is the largest of its columns,
    and the result the smaller of the two sides, as rows of x and y that are serially independent on one side need no
    blocks. At most an eighth of the rows.

    Source: Politis and White, "Automatic block-length selection for the dependent bootstrap", 2004, doi:
    10.1081/ETC-120028836, with the correction of Patton, Politis and White, 2009, doi:10.1080/07474930802459016.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``, rows in the order of time; None: x is the only side.

    >>> steps = np.random.default_rng(0).normal(size=(2000, 1))
    >>> slow = np.convolve(steps[:, 0], np.ones(20), "valid")[:, None]  # a moving mean of 20 steps
    >>> block_length(steps) < 5 < block_length(slow)
    True
    """
    n = len(x)
    sides = [normal_scores(side) for side in (x, y) if side is not None]
    longest = [max(_politis_white(column) for column in np.hstack([side, np.abs(side)]).T) for side in sides]
    return int(np.clip(math.ceil(_LONGER * min(longest)), 1, max(1, n // _FEWEST_BLOCKS)))


def _politis_white(column: Floats) -> float:
    n = len(column)
    centred = column - column.mean()
    quiet = max(5, math.ceil(math.log10(n)))
    most = min(n - 1, math.ceil(math.sqrt(n)) + quiet)
    covariances = np.abs([float(centred[: n - k] @ centred[k:]) / n for k in range(most + 1)])
    if covariances[0] <= 0:
        return 1.0
    small = covariances[1:] / covariances[0] < 2 * math.sqrt(math.log10(n) / n)
    runs = [k for k in range(len(small) - quiet + 1) if small[k : k + quiet].all()]
    last = runs[0] if runs else int(np.flatnonzero(~small).max(initial=-1)) + 1
    width = min(2 * max(last, 1), most)
    lags = np.arange(1, width + 1)
    weights = np.clip(2 * (1 - lags / width), 0, 1)  # 1 up to half of the width
    weighted = weights * covariances[1 : width + 1]
    spectrum = covariances[0] + 2 * float(weighted.sum())
    slope = 2 * float((lags * weighted).sum())
    return float((1.5 * slope**2 / spectrum**2 * n) ** (1 / 3))
