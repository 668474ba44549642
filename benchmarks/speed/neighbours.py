"""Nearest neighbours.

`estimate(x, y, bound="ksg")`, checks and normal scores included, k = 3, against the same estimator of scikit-learn
(`mutual_info_regression`), of ennemi, and as public recipes put it together from the trees of SciPy or of scikit-learn,
which take the columns as they are. ennemi runs in an environment of its own, to which the library's is added behind it,
and takes turns there; without that environment (`python -m benchmarks.peers --peers ennemi` makes it) its row is left
out.

All pairs of 50 columns are `pairwise`, with intervals, p-values and q-values, against scikit-learn's function of all
columns and each one in turn, which gives values alone. Memory is the peak above the samples. Our side uses
scikit-learn's trees where it pays (3 + 3 columns).
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import infomax
from benchmarks.peers.environments import SETTINGS, interpreter
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, in_turn

Floats = NDArray[np.float64]
Recipe = Callable[[Floats, Floats], float]
_ENVIRONMENTS = Path(".peers")
_K = 3


def samples(dim: int, n: int) -> tuple[Floats, Floats]:
    """Normal columns in pairs of correlation 0.7."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, dim))
    return x, 0.7 * x + 0.51**0.5 * rng.normal(size=(n, dim))


def ours(x: Floats, y: Floats) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)  # that ten dimensions are many for neighbours
        return infomax.estimate(x, y, bound="ksg", progress=False).mi


def scikit_learn(x: Floats, y: Floats) -> float:
    """Its own function, which takes one column of y."""
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415 - an extra

    return float(mutual_info_regression(x, y[:, 0], n_neighbors=_K, random_state=0)[0])


def scipy_recipe(x: Floats, y: Floats) -> float:
    """Three trees of SciPy: neighbours in (x, y), then points in balls."""
    from scipy.spatial import KDTree  # noqa: PLC0415
    from scipy.special import digamma  # noqa: PLC0415

    joint = np.hstack([x, y])
    radius = np.nextafter(KDTree(joint).query(joint, k=[_K + 1], p=np.inf)[0][:, 0], 0)
    counts = [KDTree(side).query_ball_point(side, radius, p=np.inf, return_length=True) for side in (x, y)]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def sklearn_recipe(x: Floats, y: Floats) -> float:
    """What scikit-learn's own function does for one column, for several."""
    from scipy.special import digamma  # noqa: PLC0415
    from sklearn.neighbors import KDTree, NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(metric="chebyshev", n_neighbors=_K).fit(np.hstack([x, y]))
    radius = np.nextafter(search.kneighbors()[0][:, -1], 0)
    trees = ((KDTree(side, metric="chebyshev"), side) for side in (x, y))
    counts = [tree.query_radius(side, radius, count_only=True) for tree, side in trees]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def prepare(dim: int, n: int) -> Work:
    """Our work on new samples, for :func:`extra_mebibytes`."""
    import sklearn.neighbors  # noqa: F401, PLC0415 - what is loaded once is no memory of the work

    ours(*samples(dim, 500))
    return partial(ours, *samples(dim, n))


def ratios(quick: bool) -> Iterator[Ratio]:
    million = 20_000 if quick else 1_000_000
    yield from _against(1, million, {"scikit-learn": scikit_learn}, "≥ 6", repeats=3)
    yield from _against_ennemi(million)
    recipes = {"SciPy's trees": scipy_recipe, "scikit-learn's trees": sklearn_recipe}
    yield from _against(3, 10_000 if quick else 100_000, recipes, "≥ 1", repeats=3)
    yield from _against(10, 2_000 if quick else 10_000, recipes, "", repeats=3)
    yield _all_pairs(10 if quick else 50, 1_000)
    yield from _memory(million)
    yield from _growth(million)


