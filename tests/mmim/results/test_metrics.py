import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, mean_absolute_error

from mmim_example.results import metrics

QUARTERS = np.arange(-4, 4.25, 0.25)


def sentiment(seed, n=300):
    """Labels and predictions on a grid, so that halves, zeros and values beyond 3 all occur."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(QUARTERS, n)
    return labels + rng.choice([-1, -0.5, 0, 0.25], n), labels


def classes(seed, n=200, count=4):
    rng = np.random.default_rng(seed)
    labels = rng.choice(count, n, p=np.arange(1, count + 1) / (count * (count + 1) / 2))
    return rng.normal(size=(n, count)) + 1.5 * np.eye(count)[labels], labels


@pytest.mark.parametrize("seed", range(5))
def test_regression_agrees_with_scikit_learn_and_scipy(seed):
    x, y = sentiment(seed)
    found = metrics.regression(x, y)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, x), abs=1e-12)
    assert found["corr"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert found["acc2_zero"] == pytest.approx(accuracy_score(y >= 0, x >= 0), abs=1e-12)
    assert found["f1_zero"] == pytest.approx(f1_score(y >= 0, x >= 0, average="weighted"), abs=1e-12)
    kept = y != 0
    assert found["acc2"] == pytest.approx(accuracy_score(y[kept] > 0, x[kept] > 0), abs=1e-12)
    assert found["f1"] == pytest.approx(f1_score(y[kept] > 0, x[kept] > 0, average="weighted"), abs=1e-12)


@pytest.mark.parametrize(("name", "limit"), [("acc7", 3), ("acc5", 2)])
def test_rounded_accuracies_agree_with_a_loop(name, limit):
    x, y = sentiment(7)

    def rounded(value):
        return round(max(-limit, min(limit, value)))  # Python rounds halves to even, too

    right = sum(rounded(a) == rounded(b) for a, b in zip(x.tolist(), y.tolist(), strict=True))
    assert metrics.regression(x, y)[name] == right / len(y)


def test_halves_go_to_the_even_neighbour():
    halves, even = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), np.array([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0])
    assert metrics.regression(halves, even)["acc7"] == 1


def test_a_prediction_of_zero_is_non_negative_with_zeros_and_negative_without():
    found = metrics.regression(np.zeros(2), np.array([1.0, 2.0]))
    assert found["acc2_zero"] == 1
    assert found["acc2"] == 0


@pytest.mark.parametrize(
    ("x", "y"), [([0.1] * 7, range(7)), (range(7), [0.3] * 7), ([1.0], [2.0]), ([0.1] * 7, [0.1] * 7)]
)
def test_correlation_with_a_constant_is_nan(x, y):
    assert math.isnan(metrics.regression(np.array(x), np.array(y))["corr"])


@pytest.mark.parametrize("scale", [1e-170, 1e-6, 1.0, 1e170])
def test_correlation_is_that_of_any_scale(scale):
    x, y = sentiment(1)
    assert metrics.regression(x * scale, y)["corr"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


def test_metrics_without_zeros_are_nan_where_every_label_is_zero():
    found = metrics.regression(np.array([0.5, -0.5]), np.zeros(2))
    assert math.isnan(found["acc2"])
    assert math.isnan(found["f1"])
    assert found["acc2_zero"] == 0.5


def test_float32_and_lists_give_the_same_numbers():
    x, y = sentiment(3)
    expected = pytest.approx(metrics.regression(x, y), abs=1e-12)
    assert metrics.regression(x.astype(np.float32), y.astype(np.float32)) == expected
    assert metrics.regression(x.tolist(), y.tolist()) == expected


@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(seed):
    scores, labels = classes(seed)
    found = metrics.classification(scores, labels)
    guesses = scores.argmax(1)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(labels, guesses),
            "f1_macro": f1_score(labels, guesses, average="macro"),
            "f1_weighted": f1_score(labels, guesses, average="weighted"),
            "cross_entropy": log_loss(labels, probabilities, labels=range(4)),
        },
        abs=1e-9,
    )
    assert (metrics.confusion(guesses, labels, 4) == confusion_matrix(labels, guesses)).all()


def test_a_class_that_is_neither_true_nor_predicted_does_not_count():
    scores, labels = classes(0, count=3)
    absent = np.concatenate([scores, np.full((len(scores), 1), -50.0)], 1)
    assert metrics.classification(absent, labels) == pytest.approx(metrics.classification(scores, labels), abs=1e-9)


def test_cross_entropy_of_large_scores_is_finite():
    found = metrics.classification(np.array([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1]))
    assert found["cross_entropy"] == pytest.approx(1e4)


def test_every_metric_has_a_label():
    sims = metrics.sims(np.zeros(2), np.zeros(2))
    names = [*metrics.regression(*sentiment(0)), *metrics.classification(*classes(0)), *sims]
    assert set(metrics.LABELS) == set(names)


ONE = np.ones(3)


@pytest.mark.parametrize(
    ("function", "x", "y", "text"),
    [
        (metrics.regression, ONE, np.ones(4), "predictions must have as many rows as labels; got 3 and 4"),
        (metrics.regression, [], [], "predictions must have at least one row; got none"),
        (metrics.regression, [1, np.nan, np.inf], ONE, "predictions must be finite; got 2 values that are not"),
        (metrics.regression, ONE, [1, np.nan, 0], "labels must be finite; got 1 values"),
        (metrics.regression, np.ones((3, 1)), ONE, r"predictions must be of shape \(N,\); got \(3, 1\)"),
        (metrics.classification, ONE, ONE, r"scores must be of shape \(N, C\); got \(3,\)"),
        (metrics.classification, np.ones((3, 0)), ONE, r"scores must have at least one row; got \(3, 0\)"),
        (metrics.classification, np.ones((3, 2)), [0, 1], "scores must have as many rows as labels; got 3 and 2"),
        (metrics.classification, np.ones((3, 2)), [0, 1, 2], "labels must be integers from 0 to 1; got 2"),
        (metrics.classification, np.ones((3, 2)), [0, 1, 0.5], "from 0 to 1; got 0.5"),
        (metrics.classification, np.full((3, 2), np.nan), [0, 1, 0], "scores must be finite; got 6 values"),
    ],
)
def test_bad_input_is_refused(function, x, y, text):
    with pytest.raises(ValueError, match=text):
        function(x, y)


def mae_only(x, y):
    return {"mae": float(np.abs(x - y).mean())}


def covered(low, high, truth):
    return np.mean([a <= truth <= b for a, b in zip(low, high, strict=True)])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Mean absolute error of standard normal residuals: √(2/π)."""
    rng = np.random.default_rng(0)
    intervals = []
    for repetition in range(200):
        residuals = rng.normal(size=60)
        found = metrics.bootstrap(mae_only, residuals, np.zeros(60), level=0.9, resamples=300, seed=repetition)
        intervals.append(found["mae"])
    share = covered(*zip(*intervals, strict=True), math.sqrt(2 / math.pi))
    assert abs(share - 0.9) < 3.3 * math.sqrt(0.9 * 0.1 / 200)


