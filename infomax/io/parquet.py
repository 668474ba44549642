"""Columns of Parquet files that may be larger than memory, by pyarrow."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.io.containers import arrow_numbers, check_arrow_type
from infomax.io.exact import LARGEST
from infomax.io.stored import Rows, StoredColumns

#: Rows of a row group that are decoded at a time.
_DECODED = 1024
#: Row groups that shuffled reading takes in turn.
GROUPS_IN_TURN = 8


class ParquetColumns(StoredColumns):
    """Columns of a Parquet file. Each row group is decoded from its beginning on, a thousand rows at a time."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._file, groups = _opened(path)
        weakref.finalize(self, self._file.close)
        super().__init__(str(path), (sum(groups), len(names)), names)
        self._edges = np.concatenate([[0], np.cumsum([count for count in groups if count])]).astype(np.int64)
        self._groups = [i for i, count in enumerate(groups) if count]
        types = {}
        for name in names:
            types[name] = self._file.schema_arrow.field(name).type
            check_arrow_type(types[name], f"column {name!r} of {path}")
        self._mixed = len(set(types.values())) > 1
        self._open: dict[int, _RowGroup] = {}  # by the row that comes next

    def singly(self) -> list[StoredColumns]:
        return [ParquetColumns(Path(self.name), [name]) for name in self.names or ()] if self._mixed else [self]

    @property
    def edges(self) -> Rows:
        return self._edges

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if start == stop:
            return np.empty((0, self.shape[1]))
        part = int(np.searchsorted(self._edges, start, "right")) - 1
        begins, ends = int(self._edges[part]), int(self._edges[part + 1])
        if stop > ends:
            return np.concatenate([self.read(start, ends), self.read(ends, stop)])
        group = self._open.pop(start, None)
        if group is None:
            group = _RowGroup(self._file, self._groups[part], list(self.names or ()), self.name)
            for skipped in range(begins, start, _DECODED):
                group.take(min(_DECODED, start - skipped))
        rows = group.take(stop - start)
        if stop < ends:
            self._open[stop] = group
            while len(self._open) > 2 * GROUPS_IN_TURN:  # close the one that was used least recently
                self._open.pop(next(iter(self._open)))
        return rows


def read_names(path: Path) -> list[str]:
    """The names of the columns of a Parquet file.

    Raises:
        ValueError: if the file is damaged, or a name appears more than once.
    """
    file, _ = _opened(path)
    with file:
        names: list[str] = file.schema_arrow.names
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{path}: column names must differ; got {', '.join(repeated[:5])} more than once")
    return names


def is_numeric_file(path: Path, selections: Sequence[Sequence[str]]) -> bool:
    """Whether the types of the selected columns are numbers or booleans."""
    file, _ = _opened(path)
    with file:
        types = [file.schema_arrow.field(name).type for names in selections for name in names]
    try:
        for kind in types:
            check_arrow_type(kind, "")
    except TypeError:
        return False
    return True


def _opened(path: Path) -> tuple[Any, list[int]]:
    """The file, and the number of rows of each row group.

    Raises:
        ValueError: if the file is damaged.
    """
    import pyarrow.parquet  # noqa: PLC0415 - an extra

    try:
        # Column chunks are read piece by piece, because a row group may be larger than memory.
        file = pyarrow.parquet.ParquetFile(path, buffer_size=2**16, pre_buffer=False)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except Exception as error:  # a damaged footer raises many kinds
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from None
    if min(groups, default=0) < 0 or sum(groups) >= 2**63:
        raise ValueError(f"{path} cannot be read as Parquet: a row group of {min(groups)} rows")
    return file, groups


class _RowGroup:
    """The rows of a row group that have not been read yet."""

    def __init__(self, file: Any, group: int, names: list[str], path: str) -> None:
        self._batches = file.iter_batches(_DECODED, row_groups=[group], columns=names, use_threads=False)
        self._names, self._path = names, path
        self._rest: NDArray[Any] = np.empty((0, len(names)))

    def take(self, count: int) -> NDArray[Any]:
        """The next rows, ``(count, D)``."""
        import pyarrow  # noqa: PLC0415

        parts, have = [self._rest] if len(self._rest) else [], len(self._rest)
        while have < count:
            try:
                batch = next(self._batches)
            except StopIteration:
                raise ValueError(f"{self._path} cannot be read as Parquet: a row group has too few rows") from None
            except (pyarrow.lib.ArrowException, OSError) as error:
                raise ValueError(f"{self._path} cannot be read as Parquet: {error}") from None
            columns = {
                name: arrow_numbers(batch.column(name), f"column {name!r} of {self._path}") for name in self._names
            }
            parts.append(_side_by_side(columns, self._path))
            have += len(parts[-1])
        rows = np.concatenate(parts)
        self._rest = rows[count:]
        return rows[:count]


def _side_by_side(columns: Mapping[str, NDArray[Any]], path: str) -> NDArray[Any]:
    """The columns as one array ``(N, D)`` of a type that holds all of them.

    Raises:
        ValueError: for integers beyond 2⁵³ that would be rounded.
    """
    together = np.stack(list(columns.values()), 1)
    for name, column in columns.items():
        whole = column.dtype.kind in "iu" and together.dtype.kind == "f" and len(column)
        if whole and max(-int(column.min()), largest := int(column.max())) > LARGEST:
            raise ValueError(
                f"column {name!r} of {path} must hold whole numbers of at most 2**53 beside columns of other types; "
                f"got {largest if largest > LARGEST else int(column.min())}: subtract an offset first"
            )
    return together
