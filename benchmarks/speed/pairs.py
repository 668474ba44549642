"""Pairs of columns, and k-nearest neighbours against trees.

All pairs of normal columns with one process: `pairwise` with intervals, p-values and q-values, and its values alone,
compared with the values of scikit-learn (`mutual_info_regression`, called for each column with all columns before it)
and of ennemi (`pairwise_mi`, which alternates with infomax in its own environment, as in the section on nearest
neighbours). Two processes: the CPU time of one process over twice that of the busier worker and the process that
starts both. It counts repeated work, idle workers and transfers of data, but not waiting for a core that others use;
workers have been started before. KSG of several columns: the value by `infomax.estimators.ksg`, and
`estimate(bound="ksg")` with interval, checks and warnings, over the fastest of the same algorithm with SciPy's tree,
scikit-learn's k-d tree and ball tree, and scikit-learn's brute-force search with its k-d tree for the counts.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import infomax
from benchmarks.peers.environments import seconds_beside
from benchmarks.speed.neighbours import ours, samples, scipy_recipe, sklearn_recipe
from benchmarks.speed.timing import Ratio, Work, duration, faster, in_turn

Floats = NDArray[np.float64]
_K = 3


def ratios(quick: bool) -> Iterator[Ratio]:
    for n, columns, repeats in ((1_000, 10, 9), (1_000, 50, 3), (10_000, 10, 3), (10_000, 50, 1)):
        if not quick or columns == 10:
            yield from _against_sklearn(n, columns, 1 if quick else repeats)
    for n in (1_000,) if quick else (1_000, 10_000):
        yield from _against_ennemi(n, 10)
    for n, columns in ((500, 12),) if quick else ((1_000, 60), (10_000, 24)):
        yield _two_processes(n, columns, 1 if quick else 3)
    for dim, n in ((3, 2_000),) if quick else ((3, 2_000), (3, 10_000), (10, 2_000), (10, 10_000)):
        yield from _against_trees(dim, n, 1 if quick or n * dim > 50_000 else 3)


def _columns(n: int, columns: int) -> Floats:
    return np.random.default_rng(0).normal(size=(n, columns))


def _with_tests(x: Floats) -> object:
    return infomax.pairwise(x, progress=False)


def _values(x: Floats) -> object:
    return infomax.pairwise(x, values_only=True, progress=False)


def _sklearn_values(x: Floats) -> None:
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415 - an extra

    for j in range(1, x.shape[1]):
        mutual_info_regression(x[:, :j], x[:, j], n_neighbors=_K, random_state=0)


def _against_sklearn(n: int, columns: int, repeats: int) -> Iterator[Ratio]:
    x = _columns(n, columns)
    works: dict[str, Work] = {"tests": partial(_with_tests, x), "values": partial(_values, x)}
    works["theirs"] = partial(_sklearn_values, x)
    seconds = in_turn(works, repeats=repeats)
    case = f"n = {n:,}, all pairs of {columns} columns"
    for name, words, target in (("tests", "with intervals and tests", "≥ 1"), ("values", "values alone", "≥ 3")):
        both = seconds[name], seconds["theirs"]
        yield _throughput(f"{case}, {words}", "scikit-learn", columns, seconds=both, target=target)


def _throughput(case: str, peer: str, columns: int, *, seconds: tuple[float, float], target: str = "") -> Ratio:
    """Our seconds and those of a peer, as pairs a second."""
    own, other = (columns * (columns - 1) // 2 / one for one in seconds)
    figure = f"times faster than the values of {peer}"
    return Ratio(case, figure, own / other, target, f"{own:,.0f} pairs/s", f"{other:,.0f} pairs/s")


def _against_ennemi(n: int, columns: int) -> Iterator[Ratio]:
    seconds = seconds_beside("ennemi", "benchmarks.speed.pairs", n, columns)
    if seconds is None:
        return
    case = f"n = {n:,}, all pairs of {columns} columns"
    for name, words in (("tests", "with intervals and tests"), ("values", "values alone")):
        both = seconds[name], seconds["ennemi"]
        yield _throughput(f"{case}, {words}", "ennemi", columns, seconds=both)


def with_ennemi(n: int, columns: int) -> None:
    """Print the seconds of both; runs in the environment of the peer."""
    from ennemi import pairwise_mi  # noqa: PLC0415 - installed there only

    x = _columns(n, columns)
    works = {"tests": partial(_with_tests, x), "values": partial(_values, x)}
    print(json.dumps(in_turn({**works, "ennemi": partial(pairwise_mi, x, k=_K, max_threads=1)}, repeats=3)))


def _two_processes(n: int, columns: int, repeats: int) -> Ratio:
    x = _columns(n, columns)
    works = {jobs: partial(infomax.pairwise, x, n_jobs=jobs, progress=False) for jobs in (1, 2)}
    works[2]()  # starts the workers
    alone, together = [], []
    for _ in range(repeats):
        alone.append(_busiest(works[1]))
        together.append(_busiest(works[2]))
    one, two = statistics.median(alone), statistics.median(together)
    case, figure = f"n = {n:,}, all pairs of {columns} columns, two processes", "efficiency of CPU time"
    return Ratio(case, figure, one / (2 * two), "≥ 0.85", duration(two), duration(one))


def _busiest(work: Callable[[], object]) -> float:
    """CPU seconds of this process and of the busiest child during the work (Linux)."""
    before, own = _of_children(), time.process_time()
    work()
    own = time.process_time() - own
    spent = [seconds - before.get(child, 0.0) for child, seconds in _of_children().items()]
    return own + max(spent, default=0.0)


def _of_children() -> dict[int, float]:
    """CPU seconds of the children of this process until now."""
    found, ticks = {}, os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(facts[1]) == os.getpid():
            found[int(path.parent.name)] = (int(facts[11]) + int(facts[12])) / ticks
    return found


def ball_recipe(x: Floats, y: Floats) -> float:
    """As :func:`sklearn_recipe`, with ball trees."""
    from scipy.special import digamma  # noqa: PLC0415
    from sklearn.neighbors import BallTree  # noqa: PLC0415

    joint = np.hstack([x, y])
    radius = np.nextafter(BallTree(joint, metric="chebyshev").query(joint, k=_K + 1)[0][:, -1], 0)
    trees = ((BallTree(side, metric="chebyshev"), side) for side in (x, y))
    counts = [tree.query_radius(side, radius, count_only=True) for tree, side in trees]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def brute_recipe(x: Floats, y: Floats) -> float:
    """As :func:`sklearn_recipe`, with all distances for the neighbours in (x, y)."""
    from scipy.special import digamma  # noqa: PLC0415
    from sklearn.neighbors import KDTree, NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(metric="chebyshev", n_neighbors=_K, algorithm="brute").fit(np.hstack([x, y]))
    radius = np.nextafter(search.kneighbors()[0][:, -1], 0)
    trees = ((KDTree(side, metric="chebyshev"), side) for side in (x, y))
    counts = [tree.query_radius(side, radius, count_only=True) for tree, side in trees]
    return float(digamma(_K) + digamma(len(x)) - sum(digamma(count).mean() for count in counts))


def _value(x: Floats, y: Floats) -> float:
    return float(infomax.estimators.ksg(x, y, neighbours=_K).mean())


def _against_trees(dim: int, n: int, repeats: int) -> Iterator[Ratio]:
    x, y = samples(dim, n)
    recipes = {
        "SciPy's tree": scipy_recipe,
        "scikit-learn's k-d tree": sklearn_recipe,
        "scikit-learn's ball tree": ball_recipe,
        "scikit-learn's brute force": brute_recipe,
    }
    both = {"value": _value, "estimate": ours}
    works = {name: partial(recipe, x, y) for name, recipe in {**both, **recipes}.items()}
    seconds = in_turn(works, repeats=repeats)
    best = min(recipes, key=seconds.__getitem__)
    case = f"n = {n:,}, {dim} + {dim} columns"
    yield faster(f"{case}, value", f"times faster than {best}", seconds["value"], seconds[best], "≥ 1")
    yield faster(f"{case}, estimate", f"times faster than {best}", seconds["estimate"], seconds[best])
