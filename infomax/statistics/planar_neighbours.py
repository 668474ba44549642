"""Nearest neighbours of all points of a plane in the maximum norm, by operations on whole arrays, without a tree.

The points are divided into strips by one coordinate, and each strip is sorted by the other coordinate. The neighbours
of a point are searched among a few points on both sides of it, in its own strip and in the two adjacent strips. A
distance is certain if all other points are known to be farther away; the others are left to a tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Points of a strip that are searched on each side.
_REACH = 7
#: Points that are processed at a time; they fit into the cache of a core.
_AT_ONCE = 1 << 15


def distances_by_strips(
    points: Floats, neighbours: int, near_x: Integers, near_y: Integers
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """The distance of each point to its k-th nearest other point, and whether it is certain, ``(N,)`` each.

    Args:
        points: ``(N, 2)``. neighbours: k. near_x, near_y: for a sample of the points, ``(M,)``, the number of
            other points that are as close in one coordinate as the k-th neighbour. They determine the strips.

    Returns:
        ``None`` if too many points are equal in both coordinates, so that few distances would be certain.
    """
    near = float(np.median(near_x)) + 1, float(np.median(near_y)) + 1  # with the point itself
    sizes = [max(int(count), 4 * _REACH) for count in reversed(near)]  # cut by y, and by x
    crowds = [size * count / len(points) for size, count in zip(sizes, near, strict=True)]
    if min(crowds) > _REACH:
        return None
    turned = crowds[1] < 0.5 * crowds[0]
    return search_strips(points[:, ::-1] if turned else points, neighbours, sizes[int(turned)])


def search_strips(points: Floats, neighbours: int, size: int) -> tuple[Floats, NDArray[np.bool_]]:
    """:func:`distances_by_strips` with ``size`` points a strip, cut by the second coordinate."""
    strips = _Strips.of(points, size)
    distance, certain = np.empty(len(points)), np.empty(len(points), dtype=bool)
    at_once = max(1, _AT_ONCE // size)
    with np.errstate(invalid="ignore"):  # from positions without a point
        for start in range(0, len(strips.rows), at_once):
            block = slice(start, start + at_once)
            nearest, horizon = strips.search(block, neighbours)
            there = strips.rows[block] >= 0
            rows = strips.rows[block][there]
            distance[rows], certain[rows] = nearest[there], (nearest <= horizon)[there]
    return distance, certain


@dataclass(frozen=True, eq=False)
class _Strips:
    """Points in S strips of M positions, sorted within each strip; the last strip is padded.

    Attributes:
        rows: the index of the point at each position, ``(S, M)``; -1 for padding.
        x, y: coordinates, ``(S + 2, M + 2 * _REACH)``, padded with infinity: one strip before and one after, and
            positions on both sides of each strip.
        below, above: the y of the closest points beyond the adjacent strips, ``(S,)``.
    """

    rows: Integers
    x: Floats
    y: Floats
    below: Floats
    above: Floats

    @staticmethod
    def of(points: Floats, size: int) -> _Strips:
        count = -(-len(points) // size)
        places = np.full(count * size, -1)
        places[: len(points)] = np.argsort(points[:, 1])
        rows = places.reshape(count, size)
        x, y = (np.where(rows >= 0, column[rows], np.inf) for column in points.T)
        beyond = np.full(2, np.inf)
        below, above = np.concatenate([-beyond, y[:-2, -1]])[:count], np.concatenate([y[2:, 0], beyond])[-count:]
        order = np.argsort(x, axis=1)
        rows, x, y = (np.take_along_axis(part, order, 1) for part in (rows, x, y))
        margin = (1, 1), (_REACH, _REACH)
        x, y = (np.pad(part, margin, constant_values=np.inf) for part in (x, y))
        x[:, :_REACH] = -np.inf
        return _Strips(rows, x, y, below, above)

    def search(self, block: slice, neighbours: int) -> tuple[Floats, Floats]:
        """For the points of some strips: the k-th smallest distance found, and a lower limit of all others."""
        strips = np.arange(len(self.rows))[block] + 1
        here = slice(strips[0], strips[-1] + 1)
        width, size = self.x.shape[1], self.rows.shape[1]
        x, y = (side[here, _REACH : _REACH + size] for side in (self.x, self.y))
        nearest = _Nearest(x, y, neighbours)
        for place in (*range(_REACH), *range(_REACH + 1, 2 * _REACH + 1)):
            nearest.consider(self.x[here, place : place + size], self.y[here, place : place + size])
        horizon = np.minimum(x - self.x[here, :size], self.x[here, 2 * _REACH :] - x)
        flat_x, flat_y = self.x.reshape(-1), self.y.reshape(-1)
        for beside in (strips - 1, strips + 1):
            first = [np.searchsorted(self.x[strip, _REACH:-_REACH], own) for strip, own in zip(beside, x, strict=True)]
            places = np.stack(first) + beside[:, None] * width
            for step in range(2 * _REACH):
                there = flat_x.take(places)
                nearest.consider(there, flat_y.take(places))
                if step == 0:
                    np.minimum(horizon, x - there, out=horizon)
                places += 1
            np.minimum(horizon, there - x, out=horizon)
        np.minimum(horizon, y - self.below[block, None], out=horizon)
        return nearest.distances[-1], np.minimum(horizon, self.above[block, None] - y)


class _Nearest:
    """The smallest distances of points at ``x``, ``y`` to all candidates so far, in ascending order."""

    def __init__(self, x: Floats, y: Floats, neighbours: int) -> None:
        self._x, self._y = x, y
        self.distances = [np.full(x.shape, np.inf) for _ in range(neighbours)]
        self._one, self._other = np.empty(x.shape), np.empty(x.shape)

    def consider(self, x: Floats, y: Floats) -> None:
        """One candidate for each point."""
        distance, spare = self._one, self._other
        np.abs(np.subtract(x, self._x, out=distance), out=distance)
        np.abs(np.subtract(y, self._y, out=spare), out=spare)
        np.maximum(distance, spare, out=distance)
        for known in self.distances:
            np.maximum(known, distance, out=spare)
            np.minimum(known, distance, out=known)
            distance, spare = spare, distance
