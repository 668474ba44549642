"""Tables in CSV and TSV files: the header by the csv module, the numbers by :func:`numpy.loadtxt`."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NoReturn

import numpy as np

from infomax.exceptions import InfomaxWarning
from infomax.io.naming import select_columns
from infomax.io.samples import Columns, Floats

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


def read_csv(path: Path, selections: Sequence[Sequence[str]]) -> list[Columns]:
    """Read the selected columns of a table whose first line is its header.

    Raises:
        ValueError: for a first line that is no header, an unknown column, a row with more or fewer fields than the
            header, missing and non-numeric values (with row, line and column), text that is not UTF-8, and no rows.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            selected = _select(path, header, selections, delimiter)
            needed = [name for name in header if any(name in names for names in selected)]
            table = _parse(file, header, needed, delimiter)
            if table is None:
                file.seek(0)
                _raise_first_error(path, file, delimiter, needed)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text; byte {error.start} is not") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a well-formed table, line {reader.line_num}: {error}") from None
    if not len(table):
        raise ValueError(f"{path} must have rows below its header; got none")
    return [Columns(tuple(names), table[:, [needed.index(name) for name in names]]) for names in selected]


def _select(path: Path, header: list[str], selections: Sequence[Sequence[str]], delimiter: str) -> list[list[str]]:
    """The selected names, if the first line can be a header."""
    numbers = bool(header) and all(map(_is_number, header))
    hint = _other_delimiter(header, delimiter)
    if not hint and numbers:
        hint = "; the first line holds numbers only: write a line above it that names the columns"
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: column names must differ; got {', '.join(repeated)} more than once{hint}")
    selected = select_columns(path, header, selections, hint)
    asked = {name.strip() for selection in selections for name in selection}
    if numbers and not asked.issuperset(chain(*selected)):  # a pattern matches numbers too
        if not all(name.lstrip("+-").isdigit() for name in header):
            raise ValueError(f"{path} must name its columns; got numbers in its first line: write a header above it")
        warnings.warn(
            f"{path}: the first line holds whole numbers only; they were used as column names: {', '.join(header[:5])}",
            InfomaxWarning,
            stacklevel=5,
        )
    return selected


def _other_delimiter(header: Sequence[str], delimiter: str) -> str:
    """What to do if the first line seems to use another delimiter; else nothing."""
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    for other, plural in names.items():
        if other != delimiter and any(other in cell for cell in header):
            points = "" if other == "," else ", and decimal points in its numbers"
            return f"; the first line seems to be separated by {plural}: save the table with {names[delimiter]}{points}"
    return ""


def _parse(lines: Iterable[str], header: list[str], needed: list[str], delimiter: str) -> Floats | None:
    """The needed columns in the order of the header, ``(N, D)``; None unless all rows are well formed and finite."""
    # Text of no length takes no memory, but its fields count: a row with too few or too many is an error.
    kinds = [(str(j), "f8" if name in needed else "S0") for j, name in enumerate(header)]
    # loadtxt does not report a quote that is never closed. It would swallow this last line.
    last = delimiter.join(["nan"] * len(header))
    try:
        rows = np.loadtxt(chain(lines, [last]), kinds, delimiter=delimiter, comments=None, quotechar='"', ndmin=1)
    except UnicodeDecodeError:
        raise
    except ValueError:
        return None
    table: Floats = rows.view(np.float64).reshape(len(rows), len(needed))
    return table[:-1] if np.isfinite(table[:-1]).all() and np.isnan(table[-1]).all() else None


def _raise_first_error(path: Path, lines: Iterable[str], delimiter: str, needed: list[str]) -> NoReturn:
    """Find the first error of a table that cannot be parsed."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
        for row, cells in enumerate(filter(None, reader), start=1):
            where = f"{path}, row {row} (line {reader.line_num})"
            if len(cells) != len(header):
                raise ValueError(f"{where}: must have {len(header)} fields, as the header; got {len(cells)}")
            for name in needed:
                cell = cells[header.index(name)]
                if cell.strip().lower() in _MISSING:
                    message = f"the value is missing ({cell!r}); remove or fill such rows first"
                    raise ValueError(f"{where}, column {name!r}: {message}")
                if not _is_number(cell):
                    raise ValueError(f"{where}, column {name!r}: must be a number; got {cell!r}")
                if not math.isfinite(float(cell)):
                    raise ValueError(f"{where}, column {name!r}: must be finite; got {cell!r}")
    except csv.Error as error:
        raise ValueError(f"{path} is not a well-formed table, line {reader.line_num}: {error}") from None
    raise ValueError(f"{path} is not a well-formed table")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().isascii() and "_" not in cell
