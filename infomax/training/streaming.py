"""Data larger than memory: a random sample of their rows, and bounds that train on all the others as they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.bounds import Bound
from infomax.distributed import ranks as distributed
from infomax.io.batches import Aligned, check_finite
from infomax.io.samples import Floats, column_labels, warn_of_constant
from infomax.io.stored import MOST_CELLS, Rows
from infomax.progress import no_progress
from infomax.statistics.marginals import Margins, tabulate_margins
from infomax.training.cross_fitting import Fold, Pairs, measure_rows, orders_of_blocks
from infomax.training.fit import BLOCK, Schedule, blocks, evaluate, fit, own_draws

#: Rows that are measured, at most: the standard error is 1/300 of the spread of the log-ratio then.
MOST_MEASURED = 100_000
#: Rows that decide when to stop, and rows whose quantiles are the margins and that a warm start sees, at most.
_MOST_VALIDATION, _MOST_SKETCHED = 2**13, 10**5
#: Rows that are drawn, at most: for estimators that train nothing, and for others.
MOST_DRAWN, MOST_TRAINED = 2**20, 2 * MOST_MEASURED
#: With at least this many blocks, the standard error is computed from their spread.
_MANY_BLOCKS = 30
#: Cells that are read at a time, from the first row to the last.
_SCANNED = 2**20


def draw_rows(n: int, count: int, rng: np.random.Generator) -> Rows:
    """``count`` of ``n`` rows, at most 2²⁰ if n is large, each once and in random order.

    A smaller count gives the first of these rows; memory is O(count), not O(n).

    >>> rows = draw_rows(10**12, 1000, np.random.default_rng(0))
    >>> bool((rows[:10] == draw_rows(10**12, 10, np.random.default_rng(0))).all())
    True
    """
    if n <= 8 * MOST_DRAWN:
        return rng.permutation(n)[:count]
    drawn = np.empty(0, np.int64)
    while len(drawn) < count:
        drawn = np.concatenate([drawn, rng.integers(n, size=MOST_DRAWN // 8)])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return drawn[:count]


def read_rows(aligned: Aligned, rows: Rows) -> tuple[dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    """These rows of each sample, ``(R, D)``, and which of its columns vary. All rows are read once and checked.

    Raises:
        ValueError: for values that are missing or infinite, with their row.
    """
    order = np.argsort(rows)
    ascending = rows[order]
    first = {name: aligned.read(name, 0, min(1, len(aligned))) for name in aligned.columns}
    drawn = {name: np.empty((len(rows), columns.shape[1])) for name, columns in aligned.columns.items()}
    differs = {name: np.zeros(columns.shape[1], bool) for name, columns in aligned.columns.items()}
    for start, stop in aligned.in_order(_SCANNED):
        low, high = np.searchsorted(ascending, [start, stop])
        for name in aligned.columns:
            part = aligned.read(name, start, stop)
            check_finite(part, name, start)
            differs[name] |= (part != first[name]).any(0)
            drawn[name][order[low:high]] = part[ascending[low:high] - start]
    return drawn, differs


def gather_drawn(samples: Mapping[str, Any], *, seed: int, cells: int = MOST_CELLS) -> tuple[dict[str, Floats], int]:
    """The samples of all ranks in one, on all of them, and how many rows there are.

    Where these are more than ``cells`` allow (rows by columns of all samples), each rank draws its share of them at
    random, so that memory is bounded on all. To be called by every rank.

    Args:
        samples: this rank's, by the names that errors call them, where they are. seed: which rows are drawn.

    Raises:
        ValueError, TypeError: as :meth:`Sampled.of`.
        infomax.RankError: if another rank fails.
    """
    found: list[Aligned] = []

    def size() -> int:
        found.append(Aligned.of(samples))
        return len(found[0])

    total = sum(distributed.together(size))
    (aligned,), n = found, len(found[0])
    count = min(n, cells // aligned.width * n // max(1, total))
    rows = np.sort(draw_rows(n, count, np.random.default_rng((seed, distributed.rank()))))
    drawn: dict[str, Floats] = {}
    distributed.together(lambda: drawn.update(read_rows(aligned, rows)[0]))
    return {name: distributed.gather(torch.from_numpy(part)).numpy() for name, part in drawn.items()}, total


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples that stay where they are, and a random sample of their rows.

    Attributes:
        aligned: the samples. rows: those drawn, in random order. drawn: of each sample these rows, ``(R, D)``.
        varying: of each sample the columns that are not constant; ``drawn`` has no others.
    """

    aligned: Aligned
    rows: Rows
    drawn: dict[str, Floats]
    varying: dict[str, Rows]

    @staticmethod
    def of(
        samples: Mapping[str, Any],
        *,
        least: int,
        seed: int,
        most: int = MOST_DRAWN,
        cells: int = MOST_CELLS,
        stacklevel: int = 4,
    ) -> Sampled:
        """Read everything once, from the first row to the last; constant columns are left out with a warning.

        Args:
            samples: by the names that errors and warnings call them. least: fewest rows. seed: which rows are drawn
                depends on it and on the sizes alone. most: rows that are drawn, at most. cells: rows by columns.
                stacklevel: whose line the warning of constant columns shows.

        Raises:
            TypeError: for values that are not numbers.
            ValueError: for rows that differ or are too few, and values that are missing or infinite, with their row.
        """
        aligned = Aligned.of(samples, shift=True)
        n = len(aligned)
        if n < least:
            raise ValueError(f"{next(iter(samples))} must have at least {least} rows; got {n}")
        rows = draw_rows(n, max(least, min(n, most, cells // aligned.width)), np.random.default_rng(seed))
        drawn, differs = read_rows(aligned, rows)
        for name, varies in differs.items():
            warn_of_constant(~varies, name, column_labels(aligned.columns[name]), stacklevel)
            drawn[name] = drawn[name] if varies.all() else drawn[name][:, varies]
        return Sampled(aligned, rows, drawn, {name: np.flatnonzero(varies) for name, varies in differs.items()})

    def fit(
        self,
        build: Callable[[int, int], Bound],
        margins: Margins,
        *,
        seed: int,
        folds: int,
        schedule: Schedule,
        device: torch.device,
        tick: Callable[[int], None] = no_progress,
    ) -> list[Fold]:
        """Fit a bound for each part of the measured rows, on all rows but the drawn ones, and measure it on that part.

        One part of the random sample is measured and one is for validation; the rest determines the marginals and the
        warm start. Training reads the samples, without the first two parts, in batches that
        :meth:`infomax.io.batches.Aligned.batches` mixes.

        Args:
            build: a fresh bound, from the number of rows to train on and a seed. margins, seed, schedule, device: as
                :func:`infomax.estimate`.
            folds: parts of the measured rows; each has a bound of its own, all are trained on the same rows.
            tick: called with the number of steps done.
        """
        rng = np.random.default_rng(seed)
        measured, validated = self.measured, min(_MOST_VALIDATION, len(self.rows) // 8)
        sketch = slice(measured + validated, measured + validated + _MOST_SKETCHED)
        maps = {name: tabulate_margins(rows[sketch], margins) for name, rows in self.drawn.items()}

        def pairs(rows: slice | Rows) -> Pairs:
            narrow = [torch.from_numpy(maps[name](of[rows]).astype(np.float32)) for name, of in self.drawn.items()]
            return narrow[0].to(device), narrow[1].to(device)

        def stored(name: str) -> Callable[[Floats], Floats]:
            return lambda rows: maps[name](rows[:, self.varying[name]])

        validation, known = pairs(slice(measured, measured + validated)), pairs(sketch)
        without = np.sort(self.rows[: measured + validated])
        n = len(self.aligned) - len(without)
        found = []
        for part in np.array_split(np.arange(measured), folds):
            own = int(rng.integers(2**63))
            bound = build(n, own)
            with own_draws(bound, own, device):
                feed = self.aligned.batches(
                    schedule.batch(n), rng, maps={name: stored(name) for name in maps}, without=without
                )
                generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
                history = fit(bound, known, validation, schedule=schedule, generator=generator, batches=feed, tick=tick)
                tick(schedule.steps - history.steps[-1])
                value, variance = _measure(bound, *pairs(part), rng)
                block = min(map(len, blocks(len(part), device)))
                in_sample = evaluate(bound, known[0][: 4 * BLOCK], known[1][: 4 * BLOCK], most=block)
            found.append(Fold(len(part), value, variance, in_sample, bound.kind, bound.ceiling(block), history))
        return found

    @property
    def measured(self) -> int:
        """How many of the drawn rows, from the first on, are measured by a bound that is trained."""
        return min(MOST_MEASURED, len(self.rows) // 2)


@torch.no_grad()
def _measure(bound: Bound, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[float, float]:
    """The bound on held-out rows in random order, and the variance of that; of many blocks, from how they differ."""
    own = blocks(len(x), x.device)
    if len(own) < _MANY_BLOCKS:
        return measure_rows(bound, x, y, orders_of_blocks(len(x), rng))
    values = np.array([float(bound(x[rows], y[rows])) for rows in own])
    weights = np.array([len(rows) for rows in own]) / len(x)
    return float(weights @ values), float(values.var(ddof=1)) / len(own)
