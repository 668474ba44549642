"""Batches of rows, each row once a pass: from memory by one indexing, from disk by stretches of rows and a pool."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.io.samples import as_samples
from infomax.io.stored import LANES, MOST_CELLS, Rows, StoredColumns, columns_of

#: Batches that are gathered from memory by one indexing.
_AHEAD = 16
#: Rows that are read together, stretches that are mixed in the pool, and most cells of the pool (16 MiB).
_STRETCH, _POOLED, _MOST_POOLED = 1024, 32, 2**22

#: Aligned rows to what a network sees of them.
Map = Callable[[NDArray[Any]], NDArray[Any]]


def batches(
    *samples: Any, batch_size: int = 256, seed: int = 0, epochs: int | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of paired rows for training, far faster than a data loader that fetches them one by one.

    Each row is drawn once an epoch, in an order that the seed decides. What is left at an epoch's end, less than a
    batch, begins the next, so that all batches are of the same size; after the last epoch it is a smaller batch.

    Samples of more than 2²⁴ cells in all stay where they are. They are read in stretches of up to 1,024 rows in random
    order (of Parquet, from eight row groups in turn), of which 32 are mixed in a pool: rows that are neighbours in the
    file come in the same 32,768. If neighbours are alike, and the order matters, shuffle the file once.

    Args:
        samples: arrays, tensors, memory maps or :class:`~infomax.StoredColumns` of equally many rows, ``(N,)`` or
            ``(N, D)``. What is on a device stays there.
        batch_size: rows of a batch, at most N. seed: decides the order.
        epochs: passes over the rows; by default without end.

    Yields:
        float32 tensors ``(batch_size, D)``, one for each sample; they may be views of one tensor.

    Raises:
        ValueError: for rows that differ, a batch larger than N, and values that are missing or infinite (when they are
            met, if the samples stay where they are).
        TypeError: for columns that are not numbers.

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
    named = {f"sample {i}": data for i, data in enumerate(samples)}
    if stays(named.values()):
        aligned = Aligned.of(named)
        feed = aligned.batches(batch_size, np.random.default_rng(seed), checked=True)
        n = len(aligned)
    else:
        tensors = [_as_tensor(data, name) for name, data in named.items()]
        n = len(tensors[0])
        for name, tensor in zip(named, tensors, strict=True):
            if len(tensor) != n:
                raise ValueError(f"{name} must have as many rows as sample 0; got {len(tensor)} and {n}")
        generator, widths = torch.Generator().manual_seed(seed), [tensor.shape[1] for tensor in tensors]
        together = len({tensor.device for tensor in tensors}) == 1
        feed = from_memory([torch.cat(tensors, 1)] if together else tensors, batch_size, generator, widths * together)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the number of rows, {n}; got {batch_size}")
    return feed if epochs is None else _first(feed, epochs * n)


def _as_tensor(data: Any, name: str) -> Tensor:
    tensor = torch.from_numpy(as_samples(data, name)).float()
    return tensor.to(data.device) if isinstance(data, Tensor) else tensor


def _first(feed: Iterator[tuple[Tensor, ...]], rows: int) -> Iterator[tuple[Tensor, ...]]:
    """The first so many rows."""
    while rows:
        batch = next(feed)
        yield tuple(part[:rows] for part in batch)
        rows -= min(rows, len(batch[0]))


def draws(n: int, batch: int, generator: torch.Generator, *, ahead: int = 1) -> Iterator[Tensor]:
    """Without end, indices of ``batch`` of ``n`` rows, on the CPU: pass after pass over all of them in random order.

    What a pass leaves, if it is no batch, begins the next one.

    Args:
        ahead: batches that come as one tensor, at most; fewer where a pass has no more.
    """
    order = torch.empty(0, dtype=torch.long)
    while True:
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(n, generator=generator)])
        whole = min(len(order) // batch, ahead) * batch
        yield order[:whole]
        order = order[whole:]


def from_memory(
    tensors: Sequence[Tensor], batch: int, generator: torch.Generator, widths: Sequence[int] = ()
) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of the rows of tensors ``(N, …)``, in passes; the remainder of one comes first in the next.

    Args:
        batch: rows of each, at most N. generator: draws the order, on the CPU.
        widths: if the first tensor holds several samples side by side, whose rows are then fetched at once, the number
            of columns of each; the batches are views.
    """
    for order in draws(len(tensors[0]), batch, generator, ahead=_AHEAD):
        rows = order.to(tensors[0].device)
        drawn: Sequence[Tensor] = [tensor.index_select(0, rows) for tensor in tensors]
        drawn = torch.split(drawn[0], list(widths), 1) if widths else drawn
        yield from zip(*[torch.split(part, batch) for part in drawn], strict=True)


# --- from disk --------------------------------------------------------------------------------------------------------


def stays(samples: Any) -> bool:
    """Whether samples are so large, in all, that they stay where they are."""
    return sum(math.prod(getattr(data, "shape", (0,))) for data in samples) > MOST_CELLS


