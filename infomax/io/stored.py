"""Columns of numbers that are read a range of rows at a time: from arrays, memory maps and (parquet.py) files."""

from __future__ import annotations

import abc
import mmap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.io.columns import Columns
from infomax.io.containers import from_tensor
from infomax.io.samples import as_samples

Rows = NDArray[np.int64]

#: Samples with more cells than this in total (128 MiB as float64) are not copied into memory as a whole.
MOST_CELLS = 2**24


class StoredColumns(abc.ABC):
    """Columns of numbers with ``shape`` ``(N, D)``, read by :meth:`read`; ``np.asarray(columns)`` reads all rows.

    :func:`infomax.open_columns` opens them in a file. :func:`infomax.estimate` and :func:`infomax.batches` accept them
    in place of arrays.

    >>> import tempfile
    >>> from infomax import open_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/large.npy", np.arange(12.0).reshape(4, 3))
    ...     (columns,) = open_columns(f"{folder}/large.npy", ["0", "2"])
    ...     len(columns), columns.read(1, 3).tolist()
    (4, [[3.0, 5.0], [6.0, 8.0]])
    """

    def __init__(self, name: str, shape: tuple[int, int], names: Sequence[str] | None = None) -> None:
        """``name``: what error messages call the data; ``names``: those of the columns, if they have any."""
        self.name, self.shape = name, shape
        self.names = None if names is None else tuple(names)

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop - 1``, ``(stop - start, D)``, of the stored type. Do not modify them.

        Raises:
            ValueError: if the file is damaged, or became shorter after it was opened.
        """

    def singly(self) -> list[StoredColumns]:
        """The columns in parts, each of one type, in their order: several where :meth:`read` has to convert types."""
        return [self]

    @property
    def edges(self) -> Rows | None:
        """First rows of the parts that can only be read from their beginning, and N; None: access is random."""
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
    """The columns of an array in memory, ``(N, D)``."""

    def __init__(self, name: str, array: NDArray[Any], names: Sequence[str] | None = None) -> None:
        super().__init__(name, (array.shape[0], array.shape[1]), names)
        self._array = array

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._array[start:stop]


class MappedColumns(StoredColumns):
    """Columns of a memory-mapped array, ``(N, D)``.

    Rows are copied, and the pages of the map released: otherwise they would count as memory of this process.
    """

    def __init__(
        self, name: str, array: NDArray[Any], contents: mmap.mmap, selected: Sequence[int] | None = None
    ) -> None:
        """``array``: a view of the map ``contents``; ``selected``: column numbers, by default all."""
        names = None if selected is None else [str(column) for column in selected]
        super().__init__(name, (len(array), array.shape[1] if selected is None else len(selected)), names)
        self._selected = slice(None) if selected is None else list(selected)
        self._array, self._contents, self._size = np.asarray(array), contents, contents.size()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if self._contents.size() < self._size:  # access to a page that is no longer there would end the process
            raise ValueError(f"{self.name}: the file became shorter after it was opened")
        rows = np.array(self._array[start:stop][:, self._selected])
        if hasattr(mmap, "MADV_DONTNEED"):
            self._contents.madvise(mmap.MADV_DONTNEED)
        return rows


def columns_of(data: Any, name: str, *, shift: bool = False) -> StoredColumns:
    """Columns that refer to ``data``, without a copy if it is an array.

    Args:
        data, name: as :func:`infomax.io.as_samples`. shift: as there, for data that are copied.

    Raises:
        TypeError, ValueError: as :func:`infomax.io.as_samples`, except that arrays may hold values that are not finite.
    """
    if isinstance(data, StoredColumns):
        return data
    if isinstance(data, Columns):
        return ArrayColumns(name, as_samples(data, name), data.names or None)
    if isinstance(data, torch.Tensor):
        data = from_tensor(data, name)
    if not isinstance(data, np.ndarray) or isinstance(data, np.ma.MaskedArray) or data.dtype.kind not in "biuf":
        return ArrayColumns(name, as_samples(data, name, shift=shift))
    as_samples(data[:0] if data.ndim else data, name)  # raises for a wrong type or shape
    array = data[:, None] if data.ndim == 1 else data
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    contents = getattr(base, "_mmap", None)
    if contents is not None and base.mode != "c":  # the pages of mode "c" hold changes that are not in the file
        return MappedColumns(name, array, contents)
    return ArrayColumns(name, np.asarray(array))
