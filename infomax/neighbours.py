"""Nearest neighbours by the maximum norm: how far the k-th one is, and how many points are closer.

In few dimensions samples go through trees, in an order in which neighbours follow each other; in many, where trees
visit every point anyway, through all pairs, a block of rows at a time. All ways give the same numbers, in memory that
does not grow with the square of the rows. scikit-learn's tree is faster than SciPy's at most of this, and is used where
it is installed and the rows are many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Queries of a tree at a time; rows of all pairs at a time.
_QUERIES, _ROWS = 1 << 16, 16
#: From how many dimensions on all pairs are faster than trees: to find the k-th, to count with SciPy's, scikit-learn's.
_CROWDED_JOINT, _CROWDED_SCIPY, _CROWDED_SKLEARN = 15, 2, 5
#: From how many rows on scikit-learn's tree is worth the second that its import takes.
_WORTH_IMPORT = 10_000


def ksg_terms(u: Floats, v: Floats, neighbours: int, *, workers: int = 1) -> Floats:
    r"""Each pair's share of Kraskov, Stögbauer and Grassberger's first estimate, for samples without ties.

    :math:`\psi(k) + \psi(N) - \psi(n_u + 1) - \psi(n_v + 1)`, where :math:`n_u` counts the other points that are nearer
    in u than the k-th neighbour is in (u, v), by the maximum norm.

    Args:
        u: ``(N, Du)``. v: ``(N, Dv)``. neighbours: k, in 1..N-1. workers: threads, of SciPy's trees; -1: as many as
            there are processors.

    Returns:
        ``(N,)``, in nats; their mean is the estimate.

    Source: Kraskov, Stögbauer and Grassberger, 2004, arXiv cond-mat/0305641.
    """
    from scipy.special import digamma  # noqa: PLC0415 - not needed by those who train

    joint = np.hstack([u, v])
    radius = neighbour_distance(joint, neighbours, workers=workers)
    # The k-th neighbour lies exactly on the radius in one coordinate; rounding must not let it in.
    radius = np.maximum(radius - 4 * np.finfo(float).eps * np.abs(joint).max(), 0.0)
    psi = digamma(np.arange(len(u) + 1.0))
    terms = np.full(len(u), psi[neighbours] + psi[-1])
    for side in (u, v):
        terms -= psi[count_within(side, radius, workers=workers) + 1]
    return terms


def neighbour_distance(points: Floats, neighbours: int, *, workers: int = 1) -> Floats:
    """Distance by the maximum norm from each of ``points (N, D)`` to its k-th nearest other one, ``(N,)``."""
    dim = points.shape[1]
    if dim >= _CROWDED_JOINT and workers == 1:
        return _distance_in_all_pairs(points, neighbours)
    distance = np.empty(len(points))
    sklearn_tree = _sklearn_tree(len(points)) if dim > 2 and workers == 1 else None
    if sklearn_tree is not None:
        tree = sklearn_tree(points, leaf_size=16, metric="chebyshev")
        for rows in _queries(np.asarray(tree.idx_array)):
            distance[rows] = tree.query(points[rows], k=neighbours + 1, sort_results=False)[0].max(1)
        return distance
    from scipy.spatial import KDTree  # noqa: PLC0415

    tree = KDTree(points, leafsize=16, balanced_tree=False, compact_nodes=dim > 2)
    for rows in _queries(tree.indices):
        distance[rows] = tree.query(points[rows], k=[neighbours + 1], p=np.inf, workers=workers)[0][:, 0]
    return distance


def count_within(points: Floats, radius: Floats, *, workers: int = 1) -> Counts:
    """How many others of ``points (N, D)`` lie within ``radius (N,)`` of each, by the maximum norm: ``(N,)``."""
    n, dim = points.shape
    if dim == 1:
        return _count_on_line(points[:, 0], radius)
    sklearn_tree = _sklearn_tree(n) if workers == 1 else None
    crowded = _CROWDED_SCIPY if sklearn_tree is None else _CROWDED_SKLEARN
    if dim >= crowded and n <= min(4000 * dim, np.iinfo(np.uint16).max) and workers == 1:
        return _count_in_all_pairs(points, radius)
    counts = np.empty(n, dtype=np.int64)
    if sklearn_tree is not None:
        tree = sklearn_tree(points, leaf_size=20, metric="chebyshev")
        for rows in _queries(np.asarray(tree.idx_array)):
            counts[rows] = tree.query_radius(points[rows], radius[rows], count_only=True)
        return counts - 1
    from scipy.spatial import KDTree  # noqa: PLC0415

    tree = KDTree(points, leafsize=40)
    for rows in _queries(tree.indices):
        within = tree.query_ball_point(points[rows], radius[rows], p=np.inf, return_length=True, workers=workers)
        counts[rows] = within
    return counts - 1


def _queries(order: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """The rows in a tree's own order, where neighbours follow each other, in parts."""
    for start in range(0, len(order), _QUERIES):
        yield order[start : start + _QUERIES]