def _all_pairs(columns: int, n: int) -> Ratio:
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415 - an extra

    x = samples(columns, n)[0]

    def theirs() -> None:
        for j in range(1, columns):
            mutual_info_regression(x[:, :j], x[:, j], n_neighbors=_K, random_state=0)

    seconds = in_turn({"ours": lambda: infomax.pairwise(x, progress=False), "theirs": theirs}, repeats=3)
    case, figure = f"n = {n:,}, all pairs of {columns} columns", "times faster than scikit-learn"
    both = f"{seconds['ours']:.3g} s", f"{seconds['theirs']:.3g} s"
    return Ratio(case, figure, seconds["theirs"] / seconds["ours"], "", *both)


def _against(dim: int, n: int, others: Mapping[str, Recipe], target: str, *, repeats: int) -> Iterator[Ratio]:
    x, y = samples(dim, n)
    works = {"ours": partial(ours, x, y), **{name: partial(recipe, x, y) for name, recipe in others.items()}}
    seconds = in_turn(works, repeats=repeats)
    for name in others:
        case, figure = f"n = {n:,}, {dim} + {dim} columns", f"times faster than {name}"
        both = f"{seconds['ours']:.3g} s", f"{seconds[name]:.3g} s"
        yield Ratio(case, figure, seconds[name] / seconds["ours"], target, *both)


def _against_ennemi(n: int) -> Iterator[Ratio]:
    python = interpreter(_ENVIRONMENTS, "ennemi")
    if not python.exists():
        print("neighbours: no environment of ennemi; python -m benchmarks.peers --peers ennemi makes it")
        return
    # The peer's own packages come first; what it has not (torch, this library) is found behind them.
    paths = json.dumps([str(Path(__file__).parents[2]), *sys.path[1:]])
    program = f"import sys; sys.path += {paths}; from benchmarks.speed.neighbours import with_ennemi; with_ennemi({n})"
    command = [str(python.absolute()), "-I", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=SETTINGS)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError(f"the run beside ennemi failed ({done.returncode}): {done.stderr[-2000:]}")
    seconds = json.loads(done.stdout.splitlines()[-1])
    both = f"{seconds['ours']:.3g} s", f"{seconds['ennemi']:.3g} s"
    ratio = seconds["ennemi"] / seconds["ours"]
    yield Ratio(f"n = {n:,}, 1 + 1 columns", "times faster than ennemi", ratio, "≥ 6", *both)


def with_ennemi(n: int) -> None:
    """Print the seconds of both; runs in the peer's environment."""
    from ennemi import estimate_mi  # noqa: PLC0415 - only there

    x, y = samples(1, n)
    works = {"ours": partial(ours, x, y), "ennemi": partial(estimate_mi, y[:, 0], x[:, 0], k=_K)}
    print(json.dumps(in_turn(works, repeats=3)))


def _memory(n: int) -> Iterator[Ratio]:
    for dim in (1, 2):
        extra = extra_mebibytes("benchmarks.speed.neighbours:prepare", dim, n)
        inputs = 2 * dim * n * 8 / 2**20
        case, figure = f"n = {n:,}, {dim} + {dim} columns", "GB above the samples"
        target = "≤ 2" if dim == 1 else ""
        yield Ratio(case, figure, extra * 2**20 / 1e9, target, f"{extra:.0f} MiB", f"{inputs:.0f} MiB of samples")


def _growth(most: int) -> Iterator[Ratio]:
    """How time grows: the exponent of n between two sizes."""
    for dim in (1, 2):
        sizes = [size for size in (10_000, 30_000, 100_000, 300_000, 1_000_000) if size <= most]
        taken = [in_turn({"ours": partial(ours, *samples(dim, size))}, repeats=3)["ours"] for size in sizes]
        for (n, before), (more, after) in pairwise(zip(sizes, taken, strict=True)):
            exponent = log(after / before) / log(more / n)
            case, figure = f"n = {more:,}, {dim} + {dim} columns", f"is the power of n by which time grows from {n:,}"
            yield Ratio(case, figure, exponent, "", f"{after:.3g} s", f"{before:.3g} s", x=more)
