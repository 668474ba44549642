"""Mutual informations of one or two features and a target, which the criteria of feature selection add up."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from infomax.estimation.column_pairs import Measure, Nulls, Side, by_default, pvalues
from infomax.estimators.nearest_neighbours import NEAR, categories_apart
from infomax.exceptions import ConstantColumnWarning
from infomax.io.columns import Columns, Nominal, as_columns, beside, check_complete
from infomax.io.samples import ADVICE, Missing, check_missing, settled
from infomax.isolation import isolated
from infomax.statistics.counts import plugin
from infomax.statistics.labels import as_labels
from infomax.statistics.marginals import Floats, normal_scores
from infomax.statistics.neighbours import ksg_terms, tie_breaker

#: Fewest rows: the nearest neighbours of a row, and one more.
LEAST_ROWS = NEAR + 2
#: Rows for each combination of values from which on discrete columns are measured by counts.
_ROWS_PER_CELL = 5


@dataclass(frozen=True, eq=False)
class Terms:
    """Features and a target whose mutual informations are measured pair by pair and triple by triple, in nats.

    Each term uses the rows in which none of its columns lacks a value.

    Attributes:
        x: the features, ``(N, D)``. y: the target, ``(N, 1)``; nominal where it is classes. seed: of the noise.
    """

    x: Columns
    y: Columns
    seed: int

    @staticmethod
    def of(
        x: Any, y: Any, *, nominal_x: Nominal, nominal_y: bool | Literal["auto"], missing: Missing, seed: int
    ) -> Terms:
        """Checked columns of what users pass.

        Raises:
            ValueError, TypeError: as :func:`infomax.sklearn.mutual_info`.
        """
        if nominal_y not in ("auto", True, False):
            raise ValueError(f"nominal_y must be 'auto', True or False; got {nominal_y!r}")
        check_missing(missing)
        if hasattr(x, "toarray"):
            raise TypeError(f"X must be dense; got a sparse {type(x).__name__}: X.toarray() makes it dense")
        with isolated():
            features = as_columns(x, "X", nominal=nominal_x)
            target = as_columns(y, "y", nominal=nominal_y)
        if target.shape[1] != 1:
            raise ValueError(f"y must have one column; got {target.shape[1]}")
        if len(target) != len(features):
            raise ValueError(f"y must have as many rows as X; got {len(target)} and {len(features)}")
        if missing == "raise":
            for name, columns in (("X", features), ("y", target)):
                check_complete(columns, name, ADVICE)
        if nominal_y == "auto" and as_labels(target.samples[~target.missing]) is not None:
            target = replace(target, nominal=np.array([True]))
        found = Terms(settled(features, "X", stacklevel=4), settled(target, "y", stacklevel=4), seed)
        found._check_rows()
        if np.nanmin(target.samples) == np.nanmax(target.samples):
            text = "y is constant: its mutual information with each feature is exactly 0"
            warnings.warn(text, ConstantColumnWarning, stacklevel=3)
        return found

    def _check_rows(self) -> None:
        used = (~np.isnan(self.x.samples) & ~self.y.missing[:, None]).sum(0)
        if used.min() < LEAST_ROWS:
            j = int(used.argmin())
            label = f"column {self.x.names[j]!r}" if self.x.names else f"column {j}"
            raise ValueError(
                f"X and y must have at least {LEAST_ROWS} rows without missing values; got {used[j]} in {label} of X"
            )

    @cached_property
    def gaps(self) -> bool:
        """Whether any value is missing."""
        return bool(self.x.missing.any() or self.y.missing.any())

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Features of one value, ``(D,)``."""
        least, most = np.nanmin(self.x.samples, axis=0), np.nanmax(self.x.samples, axis=0)
        return np.asarray(least == most)

    @cached_property
    def _sides(self) -> tuple[Side, Side]:
        rng = np.random.default_rng(self.seed)
        return Side.of(self.x, rng), Side.of(self.y, rng)

    @cached_property
    def _with_target(self) -> Measure:
        return by_default(*self._sides, self.seed, values_only=True)

    @cached_property
    def _within(self) -> Measure:
        return by_default(self._sides[0], self._sides[0], self.seed, values_only=True)

    @cached_property
    def _scores(self) -> tuple[Floats, Floats]:
        """Normal scores without ties, with categories apart: ``(N, D)`` and ``(N, 1)``."""
        samples, nominal = (self.x.samples, self.y.samples), (self.x.nominal, self.y.nominal)
        rng = np.random.default_rng(self.seed)
        apart = categories_apart([normal_scores(side) for side in samples], samples, nominal)
        u, v = (scores + tie_breaker(scores.shape, rng) for scores in apart)
        return u, v

    def relevance(self, j: int) -> float:
        """I(x_j; y), as :func:`infomax.pairwise` measures it."""
        if self.gaps:
            found = self._complete(_one(self.x, j), self.y)
            return 0.0 if found is None else found.relevance(0)
        return 0.0 if self.constant[j] or self._sides[1].constant[0] else self._with_target(j, 0)[0][0]

    def redundancy(self, j: int, other: int) -> float:
        """I(x_j; x_other), as :func:`infomax.pairwise` measures it."""
        if self.gaps:
            found = self._complete(_one(self.x, j), _one(self.x, other))
            return 0.0 if found is None else found.relevance(0)
        return 0.0 if self.constant[[j, other]].any() else self._within(j, other)[0][0]

    def joint(self, j: int, other: int) -> float:
        """I(x_j, x_other; y): by counts of discrete columns with many rows a combination, else by neighbours (KSG)."""
        if self.gaps:
            found = self._complete(beside([_one(self.x, j), _one(self.x, other)]), self.y)
            return 0.0 if found is None else found.joint(0, 1)
        features, target = self._sides
        one, two, classes = features.values[j], features.values[other], target.values[0]
        if one is not None and two is not None and classes is not None:
            both = np.unique(one * (two.max() + 1) + two, return_inverse=True)[1]
            if _ROWS_PER_CELL * (both.max() + 1) * (classes.max() + 1) <= len(self.x):
                return float(plugin(both[:, None].astype(float), classes[:, None].astype(float)).mean())
        u, v = self._scores
        return float(ksg_terms(u[:, [j, other]], v, NEAR).mean())

    def pvalue(self, draws: int) -> Floats:
        """Of the test of independence of each feature and y that :func:`infomax.pairwise` makes, ``(D,)``."""
        if not self.gaps:
            nulls, rng = Nulls.of(self.x, self.y, draws, self.seed, {}), np.random.default_rng(self.seed)
            return pvalues(*self._sides, nulls, rng, tables=True, same=False)[:, 0]
        parts = [self._complete(_one(self.x, j), self.y) for j in range(self.x.shape[1])]
        return np.array([1.0 if part is None else float(part.pvalue(draws)[0]) for part in parts])

    def _complete(self, x: Columns, y: Columns) -> Terms | None:
        """The same with these columns, in the rows in which none of them lacks a value; None of too few."""
        rows = ~(x.missing | y.missing)
        return Terms(x.of_rows(rows), y.of_rows(rows), self.seed) if rows.sum() >= LEAST_ROWS else None


def _one(columns: Columns, j: int) -> Columns:
    return Columns((), columns.samples[:, [j]], columns.nominal[[j]])
