"""Feature selection: accuracy of a model on the selected features, and time, beside scikit-learn's mutual information.

    python -m benchmarks.accuracy.selection                      # about five minutes on one core
    python -m benchmarks.accuracy.selection --data wine iris     # a part; other rows of the CSV stay
    python -m benchmarks.accuracy.selection --report             # the page from the CSV alone

writes ``selection.csv`` (one row for each data set, method and seed) and ``selection.md``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import report, results, sweep
from infomax import interrupts

Floats = NDArray[np.float64]
Order = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """How a data set is loaded from a seed, which numbers of features are selected, and what is predicted.

    Attributes:
        load: rows and target. sizes: of the selections. classes: whether classes are predicted.
        seeds: of the splits. made: whether each seed makes new data; otherwise it only splits the same rows anew.
    """

    load: Callable[[int], tuple[Floats, Floats]]
    sizes: tuple[int, ...]
    classes: bool = True
    seeds: int = 5
    made: bool = False


def shipped(name: str) -> Callable[[int], tuple[Floats, Floats]]:
    """A data set that scikit-learn ships."""

    def load(_: int) -> tuple[Floats, Floats]:
        from sklearn import datasets  # noqa: PLC0415 - an extra

        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return x.astype(float), y

    return load


def like_madelon(seed: int) -> tuple[Floats, Floats]:
    """600 rows of 5 informative columns, 15 mixtures of them, and 40 without information; clusters as in MADELON."""
    from sklearn.datasets import make_classification  # noqa: PLC0415

    x, y = make_classification(
        600, 60, n_informative=5, n_redundant=15, n_clusters_per_class=4, flip_y=0.01, random_state=seed
    )
    return x, y


DATA = {
    "breast_cancer": Data(shipped("breast_cancer"), (2, 5, 10)),
    "wine": Data(shipped("wine"), (2, 4, 6)),
    "iris": Data(shipped("iris"), (1, 2)),
    "digits": Data(shipped("digits"), (5, 10), seeds=1),
    "diabetes": Data(shipped("diabetes"), (2, 4, 6), classes=False),
    "like_madelon": Data(like_madelon, (3, 5, 8), seeds=10, made=True),
}
METHODS = ("scikit-learn", "univariate", "mrmr", "jmi", "cmim")
FOLDS = 5
COLUMNS = ("rows", "features", "scores", "seconds_a_fold")


def order_of(method: Any, x: Floats, y: Floats, most: int, *, classes: bool) -> Order:
    """The first ``most`` features by a method, best first."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression  # noqa: PLC0415 - an extra

    from infomax import sklearn as selection  # noqa: PLC0415

    if method == "scikit-learn":
        measure = mutual_info_classif if classes else mutual_info_regression
        return np.asarray(np.argsort(-measure(x, y, random_state=0), kind="stable")[:most])
    return np.asarray(selection.MutualInfoSelector(most, method=method).fit(x, y).order_)


def models(*, classes: bool) -> list[Any]:
    """A support vector machine and nearest neighbours, with fixed settings, on standardised columns."""
    from sklearn import neighbors, pipeline, preprocessing, svm  # noqa: PLC0415

    kinds = (
        [svm.SVC(), neighbors.KNeighborsClassifier(9)]
        if classes
        else [svm.SVR(C=50), neighbors.KNeighborsRegressor(15)]
    )
    return [pipeline.make_pipeline(preprocessing.StandardScaler(), kind) for kind in kinds]


def run(cell: sweep.Cell) -> dict[str, sweep.Value]:
    """Cross-validated scores, fold by fold: features are selected on the training rows of each fold."""
    from sklearn.model_selection import KFold, StratifiedKFold  # noqa: PLC0415

    from infomax import sklearn  # noqa: F401, PLC0415 - so that its import is not timed

    data, seed = DATA[str(cell["data"])], int(cell["seed"])
    x, y = data.load(seed)
    splitter = (StratifiedKFold if data.classes else KFold)(FOLDS, shuffle=True, random_state=seed)
    scores, seconds = [], []
    for train, test in splitter.split(x, y):
        start = time.process_time()
        order = order_of(cell["method"], x[train], y[train], max(data.sizes), classes=data.classes)
        seconds.append(time.process_time() - start)
        found = []
        for k in data.sizes:
            chosen = order[:k]
            fitted = [model.fit(x[train][:, chosen], y[train]) for model in models(classes=data.classes)]
            found.append(mean(model.score(x[test][:, chosen], y[test]) for model in fitted))
        scores.append(found)
    text = " ".join(f"{score:.5f}" for score in np.transpose(scores).ravel())
    return {"rows": len(x), "features": x.shape[1], "scores": text, "seconds_a_fold": round(mean(seconds), 4)}


