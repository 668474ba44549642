import math

import numpy as np
import pytest

from infomax.statistics.labels import as_labels


def codes(n=600, values=6, seed=0):
    return np.random.default_rng(seed).integers(values, size=(n, 1)).astype(float)


def test_names_and_representation_do_not_matter():
    code = codes()
    expected = as_labels(code)
    index = code[:, 0].astype(int)
    names = np.array([7.25, -3.0, 1e9, 0.5, 0.25, 11.0])
    others = [names[index][:, None], np.eye(6)[index], np.stack([index // 2, index % 2], 1).astype(float)]
    for other in others:
        found = as_labels(other)
        assert (found.of_row == expected.of_row).all()
        assert (found.counts == expected.counts).all()


def test_labels_are_numbered_as_they_occur():
    found = as_labels(np.repeat([5.0, 1.0, 3.0], [6, 5, 7])[:, None])
    assert found.of_row.tolist() == [0] * 6 + [1] * 5 + [2] * 7
    assert found.counts.tolist() == [6, 5, 7]


@pytest.mark.parametrize(
    ("samples", "is_label"),
    [
        (codes(2000, 300), True),
        (codes(1000, 300), False),  # fewer than five rows a value
        ((codes(2000, 200) == 0).astype(float), True),  # a class of 0.5 %
        (np.eye(20)[codes(1000, 20)[:, 0].astype(int)], True),
        (np.random.default_rng(0).normal(size=(1000, 1)), False),
        (np.random.default_rng(0).normal(size=(1000, 1)).round(1), True),  # 60 values, of which few occur once
        (np.random.default_rng(0).normal(size=(1000, 1)).round(2), False),
        (np.random.default_rng(0).integers(2, size=(1000, 30)).astype(float), False),  # no two rows are equal
        (np.hstack([codes(1000, 2), np.random.default_rng(0).normal(size=(1000, 1))]), False),
    ],
)
def test_what_is_a_label(samples, is_label):
    assert (as_labels(samples) is not None) == is_label


def test_values_that_occur_once_are_no_labels():
    often = np.zeros((970, 1))
    assert as_labels(np.vstack([often, np.arange(1, 31)[:, None]])) is None  # 3 % of the rows
    assert as_labels(np.vstack([often, np.repeat(np.arange(1, 16), 2)[:, None]])) is not None


def test_entropy_is_the_jackknifed_one():
    """Against the definition: N times the entropy, less N - 1 times the mean of those without a row."""

    def entropy(values):
        shares = np.unique(values, return_counts=True)[1] / len(values)
        return -(shares * np.log(shares)).sum()

    code = np.repeat([0.0, 1.0, 2.0, 3.0], [17, 9, 6, 8])
    n = len(code)
    without = np.mean([entropy(np.delete(code, row)) for row in range(n)])
    found = as_labels(code[:, None]).entropies()
    assert found.mean() == pytest.approx(n * entropy(code) - (n - 1) * without, abs=1e-12)
    assert found[0] - found[-1] == pytest.approx(math.log(8 / 17))
