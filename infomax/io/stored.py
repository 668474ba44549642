"""StoredColumns that stay where they are, in memory or in a file, and are read a stretch of rows at a time."""

from __future__ import annotations

import abc
import mmap
import os
import weakref
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.io.files import check_file, from_parquet, select_columns, stripped
from infomax.io.samples import as_samples

Rows = NDArray[np.int64]

#: Endings of files that need not be read whole.
MAPPED = (".npy", ".parquet")

#: Samples of more cells than this in all (128 MiB as float64) are not copied whole.
MOST_CELLS = 2**24
#: Rows that are decoded at a time of a row group of a Parquet file, and row groups that are read in turn.
_DECODED = 1024
LANES = 8
#: Bytes that are read from a file at a time, unless a row is longer.
_READ = 2**23
#: Bytes that tell whether a file is the one that was mapped.
_COMPARED = 4096


class StoredColumns(abc.ABC):
    """Columns of numbers with ``shape`` ``(N, D)``, read by :meth:`read`; ``np.asarray(columns)`` is all of them.

    :func:`infomax.open_columns` makes them of a file, and :func:`infomax.estimate` and :func:`infomax.batches` take
    them where they take arrays.
    """

    def __init__(self, name: str, shape: tuple[int, int], names: Sequence[str] | None = None) -> None:
        """``names``: what the columns are called, if they are called anything."""
        self.name, self.shape = name, shape
        self.names = None if names is None else tuple(names)

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop - 1``, ``(stop - start, D)``, of the type they are stored in; not to be changed.

        Raises:
            ValueError: if the file is damaged, or ends before these rows.
        """

    @property
    def edges(self) -> Rows | None:
        """First rows of the parts that can only be read from their beginning, and N; None: any row is as near."""
        return None

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        edges = [0, len(self)] if self.edges is None else self.edges.tolist()
        whole = np.concatenate([self.read(start, stop) for start, stop in pairwise(edges)])
        return np.asarray(whole, dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.shape})"


class ArrayColumns(StoredColumns):
    """Of an array in memory, ``(N, D)``."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        super().__init__(name, (array.shape[0], array.shape[1]))
        self._array = array

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._array[start:stop]


