"""k-nearest neighbours in the maximum norm: distances to the k-th neighbour, and numbers of points within a distance.

In few dimensions distances are found by trees, with queries sorted so that consecutive ones are close to each other. In
many dimensions, where a tree would visit all points, all pairs are compared, a block of rows at a time. Numbers of
points are those of sets, 64 points in a word, which are intersected; trees count where there are very many points. All
methods give the same numbers, in memory that does not grow with the square of the number of rows. scikit-learn's tree
is faster than SciPy's in most cases; it is used if it is installed and there are many rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Rows = NDArray[np.intp]
#: Of two sides, the rows in ascending order, where it is known.
Orders = tuple[Rows | None, Rows | None]
NO_ORDERS: Orders = (None, None)

#: Queries of a tree at a time; rows that are compared with all others at a time.
_QUERIES, _ROWS = 1 << 16, 16
#: Queries of a single column that are not sorted.
_SORTED = 4000
#: Dimensions from which comparing all pairs is faster than trees, for distances.
_CROWDED = 15
#: For counts, sets are faster than trees up to this number of points, times three for each column but the first; points
#: whose sets are one table; rows whose sets are intersected at a time.
_FEW, _SET, _SETS = 5_000, 4096, 512
#: Number of rows from which scikit-learn's tree saves more than the second that its import takes.
_WORTH_IMPORT = 10_000


def tie_breaker(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Uniform noise of width 1e-6, to be added to normal scores so that no distances are equal."""
    return rng.uniform(-5e-7, 5e-7, shape)


def ksg_terms(u: Floats, v: Floats, neighbours: int, *, workers: int = 1, orders: Orders = NO_ORDERS) -> Floats:
    r"""The terms of the first estimator of Kraskov, Stögbauer and Grassberger (KSG), for samples without ties.

    :math:`\psi(k) + \psi(N) - \psi(n_u + 1) - \psi(n_v + 1)`, where :math:`n_u` is the number of other
    points that are closer in u than the k-th neighbour is in (u, v), in the maximum norm.

    Args:
        u: ``(N, Du)``. v: ``(N, Dv)``. neighbours: k, in 1..N-1.
        workers: threads of SciPy's trees; -1 for all processors.
        orders: of u and of v, the rows in ascending order, if it is one column whose order is known.

    Returns:
        ``(N,)``, in nats; their mean is the estimate.

    Source: Kraskov, Stögbauer and Grassberger, 2004, arXiv cond-mat/0305641.

    >>> x, noise = np.random.default_rng(0).normal(size=(2, 5000, 1))
    >>> round(float(ksg_terms(x, x + noise / 2, 3).mean()), 1)  # log(5) / 2 = 0.80 nats
    0.8
    """
    return _terms(u, v, None, [(neighbours, np.arange(len(u)))], workers=workers, orders=orders)[0]


def near_and_far_terms(
    u: Floats,
    v: Floats,
    near: int,
    far: int,
    rows: Rows,
    *,
    given: Floats | None = None,
    workers: int = 1,
    orders: Orders = NO_ORDERS,
) -> tuple[Floats, Floats]:
    r"""Terms of KSG of all rows with k = ``near``, ``(N,)``, and of ``rows (M,)`` with k = ``far``, ``(M,)``.

    With ``given (N, Dw)``, those of the conditional mutual information given w:
    :math:`\psi(k) + \psi(n_w + 1) - \psi(n_{uw} + 1) - \psi(n_{vw} + 1)`, with the numbers of points that are closer
    in each of these than the k-th neighbour is in (u, v, w). ``orders`` as for :func:`ksg_terms`.

    Source: Frenzel and Pompe, "Partial mutual information for coupling analysis of multivariate time series", 2007,
    doi:10.1103/PhysRevLett.99.204101.
    """
    wanted = [(near, np.arange(len(u))), (far, rows)]
    by_near, by_far = _terms(u, v, given, wanted, workers=workers, orders=orders)
    return by_near, by_far


