"""Columns of Parquet files that may be larger than memory, by pyarrow."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.io.stored import Rows, StoredColumns

#: Rows of a row group that are decoded at a time.
_DECODED = 1024
#: Row groups that shuffled reading takes in turn.
GROUPS_IN_TURN = 8


class ParquetColumns(StoredColumns):
    """Columns of a Parquet file. Each row group is decoded from its beginning on, a thousand rows at a time."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow.parquet  # noqa: PLC0415 - an extra

        # Column chunks are read piece by piece, because a row group may be larger than memory.
        self._file = pyarrow.parquet.ParquetFile(path, buffer_size=2**16, pre_buffer=False)
        weakref.finalize(self, self._file.close)
        groups = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        super().__init__(str(path), (sum(groups), len(names)), names)
        self._edges = np.concatenate([[0], np.cumsum([count for count in groups if count])]).astype(np.int64)
        self._groups = [i for i, count in enumerate(groups) if count]
        types = pyarrow.types
        for name in names:
            kind = self._file.schema_arrow.field(name).type
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise TypeError(f"column {name!r} of {path} must hold numbers; got dtype {kind}")
        self._open: dict[int, _RowGroup] = {}  # by the row that comes next

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
            parts.append(np.stack([_numbers(batch.column(name)) for name in self._names], 1))
            have += len(parts[-1])
        rows = np.concatenate(parts)
        self._rest = rows[count:]
        return rows[:count]


def _numbers(column: Any) -> NDArray[Any]:
    """An Arrow array as numbers; missing values become NaN."""
    if column.type == "bool":
        column = column.cast("uint8")
    return np.asarray(column.to_numpy(zero_copy_only=False))
