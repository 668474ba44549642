"""The default of `estimate` where a side is a label."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from infomax import InfomaxWarning, estimate
from infomax.estimators.base import Measurement
from infomax.estimators.default.alternatives import with_neighbours_of_labels
from infomax.estimators.default.label_test import labels_pvalue
from infomax.estimators.default.labelled import Labelled, better, carries_order
from infomax.estimators.default.nominal import Parts
from infomax.estimators.default.tables import Smoothed, table_pvalue
from infomax.statistics.labels import as_labels
from infomax.tasks.discrete import flip_probability, label_information


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)
        yield


def line_of_classes(n, classes, dim, step, seed=0):
    """Uniform classes whose means lie on the diagonal; a linear map mixes the columns."""
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=(n, 1))
    x = step * label / math.sqrt(dim) + rng.normal(size=(n, dim))
    return x @ rng.normal(size=(dim, dim)), label.astype(float)


@pytest.mark.parametrize(("n", "classes", "dim", "step"), [(800, 3, 8, 1.5), (200, 2, 3, 1.0), (600, 8, 20, 1.0)])
def test_known_information(n, classes, dim, step):
    result = estimate(*line_of_classes(n, classes, dim, step), progress=False)
    low, high = result.confidence_interval(0.99)
    assert low < label_information(step, classes) < high
    assert abs(result.mi - label_information(step, classes)) < 0.12
    assert result.local.mean() == pytest.approx(result.mi)
    assert result.pvalue == 0.005


def test_names_and_representation_of_labels_do_not_change_the_number():
    x, label = line_of_classes(240, 5, 4, 1.0)
    index = label[:, 0].astype(int)
    expected = estimate(x, label, progress=False)
    for other in (np.array([3, 0, 4, 1, 2])[index], np.eye(5)[index], np.stack([index % 2, index // 2], 1)):
        found = estimate(x, other, progress=False)
        assert found.mi == pytest.approx(expected.mi, abs=1e-9)
        assert found.confidence_interval() == pytest.approx(expected.confidence_interval(), abs=1e-9)
        assert found.pvalue == expected.pvalue


def test_separated_classes_have_their_entropy_and_not_more():
    rng = np.random.default_rng(0)
    label = rng.choice(4, size=500, p=[0.6, 0.3, 0.08, 0.02])
    result = estimate(30 * np.eye(4)[label] + rng.normal(size=(500, 4)), label, progress=False)
    entropy = as_labels(label[:, None].astype(float)).entropies().mean()
    assert result.mi == pytest.approx(entropy, abs=0.005)
    assert result.mi <= entropy + 1e-12


def test_independent_labels():
    rng = np.random.default_rng(1)
    for classes, dim in ((2, 1), (10, 30)):
        x, label = rng.normal(size=(250, dim)), rng.integers(classes, size=250)
        result = estimate(x, label, progress=False)
        low, high = result.confidence_interval()
        assert abs(result.mi) < 0.03
        assert low <= 0.001
        assert high >= 0


def test_pvalues_have_their_level():
    rng = np.random.default_rng(0)
    found = []
    for seed in range(200):
        x, label = rng.normal(size=(60, 3)), as_labels(rng.integers(3, size=(60, 1)).astype(float))
        found.append(labels_pvalue(label, x, 19, np.random.default_rng(seed)))
    assert 3 <= sum(p <= 0.05 for p in found) <= 19  # 10 of 200; 1 in 1,000 beyond either
    assert 75 <= sum(p <= 0.5 for p in found) <= 125


def test_classes_that_differ_by_their_covariance_or_on_circles():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=1000)
    angle, radius = rng.uniform(0, 2 * np.pi, 1000), 1 + 2 * label
    x = (radius * np.array([np.cos(angle), np.sin(angle)])).T + 0.1 * rng.normal(size=(1000, 2))
    assert estimate(x, label, progress=False).mi > 0.67
    signs = rng.normal(size=(1000, 2))
    label = signs[:, 0] * signs[:, 1] > 0
    result = estimate(signs, label, progress=False)
    assert result.mi > 0.45
    assert result.confidence_interval()[1] > 0.62


def stripes(n, count, seed=0):
    """A label that alternates between ``count`` ranges of a column: log 2 nats."""
    x = np.random.default_rng(seed).uniform(size=n)
    return x, np.floor(count * x) % 2


class TestManyNarrowRanges:
    """No smooth function of the column tells the classes apart; its nearest neighbours do."""

    @pytest.mark.parametrize(("n", "least", "most"), [(300, 0.3, 0.7), (1000, 0.58, 0.70), (5000, 0.66, 0.70)])
    def test_stripes(self, n, least, most):
        result = estimate(*stripes(n, 32), progress=False)
        assert least < result.mi < most
        assert result.confidence_interval()[1] > math.log(2) - 0.01
        assert result.pvalue == result.least_pvalue

    def test_noisy_stripes(self):
        """A tenth of the labels are the other one."""
        x, label = stripes(2000, 16)
        label = np.where(np.random.default_rng(1).random(2000) < 0.1, 1 - label, label)
        truth = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
        low, high = estimate(x, label, progress=False).confidence_interval()
        assert truth - 0.1 < low < truth < high < truth + 0.1

    def test_the_estimate_is_that_of_scikit_learn(self):
        """Ross's, with noise that breaks ties in both."""
        from sklearn.feature_selection import mutual_info_classif

        x, label = stripes(1000, 8)
        labels = as_labels(label[:, None])
        none = Measurement(-9.0, 0.0, 0.0, np.full(1000, -9.0))  # so far below that it moves all the way
        ours = with_neighbours_of_labels(none, labels.of_row, x[:, None], np.random.default_rng(0))
        theirs = mutual_info_classif(x[:, None], label.astype(int), n_neighbors=3, random_state=0)
        assert ours.value == pytest.approx(theirs[0], abs=0.03)

    def test_copied_rows_are_no_neighbours(self):
        rng = np.random.default_rng(0)
        x, label = rng.normal(size=(300, 2)), rng.integers(2, size=300)
        copies = np.tile(np.arange(300), 4)
        assert estimate(x[copies, 0], label[copies], progress=False).mi < 0.5


