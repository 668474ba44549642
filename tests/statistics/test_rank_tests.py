import math

import numpy as np
import pytest
import torch
from scipy import stats

from infomax.statistics import rank_tests as discovery
from infomax.statistics.rank_tests import qvalues, rank_pvalues, table_pvalue


@pytest.mark.parametrize(("correction", "method"), [("benjamini-hochberg", "bh"), ("benjamini-yekutieli", "by")])
def test_qvalues_are_scipys_adjusted_pvalues(correction, method):
    rng = np.random.default_rng(0)
    for size in (1, 2, 50):
        p = np.round(rng.random(size) ** 3, 2)  # with ties
        np.testing.assert_allclose(qvalues(p, correction), stats.false_discovery_control(p, method=method), rtol=1e-12)


def test_an_unknown_correction():
    with pytest.raises(ValueError, match=r"correction must be one of benjamini-hochberg, .*; got 'bonferroni'"):
        qvalues(np.ones(3), "bonferroni")


def naive_statistic(ranks_x, ranks_y):
    """Plain loops: the smallest chi-squared tail of the six sums, as minus its logarithm."""
    n = len(ranks_x)
    scores = [stats.norm.ppf((rank + 0.5) / n) for rank in range(n)]
    size = sum(score**2 for score in scores)
    correlation = sum(scores[a] * scores[b] for a, b in zip(ranks_x, ranks_y, strict=True)) / size
    tails = [stats.chi2.sf((n - 1) * correlation**2, 1)]
    for width in (1, 2, 4, 8, 16):
        total = 0.0
        for k in range(1, width + 1):
            for m in range(1, width + 1):
                pairs = zip(ranks_x, ranks_y, strict=True)
                cosines = [
                    math.cos(math.pi * k * (a + 0.5) / n) * math.cos(math.pi * m * (b + 0.5) / n) for a, b in pairs
                ]
                total += (n - 1) * (2 / n * sum(cosines)) ** 2
        tails.append(stats.chi2.sf(total, width**2))
    return -math.log(min(tails))


def test_pvalues_are_the_naive_count():
    rng = np.random.default_rng(0)
    n, draws = 30, 99
    x = rng.normal(size=(n, 2))
    y = np.column_stack([x[:, 0] + 0.5 * rng.normal(size=n), rng.normal(size=n), x[:, 1] ** 2])
    found = rank_pvalues(x, y, draws=draws, rng=np.random.default_rng(7))
    null = discovery._null_statistics(n, draws, _after_ranks(7, n, 5))
    for i in range(2):
        for j in range(3):
            observed = naive_statistic(stats.rankdata(x[:, i]).astype(int) - 1, stats.rankdata(y[:, j]).astype(int) - 1)
            expected = (1 + (null >= observed * (1 - 1e-5)).sum()) / (1 + draws)
            assert found[i, j] == pytest.approx(expected)
    assert found[0, 0] < 0.05
    assert found[1, 2] == 0.01


def _after_ranks(seed, n, columns):
    """The generator as it stands when the null distribution is drawn."""
    rng = np.random.default_rng(seed)
    for _ in range(columns):
        rng.random(n)
    return rng


def test_blocks_of_columns_change_nothing(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 7))
    expected = rank_pvalues(x, x[:, :5], draws=99, rng=np.random.default_rng(1))
    monkeypatch.setattr(discovery, "_COLUMNS", 3)
    assert (rank_pvalues(x, x[:, :5], draws=99, rng=np.random.default_rng(1)) == expected).all()


@pytest.mark.parametrize("kind", ["normal", "coins", "heavy"])
@pytest.mark.parametrize("n", [20, 100])
def test_level_under_independence(kind, n):
    """40 × 40 independent pairs: of each sample 1,600 p-values, uniform on 1/200, …, 1."""
    rng = np.random.default_rng(n)
    draw = {
        "normal": lambda: rng.normal(size=(n, 40)),
        "coins": lambda: rng.integers(2, size=(n, 40)) * 1.0,
        "heavy": lambda: rng.standard_cauchy((n, 40)),
    }[kind]
    values = np.concatenate([rank_pvalues(draw(), draw(), draws=1999, rng=rng).ravel() for _ in range(3)])
    for level in (0.005, 0.05, 0.2, 0.5):
        error = math.sqrt(level * (1 - level) / len(values))
        assert abs((values <= level).mean() - level) < 5 * error


def test_the_limit_of_the_null_distribution_is_that_of_many_rows():
    """Its 50, 95 and 99.5 % points are those of 2,500 rows; at 1,000 rows, it is at most conservative."""
    rng = np.random.default_rng(0)
    limit = discovery._limit_statistics(200_000, rng)
    many, fewer = discovery._null_statistics(2500, 3_000, rng), discovery._null_statistics(1000, 8_000, rng)
    for level in (0.5, 0.05, 0.005):
        point = np.quantile(limit, 1 - level)
        assert abs((many >= point).mean() - level) < 4.5 * math.sqrt(level / 3000)
        assert (
            -0.1 * level - 4 * math.sqrt(level / 8000) < (fewer >= point).mean() - level < 4 * math.sqrt(level / 8000)
        )


def test_the_limit_is_that_of_normal_covariances():
    """The same statistic of matrices of normal numbers with the covariances of the functions."""
    rng = np.random.default_rng(0)
    basis = discovery._basis(1000).double()
    root = torch.linalg.cholesky(basis.T @ basis)
    normal = torch.from_numpy(rng.standard_normal((20_000, 17, 17)))
    expected = discovery._statistics(root @ normal @ root.T / math.sqrt(999), 1000)
    assert stats.ks_2samp(expected, discovery._limit_statistics(20_000, rng)).pvalue > 0.01


@pytest.mark.parametrize("n", [1000, 1500])
def test_level_of_many_rows(n):
    """60 × 60 independent pairs of three samples, with the limit of the null distribution."""
    rng = np.random.default_rng(n)
    found = [rank_pvalues(rng.normal(size=(n, 60)), rng.normal(size=(n, 60)), draws=9999, rng=rng) for _ in range(3)]
    values = np.concatenate([one.ravel() for one in found])
    for level in (0.005, 0.05, 0.2, 0.5):
        assert abs((values <= level).mean() - level) < 0.05 * level + 5 * math.sqrt(level * (1 - level) / len(values))


@pytest.mark.parametrize("relation", ["line", "parabola", "circle", "spread", "wave", "coin"])
def test_dependence_of_all_kinds_is_seen(relation):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y = {
        "line": x,
        "parabola": x**2,
        "circle": np.sqrt(np.maximum(0, 4 - x**2)) * rng.choice([-1, 1], (200, 1)),
        "spread": x * rng.normal(size=(200, 1)),
        "wave": np.cos(4 * x),
        "coin": np.sign(x),
    }[relation]
    assert rank_pvalues(x, y + 0.3 * rng.normal(size=(200, 1)), draws=999, rng=rng).item() == 0.001


def test_table_pvalue_is_scipys_likelihood_ratio():
    rng = np.random.default_rng(0)
    x, y = rng.integers(3, size=300), rng.integers(4, size=300)
    y = np.where(rng.random(300) < 0.1, x, y)
    counts = np.histogram2d(x, y, bins=[3, 4])[0]
    expected = stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood").pvalue
    assert table_pvalue(x, y) == pytest.approx(expected, rel=1e-9)
    assert table_pvalue(np.zeros(10, int), y[:10]) == 1.0