def _terms(
    u: Floats, v: Floats, given: Floats | None, wanted: Sequence[tuple[int, Rows]], *, workers: int, orders: Orders
) -> list[Floats]:
    """:func:`ksg_terms` by one k after the other, each of some rows."""
    joint = np.concatenate([u, v] if given is None else [u, v, given], axis=1)
    # The k-th neighbour lies exactly on the radius in one coordinate; rounding must not let it in.
    inside = 4 * np.finfo(float).eps * np.abs(joint).max()
    radii = [np.maximum(radius - inside, 0.0) for radius in neighbour_distances(joint, wanted, workers=workers)]
    asked = [(rows, radius) for (_, rows), radius in zip(wanted, radii, strict=True)]
    psi = _digammas(len(u))
    terms = np.concatenate([np.full(len(rows), psi[k]) for k, rows in wanted])
    terms += psi[-1] if given is None else psi[_count_all(given, asked, workers) + 1]
    sides = (u, v) if given is None else (np.hstack([u, given]), np.hstack([v, given]))
    for side, order in zip(sides, orders if given is None else NO_ORDERS, strict=True):
        terms -= psi[_count_all(side, asked, workers, order) + 1]
    ends = list(itertools.accumulate(len(rows) for _, rows in wanted))
    return [terms[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@lru_cache(maxsize=4)
def _digammas(n: int) -> Floats:
    """Digamma of 0, …, n."""
    from scipy.special import digamma  # noqa: PLC0415 - not needed for training

    found: Floats = digamma(np.arange(n + 1.0))
    found.flags.writeable = False
    return found


def _count_all(points: Floats, asked: Sequence[tuple[Rows, Floats]], workers: int, order: Rows | None = None) -> Counts:
    """:func:`count_within` for several (rows, radius), one after the other."""
    if points.shape[1] == 1:
        column = points[:, 0]
        order = np.argsort(column) if order is None else order
        return np.concatenate([_count_on_line(column, order, rows, radius) for rows, radius in asked])
    rows, radius = (np.concatenate(parts) for parts in zip(*asked, strict=True))
    return count_within(points, rows, radius, workers=workers)


def neighbour_distances(points: Floats, wanted: Sequence[tuple[int, Rows]], *, workers: int = 1) -> list[Floats]:
    """For each (k, rows): the distances of these rows of ``points (N, D)`` to their k-th nearest other points."""
    order, search = _searcher(points, workers)

    def search_in_order(rows: Rows, neighbours: Sequence[int]) -> Floats:
        asked = np.zeros(len(points), dtype=bool)
        asked[rows] = True
        distance = np.empty((len(points), len(neighbours)))
        ordered = order[asked[order]]
        for start in range(0, len(ordered), _QUERIES):
            part = ordered[start : start + _QUERIES]
            distance[part] = search(part, neighbours)
        return distance[rows]

    if len(wanted) > 1 and all(some is wanted[0][1] or np.array_equal(some, wanted[0][1]) for _, some in wanted):
        return list(search_in_order(wanted[0][1], [k for k, _ in wanted]).T)
    return [search_in_order(rows, [k])[:, 0] for k, rows in wanted]


#: Maps rows and several k to distances, ``(rows, k)``.
_Search = Callable[[Rows, Sequence[int]], Floats]


def _searcher(points: Floats, workers: int) -> tuple[Rows, _Search]:
    """The fastest search for these points, and an order of queries in which consecutive points are close."""
    dim = points.shape[1]
    if dim >= _CROWDED and workers == 1:
        return np.arange(len(points)), _search_in_all_pairs(points)
    sklearn_tree = _sklearn_tree(len(points)) if dim > 2 and workers == 1 else None
    if sklearn_tree is not None:
        tree = sklearn_tree(points, leaf_size=16, metric="chebyshev")

        def by_sklearn(rows: Rows, neighbours: Sequence[int]) -> Floats:
            found: Floats = tree.query(points[rows], k=max(neighbours) + 1, sort_results=len(neighbours) > 1)[0]
            return found[:, list(neighbours)] if len(neighbours) > 1 else found.max(1, keepdims=True)

        return np.asarray(tree.idx_array), by_sklearn
    from scipy.spatial import cKDTree  # noqa: PLC0415 - without the checks of its subclass KDTree

    tree = cKDTree(points, leafsize=16, balanced_tree=False, compact_nodes=dim > 2)

    def by_scipy(rows: Rows, neighbours: Sequence[int]) -> Floats:
        found: Floats = tree.query(points[rows], k=[k + 1 for k in neighbours], p=np.inf, workers=workers)[0]
        return found

    return tree.indices, by_scipy


def count_within(points: Floats, rows: Rows, radius: Floats, *, workers: int = 1) -> Counts:
    """The number of other ``points (N, D)`` within ``radius (M,)`` of each of the points ``rows (M,)``: ``(M,)``.

    Rows of a single column must be distinct.
    """
    n, dim = points.shape
    if dim == 1:
        return _count_on_line(points[:, 0], np.argsort(points[:, 0]), rows, radius)
    if workers == 1 and n <= _FEW * 3 ** (dim - 1):
        parts = [slice(first, first + _QUERIES) for first in range(0, len(rows), _QUERIES)]
        return np.concatenate([_count_in_sets(points, rows[part], radius[part]) for part in parts])
    sklearn_tree = _sklearn_tree(n) if workers == 1 else None
    counts = np.empty(len(rows), dtype=np.int64)
    if sklearn_tree is not None:
        tree = sklearn_tree(points, leaf_size=20, metric="chebyshev")
        for asked in _in_order(np.asarray(tree.idx_array), rows):
            counts[asked] = tree.query_radius(points[rows[asked]], radius[asked], count_only=True)
        return counts - 1
    from scipy.spatial import cKDTree  # noqa: PLC0415 - without the checks of its subclass KDTree

    tree = cKDTree(points, leafsize=40)
    for asked in _in_order(tree.indices, rows):
        centres = points[rows[asked]]
        counts[asked] = tree.query_ball_point(centres, radius[asked], p=np.inf, return_length=True, workers=workers)
    return counts - 1


def _in_order(order: Rows, rows: Rows) -> Iterator[Rows]:
    """Positions in ``rows`` in the order of a tree, in which consecutive points are close, in parts."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ordered = np.argsort(place[rows], kind="stable")
    for start in range(0, len(ordered), _QUERIES):
        yield ordered[start : start + _QUERIES]


def _sklearn_tree(n: int) -> Callable[..., Any] | None:
    """scikit-learn's tree; ``None`` if it is not installed or does not pay for ``n`` rows."""
    if n < _WORTH_IMPORT:
        return None
    try:
        from sklearn.neighbors import KDTree  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    found: Callable[..., Any] = KDTree
    return found


def _count_on_line(values: Floats, order: Rows, rows: Rows, radius: Floats) -> Counts:
    """:func:`count_within` of one column for distinct rows, by binary search in the sorted column.

    Args:
        order: of all rows, ascending. Queries in this order stay in the cache. Many are sorted, which is still faster.
    """
    n, line = len(values), values[order]
    ascending = order
    if len(rows) < n:
        chosen = np.zeros(n, dtype=bool)
        chosen[rows] = True
        ascending = order[chosen[order]]
    reach = np.empty(n)
    reach[rows] = radius
    centres, reach = values[ascending], reach[ascending]
    counts = np.full(n, -1)  # without the point itself
    ends, by_end = _sorted_if_many(centres + reach)
    counts[ascending[by_end]] += line.searchsorted(ends, "right")
    ends, by_end = _sorted_if_many(centres - reach)
    counts[ascending[by_end]] -= line.searchsorted(ends, "left")
    return counts[rows]


def _sorted_if_many(values: Floats) -> tuple[Floats, Rows | slice]:
    order = np.argsort(values) if len(values) > _SORTED else slice(None)
    return values[order], order


def _count_in_sets(points: Floats, rows: Rows, radius: Floats) -> Counts:
    """:func:`count_within` by sets of points, of which 64 are one word.

    In each column the points within the radius are those between two places of the sorted column: the points below the
    upper place without those below the lower one. The sets of points below each place are a table; the sets of all
    columns are intersected. Points are taken some thousands at a time, so that a table stays in the cache.
    """
    counts = np.full(len(rows), -1)  # without the point itself
    for start in range(0, len(points), _SET):
        some = points[start : start + _SET]
        within = np.full((len(rows), -(-len(some) // 64)), ~np.uint64(0))
        one, other = np.empty((2, _SETS, within.shape[1]), dtype=np.uint64)
        for values, all_values in zip(some.T, points.T, strict=True):
            order = np.argsort(values)
            line, centres, below = values[order], all_values[rows], _sets_below(order)
            low = line.searchsorted(centres - radius, "left")
            high = line.searchsorted(centres + radius, "right")
            for first in range(0, len(rows), _SETS):
                part = slice(first, first + _SETS)
                left, right = one[: len(low[part])], other[: len(low[part])]
                np.take(below, low[part], axis=0, out=left, mode="clip")
                np.take(below, high[part], axis=0, out=right, mode="clip")
                within[part] &= np.bitwise_xor(left, right, out=right)
        counts += _sizes(within)
    return counts


def _sets_below(order: Rows) -> NDArray[np.uint64]:
    """For each place of a sorted column, the set of the points before it, ``(N + 1, N / 64)``."""
    below = np.zeros((len(order) + 1, -(-len(order) // 64)), dtype=np.uint64)
    below[np.arange(1, len(order) + 1), order // 64] = np.uint64(1) << (order % 64).astype(np.uint64)
    return np.bitwise_or.accumulate(below, axis=0, out=below)


def _sizes(sets: NDArray[np.uint64]) -> Counts:
    """The number of points of each set: ``(M, W)`` to ``(M,)``."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(sets).sum(1, dtype=np.int64))
    return np.asarray(np.unpackbits(sets.view(np.uint8), axis=1).sum(1, dtype=np.int64))  # numpy 1


def _search_in_all_pairs(points: Floats) -> _Search:
    """Find a few candidates in single precision, and compute their distances in double precision.

    Rows for which rounding could have excluded a closer point are searched in double precision.
    """
    n = len(points)
    scale = max(float(np.abs(points).max()), np.finfo(float).tiny)
    narrow = np.ascontiguousarray((points.T / scale).astype(np.float32))
    slack = 4 * float(np.finfo(np.float32).eps) * scale

    def search(rows: Rows, neighbours: Sequence[int]) -> Floats:
        places, most = list(neighbours), max(neighbours)
        distance = np.empty((len(rows), len(places)))
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            largest = np.abs(narrow[0] - narrow[0, part, None])
            apart = np.empty_like(largest)
            for column in narrow[1:]:
                np.subtract(column, column[part, None], out=apart)
                np.abs(apart, out=apart)
                np.maximum(largest, apart, out=largest)
            rough, nearest = torch.topk(torch.from_numpy(largest), min(most + 4, n), largest=False)
            exact = np.sort(np.abs(points[nearest.numpy()] - points[part, None]).max(2), axis=1)[:, places]
            farthest = exact.max(1)
            unsure = farthest + slack > rough[:, -1].double().numpy() * scale if nearest.shape[1] < n else farthest < 0
            for i in np.flatnonzero(unsure):
                exact[i] = np.partition(np.abs(points - points[part[i]]).max(1), places)[places]
            distance[start : start + _ROWS] = exact
        return distance

    return search