class TestBothSides:
    @pytest.mark.parametrize(("symbols", "n"), [(20, 1000), (60, 2000)])
    def test_a_channel_of_many_symbols(self, symbols, n):
        rng = np.random.default_rng(0)
        mi = 0.6 * math.log(symbols)
        flip = flip_probability(mi, symbols)
        x = rng.integers(symbols, size=n)
        y = (x + (rng.random(n) < flip) * rng.integers(1, symbols, size=n)) % symbols
        names = rng.permutation(symbols)
        found = Labelled.of(x[:, None].astype(float), names[y][:, None].astype(float))
        result = found.measure(99, np.random.default_rng(0))
        assert result.value == pytest.approx(mi, abs=0.1)
        assert result.pvalue == 0.01
        assert result.local.mean() == pytest.approx(result.value)

    def test_each_row_is_left_out(self):
        rng = np.random.default_rng(0)
        x, y = (as_labels(rng.integers(4, size=(60, 1)).astype(float)) for _ in range(2))
        smoothed = Smoothed(0.5, 2.0)
        for row, found in enumerate(smoothed.left_one_out(x, y)[:20]):
            others = np.arange(60) != row
            same = others & (x.of_row == x.of_row[row])
            counts = np.bincount(y.of_row[same], minlength=4)
            own, share = counts[y.of_row[row]], y.counts[y.of_row[row]] / 60
            mass = 2.0 + 0.5 * (counts > 0).sum()
            expected = (max(own - 0.5, 0) + mass * share) / (same.sum() + 2.0)
            assert found == pytest.approx(math.log(expected / share))

    def test_independent_codes(self):
        rng = np.random.default_rng(0)
        x, y = (as_labels(rng.integers(40, size=(1000, 1)).astype(float)) for _ in range(2))
        found = Labelled(np.zeros((1000, 1)), np.zeros((1000, 1)), x, y).measure(19, rng)
        assert abs(found.value) < 0.01
        pvalues = []
        for _ in range(200):
            x, y = (as_labels(rng.integers(10, size=(60, 1)).astype(float)) for _ in range(2))
            pvalues += [table_pvalue(x, y, 19, rng)] if x and y else []
        assert 0.01 <= np.mean(np.array(pvalues) <= 0.05) <= 0.1


