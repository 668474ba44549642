"""Class probabilities by histograms of single columns."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from infomax import estimate
from infomax.estimators.default.class_columns import by_columns


def folds_of(n, count=4):
    return list(torch.arange(n).chunk(count))


def test_ratios_are_those_of_frequencies_among_the_other_folds():
    """A second implementation, by counting, of one column of four values that are its four ranges."""
    rng = np.random.default_rng(0)
    n = 120  # fewer than 8 rows for each of 16 ranges: only four are tried
    x = np.resize(np.arange(4.0), n)
    label = (rng.random(n) < np.array([0.02, 0.1, 0.9, 0.98])[x.astype(int)]).astype(int)
    found = by_columns(x[:, None], torch.from_numpy(label), 2, folds_of(n))
    assert bool(found.abs().max(1).values.gt(0).all())
    for row in (0, 37, 82, 119):
        others = [i for i in range(n) if i // 30 != row // 30]
        prior = np.array([label[others].tolist().count(c) + 0.5 for c in (0, 1)])
        prior /= prior.sum()
        here = Counter(label[i] for i in others if x[i] == x[row])
        rows = sum(here.values())
        for c in (0, 1):
            expected = math.log((here[c] + 2 * prior[c]) / (rows + 2) / prior[c])
            assert float(found[row, c]) == pytest.approx(expected, abs=1e-12)


def test_columns_without_information_are_not_used():
    rng = np.random.default_rng(1)
    x, label = rng.normal(size=(1000, 30)), torch.from_numpy(rng.integers(3, size=1000))
    assert not by_columns(x, label, 3, folds_of(1000)).any()


def test_too_few_rows_for_ranges():
    assert not by_columns(np.arange(20.0)[:, None], torch.arange(20) % 2, 2, folds_of(20)).any()


@pytest.mark.parametrize("columns", [1, 3])
def test_each_column_has_its_own_ranges(columns):
    """Labels count the columns that lie in a band, among 20 columns: no discriminant, and few rows for a network."""
    x = np.random.default_rng(2).normal(size=(1500, 20))
    label = (np.abs(x[:, :columns]) < 0.6744898).sum(1)
    counts = [math.comb(columns, c) / 2**columns for c in range(columns + 1)]
    entropy = -sum(share * math.log(share) for share in counts)
    result = estimate(x, label, progress=False)
    assert result.mi > 0.75 * entropy
    assert result.confidence_interval()[1] > entropy - 0.02
    assert result.pvalue == result.least_pvalue


def test_a_label_that_one_of_ten_columns_tells_by_narrow_ranges():
    x = np.random.default_rng(3).uniform(size=(1500, 10))
    result = estimate(x, np.floor(16 * x[:, 4]) % 2, progress=False)
    assert 0.5 < result.mi < 0.70
    assert result.confidence_interval()[1] > math.log(2) - 0.01
