"""Tiles: the pairs of a few columns and a few others, which are measured and tested in any process, in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infomax.estimation.column_pairs import Measured, MeasureWith, Nulls, Side, by_bound, by_default, pvalues
from infomax.estimation.pair_blocks import Block, Table
from infomax.estimators import BoundLike
from infomax.io.columns import Columns
from infomax.isolation import isolated
from infomax.progress import no_progress
from infomax.statistics.marginals import Floats
from infomax.statistics.rank_tests import Nulls as NullsByKey

#: Columns of a side of a tile: at least, and an eighth of those of the block up to so many; beyond, a part of them (the
#: larger a tile, the less is sent to other processes), up to the most.
_FEWEST, _SOME, _PART, _MOST = 4, 16, 32, 64
#: From this number of rows on, a pair takes so long that it is a tile of its own.
_MANY_ROWS = 50_000
#: Bytes of a side from which other processes map it.
_MAPPED = 1 << 20


@dataclass(frozen=True, eq=False)
class Tile:
    """Consecutive columns of both sides of a block; the numbers of a tile depend on nothing outside of it.

    Attributes:
        number: among all tiles. diagonal: both are the same columns, of which only i < j are pairs.
    """

    number: int
    block: Block
    left: slice
    right: slice
    diagonal: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.stop - self.left.start, self.right.stop - self.right.start

    @property
    def pairs(self) -> int:
        rows, columns = self.shape
        return rows * (rows - 1) // 2 if self.diagonal else rows * columns

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The columns of the tables, left and right."""
        return self.block.left[self.left], self.block.right[self.right]


