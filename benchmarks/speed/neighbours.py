"""k-nearest neighbours (KSG).

`estimate(x, y, bound="ksg")` with k = 3, including checks and normal scores, compared with the same estimator in
scikit-learn (`mutual_info_regression`) and ennemi, and with common code that uses the trees of SciPy or scikit-learn on
unscaled columns. ennemi alternates with infomax in its own environment, to which the packages of the current
environment are appended. Without that environment its row is missing; `python -m benchmarks.peers --peers ennemi` makes
it.

Memory is the peak in addition to the samples. infomax uses the trees of scikit-learn where they are faster (3 + 3
columns).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

import infomax
from benchmarks.peers.environments import seconds_beside
from benchmarks.speed.timing import Ratio, Work, duration, extra_mebibytes, faster, in_turn

Floats = NDArray[np.float64]
Recipe = Callable[[Floats, Floats], float]
_K = 3


def samples(dim: int, n: int) -> tuple[Floats, Floats]:
    """Normal columns; those of x and y have correlation 0.7 pairwise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dim))
    return x, 0.7 * x + 0.51**0.5 * rng.normal(size=(n, dim))


def ours(x: Floats, y: Floats) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)  # that KSG is biased in ten dimensions
        return infomax.estimate(x, y, bound="ksg", progress=False).mi


def scikit_learn(x: Floats, y: Floats) -> float:
    """The function of scikit-learn, for one column of y."""
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415 - an extra

    return float(mutual_info_regression(x, y[:, 0], n_neighbors=_K, random_state=0)[0])


def scipy_recipe(x: Floats, y: Floats) -> float:
    """Three trees of SciPy: neighbours in (x, y), then counts of points within their distance."""
    from scipy.spatial import KDTree  # noqa: PLC0415
    from scipy.special import digamma  # noqa: PLC0415

    joint = np.hstack([x, y])
    radius = np.nextafter(KDTree(joint).query(joint, k=[_K + 1], p=np.inf)[0][:, 0], 0)
    counts = [KDTree(side).query_ball_point(side, radius, p=np.inf, return_length=True) for side in (x, y)]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def sklearn_recipe(x: Floats, y: Floats) -> float:
    """The algorithm of scikit-learn's function, for several columns."""
    from scipy.special import digamma  # noqa: PLC0415
    from sklearn.neighbors import KDTree, NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(metric="chebyshev", n_neighbors=_K).fit(np.hstack([x, y]))
    radius = np.nextafter(search.kneighbors()[0][:, -1], 0)
    trees = ((KDTree(side, metric="chebyshev"), side) for side in (x, y))
    counts = [tree.query_radius(side, radius, count_only=True) for tree, side in trees]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def prepare(dim: int, n: int) -> Work:
    """An estimate by infomax on new samples, for :func:`extra_mebibytes`."""
    import sklearn.neighbors  # noqa: F401, PLC0415 - do not count imported modules

    ours(*samples(dim, 500))
    return partial(ours, *samples(dim, n))


def ratios(quick: bool) -> Iterator[Ratio]:
    million = 20_000 if quick else 1_000_000
    yield from _against(1, million, {"scikit-learn": scikit_learn}, "≥ 6", repeats=3)
    yield from _against_ennemi(million)
    recipes = {"SciPy's trees": scipy_recipe, "scikit-learn's trees": sklearn_recipe}
    yield from _against(3, 10_000 if quick else 100_000, recipes, "≥ 1", repeats=3)
    yield from _against(10, 2_000 if quick else 10_000, recipes, "", repeats=3)
    yield from _memory(million)
    yield from _growth(million)


def _against(dim: int, n: int, others: Mapping[str, Recipe], target: str, *, repeats: int) -> Iterator[Ratio]:
    x, y = samples(dim, n)
    works = {"ours": partial(ours, x, y), **{name: partial(recipe, x, y) for name, recipe in others.items()}}
    seconds = in_turn(works, repeats=repeats)
    for name in others:
        case = f"n = {n:,}, {dim} + {dim} columns"
        yield faster(case, f"times faster than {name}", seconds["ours"], seconds[name], target)


def _against_ennemi(n: int) -> Iterator[Ratio]:
    seconds = seconds_beside("ennemi", "benchmarks.speed.neighbours", n)
    if seconds is None:
        return
    yield faster(f"n = {n:,}, 1 + 1 columns", "times faster than ennemi", seconds["ours"], seconds["ennemi"], "≥ 6")


def with_ennemi(n: int) -> None:
    """Print the seconds of both; runs in the environment of the peer."""
    from ennemi import estimate_mi  # noqa: PLC0415 - installed there only

    x, y = samples(1, n)
    works = {"ours": partial(ours, x, y), "ennemi": partial(estimate_mi, y[:, 0], x[:, 0], k=_K)}
    print(json.dumps(in_turn(works, repeats=3)))


def _memory(n: int) -> Iterator[Ratio]:
    for dim in (1, 2):
        extra = extra_mebibytes("benchmarks.speed.neighbours:prepare", dim, n)
        inputs = 2 * dim * n * 8 / 2**20
        case, figure = f"n = {n:,}, {dim} + {dim} columns", "GB in addition to the samples"
        target = "≤ 2" if dim == 1 else ""
        yield Ratio(case, figure, extra * 2**20 / 1e9, target, f"{extra:.0f} MiB", f"samples: {inputs:.0f} MiB")


def _growth(most: int) -> Iterator[Ratio]:
    """Growth of time with n: the exponent between two sizes."""
    for dim in (1, 2):
        sizes = [size for size in (10_000, 30_000, 100_000, 300_000, 1_000_000) if size <= most]
        taken = [in_turn({"ours": partial(ours, *samples(dim, size))}, repeats=3)["ours"] for size in sizes]
        for (n, before), (more, after) in pairwise(zip(sizes, taken, strict=True)):
            exponent = log(after / before) / log(more / n)
            case, figure = f"n = {more:,}, {dim} + {dim} columns", f"exponent of n in the growth of time from n = {n:,}"
            yield Ratio(case, figure, exponent, "", duration(after), duration(before), x=more)
