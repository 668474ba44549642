"""Tables in CSV and TSV files: the header by the csv module, the numbers by :func:`numpy.loadtxt`.

Columns that float64 could round to equal values are read again, as decimals.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import math
import mmap
import re
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray

from infomax.exceptions import InfomaxWarning
from infomax.io.cells import MISSING, Cells, is_doubtful, is_number
from infomax.io.columns import Columns
from infomax.io.exact import LARGEST, as_integers, to_float64
from infomax.io.limits import check_number_of_columns, check_unpacked_size, most_unpacked
from infomax.io.naming import select_columns
from infomax.io.samples import Floats

#: Text of numbers that may be too small for float64: several patterns that begin with a letter are faster than one.
_TINY = [re.compile(pattern) for pattern in (rb"e-0*[1-9]\d\d", rb"E-0*[1-9]\d\d", b"0" * 300)]
#: How compressed files are opened, by their ending.
COMPRESSED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class TextFormat:
    """How a text file is read.

    Attributes:
        sep: what separates fields; None: as the ending says. encoding: of the text; None: UTF-8.
        nominal: columns that are nominal even where their cells are numbers. missing: "raise" or "drop".
        numbers: whether all columns must be numbers.
    """

    sep: str | None = None
    encoding: str | None = None
    nominal: tuple[str, ...] = ()
    missing: str = "raise"
    numbers: bool = False


def read_csv(
    path: Path, selections: Sequence[Sequence[str]], *, shift: bool, text: TextFormat | None = None
) -> list[Columns]:
    """Read the selected columns of a table whose first line is its header.

    Args:
        path, selections, shift: as :func:`infomax.io.read_named`; "-" is standard input.

    Raises:
        ValueError: for a first line that is no header, an unknown column, a row with more or fewer fields than the
            header, cells of several kinds in a column, missing values unless they are dropped (with row, line and
            column), text that is not in this encoding, no rows, and numbers that float64 cannot represent as different
            from others or from 0.
    """
    text = text or TextFormat()
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    delimiter = text.sep or ("\t" if inner.suffix.lower() == ".tsv" else ",")
    if len(delimiter) != 1:
        raise ValueError(f"sep must be one character; got {delimiter!r}")
    nominal = set(text.nominal)
    try:
        with _opened(path, text.encoding) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            selected = _select(path, header, selections, delimiter)
            chosen = set(chain(*selected))
            needed = [name for name in header if name in chosen]
            # Names are compared as text: 1.1 and 1.10 are different ones.
            table = None if nominal & chosen else _parse(file, header, needed, delimiter)
            flags = np.array([name in nominal for name in needed], dtype=bool)
            file.seek(0)
            if table is None and text.numbers:
                _raise_first_error(path, file, delimiter, needed)
            if table is None:
                cells = Cells.read(str(path), file, header, needed, delimiter)
                columns = [
                    cells.column(name, nominal=name in nominal, missing=text.missing, shift=shift) for name in needed
                ]
                table, flags = np.stack([values for values, _ in columns], 1), np.array([kind for _, kind in columns])
            else:
                doubtful = _doubtful(path, file, table)
                file.seek(0)
                if len(doubtful):
                    exact = {needed[j]: table[:, j] for j in doubtful}
                    _read_exactly(path, file, delimiter, exact, shift=shift)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be {text.encoding or 'UTF-8'} text; byte {error.start} is not") from None
    except LookupError:
        raise ValueError(f"encoding must be one that Python knows; got {text.encoding!r}") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a well-formed table, line {reader.line_num}: {error}") from None
    if not len(table):
        raise ValueError(f"{path} must have rows below its header; got none")
    places = {name: j for j, name in enumerate(needed)}
    wanted = [[places[name] for name in names] for names in selected]
    return [Columns(tuple(names), table[:, where], flags[where]) for names, where in zip(selected, wanted, strict=True)]


def _opened(path: Path, encoding: str | None) -> TextIO:
    """The text of a file, of a compressed one, or of standard input, to be read several times.

    Raises:
        ValueError: for a compressed file that is damaged, or whose contents are too large for its size.
    """
    if str(path) == "-":
        return io.TextIOWrapper(io.BytesIO(sys.stdin.buffer.read()), encoding or "utf-8-sig", newline="")
    opened = COMPRESSED.get(path.suffix.lower())
    if opened is None:
        return path.open(newline="", encoding=encoding or "utf-8-sig")
    try:
        with opened(path) as file:
            contents = file.read(most_unpacked(path) + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} cannot be read as a compressed file: {error}") from None
    check_unpacked_size(path, len(contents))
    return io.TextIOWrapper(io.BytesIO(contents), encoding or "utf-8-sig", newline="")


def _select(path: Path, header: list[str], selections: Sequence[Sequence[str]], delimiter: str) -> list[list[str]]:
    """The selected names, if the first line can be a header."""
    check_number_of_columns(path, len(header))
    numbers = bool(header) and all(map(is_number, header))
    hint = _other_delimiter(header, delimiter)
    if not hint and numbers:
        hint = "; the first line holds numbers only: write a line above it that names the columns"
    repeated = sorted(name for name, count in Counter(header).items() if count > 1)
    if repeated:
        raise ValueError(f"{path}: column names must differ; got {', '.join(repeated[:5])} more than once{hint}")
    if hint and len(header) == 1 and not numbers:
        raise ValueError(f"{path} must have columns separated by {delimiter!r}; got one column{hint}")
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
            advice = f"save the table with {names.get(delimiter, 'commas')}{points}, or pass sep={other!r} (--sep)"
            return f"; the first line seems to be separated by {plural}: {advice}"
    return ""


def _parse(lines: Iterable[str], header: list[str], needed: list[str], delimiter: str) -> Floats | None:
    """The needed columns in the order of the header, ``(N, D)``; None unless all rows are well formed and finite."""
    # Text of no length takes no memory, but its fields count: a row with too few or too many is an error.
    numeric = set(needed)
    kinds = [(str(j), "f8" if name in numeric else "S0") for j, name in enumerate(header)]
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


def _doubtful(path: Path, text: TextIO, table: Floats) -> NDArray[np.int64]:
    """Numbers of the columns whose values may have become equal, or 0, when they were rounded to float64."""
    if not len(table):
        return np.empty(0, np.int64)
    doubtful = is_doubtful(table)
    small = (np.abs(table) < np.finfo(np.float64).tiny).any(0)
    if small.any() and isinstance(text, io.TextIOWrapper) and isinstance(text.buffer, io.BytesIO):
        contents = text.buffer.getvalue()
        small &= any(pattern.search(contents) for pattern in _TINY)
    elif small.any():
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            small &= any(pattern.search(mapped) for pattern in _TINY)
    return np.flatnonzero(doubtful | small)


def _read_exactly(
    path: Path, lines: Iterable[str], delimiter: str, columns: Mapping[str, Floats], *, shift: bool
) -> None:
    """Read columns again as decimals, and correct ``columns``, by name, in place.

    Raises:
        ValueError: for numbers that float64 cannot represent as different from others or from 0.
    """
    reader = csv.reader(lines, delimiter=delimiter)
    places = {name.strip(): j for j, name in enumerate(next(reader))}
    cells: dict[str, list[Decimal]] = {name: [] for name in columns}
    decimal = lru_cache(Decimal)  # columns of few values share them
    for row in filter(None, reader):
        for name, values in cells.items():
            try:
                values.append(decimal(row[places[name]].strip()))
            except (ArithmeticError, IndexError):
                raise ValueError(f"{path}, line {reader.line_num}, column {name!r}: must be a number") from None
    for name, values in cells.items():
        where, rounded = f"column {name!r} of {path}", columns[name]
        if len(values) != len(rounded):
            raise ValueError(f"{path} is not a well-formed table")
        distinct = set(values)
        lost = next((value for value in distinct if value and not float(value)), None)
        if lost is not None:
            raise ValueError(f"{where} must be 0 or at least 5e-324 in magnitude; got {lost}")
        if len(distinct) == len(np.unique(rounded)) and np.abs(rounded).max() <= LARGEST:
            continue
        exact = np.array(values)[:, None]
        whole = as_integers(exact)
        rounded[:] = to_float64(exact if whole is None else whole, where, shift=shift)[:, 0]


def _raise_first_error(path: Path, lines: Iterable[str], delimiter: str, needed: list[str]) -> NoReturn:
    """Find the first error of a table that cannot be parsed."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
        places = {name: header.index(name) for name in needed}
        for row, cells in enumerate(filter(None, reader), start=1):
            where = f"{path}, row {row} (line {reader.line_num})"
            if len(cells) != len(header):
                raise ValueError(f"{where}: must have {len(header)} fields, as the header; got {len(cells)}")
            for name in needed:
                cell = cells[places[name]]
                if cell.strip().lower() in MISSING:
                    message = f"the value is missing ({cell!r}); remove or fill such rows first"
                    raise ValueError(f"{where}, column {name!r}: {message}")
                if not is_number(cell):
                    raise ValueError(f"{where}, column {name!r}: must be a number; got {cell!r}")
                if not math.isfinite(float(cell)):
                    raise ValueError(f"{where}, column {name!r}: must be finite; got {cell!r}")
    except csv.Error as error:
        raise ValueError(f"{path} is not a well-formed table, line {reader.line_num}: {error}") from None
    raise ValueError(f"{path} is not a well-formed table")
