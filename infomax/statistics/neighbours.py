"""k-nearest neighbours in the maximum norm: distances to the k-th neighbour, and numbers of points within a distance.

In few dimensions trees are used, and queries are sorted so that consecutive ones are close to each other. In many
dimensions, where a tree would visit all points, all pairs are compared, a block of rows at a time. All methods give the
same numbers, in memory that does not grow with the square of the number of rows. scikit-learn's tree is faster than
SciPy's in most cases; it is used if it is installed and there are many rows.
"""

from __future__ import annotations

import sys
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
#: Dimensions from which comparing all pairs is faster than trees: for distances; for counts by SciPy, scikit-learn.
_CROWDED_JOINT, _CROWDED_SCIPY, _CROWDED_SKLEARN = 15, 2, 5
#: Number of rows from which scikit-learn's tree saves more than the second that its import takes.
_WORTH_IMPORT = 10_000
#: Number of rows from which its tree counts faster in two dimensions than all pairs do, where it is loaded anyway.
_WORTH_TREE = 1_500


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
    joint = np.hstack([u, v] if given is None else [u, v, given])
    # The k-th neighbour lies exactly on the radius in one coordinate; rounding must not let it in.
    inside = 4 * np.finfo(float).eps * np.abs(joint).max()
    radii = [np.maximum(radius - inside, 0.0) for radius in neighbour_distances(joint, wanted, workers=workers)]
    asked = [(rows, radius) for (_, rows), radius in zip(wanted, radii, strict=True)]
    psi = _digammas(len(u))
    terms = np.repeat([psi[k] for k, _ in wanted], [len(rows) for _, rows in wanted])
    terms += psi[-1] if given is None else psi[_count_all(given, asked, workers) + 1]
    sides = (u, v) if given is None else (np.hstack([u, given]), np.hstack([v, given]))
    for side, order in zip(sides, orders if given is None else NO_ORDERS, strict=True):
        terms -= psi[_count_all(side, asked, workers, order) + 1]
    return np.split(terms, np.cumsum([len(rows) for _, rows in wanted])[:-1])


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
    if dim >= _CROWDED_JOINT and workers == 1:
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
    loaded = dim == 2 and "sklearn.neighbors" in sys.modules
    sklearn_tree = _sklearn_tree(n, _WORTH_TREE if loaded else _WORTH_IMPORT) if workers == 1 else None
    crowded = _CROWDED_SCIPY if sklearn_tree is None else _CROWDED_SKLEARN
    if dim >= crowded and n <= min(4000 * dim, np.iinfo(np.uint16).max) and workers == 1:
        return _count_in_all_pairs(points, rows, radius)
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


def _sklearn_tree(n: int, worth: int = _WORTH_IMPORT) -> Callable[..., Any] | None:
    """scikit-learn's tree; ``None`` if it is not installed or does not pay for ``n`` rows."""
    if n < worth:
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


def _count_in_all_pairs(points: Floats, rows: Rows, radius: Floats) -> Counts:
    """:func:`count_within` of at most 65,535 points.

    In each column the neighbours of a row form an interval of ranks. To test a rank takes one subtraction of unsigned
    16-bit numbers, which wraps around below the interval, and one comparison.
    """
    n, dim = points.shape
    rank = np.empty((dim, n), dtype=np.uint16)
    first, width = np.empty((2, dim, len(rows)), dtype=np.uint16)
    for j, column in enumerate(points.T):
        order = np.argsort(column)
        line = column[order]
        rank[j, order] = np.arange(n)
        first[j] = np.searchsorted(line, column[rows] - radius, "left")
        width[j] = np.searchsorted(line, column[rows] + radius, "right") - 1 - first[j]
    counts = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), 2 * _ROWS):
        part = slice(start, start + 2 * _ROWS)
        within = rank[0] - first[0, part, None] <= width[0, part, None]
        offset, also = np.empty(within.shape, np.uint16), np.empty(within.shape, bool)
        for j in range(1, dim):
            np.subtract(rank[j], first[j, part, None], out=offset)
            np.less_equal(offset, width[j, part, None], out=also)
            within &= also
        counts[part] = within.sum(1)
    return counts - 1


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