def tiles_of(blocks: Sequence[Block], *, bound: bool) -> list[Tile]:
    """All tiles. They depend on the numbers of rows and columns alone, not on how many processes there are."""
    found: list[Tile] = []
    for block in blocks:
        columns = max(len(block.left), len(block.right))
        side = max(_FEWEST, min(_SOME, columns // 8), min(_MOST, columns // _PART))
        side = 1 if bound or len(block.gaps[0]) >= _MANY_ROWS else side
        for i, j in itertools.product(range(0, len(block.left), side), range(0, len(block.right), side)):
            if block.same and j < i:
                continue
            left, right = slice(i, min(i + side, len(block.left))), slice(j, min(j + side, len(block.right)))
            tile = Tile(len(found), block, left, right, diagonal=block.same and i == j)
            if tile.pairs:
                found.append(tile)
    return found


@dataclass(frozen=True, eq=False)
class Task:
    """A tile with what a process needs to measure it: see :func:`measure`.

    Attributes:
        sides: of the tile's columns, or the columns, if no other tile shares them. nulls: None if nothing is tested.
        names: of the columns.
    """

    number: int
    diagonal: bool
    sides: tuple[Side, Side] | tuple[Columns, Columns]
    names: tuple[Sequence[str], Sequence[str]]
    nulls: Nulls | None
    measure_with: MeasureWith
    tables: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Found:
    """The results of a tile: mutual information, standard error, gap, p-value and entropy, ``(5, a, b)``.

    Attributes:
        number: of the tile. texts: warnings, with the places of their pairs in the tile.
    """

    number: int
    values: Floats
    texts: list[tuple[int, int, list[str]]]


@isolated()
def measure(task: Task, advance: Callable[[int], None] = no_progress) -> Found:
    """Measure and test the pairs of a tile, with one thread.

    Raises:
        Exception: what measuring a pair raises, with the names of its columns in the message.
    """
    one, other = _sides(task)
    shape = len(one.constant), len(other.constant)
    values, texts = np.full((5, *shape), np.nan), []
    tested = np.full(shape, np.nan)
    if task.nulls is not None:
        rng = np.random.default_rng([task.seed, task.number])
        tested = pvalues(one, other, task.nulls, rng, tables=task.tables, same=task.diagonal)
    measure_pair = task.measure_with(one, other)
    for i, j in np.ndindex(*shape):
        if task.diagonal and j <= i:
            continue
        found: Measured = ((0.0, 0.0, 0.0), (), None)
        if not (one.constant[i] or other.constant[j]):
            try:
                found = measure_pair(i, j)
            except Exception as error:
                said = f"columns {task.names[0][i]!r} and {task.names[1][j]!r}: {error}"
                if len(error.args) != 1:
                    raise RuntimeError(said) from error
                error.args = (said,)
                raise
        (mi, *errors), remarks, pvalue = found
        known = [np.nan] * 3 if task.nulls is None else [*errors, tested[i, j] if pvalue is None else pvalue]
        values[:, i, j] = mi, *known, np.fmin(one.entropies[i], other.entropies[j])
        if remarks:
            texts.append((i, j, list(remarks)))
        advance(1)
    return Found(task.number, values, texts)


def _sides(task: Task) -> tuple[Side, Side]:
    one, other = task.sides
    if isinstance(one, Side) and isinstance(other, Side):
        return one, other
    if isinstance(one, Columns) and isinstance(other, Columns):
        return _prepared(one, other, task.seed, same=task.diagonal, tested=task.nulls is not None)
    raise TypeError(f"sides must be of one kind; got {type(one).__name__} and {type(other).__name__}")


def _is_whole(tile: Tile) -> bool:
    """Whether it is all of its block; the process that has the tile then prepares the columns."""
    return tile.shape == (len(tile.block.left), len(tile.block.right))


def _prepared(one: Columns, other: Columns, seed: int, *, same: bool, tested: bool) -> tuple[Side, Side]:
    rng = np.random.default_rng(seed) if tested else None
    left = Side.of(one, rng)
    return left, left if same else Side.of(other, rng)


@dataclass(frozen=True, eq=False)
class Work:
    """How the tiles of two tables are measured and tested.

    Attributes:
        draws: permutations; None if nothing is tested. nulls: null distributions that were drawn before.
    """

    left: Table
    right: Table
    bound: BoundLike | None
    options: dict[str, Any]
    draws: int | None
    seed: int
    nulls: NullsByKey = field(default_factory=dict)

    def tasks(
        self, tiles: Sequence[Tile], held: Container[int] = (), new_file: Callable[[], Path] | None = None
    ) -> Iterator[Task]:
        """The tasks of all tiles but those that are held.

        Null distributions are drawn for the blocks in their order, those of held tiles too, since later ones use them.

        Args:
            held: numbers of tiles. new_file: gives the name of a new file, by which other processes of this machine map
                large sides; None: sides stay in memory.
        """
        last = max((tile.number for tile in tiles if tile.number not in held), default=-1)
        for _, group in itertools.groupby(tiles[: last + 1], key=lambda tile: id(tile.block)):
            some = list(group)
            block, left = some[0].block, [tile for tile in some if tile.number not in held]
            with isolated():
                parts = block.parts(self.left, self.right)
                nulls = None if self.draws is None else Nulls.of(*parts, self.draws, self.seed, self.nulls)
                sides = self._sides(block, parts, new_file) if left and not _is_whole(some[0]) else None
                measure_with = self._measure_with(block)
            for tile in left:
                yield self._task(tile, parts, sides, nulls, measure_with)

    def _sides(
        self, block: Block, parts: tuple[Columns, Columns], new_file: Callable[[], Path] | None
    ) -> tuple[Side, Side]:
        left, right = _prepared(*parts, self.seed, same=block.same, tested=self.draws is not None)
        if new_file is None or left.samples.nbytes <= _MAPPED:
            return left, right
        stored = left.mapped(new_file)
        return stored, stored if block.same else right.mapped(new_file)

    def _measure_with(self, block: Block) -> MeasureWith:
        if self.bound is None:
            return partial(by_default, seed=self.seed, values_only=self.draws is None)
        options = dict(self.options)
        if options.get("groups") is not None:
            options["groups"] = [options["groups"][row] for row in block.rows.tolist()]
        elif options.get("block_length") is not None:  # blocks are of all rows, with gaps or not
            options |= {"kept": block.rows, "dropped": len(self.left.columns) - len(block.rows)}
        return partial(by_bound, bound=self.bound, seed=self.seed, options=options)

    def _task(
        self,
        tile: Tile,
        parts: tuple[Columns, Columns],
        sides: tuple[Side, Side] | None,
        nulls: Nulls | None,
        measure_with: MeasureWith,
    ) -> Task:
        left, right = tile.places()
        names = [self.left.names[i] for i in left], [self.right.names[j] for j in right]
        if nulls is not None:
            nulls = Nulls(nulls.of_ranks, nulls.left[tile.left], nulls.right[tile.right])
        some = parts if sides is None else (sides[0].take(tile.left), sides[1].take(tile.right))
        return Task(tile.number, tile.diagonal, some, names, nulls, measure_with, self.bound is None, self.seed)
