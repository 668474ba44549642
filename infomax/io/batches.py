"""Batches of paired rows: drawn by index from memory, or read in ranges of rows from disk and shuffled in a pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.io.columns import Nominal, is_numeric
from infomax.io.exact import less_offsets, offsets_of
from infomax.io.parquet import GROUPS_IN_TURN
from infomax.io.samples import as_samples, common_length
from infomax.io.stored import MOST_CELLS, Rows, StoredColumns, columns_of

#: Batches in memory that one indexing operation gathers.
_AHEAD = 16
#: Rows of a range that is read at once, ranges that are shuffled in one pool, and most cells of a pool (16 MiB).
_STRETCH, _POOLED, _MOST_POOLED = 1024, 32, 2**22

#: From paired rows to the network's input.
Map = Callable[[NDArray[Any]], NDArray[Any]]


def batches(
    *samples: Any, batch_size: int = 256, seed: int = 0, epochs: int | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of paired rows for training, far faster than a data loader that fetches rows one by one.

    Each row is drawn once per epoch, in an order that depends on the seed. If the last rows of an epoch do not fill a
    batch, they start the first batch of the next epoch; only the very last batch may be smaller.

    Samples with more than 2²⁴ cells in total are not copied into memory. They are read in ranges of up to 1,024 rows in
    random order (Parquet: from eight row groups in turn), and the rows of 32 ranges are shuffled together. Rows that
    are neighbours in the file therefore appear within the same 32,768 rows. If neighbouring rows are similar and the
    order matters, shuffle the file once.

    Args:
        samples: arrays, tensors, memory maps or :class:`~infomax.StoredColumns` with the same number of rows, ``(N,)``
            or ``(N, D)``. Tensors on a device stay there.
        batch_size: rows per batch, at most N. seed: decides the order.
        epochs: passes over the rows; by default unlimited.

    Yields:
        float32 tensors ``(batch_size, D)``, one for each sample; they may be views of one tensor.

    Raises:
        ValueError: for different numbers of rows, a batch larger than N, missing or infinite values, values beyond
            float32, and integers beyond float64 (for samples that are not copied, when they are read).
        TypeError: for columns that are not numeric.

    >>> x, y = np.arange(10.0), np.arange(10.0) ** 2
    >>> for first, second in batches(x, y, batch_size=4, epochs=1):
    ...     print(len(first), bool((first**2 == second).all()))
    4 True
    4 True
    2 True
    """
    if not samples:
        raise ValueError("samples must be at least one; got none")
    for argument, value in (("batch_size", batch_size), ("epochs", 1 if epochs is None else epochs)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{argument} must be a whole number of at least 1; got {value!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1; got {seed!r}")
    named = {f"sample {i}": data for i, data in enumerate(samples)}
    if stays(named.values()):
        aligned = Aligned.of(named)
        feed = aligned.batches(batch_size, np.random.default_rng(seed), checked=True)
        n = len(aligned)
    else:
        checked = {name: _as_tensor(data, name) for name, data in named.items()}
        n, tensors = common_length(checked), list(checked.values())
        generator, widths = torch.Generator().manual_seed(int(seed)), [tensor.shape[1] for tensor in tensors]
        together = len({tensor.device for tensor in tensors}) == 1
        feed = from_memory([torch.cat(tensors, 1)] if together else tensors, batch_size, generator, widths * together)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the number of rows, {n}; got {batch_size}")
    return feed if epochs is None else _first(feed, epochs * n)


def _as_tensor(data: Any, name: str) -> Tensor:
    array = as_samples(data, name, shift=False)
    check_finite(array, name, 0, np.float32)
    tensor = torch.from_numpy(array).float()
    return tensor.to(data.device) if isinstance(data, Tensor) else tensor


def _first(feed: Iterator[tuple[Tensor, ...]], rows: int) -> Iterator[tuple[Tensor, ...]]:
    """The first ``rows`` rows; the last batch may be smaller."""
    while rows:
        batch = next(feed)
        yield tuple(part[:rows] for part in batch)
        rows -= min(rows, len(batch[0]))


def draws(n: int, batch: int, generator: torch.Generator, *, ahead: int = 1) -> Iterator[Tensor]:
    """Endless batches of row indices, on the CPU: one random permutation of ``n`` rows after another.

    The indices that a permutation leaves over start the next batch.

    Args:
        ahead: most batches that are returned as one tensor; fewer at the end of a permutation.
    """
    order = torch.empty(0, dtype=torch.long, device=generator.device)  # not on a default device
    while True:
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(n, generator=generator, device=order.device)])
        whole = min(len(order) // batch, ahead) * batch
        yield order[:whole]
        order = order[whole:]


def from_memory(
    tensors: Sequence[Tensor], batch: int, generator: torch.Generator, widths: Sequence[int] = ()
) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of the rows of tensors ``(N, …)``, in the order of :func:`draws`.

    Args:
        batch: rows per batch, at most N. generator: draws the order, on the CPU.
        widths: if the only tensor holds several samples side by side, the number of columns of each. The rows are then
            gathered in one operation, and the batches are views.
    """
    for order in draws(len(tensors[0]), batch, generator, ahead=_AHEAD):
        rows = order.to(tensors[0].device)
        drawn: Sequence[Tensor] = [tensor.index_select(0, rows) for tensor in tensors]
        drawn = torch.split(drawn[0], list(widths), 1) if widths else drawn
        yield from zip(*[torch.split(part, batch) for part in drawn], strict=True)


# --- from disk --------------------------------------------------------------------------------------------------------


def stays(samples: Iterable[Any], kinds: Iterable[Nominal] = (), missing: str = "raise") -> bool:
    """Whether samples have more cells in total than are copied into memory.

    Those that are in memory are copied where that is necessary: tables and arrays with text or dates, columns that the
    user says are nominal, and rows that are to be dropped.

    Args:
        kinds: which columns are nominal. missing: what to do about missing values.
    """
    samples = list(samples)
    if sum(map(_cells, samples)) <= MOST_CELLS:
        return False
    if any(isinstance(data, StoredColumns | np.memmap) for data in samples):
        return True
    asked = missing != "raise" or not all(isinstance(kind, str | bool) and kind in ("auto", False) for kind in kinds)
    return not asked and all(map(is_numeric, samples))


def _cells(data: Any) -> int:
    """Rows by columns; 0 for objects without a shape, or with one that is not known."""
    if isinstance(data, Tensor) and data.is_nested:  # has no shape
        return 0
    shape = getattr(data, "shape", (0,))
    return math.prod(shape) if all(isinstance(length, int) for length in shape) else 0


@dataclass(frozen=True, eq=False)
class Aligned:
    """Stored columns with paired rows, read in ranges of rows.

    Attributes:
        columns: by name. edges: first rows of the parts that can only be read from their beginning, and N.
        offsets: of each sample ``(1, D)``, subtracted from columns of 64-bit integers.
    """

    columns: Mapping[str, StoredColumns]
    edges: Rows
    offsets: Mapping[str, NDArray[Any]]

    @staticmethod
    def of(samples: Mapping[str, Any], *, shift: bool = False) -> Aligned:
        """The columns of arrays, memory maps and files.

        Args:
            samples: by name. shift: whether the first row is subtracted from columns of integers beyond 2⁵², which
                float64 would round. Mutual information does not change.

        Raises:
            TypeError: for columns that are not numeric. ValueError: for different numbers of rows.
        """
        columns = {name: columns_of(data, name, shift=shift) for name, data in samples.items()}
        n = common_length(columns)
        known = [column.edges for column in columns.values() if column.edges is not None]
        length = _length(sum(column.shape[1] for column in columns.values()))
        edges = np.unique(np.concatenate(known)) if known else np.append(np.arange(0, n, length), n)
        first = {name: column.read(0, min(1, n)) for name, column in columns.items()}
        offsets = {name: offsets_of(row) if shift and n else np.zeros((1, row.shape[1])) for name, row in first.items()}
        return Aligned(columns, edges, offsets)

    def __len__(self) -> int:
        return int(self.edges[-1])

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows of a sample, less its offsets.

        Raises:
            ValueError: as :meth:`StoredColumns.read`, and for integers that float64 cannot represent.
        """
        return less_offsets(self.columns[name].read(start, stop), self.offsets[name], name, start)

    @property
    def width(self) -> int:
        """Number of columns of all samples."""
        return sum(column.shape[1] for column in self.columns.values())

    def in_order(self, cells: int) -> Iterator[tuple[int, int]]:
        """Ranges ``(start, stop)`` of at most so many cells that cover all rows in their order."""
        most = max(1, cells // self.width)
        apart = any(columns.edges is not None for columns in self.columns.values())
        for start, stop in pairwise(self.edges.tolist() if apart else [0, len(self)]):
            for begin in range(start, stop, most):
                yield begin, min(begin + most, stop)

    def shuffled(self, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Ranges ``(start, stop)`` that cover each row once, in random order, but forwards within a part."""
        most = _length(self.width)
        waiting = iter(rng.permutation(len(self.edges) - 1).tolist())
        begun: list[tuple[int, int]] = []
        while True:
            new = islice(waiting, GROUPS_IN_TURN - len(begun))
            begun += [(int(self.edges[part]), int(self.edges[part + 1])) for part in new]
            if not begun:
                return
            start, end = begun.pop(int(rng.integers(len(begun))))
            stop = min(start + most, end)
            yield start, stop
            if stop < end:
                begun.append((stop, end))

    def batches(
        self,
        batch: int,
        rng: np.random.Generator,
        *,
        maps: Mapping[str, Map] | None = None,
        without: Rows | None = None,
        checked: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Endless float32 batches, epoch after epoch; the rows that a pool leaves over start the next batch.

        Args:
            batch: rows per batch. rng: decides the order. maps: applied to each sample's rows before the conversion to
                float32. without: rows that are left out, in ascending order.
            checked: whether values that are not finite raise ValueError.
        """
        rest: list[Tensor] = []
        for ranges in self._pools(rng):
            pool = self._read(ranges, maps or {}, without, checked)
            order = torch.from_numpy(rng.permutation(len(pool[0])))
            if rest and len(rest[0]):
                order = torch.cat([torch.arange(len(rest[0]), device=order.device), order + len(rest[0])])
                pool = [torch.cat(parts) for parts in zip(rest, pool, strict=True)]
            whole = len(order) // batch * batch
            if whole:
                yield from zip(*[torch.split(part[order[:whole]], batch) for part in pool], strict=True)
            rest = [part[order[whole:]] for part in pool]

    def _pools(self, rng: np.random.Generator) -> Iterator[list[tuple[int, int]]]:
        """The ranges of one pool after another, in the order of the file, in epochs without end."""
        ranges = int(np.ceil(np.diff(self.edges) / _length(self.width)).sum())
        size = math.ceil(ranges / math.ceil(ranges / _POOLED))
        while True:
            shuffled = self.shuffled(rng)
            while pool := list(islice(shuffled, size)):
                yield sorted(pool)

    def _read(
        self, ranges: Sequence[tuple[int, int]], maps: Mapping[str, Map], without: Rows | None, checked: bool
    ) -> list[Tensor]:
        """The rows of these ranges, one tensor for each sample."""
        pool = []
        for name in self.columns:
            parts = []
            for start, stop in ranges:
                rows = self.read(name, start, stop)
                if checked:
                    check_finite(rows, name, start, np.float32)
                if without is not None:
                    low, high = np.searchsorted(without, [start, stop])
                    rows = np.delete(rows, without[low:high] - start, 0) if low < high else rows
                parts.append(maps[name](rows) if name in maps else rows)
            with np.errstate(under="ignore"):
                pool.append(torch.from_numpy(np.concatenate(parts, dtype=np.float32)))
        return pool


def _length(width: int) -> int:
    """Rows of a range: fewer for wide rows, so that a pool does not grow."""
    return max(1, min(_STRETCH, _MOST_POOLED // _POOLED // max(1, width)))


def check_finite(rows: NDArray[Any], name: str, start: int, dtype: type[np.floating[Any]] = np.float64) -> None:
    """Raise ValueError unless all values are finite as ``dtype``; ``start`` is the row number of the first."""
    with np.errstate(over="ignore", under="ignore"):
        finite = np.isfinite(rows.astype(dtype))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        narrow = " as float32" if dtype is np.float32 else ""
        got = f"{rows[row, column]} in row {start + row}, column {column}"
        raise ValueError(f"{name} must be finite{narrow}; got {got}")