class TestOrder:
    def test_order_of_counts_and_names_of_codes(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(800, 1))
        count = np.clip(np.rint(6 * x + 2 * rng.normal(size=(800, 1))), -14, 14)
        labels = as_labels(count)
        assert carries_order(labels, count[:, 0], x, np.random.default_rng(0))
        names = rng.permutation(29)[count.astype(int) + 14]
        assert not carries_order(as_labels(names.astype(float)), names[:, 0].astype(float), x, np.random.default_rng(0))
        few = np.sign(count)
        assert not carries_order(as_labels(few), few[:, 0], x, np.random.default_rng(0))

    def test_separated_numbers_are_not_measured_twice(self):
        label = np.random.default_rng(0).integers(12, size=(200, 1)).astype(float)
        found = Labelled.of(50 * label + np.random.default_rng(1).normal(size=(200, 1)), label)
        assert found.ordered(np.random.default_rng(0))
        assert found.explained(Measurement(0.99 * found.entropy, 0.1))
        assert not found.explained(Measurement(0.9 * found.entropy, 0.1))

    def test_the_larger_is_kept_at_a_price_and_below_the_entropy(self):
        rng = np.random.default_rng(0)
        low, more = rng.normal(size=(2, 400))
        low, more = low - low.mean() + 0.3, low - low.mean() + 0.1 * (more - more.mean()) + 0.9
        nominal = Measurement(0.3, 0.05, 0.02, low, pvalue=0.5, permutations=19)
        numeric = Measurement(0.9, 0.05, 0.01, more, pvalue=0.1, permutations=19)
        found = better(nominal, numeric, 2.0)
        assert (found.value, found.gap, found.pvalue) == (0.9, 0.01, 0.5)
        assert found.stderr == pytest.approx(math.hypot(0.05, 0.5 * (more - low).std() / 20))
        capped = better(nominal, numeric, 0.8)
        assert capped.value == 0.8
        assert capped.local.mean() == pytest.approx(0.8)
        worse = better(nominal, replace(numeric, value=0.2, local=low - 0.1), 2.0)
        assert worse.value == 0.3


class TestInterval:
    def test_every_part_by_itself(self):
        n, none = 400, Parts(0.0, 0.0, 0.0, 0.0, 0.0)
        assert none.interval(n, 0) == (1 / n, 0.0)
        assert none.interval(n, 16) == (1 / n, pytest.approx(0.5 * math.sqrt(16 / n)))
        stderr, gap = replace(none, error=0.1).interval(n, 0)
        assert (stderr, gap) == (pytest.approx(math.hypot(2 / 20, 1 / n)), 0)
        stderr, gap = replace(none, lost=0.4).interval(n, 0)
        assert (stderr, gap) == (pytest.approx(math.hypot(0.1, 1 / n)), pytest.approx(0.1))
        stderr, gap = replace(none, overfitted=0.4).interval(n, 0)
        assert (stderr, gap) == (pytest.approx(math.hypot(0.05, 1 / n)), pytest.approx(0.2))
        assert replace(none, learned=0.4).interval(n, 0)[1] == pytest.approx(0.1)
        assert replace(none, learned=0.4, growth=0.1).interval(n, 0)[1] == pytest.approx(0.1 + 0.1 / (math.sqrt(2) - 1))
        assert replace(none, learned=0.01, growth=0.1).interval(n, 0)[1] == pytest.approx(0.0025 + 0.03)

    def test_few_rows_for_many_columns_are_corrected_and_widen_the_interval(self):
        """25 rows a class of 30 columns: held-out discriminants lose a third of a nat."""
        rng = np.random.default_rng(0)
        centres = 2.5 * rng.normal(size=(10, 30)) / math.sqrt(30)
        label = rng.integers(10, size=20_000)
        x = centres[label] + rng.normal(size=(20_000, 30))
        density = -0.5 * ((x[:, None] - centres) ** 2).sum(2)
        own = density[np.arange(20_000), label] - np.logaddexp.reduce(density, 1)
        truth = math.log(10) + own.mean()
        result = estimate(x[:250], label[:250], progress=False)
        low, high = result.confidence_interval()
        assert low < truth < high
        assert abs(result.mi - truth) < 0.2
        assert result.gap > 0.5 * math.sqrt(30 / 250) + 0.03
        fewer = estimate(x[:100], label[:100], progress=False)
        assert any("are a correction for errors" in text for text in fewer.warnings)
        many = estimate(x[:2000, :3], label[:2000], progress=False)
        assert not any("are a correction for errors" in text for text in many.warnings)
