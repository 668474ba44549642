"""Two tables of columns, and the blocks of them that have the same rows without gaps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.estimators.problem import LEAST_ROWS
from infomax.exceptions import ConstantColumnWarning
from infomax.io.columns import Columns, Nominal, as_columns, check_complete
from infomax.io.containers import table_names
from infomax.io.naming import unknown
from infomax.io.samples import ADVICE, Missing, settled
from infomax.statistics.marginals import Floats


@dataclass(frozen=True, eq=False)
class Table:
    """Checked columns, with their names; NaN where a value is missing."""

    columns: Columns
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: Any, name: str, nominal: Nominal, missing: Missing) -> Table:
        columns = as_columns(data, name, nominal=nominal)
        if missing == "raise":
            check_complete(columns, name, ADVICE)
        n, dim = columns.shape
        if n < LEAST_ROWS:
            raise ValueError(f"{name} must have at least {LEAST_ROWS} rows; got {n}")
        names = columns.names or tuple(map(str, range(dim)))
        columns = settled(columns, name, stacklevel=4)
        samples = columns.samples
        present = ~np.isnan(samples)
        first = samples[present.argmax(0), np.arange(dim)]
        constant = ((samples == first) | ~present).all(0)
        if constant.any():
            which = ", ".join(label for label, is_constant in zip(names, constant, strict=True) if is_constant)
            warnings.warn(
                f"{name} has {int(constant.sum())} constant of {dim} columns, which carry no information: {which}",
                ConstantColumnWarning,
                stacklevel=3,
            )
        return cls(columns, names)

    def numbers(self) -> Floats:
        """The columns that are not nominal, ``(N, D)``."""
        return self.columns.samples[:, ~self.columns.nominal]

    def of_gaps(self) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        """The rows that lack a value, and the columns that lack them."""
        gaps = np.isnan(self.columns.samples)
        found: dict[bytes, list[int]] = {}
        for j, column in enumerate(gaps.T):
            found.setdefault(column.tobytes(), []).append(j)
        return [(gaps[:, columns[0]], np.array(columns)) for columns in found.values()]


@dataclass(frozen=True, eq=False)
class Block:
    """Columns of two tables that have the same gaps.

    Attributes:
        gaps: the rows that lack a value, of both tables, ``(N,)``. left, right: which columns. same: whether these are
            the same columns of one table.
    """

    gaps: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: bool

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows in which none of the columns lacks a value."""
        return np.flatnonzero(~(self.gaps[0] | self.gaps[1]))

    def parts(self, left: Table, right: Table) -> tuple[Columns, Columns]:
        """The columns of both tables, in these rows."""
        rows = self.rows
        own = _part(left, rows, self.left)
        return own, own if self.same else _part(right, rows, self.right)


def _part(table: Table, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Columns:
    whole = table.columns
    return Columns((), whole.samples[np.ix_(rows, columns)], whole.nominal[columns])


def blocks_of(left: Table, right: Table) -> list[Block]:
    """Pairs of columns with the same gaps together, those within one table once.

    Raises:
        ValueError: for columns with too few rows in which neither lacks a value.
    """
    found = []
    for i, (gone, columns) in enumerate(left.of_gaps()):
        for j, (also_gone, others) in enumerate(right.of_gaps()):
            if left is right and j < i:
                continue
            block = Block((gone, also_gone), columns, others, left is right and i == j)
            n = len(gone) - int((gone | also_gone).sum())
            if n < LEAST_ROWS and (not block.same or len(columns) > 1 or n == 0):
                which = f"columns {left.names[columns[0]]!r} and {right.names[others[-1]]!r}"
                raise ValueError(
                    f"{which} must have at least {LEAST_ROWS} rows without missing values; got {n} of "
                    f"{len(gone)}: leave one of them out"
                )
            found.append(block)
    return found


def kinds_of(nominal: Nominal, x: Any, y: Any) -> tuple[Nominal, Nominal]:
    """Which columns of x, and of y, are nominal; names may be of either.

    Raises:
        ValueError: for a column of neither.
    """
    if y is None or isinstance(nominal, bool) or (isinstance(nominal, str) and nominal == "auto"):
        return nominal, nominal
    chosen_ones = [nominal] if isinstance(nominal, str) else nominal
    named = [data.names if isinstance(data, Columns) else table_names(data) or () for data in (x, y)]
    known = [[str(name) for name in names] for names in named]
    if isinstance(chosen_ones, int) or not all(isinstance(column, str) for column in chosen_ones):
        raise ValueError(f"nominal must hold names where there are two sets of columns; got {nominal!r}")
    for column in chosen_ones:
        if not any(column in names for names in known):
            raise ValueError(f"nominal: {unknown('column', str(column), [*known[0], *known[1]])}")
    left, right = ([column for column in chosen_ones if column in names] for names in known)
    return left, right