@dataclass(frozen=True, eq=False)
class Aligned:
    """StoredColumns of equally many rows, where they are.

    Attributes:
        columns: by name. edges: first rows of the parts that must be read from their beginning, and N.
    """

    columns: Mapping[str, StoredColumns]
    edges: Rows

    @staticmethod
    def of(samples: Mapping[str, Any]) -> Aligned:
        """Of arrays, memory maps, columns of files.

        Raises:
            TypeError: for what are not numbers. ValueError: for rows that differ.
        """
        columns = {name: columns_of(data, name) for name, data in samples.items()}
        first, *others = columns
        n = len(columns[first])
        for name in others:
            if len(columns[name]) != n:
                raise ValueError(f"{name} must have as many rows as {first}; got {len(columns[name])} and {n}")
        known = [column.edges for column in columns.values() if column.edges is not None]
        stretch = _stretch(sum(column.shape[1] for column in columns.values()))
        edges = np.unique(np.concatenate(known)) if known else np.append(np.arange(0, n, stretch), n)
        return Aligned(columns, edges)

    def __len__(self) -> int:
        return int(self.edges[-1])

    @property
    def width(self) -> int:
        """StoredColumns in all."""
        return sum(column.shape[1] for column in self.columns.values())

    def in_order(self, cells: int) -> Iterator[tuple[int, int]]:
        """Stretches ``(start, stop)`` that cover all rows from the first to the last, of so many cells at most."""
        most = max(1, cells // self.width)
        apart = any(columns.edges is not None for columns in self.columns.values())
        for start, stop in pairwise(self.edges.tolist() if apart else [0, len(self)]):
            for begin in range(start, stop, most):
                yield begin, min(begin + most, stop)

    def shuffled(self, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Stretches ``(start, stop)`` that cover each row once, in random order, forwards within a part."""
        most = _stretch(self.width)
        waiting = iter(rng.permutation(len(self.edges) - 1).tolist())
        lanes: list[tuple[int, int]] = []
        while True:
            new = islice(waiting, LANES - len(lanes))
            lanes += [(int(self.edges[part]), int(self.edges[part + 1])) for part in new]
            if not lanes:
                return
            start, end = lanes.pop(int(rng.integers(len(lanes))))
            stop = min(start + most, end)
            yield start, stop
            if stop < end:
                lanes.append((stop, end))

    def batches(
        self,
        batch: int,
        rng: np.random.Generator,
        *,
        maps: Mapping[str, Map] | None = None,
        without: Rows | None = None,
        checked: bool = False,
    ) -> Iterator[tuple[Tensor, ...]]:
        """Endless float32 batches, in passes; what is left of a pool comes first in the next.

        Args:
            batch: rows of each. rng: decides the order. maps: of each sample's rows, before they are narrowed.
            without: rows that are left out, in ascending order. checked: whether to raise for what is not finite.
        """
        rest: list[Tensor] = []
        for stretches in self._pools(rng):
            pool = self._read(stretches, maps or {}, without, checked)
            order = torch.from_numpy(rng.permutation(len(pool[0])))
            if rest and len(rest[0]):
                order = torch.cat([torch.arange(len(rest[0])), order + len(rest[0])])
                pool = [torch.cat(parts) for parts in zip(rest, pool, strict=True)]
            whole = len(order) // batch * batch
            for begin in range(0, whole, _AHEAD * batch):
                rows = order[begin : min(begin + _AHEAD * batch, whole)]
                yield from zip(*[torch.split(part.index_select(0, rows), batch) for part in pool], strict=True)
            rest = [part[order[whole:]] for part in pool]

    def _pools(self, rng: np.random.Generator) -> Iterator[list[tuple[int, int]]]:
        """Stretches that are mixed with each other, in the order of the file, in passes without end."""
        stretches = int(np.ceil(np.diff(self.edges) / _stretch(self.width)).sum())
        size = math.ceil(stretches / math.ceil(stretches / _POOLED))
        while True:
            shuffled = self.shuffled(rng)
            while pool := list(islice(shuffled, size)):
                yield sorted(pool)

    def _read(
        self,
        stretches: Sequence[tuple[int, int]],
        maps: Mapping[str, Map],
        without: Rows | None,
        checked: bool,
    ) -> list[Tensor]:
        """The rows of stretches, each sample's as one tensor."""
        kept = [_kept(start, stop, without) for start, stop in stretches]
        each = list(zip(stretches, kept, strict=True))
        total = sum(stop - start if keep is None else len(keep) for (start, stop), keep in each)
        pool = []
        for name, columns in self.columns.items():
            rows = torch.empty(0)
            filled = 0
            for (start, stop), keep in each:
                part = columns.read(start, stop)
                own = part if keep is None else part[keep]
                mapped = maps[name](own) if name in maps else own
                if not filled:
                    rows = torch.empty(total, mapped.shape[1], dtype=torch.float32)
                narrow = rows.numpy()[filled : filled + len(own)]
                narrow[:] = mapped
                if checked and not np.isfinite(narrow.sum()):  # a sum is quick, but may overflow
                    check_finite(part, name, start)
                filled += len(own)
            pool.append(rows)
        return pool


def _stretch(width: int) -> int:
    """Rows that are read together: fewer where they are wide, so that a pool of them has its size."""
    return max(1, min(_STRETCH, _MOST_POOLED // _POOLED // max(1, width)))


def _kept(start: int, stop: int, without: Rows | None) -> Rows | None:
    """Rows of a stretch, from its start, but for those left out; None: all."""
    if without is None:
        return None
    low, high = np.searchsorted(without, [start, stop])
    return None if low == high else np.delete(np.arange(stop - start), without[low:high] - start)


def check_finite(rows: NDArray[Any], name: str, start: int) -> None:
    """Raise unless rows, the first of them row ``start`` of the sample, are finite."""
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"{name} must be finite; got {rows[row, column]} in row {start + row}, column {column}")