def test_groups_are_drawn_as_a_whole():
    """Rows of a video share their error: over rows the intervals are far too narrow, over videos they are right."""
    rng = np.random.default_rng(1)
    truth, of = math.sqrt(2 / math.pi), np.repeat(np.arange(40), 10)
    by_rows, by_groups = [], []
    for repetition in range(150):
        residuals = rng.normal(size=40)[of]
        settings = {"level": 0.9, "resamples": 200, "seed": repetition}
        by_rows.append(metrics.bootstrap(mae_only, residuals, np.zeros(400), **settings)["mae"])
        names = [f"video {i}" for i in of]
        by_groups.append(metrics.bootstrap(mae_only, residuals, np.zeros(400), groups=names, **settings)["mae"])
    assert covered(*zip(*by_rows, strict=True), truth) < 0.6
    assert abs(covered(*zip(*by_groups, strict=True), truth) - 0.9) < 3.3 * math.sqrt(0.9 * 0.1 / 150)


def test_groups_keep_their_rows_together_whatever_their_order():
    of = np.array(["b", "a", "c", "a", "b", "a"])
    seen = []

    def remember(x, y):
        seen.append(x)
        return mae_only(x, y)

    rows = np.arange(6)
    metrics.bootstrap(remember, rows, rows, resamples=50, seed=0, groups=of)
    for drawn in seen:
        times = np.bincount(drawn.astype(int), minlength=6)
        assert times[0] == times[4]
        assert times[1] == times[3] == times[5]
        assert times[0] + times[1] + times[2] == 3
    assert len({len(drawn) for drawn in seen}) > 1