class MappedColumns(StoredColumns):
    """Of a memory-mapped array, ``(N, D)``, or of some of its columns.

    Rows are read from the file and not through the map, whose pages would count as memory of this process for as long
    as the system keeps them. In a file of whole rows the columns between the wanted ones are read with them; in one of
    whole columns (Fortran order) they are not.
    """

    def __init__(
        self, name: str, array: NDArray[Any], path: Path, origin: int, wanted: Sequence[int] | None = None
    ) -> None:
        """``origin``: address of the file's first byte in the map, or where it would be; ``wanted``: columns."""
        self._wanted = list(range(array.shape[1]) if wanted is None else wanted)
        super().__init__(name, (array.shape[0], len(self._wanted)))
        self._array, self._origin = np.asarray(array), origin
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)

    @property
    def _by_rows(self) -> bool:
        return abs(self._array.strides[0]) >= abs(self._array.strides[1])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        most = max(1, _READ // max(1, abs(self._array.strides[0])))
        if stop - start <= most:
            return self._piece(start, stop)
        out = np.empty((stop - start, self.shape[1]), self._array.dtype)
        for begin in range(start, stop, most):
            end = min(begin + most, stop)
            out[begin - start : end - start] = self._piece(begin, end)
        return out

    def _piece(self, start: int, stop: int) -> NDArray[Any]:
        rows = self._array[start:stop]
        if not self._by_rows:
            return np.hstack([self._span(rows[:, column : column + 1], start) for column in self._wanted])
        first, last = min(self._wanted), max(self._wanted)
        span = self._span(rows[:, first : last + 1], start)
        wanted = [column - first for column in self._wanted]
        return span if wanted == list(range(span.shape[1])) else span[:, wanted]

    def _span(self, part: NDArray[Any], row: int) -> NDArray[Any]:
        """A part of the array, whose first row is row ``row``, read from the file."""
        if not part.size:
            return part
        low, high = _bounds(part)
        buffer = np.empty(high - low, np.uint8)
        self._file.seek(low - self._origin)
        filled = 0
        while filled < len(buffer):
            count = self._file.readinto(buffer[filled:].data)
            if not count:
                raise ValueError(f"{self.name}: the file ends before row {row + len(part) - 1}, which it should hold")
            filled += count
        return np.ndarray(part.shape, part.dtype, buffer, _address(part) - low, part.strides)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _bounds(array: NDArray[Any]) -> tuple[int, int]:
    """Addresses of the first byte of the elements, and of that behind the last."""
    low = _address(array)
    high = low + array.itemsize
    for length, stride in zip(array.shape, array.strides, strict=True):
        reach = (length - 1) * stride
        low, high = (low + reach, high) if reach < 0 else (low, high + reach)
    return low, high


class ParquetColumns(StoredColumns):
    """Columns of a Parquet file, decoded a thousand rows at a time; each row group is read from its beginning on."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow.parquet  # noqa: PLC0415

        # Column chunks are read piece by piece: a row group may be larger than memory.
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
            while len(self._open) > 2 * LANES:  # the one that has waited longest
                self._open.pop(next(iter(self._open)))
        return rows


class _RowGroup:
    """What is left of a row group."""

    def __init__(self, file: Any, group: int, names: list[str], path: str) -> None:
        self._batches = file.iter_batches(_DECODED, row_groups=[group], columns=names, use_threads=False)
        self._names, self._path = names, path
        self._rest: NDArray[Any] = np.empty((0, len(names)))

    def take(self, count: int) -> NDArray[Any]:
        import pyarrow  # noqa: PLC0415

        parts, have = [self._rest], len(self._rest)
        while have < count:
            try:
                batch = next(self._batches)
            except StopIteration:
                raise ValueError(f"{self._path} cannot be read as Parquet: a row group has too few rows") from None
            except (pyarrow.lib.ArrowException, OSError) as error:
                raise ValueError(f"{self._path} cannot be read as Parquet: {error}") from None
            parts.append(np.stack([_numbers(batch.column(name)) for name in self._names], 1))
            have += len(parts[-1])
        rows = np.concatenate(parts[1:] if not len(self._rest) and len(parts) > 1 else parts)
        self._rest = rows[count:]
        return rows[:count]


def _numbers(column: Any) -> NDArray[Any]:
    """An Arrow array as numbers; missing ones are NaN."""
    if column.type == "bool":
        column = column.cast("uint8")
    return np.asarray(column.to_numpy(zero_copy_only=False))


# --- where they come from ---------------------------------------------------------------------------------------------


def open_columns(path: str | os.PathLike[str], *selections: Sequence[str]) -> list[StoredColumns]:
    """Select columns of a file that may be larger than memory, once for each selection; nothing else is read yet.

    By the name's ending: ``.npy`` (a 2-D array, columns by number) and ``.parquet`` (with pyarrow). What
    :func:`infomax.read_columns` reads whole stays in the file here.

    Args:
        path: the file. selections: column names each; ``*`` and ``?`` match as in a shell.

    Returns:
        :class:`StoredColumns` for each selection, in the order that was asked for.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for an empty file, one that is not what its name says or is cut short, and an unknown column.
        TypeError: for columns that are not numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/large.npy", np.arange(12.0).reshape(4, 3))
    ...     x, y = open_columns(f"{folder}/large.npy", ["0", "1"], ["2"])
    ...     x.shape, y.read(1, 3).tolist()
    ((4, 2), [[5.0], [8.0]])
    """
    path = check_file(path, MAPPED)
    return (_open_npy if path.suffix.lower() == ".npy" else _open_parquet)(path, stripped(selections))


def _open_npy(path: Path, wanted: list[list[str]]) -> list[StoredColumns]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a numpy file: {error}") from None
    if not isinstance(array, np.memmap) or array.ndim != 2:
        raise ValueError(f"{path} must hold a 2-D array; got {getattr(array, 'shape', 'an archive')}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{path} must hold numbers; got dtype {array.dtype}")
    selected = select_columns(path, list(map(str, range(array.shape[1]))), wanted)
    return [_mapped(str(path), array, array, list(map(int, names))) for names in selected]


def _open_parquet(path: Path, wanted: list[list[str]]) -> list[StoredColumns]:
    return from_parquet(
        path, wanted, lambda selected: [ParquetColumns(path, names) for names in selected], needs=("pyarrow",)
    )


def columns_of(data: Any, name: str) -> StoredColumns:
    """``data`` as columns where they are, without a copy if they are an array; what else there is by ``as_samples``.

    Raises:
        TypeError, ValueError: as :func:`infomax.io.as_samples`, but that values are finite is not looked at.
    """
    if isinstance(data, StoredColumns):
        return data
    if isinstance(data, torch.Tensor) and data.layout == torch.strided and data.dtype != torch.bfloat16:
        data = data.detach().cpu().numpy()
    if not isinstance(data, np.ndarray) or isinstance(data, np.ma.MaskedArray):
        return ArrayColumns(name, as_samples(data, name))
    if data.dtype.kind not in "biuf" or data.ndim not in (1, 2) or 0 in data.shape[1:]:
        as_samples(data[:0] if data.ndim else data, name)  # raises
    array = data[:, None] if data.ndim == 1 else data
    mapped: Any = array
    while isinstance(mapped, np.ndarray) and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    if isinstance(mapped, np.memmap):
        return _mapped(name, array, mapped)
    return ArrayColumns(name, array)


def _mapped(
    name: str, array: NDArray[Any], mapped: np.memmap[Any, Any], wanted: Sequence[int] | None = None
) -> StoredColumns:
    """Columns of an array, a view of a memory map, read from the file if that is known and still the same."""
    contents = getattr(mapped, "_mmap", None)
    if contents is not None and mapped.filename is not None and mapped.mode != "c" and array.size:
        begins = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
        path = Path(str(mapped.filename))
        if path.is_file() and os.access(path, os.R_OK) and _same(path, contents, begins):
            return MappedColumns(name, array, path, _address(np.frombuffer(contents, np.uint8)) - begins, wanted)
    kept = array if wanted is None else array[:, list(wanted)]
    return ArrayColumns(name, np.asarray(kept))


def _same(path: Path, contents: mmap.mmap, begins: int) -> bool:
    """Whether the file of that name is still the one that was mapped, as far as its size and first bytes tell."""
    size = path.stat().st_size
    if size != contents.size():
        return False
    compared = max(0, min(_COMPARED, size - begins, len(contents)))
    with path.open("rb") as file:
        file.seek(begins)
        return file.read(compared) == contents[:compared]