def difference(ours: Floats, theirs: Floats, *, made: bool) -> tuple[float, float]:
    """Mean of paired differences and half of its 95 % interval.

    Args:
        ours, theirs: scores by seed and fold, ``(seeds, folds)``.
        made: whether each seed has new data: then the seeds' means are independent. Otherwise folds share training
            rows, and the variance is that of Nadeau and Bengio, "Inference for the generalization error", 2003,
            doi:10.1023/A:1024068626366: times 1/J + 1/(folds - 1) for J differences.
    """
    from scipy.stats import t  # noqa: PLC0415 - loaded on first use

    apart = ours - theirs
    values = apart.mean(1) if made else apart.ravel()
    factor = 1 / len(values) + (0.0 if made else 1 / (apart.shape[1] - 1))
    return float(values.mean()), float(t.ppf(0.975, len(values) - 1)) * math.sqrt(values.var(ddof=1) * factor)


def by_size(rows: Sequence[sweep.Row], name: str, method: str) -> Floats:
    """Scores of a method, ``(sizes, seeds, folds)``; without seeds if there is no row."""
    sizes = len(DATA[name].sizes)
    mine = [row for row in rows if row["data"] == name and row["method"] == method and not row["error"]]
    mine.sort(key=lambda row: int(row["seed"]))
    parts = [np.array(row["scores"].split(), dtype=float).reshape(sizes, FOLDS) for row in mine]
    return np.stack(parts, 1) if parts else np.zeros((sizes, 0, FOLDS))


def write_report(path: Path) -> str:
    """Write the page beside the CSV, and return its text."""
    rows = sweep.read(path)
    parts = ["# Feature selection", _ABOUT, report.provenance(rows)]
    for name, data in DATA.items():
        found = {method: by_size(rows, name, method) for method in METHODS}
        if any(scores.size == 0 for scores in found.values()):
            continue
        parts += [f"## {name}", _facts(rows, name), _table(rows, name, data, found)]
    return report.write_page(path, [*parts, *report.failures(rows, "data", "method", "seed")])


_ABOUT = f"""\
Accuracy (for diabetes R²) on held-out rows after k features are selected on the training rows: the mean of a support
vector machine and of nearest neighbours with fixed settings, in {FOLDS}-fold cross-validation. "scikit-learn" takes the
k largest values of `mutual_info_classif` or `mutual_info_regression`; the other methods are those of
`infomax.sklearn.MutualInfoSelector`. In brackets: the paired difference to scikit-learn with its 95 % interval, in bold
where that excludes 0. Seconds are CPU time to rank the features of one fold, up to the largest k."""


def _facts(rows: Sequence[sweep.Row], name: str) -> str:
    row = next(row for row in rows if row["data"] == name and not row["error"])
    seeds = DATA[name].seeds
    kind = "new data for each" if DATA[name].made else "new folds for each"
    repeated = f"{seeds} seeds ({kind})" if seeds > 1 else "one seed"
    return f"{row['rows']} rows, {row['features']} features; {repeated}."


def _table(rows: Sequence[sweep.Row], name: str, data: Data, found: dict[str, Floats]) -> str:
    lines = []
    for method, scores in found.items():
        cells = []
        for i in range(len(data.sizes)):
            text = f"{scores[i].mean():.3f}"
            if method != "scikit-learn":
                middle, half = difference(scores[i], found["scikit-learn"][i], made=data.made)
                note = f"{middle:+.3f} ± {half:.3f}"
                text += f" (**{note}**)" if abs(middle) > half else f" ({note})"
            cells.append(text)
        spent = [float(row["seconds_a_fold"]) for row in rows if (row["data"], row["method"]) == (name, method)]
        lines.append([method, *cells, f"{mean(spent):.2f}"])
    return report.table(["method", *(f"k = {k}" for k in data.sizes), "seconds"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="data sets (default: all)")
    sweep.add_arguments(parser, "accuracy", seeds=max(data.seeds for data in DATA.values()))
    arguments = parser.parse_args()
    cells: list[sweep.Cell] = [
        {"data": name, "method": method, "seed": seed}
        for name in arguments.data
        for seed in range(min(arguments.seeds, DATA[name].seeds))
        for method in METHODS
    ]
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
    path = results.folder("accuracy", arguments.output) / "selection.csv"
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
