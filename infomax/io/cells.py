"""Columns of a table in a text file that are not all numbers: text, True and False, dates, and gaps."""

from __future__ import annotations

import csv
import datetime as dates
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.io.encoding import encoded, numbered, spread
from infomax.io.exact import LARGEST

#: What counts as missing, in lower case.
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "<na>", "nat"}
#: A spread of fewer than 20 bits below the largest value leaves less than 33 bits to distinguish values.
_NARROW = 2.0**-20
_BOOLEANS = {"true": True, "false": False}
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of the needed columns, and the line that each row ends in."""

    path: str
    columns: dict[str, list[str]]
    lines: list[int]

    @staticmethod
    def read(path: str, text: Iterable[str], header: Sequence[str], needed: Collection[str], delimiter: str) -> Cells:
        """Read all rows below the header.

        Raises:
            ValueError: for a row with more or fewer fields than the header. csv.Error: for quotes that do not match.
        """
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        next(reader)
        places = {name: header.index(name) for name in needed}
        columns: dict[str, list[str]] = {name: [] for name in needed}
        lines: list[int] = []
        for cells in filter(None, reader):
            lines.append(reader.line_num)
            if len(cells) != len(header):
                where = f"{path}, row {len(lines)} (line {reader.line_num})"
                raise ValueError(f"{where}: must have {len(header)} fields, as the header; got {len(cells)}")
            for name, place in places.items():
                columns[name].append(cells[place].strip())
        return Cells(path, columns, lines)

    def column(self, name: str, *, nominal: bool, missing: str, shift: bool) -> tuple[NDArray[np.float64], bool]:
        """The values ``(N,)`` of a column, NaN where one is missing, and whether it is nominal.

        Args:
            nominal: whether it is in any case. missing: "raise" or "drop". shift: as
                :func:`infomax.io.exact.to_float64`.

        Raises:
            ValueError: for missing values unless they are dropped, infinite ones, numbers with a decimal comma, and
                cells of several kinds.
        """
        numbers = None if nominal else self._numbers(name)
        if numbers is not None and not (missing == "raise" and np.isnan(numbers).any()):
            return numbers, False
        cells = self.columns[name]
        parsed = {cell: _parsed(cell) for cell in set(cells)}
        first: dict[str, int] = {}
        for row, cell in enumerate(cells):
            first.setdefault(parsed[cell][0], row)
        if "missing" in first and missing == "raise":
            where, cell = self._where(first["missing"], name), cells[first["missing"]]
            raise ValueError(
                f"{where}: the value is missing ({cell!r}); remove or fill such rows first, or leave them out "
                f"(missing='drop', --missing drop)"
            )
        gaps = np.array([parsed[cell][0] == "missing" for cell in cells], dtype=bool)
        kinds = [kind for kind in first if kind != "missing"]
        if nominal or kinds == ["text"]:
            codes = numbered("" if gap else cell for cell, gap in zip(cells, gaps, strict=True))
            return np.where(gaps, np.nan, codes), True
        self._check_kinds(name, first, kinds)
        values = np.empty(len(cells), dtype=object)
        values[:] = [parsed[cell][1] for cell in cells]
        return encoded(values, f"column {name!r} of {self.path}", None, shift=shift)

    def _numbers(self, name: str) -> NDArray[np.float64] | None:
        """The values of a column of ordinary numbers and gaps, fast; None for others, which are parsed cell by cell."""
        cells = self.columns[name]
        gaps = np.array([cell.lower() in MISSING for cell in cells], dtype=bool)
        kept = [cell for cell, gap in zip(cells, gaps.tolist(), strict=True) if not gap]
        text = "".join(kept)
        if not kept or "_" in text or not text.isascii():
            return None
        try:
            values = np.array(list(map(float, kept)))
        except ValueError:
            return None
        size = np.abs(values)
        if not np.isfinite(values).all() or is_doubtful(values) or (size < np.finfo(np.float64).tiny).any():
            return None
        return spread(values, gaps)

    def _check_kinds(self, name: str, first: dict[str, int], kinds: Sequence[str]) -> None:
        cells = self.columns[name]
        for kind, rule in (("infinite", "finite"), ("comma", "a number with a decimal point")):
            if kind in first:
                raise ValueError(
                    f"{self._where(first[kind], name)}: must be {rule}; got {cells[first[kind]]!r} (or choose other "
                    f"columns, or say that this one is nominal)"
                )
        if len(kinds) > 1:
            one, other = kinds[:2]
            raise ValueError(
                f"{self._where(first[other], name)}: must be a {one}, as in row {first[one] + 1}; got "
                f"{cells[first[other]]!r} (if the column holds names, say that it is nominal)"
            )

    def _where(self, row: int, name: str) -> str:
        return f"{self.path}, row {row + 1} (line {self.lines[row]}), column {name!r}"


def is_doubtful(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether values ``(N, …)`` may have become equal when they were rounded to float64, for each column."""
    low, high = values.min(0), values.max(0)
    largest = np.maximum(-low, high)
    return np.asarray((largest > LARGEST) | (high - low < _NARROW * largest))


def is_number(cell: str) -> bool:
    """Whether Python reads it as a number; digits of other scripts and underscores are none."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().isascii() and "_" not in cell


def _parsed(cell: str) -> tuple[str, Any]:
    """The kind of a cell and its value."""
    folded = cell.lower()
    if folded in MISSING:
        return "missing", None
    if is_number(cell):
        return ("number", Decimal(cell)) if math.isfinite(float(cell)) else ("infinite", None)
    if folded in _BOOLEANS:
        return "boolean", _BOOLEANS[folded]
    if _DATE.fullmatch(cell):
        try:
            return "date", dates.datetime.fromisoformat(cell)
        except ValueError:
            return "text", cell
    return ("comma", None) if _DECIMAL_COMMA.fullmatch(cell) else ("text", cell)
