"""What an estimator is given: checked samples, and the user's options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.io.batches import stays
from infomax.io.columns import Nominal
from infomax.io.samples import Floats, Missing, as_aligned, check_large
from infomax.statistics.labels import Booleans, indicators
from infomax.statistics.marginals import Margins, fit_margins
from infomax.statistics.ordering import in_order
from infomax.statistics.row_structure import RowStructure
from infomax.training.fit import Schedule
from infomax.training.streaming import MOST_MEASURED, Sampled, draw_rows

#: Fewest rows that can be split, fitted, validated and measured.
LEAST_ROWS = 20


@dataclass(frozen=True, eq=False)
class Problem:
    """Checked samples, or rows drawn from larger ones, and the options of :func:`infomax.estimate`.

    Attributes:
        x, y: ``(N, Dx)``, ``(N, Dy)``, float64, finite, without constant columns.
        rows: number of input rows without those that were dropped. dropped: how many lack a value. sampled: samples
            that are not copied, of which x and y are rows; else None.
        kept: which of the rows that were passed these are; None: all, or those of samples that are not copied.
        given: ``(N, Dz)``, what the mutual information is conditional on, for estimators that can; else None.
        nominal: which columns of x, of y and of ``given`` are codes of nominal variables; None: no column.
        seed, device, quick, folds, margins, schedule, n_neighbors: as :func:`infomax.estimate`.
        shared: whether the ranks share the folds of each bound. structure: which rows depend on each other; None: none.

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> problem = Problem(x[:, :2], x[:, 2:], rows=100)
    >>> problem.dims, problem.seed, problem.quick
    ((2, 1), 0, False)
    """

    x: Floats
    y: Floats
    _: KW_ONLY
    rows: int
    sampled: Sampled | None = None
    given: Floats | None = None
    nominal: tuple[Booleans, ...] | None = None
    dropped: int = 0
    seed: int = 0
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    quick: bool = False
    folds: int | None = None
    margins: Margins = "normal"
    schedule: Schedule | None = None
    n_neighbors: int | None = None
    shared: bool = False
    structure: RowStructure | None = None
    kept: NDArray[np.int64] | None = None

    @staticmethod
    def of(
        x: Any,
        y: Any,
        *,
        most_rows: int,
        most_cells: int,
        seed: int,
        names: tuple[str, str] = ("x", "y"),
        checked: bool = False,
        kinds: tuple[Nominal, Nominal] = ("auto", "auto"),
        missing: Missing = "raise",
        **options: Any,
    ) -> Problem:
        """From samples as the user passes them; this is where they are checked.

        Samples that are too large to be copied are read once; at most ``most_rows`` rows of ``most_cells`` cells are
        then drawn at random.

        Args:
            names: what errors and warnings call the samples. checked: whether they have been checked before.
            kinds: which columns are nominal. missing: what to do about missing values.

        Raises:
            TypeError, ValueError: as :func:`infomax.estimate`.
        """
        if checked:
            return Problem(x, y, rows=len(x), seed=seed, **options)
        samples, nominal = dict(zip(names, (x, y), strict=True)), dict(zip(names, kinds, strict=True))
        if not stays((x, y), kinds, missing):
            paired = as_aligned(samples, least=LEAST_ROWS, nominal=nominal, missing=missing, stacklevel=6)
            one, other = paired.columns.values()
            flags = one.nominal, other.nominal
            options["nominal"] = flags if any(flag.any() for flag in flags) else None
            options |= {"rows": len(paired.rows), "dropped": paired.dropped, "kept": paired.rows, "seed": seed}
            return Problem(one.samples, other.samples, **options)
        check_large(nominal, missing)
        sampled = Sampled.of(samples, least=LEAST_ROWS, seed=seed, most=most_rows, cells=most_cells, stacklevel=6)
        x, y = sampled.drawn.values()
        return Problem(x, y, rows=len(sampled.aligned), sampled=sampled, seed=seed, **options)

    def expanded(self) -> Problem:
        """The problem with indicators of the categories in place of codes."""
        if self.nominal is None:
            return self
        x, y = (indicators(side, flags) for side, flags in zip((self.x, self.y), self.nominal, strict=False))
        return replace(self, x=x, y=y, nominal=None)

    @property
    def flags(self) -> tuple[Booleans, Booleans]:
        """Which columns of x, and of y, are nominal."""
        if self.nominal is None:
            return np.zeros(self.x.shape[1], dtype=bool), np.zeros(self.y.shape[1], dtype=bool)
        return self.nominal[0], self.nominal[1]

    @property
    def dims(self) -> tuple[int, int]:
        """Columns of x and of y."""
        return self.x.shape[1], self.y.shape[1]

    def first(self, rows: int) -> Problem:
        """The problem with the first ``rows`` rows."""
        return replace(self, x=self.x[:rows], y=self.y[:rows], structure=self._taken(np.arange(rows)))

    def _taken(self, rows: NDArray[np.int64]) -> RowStructure | None:
        return None if self.structure is None else self.structure.take(rows)

    def drawn(self, most_cells: int) -> Problem:
        """The problem with rows drawn at random, where they are too many.

        Args:
            most_cells: rows by columns, at most, of samples that are not copied.
        """
        most = MOST_MEASURED
        if self.sampled is not None:
            most = min(most, max(LEAST_ROWS, most_cells // max(1, sum(self.dims))))
        if len(self.x) <= most:
            return self
        rng = np.random.default_rng(self.seed)
        kept = np.sort(draw_rows(len(self.x), most, rng)) if self.sampled is None else np.arange(most)
        sides = (side[kept] for side in (self.x, self.y))
        # A column with one value in so many rows carries almost no information, and no method could use it.
        kept_sides = [(side, (side != side[0]).any(0)) for side in sides]
        x, y = (side[:, varies] for side, varies in kept_sides)
        nominal = self.nominal and tuple(flag[v] for flag, (_, v) in zip(self.nominal, kept_sides, strict=True))
        return replace(self, x=x, y=y, nominal=nominal, structure=self._taken(kept))

    def ordered(self) -> Problem:
        """The problem with its sides in canonical order, so that the result does not depend on which is called x."""
        if in_order(self.x, self.y):
            return self
        nominal = self.nominal and (self.nominal[1], self.nominal[0], *self.nominal[2:])
        return replace(self, x=self.y, y=self.x, sampled=None, nominal=nominal)

    def examined(self) -> tuple[Floats, Floats]:
        """Rows for diagnostics of the samples."""
        some = slice(None) if self.sampled is None else slice(MOST_MEASURED)
        return self.x[some], self.y[some]

    def split(self, usual: int) -> int:
        """Number of folds: the user's or the default, at most a quarter of the rows, or half of their groups."""
        most = len(self.x) // 4 if self.structure is None else max(2, self.structure.units // 2)
        return min(self.folds or usual, len(self.x) // 4, most)

    def prepare(self, parts: Sequence[NDArray[np.int64]]) -> list[tuple[Tensor, Tensor]]:
        """Each part of the rows as tensors, standardised with the statistics of the first part (the training rows)."""
        maps = [fit_margins(values[parts[0]], self.margins) for values in (self.x, self.y)]
        return [self.tensors(maps[0](self.x[rows]), maps[1](self.y[rows])) for rows in parts]

    def check_float32(self) -> None:
        """Raise ValueError for columns that would be infinite or constant as float32, in which networks compute."""
        for name, side in (("x", self.x), ("y", self.y)):
            with np.errstate(over="ignore"):
                narrow = side.astype(np.float32)
            bad = ~np.isfinite(narrow).all(0) | (narrow == narrow[0]).all(0)
            if bad.any():
                column = side[:, bad.argmax()]
                raise ValueError(
                    f"{name} must remain finite and varying as float32 if margins='none'; got a column from "
                    f"{column.min()} to {column.max()}"
                )

    def tensors(self, x: Floats, y: Floats) -> tuple[Tensor, Tensor]:
        """Both sides as float32 on the device."""
        narrow = [torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for values in (x, y)]
        return narrow[0].to(self.device), narrow[1].to(self.device)