def test_groups_of_one_row_are_rows():
    x, y = sentiment(2, n=40)
    expected = metrics.bootstrap(metrics.regression, x, y, resamples=50, seed=3)
    assert metrics.bootstrap(metrics.regression, x, y, resamples=50, seed=3, groups=range(40)) == expected


def test_the_seed_decides_the_intervals():
    x, y = sentiment(2)
    one, same, other = (metrics.bootstrap(metrics.regression, x, y, resamples=100, seed=s) for s in (0, 0, 1))
    assert one == same != other
    assert all(low <= metrics.regression(x, y)[name] <= high for name, (low, high) in one.items())


def test_intervals_of_class_scores():
    scores, labels = classes(0)
    found = metrics.bootstrap(metrics.classification, scores, labels, resamples=100, seed=0)
    values = metrics.classification(scores, labels)
    assert all(low < values[name] < high for name, (low, high) in found.items())


def test_resamples_where_a_metric_is_nan_are_left_out():
    x, y = np.array([1.0, -1.0, 1.0]), np.array([1.0, 0.0, 0.0])  # one resample in three has no label but 0
    found = metrics.bootstrap(metrics.regression, x, y, resamples=200, seed=0)
    assert found["acc2"] == (1.0, 1.0)
    nothing = metrics.bootstrap(metrics.regression, x, np.zeros(3), resamples=20, seed=0)
    assert all(math.isnan(end) for end in nothing["acc2"])


@pytest.mark.parametrize("groups", [None, ["a"]])
def test_one_row_or_group_says_nothing_of_its_spread(groups):
    found = metrics.bootstrap(metrics.regression, [1.0], [0.5], seed=0, groups=groups)
    assert set(found) == set(metrics.regression([1.0], [0.5]))
    assert all(math.isnan(end) for ends in found.values() for end in ends)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"predictions": np.ones(4)}, "predictions must have as many rows as labels; got 4 and 3"),
        ({"predictions": np.array([1, np.nan, 1])}, "predictions must be finite"),
        ({"predictions": [], "labels": []}, "labels must have at least one row; got none"),
        ({"groups": ["a", "b"]}, "groups must have as many rows as labels; got 2 and 3"),
        ({"level": 1.0}, "level must lie between 0 and 1; got 1.0"),
        ({"level": math.nan}, "level must lie between 0 and 1; got nan"),
        ({"resamples": 0}, "resamples must be at least 1; got 0"),
    ],
)
def test_bad_input_of_the_bootstrap_is_refused(change, text):
    given = {"predictions": ONE, "labels": ONE, "seed": 0} | change
    with pytest.raises(ValueError, match=text):
        metrics.bootstrap(metrics.regression, **given)


EDGES = {
    "acc2_sims": [-1.01, 0.0, 1.01],
    "acc3": [-1.01, -0.1, 0.1, 1.01],
    "acc5": [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01],
}


class TestSims:
    """The metrics of CH-SIMS, with the intervals of its tables."""

    @staticmethod
    def interval(value, edges):
        return next(i for i in range(len(edges) - 1) if edges[i] < value <= edges[i + 1])

    def test_against_loops_over_the_intervals(self):
        rng = np.random.default_rng(0)
        x, y = rng.uniform(-1.4, 1.4, 500), rng.choice(np.arange(-5, 6) / 5, 500)
        found, clipped = metrics.sims(x, y.astype("f4")), x.clip(-1, 1)
        assert found["mae"] == pytest.approx(np.mean(np.abs(clipped - y)), abs=1e-6)
        assert found["corr"] == pytest.approx(np.corrcoef(clipped, y)[0, 1])
        for name, edges in EDGES.items():
            same = [self.interval(a, edges) == self.interval(b, edges) for a, b in zip(clipped, y, strict=True)]
            assert found[name] == pytest.approx(np.mean(same))
        assert found["f1_sims"] == pytest.approx(f1_score(y > 0, x > 0, average="weighted"))

    def test_limits_belong_to_the_class_below_them_in_float32_too(self):
        labels = np.array([-0.7, -0.1, 0.1, 0.7], np.float32)
        assert metrics.sims(labels.astype(float) - 0.01, labels)["acc5"] == 1
        assert metrics.sims(labels.astype(float) + 0.01, labels)["acc5"] == 0

    def test_labels_of_another_data_set_are_refused(self):
        with pytest.raises(ValueError, match=r"labels must lie in -1\.\.1 for the metrics of CH-SIMS; got -2"):
            metrics.sims(np.zeros(2), np.array([1.0, -2.0]))
