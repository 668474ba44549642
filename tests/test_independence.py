import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax.independence import dependence_of_features, permutation_pvalue, permutations


def naive_pvalue(statistics):
    """Each statistic's rank among all rows; then the rank of the smallest of them."""
    count, columns = len(statistics), len(statistics[0])
    smallest = [
        min(sum(other[s] >= row[s] for other in statistics) / count for s in range(columns)) for row in statistics
    ]
    return sum(value <= smallest[0] for value in smallest) / count


@pytest.mark.parametrize(("rank", "expected"), [(1, 0.05), (3, 0.15), (20, 1.0)])
def test_of_one_statistic_it_is_the_rank(rank, expected):
    statistics = np.concatenate([[20.5 - rank], np.arange(19.0) + 1])[:, None]
    assert permutation_pvalue(statistics) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_of_several_statistics_it_is_the_naive_count(seed):
    statistics = np.random.default_rng(seed).integers(0, 12, size=(40, 3)) * 1.0  # with ties
    assert permutation_pvalue(statistics) == pytest.approx(naive_pvalue(statistics))


def test_monotone_maps_of_the_statistics_change_nothing():
    statistics = np.random.default_rng(0).normal(size=(100, 2))
    assert permutation_pvalue(statistics) == permutation_pvalue(np.exp(statistics) * [3.0, 0.1])


def test_ties_count_against_the_sample():
    assert permutation_pvalue(np.zeros((50, 2))) == 1.0
    assert permutation_pvalue(np.array([[1.0], [1.0], [0.0], [0.0]])) == 0.5


def test_level_of_exchangeable_statistics():
    """Under the null, P(p <= a) is at most a, for correlated statistics too: 2,000 draws of 100 rows each."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(2000, 100, 1))
    values = [permutation_pvalue(rows) for rows in common + rng.normal(size=(2000, 100, 2))]
    for level in (0.01, 0.05, 0.2, 0.5):
        share, error = np.mean(np.array(values) <= level + 1e-12), math.sqrt(level * (1 - level) / 2000)
        assert level - 4 * error - 0.01 < share < level + 4 * error


def test_permutations_keep_blocks_after_the_identity():
    blocks = [np.arange(3, 10), np.arange(3), np.arange(10, 11)]
    orders = permutations(blocks, 500, np.random.default_rng(0))
    assert orders.shape == (501, 11)
    assert (orders[0] == np.arange(11)).all()
    for block in blocks:
        assert (np.sort(orders[:, block], axis=1) == np.sort(block)).all()
    # Each of the three rows stands in each of the three places a third of the time.
    assert all(
        abs(np.mean(orders[1:, i] == j) - 1 / 3) < 4 * math.sqrt(2 / 9 / 500) for i in range(3) for j in range(3)
    )


def test_dependence_of_features_is_the_sum_of_squared_covariances():
    x, y = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    orders = torch.from_numpy(permutations([np.arange(40)], 3, np.random.default_rng(0)))
    found = dependence_of_features(x, y, orders, np.random.default_rng(1))
    # The same draws once more; covariances by NumPy.
    rng = np.random.default_rng(1)
    sides = []
    for side in (x.numpy(), y.numpy()):
        frequencies = rng.standard_normal((3, 48)) * 2.0 ** np.linspace(-1, 2, 48) / math.sqrt(3)
        sides.append(np.cos(side @ frequencies + rng.uniform(0, 2 * math.pi, 48)))
    for value, order in zip(found.tolist(), orders.numpy(), strict=True):
        covariance = np.cov(sides[0], sides[1][order], rowvar=False, bias=True)[:48, 48:]
        assert value == pytest.approx((40 * covariance**2).sum() * 40, rel=1e-9)


@pytest.mark.parametrize("relation", ["line", "parabola", "circle"])
def test_features_see_dependence_of_all_kinds(relation):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    y = {"line": x, "parabola": x**2, "circle": np.sqrt(np.maximum(0, 4 - x**2)) * rng.choice([-1, 1], (300, 1))}[
        relation
    ]
    y = y + 0.5 * rng.normal(size=(300, 1))
    x, y = torch.from_numpy(x), torch.from_numpy(y / y.std())
    orders = torch.from_numpy(permutations([np.arange(300)], 99, rng))
    assert permutation_pvalue(dependence_of_features(x, y, orders, rng).numpy()[:, None]) == 0.01


def test_level_of_features_under_independence():
    """400 independent pairs of 40 rows: p-values are uniform on 1/20, …, 1."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(400):
        x, y = torch.from_numpy(rng.normal(size=(2, 40, 2)))
        orders = torch.from_numpy(permutations([np.arange(40)], 19, rng))
        values.append(permutation_pvalue(dependence_of_features(x, y, orders, rng).numpy()[:, None]))
    counts = np.bincount(np.rint(20 * np.array(values)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
