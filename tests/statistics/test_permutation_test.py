import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax.statistics.permutation_test import independence_pvalue, permutation_pvalue


def naive_pvalue(statistics):
    """The largest standardised statistic of each row; the rank of the first row's."""
    columns = list(zip(*statistics, strict=True))
    largest = []
    for row in statistics:
        scores = []
        for value, column in zip(row, columns, strict=True):
            mean = sum(column) / len(column)
            spread = math.sqrt(sum((other - mean) ** 2 for other in column) / len(column))
            scores.append((value - mean) / spread)
        largest.append(max(scores))
    return sum(value >= largest[0] - 1e-12 for value in largest) / len(largest)


@pytest.mark.parametrize(("rank", "expected"), [(1, 0.05), (3, 0.15), (20, 1.0)])
def test_of_one_statistic_it_is_the_rank(rank, expected):
    statistics = np.concatenate([[20.5 - rank], np.arange(19.0) + 1])[:, None]
    assert permutation_pvalue(statistics) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_of_several_statistics_it_is_the_naive_count(seed):
    statistics = np.random.default_rng(seed).integers(0, 12, size=(40, 3)) * 1.0  # with ties
    assert permutation_pvalue(statistics) == pytest.approx(naive_pvalue(statistics))


def test_units_of_the_statistics_change_nothing():
    statistics = np.random.default_rng(0).normal(size=(100, 2))
    assert permutation_pvalue(statistics) == permutation_pvalue(statistics * [3.0, 0.1] + [5.0, -7.0])


def test_ties_count_against_the_sample():
    assert permutation_pvalue(np.zeros((50, 2))) == 1.0
    assert permutation_pvalue(np.array([[1.0], [1.0], [0.0], [0.0]])) == 0.5


def test_level_of_exchangeable_statistics():
    """Under the null, P(p <= a) is a, for correlated statistics too: 2,000 draws of 100 rows each."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(2000, 100, 1))
    values = [permutation_pvalue(rows) for rows in common + rng.normal(size=(2000, 100, 2))]
    for level in (0.01, 0.05, 0.2, 0.5):
        share, error = np.mean(np.array(values) <= level + 1e-12), math.sqrt(level * (1 - level) / 2000)
        assert abs(share - level) < 4 * error


def pair(relation, n, rng):
    x = rng.normal(size=(n, 1))
    y = {
        "line": x,
        "parabola": x**2,
        "circle": np.sqrt(np.maximum(0, 4 - x**2)) * rng.choice([-1, 1], (n, 1)),
        "spread": x * rng.normal(size=(n, 1)),
        "wave": np.cos(4 * x),
    }[relation]
    y = y + 0.3 * rng.normal(size=(n, 1))
    return torch.from_numpy(x), torch.from_numpy((y - y.mean()) / y.std())


@pytest.mark.parametrize("relation", ["line", "parabola", "circle", "spread", "wave"])
def test_dependence_of_all_kinds_is_seen(relation):
    rng = np.random.default_rng(0)
    assert independence_pvalue(*pair(relation, 300, rng), 99, rng) == 0.01


def test_sides_of_more_columns_than_rows_and_constant_ones():
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(rng.normal(size=(60, 100)))
    assert 0 < independence_pvalue(wide, wide[:, :1], 19, rng) <= 1
    assert independence_pvalue(torch.zeros(60, 1, dtype=torch.float64), wide[:, :1], 19, rng) == 1.0


@pytest.mark.parametrize("columns", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_level_under_independence(columns):
    """400 independent pairs of 40 rows whose columns share a scale: p-values are uniform on 1/20, …, 1."""
    rng = np.random.default_rng(columns)
    values = []
    for _ in range(400):
        x, y = torch.from_numpy(rng.normal(size=(2, 40, columns)) / rng.gamma(1.0, size=(2, 40, 1)))
        values.append(independence_pvalue(x, y, 19, rng))
    counts = np.bincount(np.rint(20 * np.array(values)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