def _sklearn_tree(n: int) -> Callable[..., Any] | None:
    """scikit-learn's tree, or None where it is not installed, or not worth loading for ``n`` rows."""
    if n < _WORTH_IMPORT:
        return None
    try:
        from sklearn.neighbors import KDTree  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    found: Callable[..., Any] = KDTree
    return found


def _count_on_line(values: Floats, radius: Floats) -> Counts:
    """:func:`count_within` of one column, by places in the sorted one."""
    order = np.argsort(values)
    line, radius = values[order], radius[order]
    counts = np.full(len(values), -1)  # not itself
    ends = line + radius
    ascending = np.argsort(ends)  # what is looked up in order stays in the cache
    counts[ascending] += np.searchsorted(line, ends[ascending], "right")
    ends = line - radius
    ascending = np.argsort(ends)
    counts[ascending] -= np.searchsorted(line, ends[ascending], "left")
    within = np.empty_like(counts)
    within[order] = counts
    return within


def _count_in_all_pairs(points: Floats, radius: Floats) -> Counts:
    """:func:`count_within` of at most 65,535 rows.

    In each column the neighbours of a row are an interval of ranks; whether a rank lies in it is one subtraction of
    16-bit numbers, which wraps around below the interval, and one comparison.
    """
    n, dim = points.shape
    rank, first, width = np.empty((3, dim, n), dtype=np.uint16)
    for j, column in enumerate(points.T):
        order = np.argsort(column)
        line = column[order]
        rank[j, order] = np.arange(n)
        first[j] = np.searchsorted(line, column - radius, "left")
        width[j] = np.searchsorted(line, column + radius, "right") - 1 - first[j]
    counts = np.empty(n, dtype=np.int64)
    for start in range(0, n, 2 * _ROWS):
        rows = slice(start, start + 2 * _ROWS)
        within = rank[0] - first[0, rows, None] <= width[0, rows, None]
        offset, also = np.empty(within.shape, np.uint16), np.empty(within.shape, bool)
        for j in range(1, dim):
            np.subtract(rank[j], first[j, rows, None], out=offset)
            np.less_equal(offset, width[j, rows, None], out=also)
            within &= also
        counts[rows] = within.sum(1)
    return counts - 1


def _distance_in_all_pairs(points: Floats, neighbours: int) -> Floats:
    """:func:`neighbour_distance`: a few candidates in single precision, measured in double precision.

    Rows where rounding could have hidden a nearer point are measured in double precision altogether.
    """
    n = len(points)
    scale = max(float(np.abs(points).max()), np.finfo(float).tiny)
    narrow = np.ascontiguousarray((points.T / scale).astype(np.float32))
    slack = 4 * float(np.finfo(np.float32).eps) * scale
    distance = np.empty(n)
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        largest = np.abs(narrow[0] - narrow[0, rows, None])
        apart = np.empty_like(largest)
        for column in narrow[1:]:
            np.subtract(column, column[rows, None], out=apart)
            np.abs(apart, out=apart)
            np.maximum(largest, apart, out=largest)
        rough, nearest = torch.topk(torch.from_numpy(largest), min(neighbours + 4, n), largest=False)
        exact = np.sort(np.abs(points[nearest.numpy()] - points[rows, None]).max(2), axis=1)[:, neighbours]
        unsure = exact + slack > rough[:, -1].double().numpy() * scale if nearest.shape[1] < n else exact < 0
        for i in np.flatnonzero(unsure):
            exact[i] = np.partition(np.abs(points - points[start + i]).max(1), neighbours)[neighbours]
        distance[rows] = exact
    return distance
