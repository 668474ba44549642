"""Batches, and data larger than memory.

Time of one batch of 256 rows with 10 + 10 float32 columns by `infomax.batches`, compared with
`DataLoader(shuffle=True)` of PyTorch over a `TensorDataset` or over rows of a memory map. From disk: with the file in
the page cache (CPU time), and with the cache dropped before each measurement (wall time, on an idle machine).

Peak memory is that of a whole process that computes an estimate from the file, or from a part of it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks import memory
from benchmarks.children import run_child
from benchmarks.speed.timing import Ratio, faster, in_turn
from infomax import batches, estimate, interrupts

BATCH, COLUMNS, WIDE = 256, 20, 1000
#: Bytes of the file; number of rows in memory.
LARGE, SMALL = 4_000_000_000, 400_000_000
ROWS = 100_000
FASTER = "times faster than a DataLoader"

Pair = tuple[torch.Tensor, torch.Tensor]


class MappedRows(Dataset[Pair]):
    """Rows of a memory map as a data set for a `DataLoader`."""

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Pair:
        values = torch.from_numpy(self.rows[row].copy())
        return values[: COLUMNS // 2], values[COLUMNS // 2 :]


def write(path: Path, size: int, columns: int) -> None:
    """Write ``size`` bytes of normal float32 columns; the second half of the columns depends on the first."""
    rng = np.random.default_rng(0)
    shape = (size // (4 * columns), columns)
    file = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    step = 4_000_000 // columns
    for start in range(0, shape[0], step):
        part = rng.standard_normal((min(step, shape[0] - start), columns), dtype=np.float32)
        part[:, columns // 2 :] += 0.5 * part[:, : columns // 2]
        file[start : start + step] = part
    file.flush()


def halves(path: Path, share: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Memory maps of both halves of the columns, limited to the first 1 / ``share`` of the rows."""
    mapped = np.load(path, mmap_mode="r")
    rows = mapped[: len(mapped) // share]
    return rows[:, : rows.shape[1] // 2], rows[:, rows.shape[1] // 2 :]


def drop_cache(path: Path) -> None:
    """Remove the file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def consume(feed: Iterator[Any], count: int) -> None:
    for _ in islice(feed, count):
        pass


def in_memory(repeats: int) -> Ratio:
    """One epoch of each, including the permutation."""
    x, y = torch.randn(2, ROWS, COLUMNS // 2, generator=torch.Generator().manual_seed(0))
    feed, count = batches(x, y, batch_size=BATCH), ROWS // BATCH
    loader = DataLoader(TensorDataset(x, y), BATCH, shuffle=True)
    works = {"ours": lambda: consume(feed, count), "other": lambda: consume(iter(loader), count)}
    seconds = in_turn(works, repeats=repeats)
    return faster(f"in memory, {ROWS:,} rows", FASTER, seconds["ours"] / count, seconds["other"] / count, "≥ 50")


def from_disk(path: Path, repeats: int, *, cold: bool) -> Ratio:
    """Batches within an epoch, without the permutation of all rows by the loader, which takes seconds."""
    x, y = halves(path, share=4)
    feed, pool = batches(x, y, batch_size=BATCH), 32 * 1024 // BATCH  # batches from 32 contiguous ranges of rows
    rows = MappedRows(np.load(path, mmap_mode="r")[: len(x)])
    others, few = iter(DataLoader(rows, BATCH, shuffle=True)), 8 if cold else 32
    forget = (lambda: drop_cache(path)) if cold else (lambda: None)
    works = {
        "before": forget,
        "ours": lambda: consume(feed, pool),
        "between": forget,
        "other": lambda: consume(others, few),
    }
    seconds = in_turn(works, repeats=repeats, wall=cold)
    case = f"from disk, {x.nbytes * 2 / 1e9:.2g} GB, {'cold' if cold else 'cached'}"
    return faster(case, FASTER, seconds["ours"] / pool, seconds["other"] / few, "≥ 50")


def peak(path: Path, bound: str, share: int = 1) -> Ratio:
    """Peak memory of a process that computes an estimate from the file."""
    command = [sys.executable, "-m", "benchmarks.speed.feeding", str(path), bound, str(share)]
    done = run_child(command)
    gigabytes, n = map(float, done.stdout.split())
    x, y = halves(path, share)
    size = (x.nbytes + y.nbytes) / 1e9
    case = f"{bound}, {len(x):,} rows of {x.shape[1]} + {y.shape[1]} columns, {int(n):,} of them used"
    return Ratio(case, "GB of peak memory", gigabytes, "≤ 1.5", f"{gigabytes:.2f} GB", f"{size:.2g} GB on disk", x=size)


def estimate_from(path: str, bound: str, share: str) -> None:
    """Print the peak memory of this process in GB, and the number of rows used."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = estimate(*halves(Path(path), int(share)), bound=bound, progress=False)
    print(memory.peak() / 1e9, result.n)


def ratios(quick: bool) -> Iterator[Ratio]:
    size, repeats = (SMALL, 3) if quick else (LARGE, 9)
    yield in_memory(repeats)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 2 * size:
        raise OSError(f"{tempfile.gettempdir()} must have {2 * size / 1e9:.1f} GB free; got {free / 1e9:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        write(path, size, COLUMNS)
        yield from_disk(path, repeats, cold=False)
        if hasattr(os, "posix_fadvise"):
            yield from_disk(path, repeats, cold=True)
        yield peak(path, "default", share=4)
        for bound in ("default", "infonce", "gaussian"):
            yield peak(path, bound)
        path.unlink()
        write(path, size, WIDE)
        yield peak(path, "default")
        yield peak(path, "infonce")


if __name__ == "__main__":
    interrupts.run(lambda: estimate_from(*sys.argv[1:]))
