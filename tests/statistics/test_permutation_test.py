import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax.statistics.marginals import normal_scores
from infomax.statistics.permutation_test import (
    Near,
    _column_ranges,
    _largest_table,
    in_ranges,
    independence_pvalue,
    permutation_pvalue,
)


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


def test_a_sine_of_sixteen_periods_is_seen():
    """About 0.85 nats in 1,000 rows. Without rapid cosines and near rows the p-value is uniform."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.random((1000, 1))
        y = np.sin(32 * math.pi * x) + 0.3 * rng.normal(size=(1000, 1))
        assert independence_pvalue(*(torch.from_numpy(normal_scores(side)) for side in (x, y)), 199, rng) <= 0.01


def test_exclusive_or_among_five_columns_is_seen():
    """200 rows; smooth statistics alone have a power of about 0.6 at level 0.05, and here it is 0.95."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.normal(size=(200, 5)))
        y = torch.sign(x[:, :1] * x[:, 1:2]) + 0.2 * torch.from_numpy(rng.normal(size=(200, 1)))
        found.append(independence_pvalue(x, y, 99, rng) <= 0.05)
    assert sum(found) >= 8


def test_closeness_is_the_naive_sum():
    """Over the neighbours of each row in x, of the squared distance in y of the rows that are paired with them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 2))
    order = rng.permutation(30)
    expected = dict.fromkeys((3, 10), 0.0)
    for i in range(30):
        nearest = sorted((j for j in range(30) if j != i), key=lambda j: ((x[i] - x[j]) ** 2).sum())
        for k in expected:
            expected[k] -= sum(((y[order[i]] - y[order[j]]) ** 2).sum() for j in nearest[:k])
    near_x, near_y = (Near.of(torch.from_numpy(side), rng) for side in (x, y))
    assert near_x.closeness(near_y, order) == pytest.approx(list(expected.values()), rel=1e-5)


def test_neighbours_at_equal_distances_are_drawn_at_random():
    """No place among rows of equal values is preferred: otherwise both sides would prefer the same rows."""
    rng = np.random.default_rng(0)
    label = torch.arange(80, dtype=torch.float64)[:, None] % 2
    counts = sum(np.bincount(Near.of(label, rng).neighbours[::2].ravel(), minlength=80) for _ in range(200))
    assert not counts[1::2].any()
    counts = counts[::2]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_more_rows_than_neighbours_use():
    """2,500 rows: the first 2,048, in random order, are permuted among themselves; a late change is seen."""
    rng = np.random.default_rng(0)
    x, noise = torch.from_numpy(rng.normal(size=(2, 2500, 1)))
    assert independence_pvalue(x, 0.2 * x + noise, 49, rng) == 0.02
    assert independence_pvalue(x, noise, 49, rng) > 0.02


def test_sides_of_more_columns_than_rows_and_constant_ones():
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(rng.normal(size=(60, 100)))
    assert 0 < independence_pvalue(wide, wide[:, :1], 19, rng) <= 1
    assert independence_pvalue(torch.zeros(60, 1, dtype=torch.float64), wide[:, :1], 19, rng) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("counts", "counts"), ("counts", "several"), ("several", "several")])
def test_level_of_tied_columns(kinds):
    """600 independent pairs of 60 rows with many ties: P(p <= a) is a."""
    draw = {
        "counts": lambda rng: rng.integers(3, size=(60, 1)) * 1.0,
        "several": lambda rng: np.hstack([rng.integers(4, size=(60, 1)), np.round(rng.normal(size=(60, 2)), 1)]),
    }
    values = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        sides = (torch.from_numpy(normal_scores(draw[kind](rng))) for kind in kinds)
        values.append(independence_pvalue(*sides, 19, rng))
    counts = np.bincount(np.rint(20 * np.array(values)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 3])
def test_level_under_independence(columns):
    """400 independent pairs of 40 rows whose columns share a scale: p-values are uniform on 1/20, …, 1."""
    rng = np.random.default_rng(columns)
    values = []
    for _ in range(400):
        x, y = torch.from_numpy(rng.normal(size=(2, 40, columns)) / rng.gamma(1.0, size=(2, 40, 1)))
        values.append(independence_pvalue(x, y, 19, rng))
    counts = np.bincount(np.rint(20 * np.array(values)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_single_columns_are_compared_by_pearsons_statistic():
    """The squared products of the indicators of ranges sum to it, as SciPy computes it."""
    rng = np.random.default_rng(4)
    x, y = (torch.from_numpy(normal_scores(rng.normal(size=(400, dim)))) for dim in (3, 2))
    largest = float(_largest_table(in_ranges(x).T @ in_ranges(y))[0])
    ranks = [np.floor(8 * torch.special.ndtr(side).numpy()).astype(int) for side in (x, y)]
    tables = [np.histogram2d(a, b, bins=8)[0] for a in ranks[0].T for b in ranks[1].T]
    expected = max(stats.chi2_contingency(table, correction=False).statistic for table in tables)
    assert 400 * largest == pytest.approx(expected, rel=1e-5)


def test_two_related_columns_among_fifty():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 50))
    y = np.sin(4 * x[:, [7]]) + 0.3 * rng.normal(size=(400, 1))
    scores = [torch.from_numpy(normal_scores(side)) for side in (x, y)]
    assert independence_pvalue(*scores, 99, np.random.default_rng(0)) == 0.01


def test_too_many_pairs_of_columns_are_drawn():
    x, y = torch.zeros(20, 300), torch.zeros(20, 2)
    rng = np.random.default_rng(0)
    assert [side.shape[1] // 8 for side in _column_ranges(x, y, rng)] == [128, 2]
    assert [side.shape[1] // 8 for side in _column_ranges(x, x, rng)] == [16, 16]
