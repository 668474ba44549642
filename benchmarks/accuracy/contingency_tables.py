"""Empirical coverage of the 95 % intervals for contingency tables (nominal 95 %).

The tables are made for this benchmark and are not tasks of the library. They have dense and sparse shapes, uniform and
skewed marginals, and several strengths of dependence. "Naive" intervals are for comparison: the bias correction of
Miller, with a standard error from the spread of the rows' log-ratios.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from datetime import date
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks.report import machine, table
from infomax import InfomaxWarning, estimate, interrupts

Floats = NDArray[np.float64]

SHAPES = ((2, 2), (5, 5), (3, 81), (7, 11), (2, 50), (20, 20))
STRENGTHS = (0.0, 0.3, 0.8, 2.0)
ROWS_PER_CELL = (3, 5, 10)
QUANTILE = 1.959964


def joints(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[Floats]:
    """Tables of probabilities: uniform or skewed marginals with several strengths of dependence; noisy copies."""
    rows, columns = shape
    along, across = rng.normal(size=(rows, 3)), rng.normal(size=(columns, 3))
    for power in (0.0, 1.0):
        product = np.outer(1 / np.arange(1, rows + 1) ** power, 1 / np.arange(1, columns + 1) ** power)
        for strength in STRENGTHS:
            joint = product * np.exp(strength * (along @ across.T) / math.sqrt(3))
            yield joint / joint.sum()
    for kept in (0.5, 0.9):
        joint = np.full(shape, (1 - kept) / (rows * columns))
        joint[np.arange(rows), np.arange(rows) % columns] += kept / rows
        yield joint


def information(joint: Floats) -> float:
    """Mutual information in nats."""
    return float((joint * np.log(joint / joint.sum(1, keepdims=True) / joint.sum(0))).sum())


def covered(joint: Floats, n: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of intervals that contain the truth: of the estimator "plugin", and naive ones."""
    truth, hits = information(joint), np.zeros(2)
    for _ in range(draws):
        cells = rng.choice(joint.size, size=n, p=joint.ravel())
        x, y = np.divmod(cells, joint.shape[1])
        low, high = estimate(x, y, bound="plugin").confidence_interval()
        value, stderr = naive(np.histogram2d(x, y, bins=[np.arange(size + 1) for size in joint.shape])[0])
        hits += low <= truth <= high, abs(value - truth) < QUANTILE * stderr
    return float(hits[0] / draws), float(hits[1] / draws)


def naive(counts: Floats) -> tuple[float, float]:
    """The value of a table with Miller's bias correction, and the standard error of the mean log-ratio of the rows."""
    n, product = counts.sum(), counts.sum(1, keepdims=True) * counts.sum(0)
    there = counts > 0
    share, ratio = counts[there] / n, np.log(counts[there] * n / product[there])
    value = float(share @ ratio)
    excess = there.sum() - (counts.sum(1) > 0).sum() - (counts.sum(0) > 0).sum() + 1
    spread = math.sqrt(float(share @ (ratio - value) ** 2) / n)
    return value - float(excess) / (2 * n), math.hypot(spread, 1 / n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="samples per table (default: %(default)s)")
    results.add_output(parser, "accuracy")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", InfomaxWarning)
    rng = np.random.default_rng(0)
    lines = []
    for shape in SHAPES:
        each = list(joints(shape, rng))
        for per_cell in ROWS_PER_CELL:
            n = max(40, per_cell * math.prod(shape))
            found = [covered(joint, n, arguments.draws, rng) for joint in each]
            ours, rows = zip(*found, strict=True)
            shares = (f"{share:.1%}" for share in (mean(ours), min(ours), mean(rows), min(rows)))
            lines.append([f"{shape[0]} × {shape[1]}", str(per_cell), str(n), str(len(each)), *shares])
    header = ["table", "rows per cell", "n", "tables", "mean coverage", "minimum", "naive: mean", "naive: minimum"]
    text = f"# Contingency tables\n\n{__doc__}\n{date.today()}: {machine()}.\n\n{table(header, lines)}\n"
    output = results.folder("accuracy", arguments.output)
    results.replace(output / "contingency_tables.md", text)
    print(text)


if __name__ == "__main__":
    interrupts.run(main)
