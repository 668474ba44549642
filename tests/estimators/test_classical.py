import numpy as np
import pytest
from scipy.special import digamma, polygamma
from scipy.stats import norm, rankdata

import infomax
from infomax import tasks
from infomax.estimators import gaussian_copula, ksg, nearest_neighbours
from infomax.statistics.marginals import fit_margins, normal_scores

RNG = np.random.default_rng(0)


def test_normal_scores_are_quantiles_of_midranks():
    train = np.round(RNG.standard_cauchy((200, 2)), 1)  # with ties
    scores = fit_margins(train)(train)
    expected = norm.ppf((rankdata(train, axis=0) - 0.5) / 200)
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    assert (normal_scores(train) == scores).all()


def test_normal_scores_of_constant_and_distinct_columns():
    values = np.column_stack([np.full(50, 3.0), RNG.permutation(50), RNG.integers(2, size=50)])
    assert (normal_scores(values) == fit_margins(values)(values)).all()
    assert (normal_scores(values)[:, 0] == 0).all()


def test_normal_scores_of_new_rows_keep_order_and_stay_in_range():
    train = RNG.normal(size=(100, 1))
    new = np.sort(10 * RNG.normal(size=(500, 1)), axis=0)
    scores = fit_margins(train)(new)
    assert (np.diff(scores, axis=0) >= 0).all()
    assert abs(scores).max() == pytest.approx(norm.ppf(1 - 0.5 / 100))


def test_standard_margins_use_the_training_rows_only():
    train, new = np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[3.0, 1e6]])
    np.testing.assert_allclose(fit_margins(train, "standard")(new), [[2.0, 0.0]])
    np.testing.assert_allclose(fit_margins(train, "normal")(new)[:, 1], [0.0])
    assert fit_margins(train, "none")(new) is new
    with pytest.raises(ValueError, match="margins must be one of normal, standard, none; got 'rank'"):
        fit_margins(train, "rank")


@pytest.mark.parametrize("name", ["normal-1d-0", "normal-1d-2", "normal-5d-1", "normal-20d-2"])
def test_gaussian_copula_on_gaussians_and_their_monotone_images(name):
    task = tasks.get(name)
    errors = []
    for seed in range(5):
        x, y = task.sample(3000, seed)
        local = gaussian_copula(np.exp(x), y**3)
        np.testing.assert_allclose(local, gaussian_copula(x, y))
        errors.append((local.mean() - task.mi) / (local.std() / np.sqrt(3000)) if task.mi else local.mean() / 1e-3)
    assert abs(np.mean(errors)) < 2.0


def test_gaussian_copula_corrects_the_bias_of_small_samples():
    """20 + 20 independent columns, 200 rows: without the correction the value would be about 1.1."""
    values = [gaussian_copula(*RNG.normal(size=(2, 200, 20))).mean() for _ in range(20)]
    assert abs(np.mean(values)) < 0.05


def test_gaussian_copula_needs_more_rows_than_columns():
    with pytest.raises(ValueError, match=r"more than Dx \+ Dy \+ 1 = 13 rows .*; got 13"):
        gaussian_copula(RNG.normal(size=(13, 6)), RNG.normal(size=(13, 6)))


@pytest.mark.parametrize("classes", [2, 5])
def test_ksg_on_discrete_columns(classes):
    """A label, and the label seen through a channel that keeps it with probability 0.8: MI in closed form."""
    label = RNG.integers(classes, size=4000)
    kept = RNG.random(4000) < 0.8
    seen = np.where(kept, label, RNG.integers(classes, size=4000))
    stay = 0.8 + 0.2 / classes
    flip = (1 - stay) / (classes - 1)
    truth = np.log(classes) + stay * np.log(stay) + (classes - 1) * flip * np.log(flip)
    assert ksg(label[:, None] * 1.0, seen[:, None] * 1.0).mean() == pytest.approx(truth, abs=0.05)


def test_ksg_on_a_label_and_a_measurement():
    """y uniform on [label, label + 2), two labels: the overlap hides the label half of the time, MI = log(2) / 2."""
    label = RNG.integers(2, size=4000) * 1.0
    y = label + 2 * RNG.random(4000)
    assert ksg(label[:, None], y[:, None]).mean() == pytest.approx(0.5 * np.log(2), abs=0.03)


@pytest.mark.filterwarnings("ignore:ksg. (the estimate with k = 12|nearest neighbours)")
@pytest.mark.parametrize(("name", "dims"), [("1v1-additive-0.1", 2), ("normal-5d-1", 10), ("normal-20d-1", 40)])
def test_intervals_of_neighbours_reach_as_far_as_twelve_lose_more_than_three(name, dims):
    """These lose 0.08, 0.3 and 0.8 nats at 1,000 rows; the standard error alone is 0.03."""
    task, truth, covered, by_stderr_alone = tasks.get(name), tasks.get(name).mi, 0, 0
    for seed in range(5):
        x, y = task.sample(1000, seed)
        result = infomax.estimate(x, y, bound="ksg", progress=False)
        near, far = (ksg(x, y, neighbours=k) for k in (3, 12))
        assert result.stderr == pytest.approx(np.sqrt((near.var(ddof=1) + polygamma(1, 3)) / 1000))
        assert result.gap == pytest.approx(max(0.0, near.mean() - far.mean()) / (4 ** (1 / dims) - 1))
        low, high = result.confidence_interval()
        covered += low <= truth <= high
        by_stderr_alone += truth < result.mi + 1.96 * result.stderr
    assert by_stderr_alone <= 1
    assert covered >= 3


@pytest.mark.filterwarnings("ignore:ksg. (the estimate with k = 12|nearest neighbours)")
def test_few_of_many_rows_tell_what_neighbours_lose(monkeypatch):
    x, y = tasks.get("normal-5d-1").sample(3000, 0)
    whole = infomax.estimate(x, y, bound="ksg", progress=False)
    monkeypatch.setattr(nearest_neighbours, "_COMPARED", 1000)
    part = infomax.estimate(x, y, bound="ksg", progress=False)
    assert (part.mi, part.stderr) == (whole.mi, whole.stderr)
    assert part.gap == pytest.approx(whole.gap, rel=0.1)


@pytest.mark.parametrize("neighbours", [2, 5])
def test_on_a_standardised_scale_ksg_is_that_of_scikit_learn(neighbours):
    """Continuous and with labels (Ross 2014), which scikit-learn treats apart."""
    selection = pytest.importorskip("sklearn.feature_selection")
    rng = np.random.default_rng(0)
    x = rng.exponential(size=400)
    y = x + rng.exponential(size=400)
    label = (x > 1) + 2 * (rng.random(400) < 0.3)
    options = {"bound": "ksg", "n_neighbors": neighbours}
    for margins, tolerance in (("standard", 1e-3), ("none", 0.03)):  # x and y have other standard deviations
        expected = selection.mutual_info_regression(x[:, None], y, n_neighbors=neighbours, random_state=0)
        assert infomax.estimate(x, y, margins=margins, **options).mi == pytest.approx(expected[0], abs=tolerance)
        expected = selection.mutual_info_classif(y[:, None], label, n_neighbors=neighbours, random_state=0)
        assert infomax.estimate(y, label, margins=margins, **options).mi == pytest.approx(expected[0], abs=1e-3)
        assert infomax.estimate(y, label * 1e-4, margins=margins, **options).mi == pytest.approx(expected[0], abs=1e-3)


def test_units_and_outliers_of_raw_columns():
    """Noise against ties is small relative to the bulk of the rows, and no unit leaves the range of float64."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400))
    y = x + y
    values = [infomax.estimate(s * x, s * y, bound="ksg", margins="none").mi for s in (1.0, 2.0**900, 2.0**-900)]
    assert values[0] == values[1] == values[2]
    outlier = np.where(np.arange(400) == 7, 1e6, x)
    assert infomax.estimate(outlier, y, bound="ksg", margins="none").mi == pytest.approx(values[0], abs=0.05)


def exponentials(first, second):
    """x of rate a, and x plus another of rate b: Euler's constant + log((b - a) / a) + digamma(b / (b - a))."""
    truth = np.euler_gamma + np.log((second - first) / first) + digamma(second / (second - first))
    return lambda rng: np.cumsum(rng.exponential([1 / first, 1 / second], size=(1000, 2)), axis=1).T, truth


def gamma_and_rate(shape):
    """x of gamma distribution, y exponential with rate x: digamma(s) - log s + 1 / s."""

    def sample(rng):
        x = rng.gamma(shape, size=1000)
        return x, rng.exponential(1 / x)

    return sample, digamma(shape) - np.log(shape) + 1 / shape


SUMS = [exponentials(1, 2), exponentials(0.2, 0.3), exponentials(3, 3.1)]


@pytest.mark.parametrize(
    ("sample", "truth", "margins"),
    [
        *((*each, margins) for each in SUMS for margins in ("normal", "none")),
        (*gamma_and_rate(3.4), "normal"),
        (*gamma_and_rate(1.5), "normal"),
    ],
)
def test_ksg_on_skewed_columns_with_closed_forms(sample, truth, margins):
    """With k = 5: standard deviations up to 0.035, and a bias of -0.05 at the edge of the sums of exponentials.

    Heavy tails need normal scores: with raw columns the estimates of the last two are too small.
    """
    options = {"bound": "ksg", "n_neighbors": 5, "margins": margins}
    results = [infomax.estimate(*sample(np.random.default_rng(seed)), **options) for seed in range(8)]
    assert -0.08 < np.mean([result.mi for result in results]) - truth < 0.03
    covered = [low <= truth <= high for low, high in (result.confidence_interval() for result in results)]
    assert sum(covered) >= 6


def naive_conditional(x, y, z, k):
    """Frenzel and Pompe 2007 by plain loops."""
    n, total = len(x), 0.0
    for i in range(n):
        apart = np.abs(np.column_stack([x, y, z]) - [x[i], y[i], z[i]])
        radius = np.sort(apart.max(1))[k]
        counts = [int((apart[:, columns].max(1) < radius).sum()) - 1 for columns in ([0, 2], [1, 2], [2])]
        total += digamma(k) - digamma(counts[0] + 1) - digamma(counts[1] + 1) + digamma(counts[2] + 1)
    return total / n


@pytest.mark.filterwarnings("ignore:.*far below that with k = 4")
@pytest.mark.parametrize("neighbours", [1, 4])
def test_conditional_ksg_is_the_naive_one(neighbours):
    x, y, z = np.random.default_rng(0).normal(size=(3, 120))
    y = x + y + z
    result = infomax.conditional(x, y, z, bound="ksg", margins="none", n_neighbors=neighbours)
    assert result.mi == pytest.approx(naive_conditional(x, y, z, neighbours), abs=1e-3)


@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_ksg_with_other_numbers_of_neighbours(neighbours):
    x, y = tasks.get("normal-1d-1").sample(1000, 0)
    result = infomax.estimate(x, y, bound="ksg", n_neighbors=neighbours)
    expected, compared = (ksg(x, y, neighbours=k) for k in (neighbours, 4 * neighbours))
    assert result.mi == pytest.approx(expected.mean(), abs=1e-4)  # other noise against ties
    assert result.stderr == pytest.approx(np.sqrt((expected.var(ddof=1) + polygamma(1, neighbours)) / 1000), rel=1e-2)
    assert result.gap == pytest.approx(max(0.0, expected.mean() - compared.mean()) / (4**0.5 - 1), abs=1e-3)
    assert result.mi == pytest.approx(1.0, abs=0.1)


@pytest.mark.filterwarnings("ignore:ksg. the estimate with k = 100 is far below that with k = 25")
def test_more_neighbours_than_a_fourth_of_the_rows_are_compared_with_fewer():
    """With k = 100 of 300 rows most is lost; the comparison with k = 25 shows it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    y = x + rng.normal(size=(300, 1))
    result = infomax.estimate(x, y, bound="ksg", n_neighbors=100)
    near, far = (ksg(x, y, neighbours=k).mean() for k in (25, 100))
    assert result.gap == pytest.approx((near - far) / (1 - 0.25**0.5), abs=1e-3)
    assert result.mi < 0.25 < 0.5 * np.log(2) < result.confidence_interval()[1]


@pytest.mark.filterwarnings("ignore:.*the estimate with k = 28 is far below that with k = 7")
def test_numbers_of_neighbours_pass_through():
    x, y, z = np.random.default_rng(0).normal(size=(3, 100))
    y = x + y
    options = {"bound": "ksg", "n_neighbors": 7}
    expected = infomax.estimate(x, y, **options).mi
    assert expected != infomax.estimate(x, y, bound="ksg").mi
    assert infomax.estimate(x, y, bound=["gaussian", "ksg"], n_neighbors=7)[1].mi == expected
    assert infomax.pairwise(np.column_stack([x, y]), **options, progress=False).mi[0, 1] == expected
    assert infomax.conditional(x, y, z, **options).mi != infomax.conditional(x, y, z, bound="ksg").mi
    terms = infomax.interaction_information(x, y, z, **options).terms
    assert terms[1].estimate.mi == infomax.estimate(x, z, **options).mi
    assert infomax.total_correlation([x, y], **options).mi == expected


@pytest.mark.parametrize(
    ("bound", "neighbours", "message"),
    [
        ("ksg", 100, r"n_neighbors must lie in 1\.\.99, as there are 100 rows; got 100"),
        ("ksg", 0, "n_neighbors must be a whole number of at least 1; got 0"),
        ("ksg", 2.0, r"n_neighbors must be a whole number of at least 1; got 2\.0"),
        ("ksg", True, "n_neighbors must be a whole number of at least 1; got True"),
        ("gaussian", 5, "n_neighbors must be None unless the bound is 'ksg'; got 5 with 'gaussian'"),
        (["default", "ba"], 5, "n_neighbors must be None unless the bound is 'ksg'; got 5 with 'default', 'ba'"),
    ],
)
def test_numbers_of_neighbours_that_are_refused(bound, neighbours, message):
    with pytest.raises(ValueError, match=message):
        infomax.estimate(RNG.normal(size=100), RNG.normal(size=100), bound=bound, n_neighbors=neighbours)


def test_ksg_on_rounded_columns():
    values = [
        ksg(*(np.round(side, 1) for side in tasks.get("normal-5d-0").sample(400, seed))).mean() for seed in range(10)
    ]
    assert abs(np.mean(values)) < 0.03


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-60, 2.0**60, 2.0**1000])
def test_margins_do_not_depend_on_units(scale):
    """Squares of the smallest and largest numbers are not in float64."""
    train, values = np.random.default_rng(0).normal(3, 1, (2, 50, 2))
    for how in ("normal", "standard"):
        expected = fit_margins(train, how)(values)
        np.testing.assert_array_equal(fit_margins(scale * train, how)(scale * values), expected)
    plain = (values - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(fit_margins(scale * train, "standard")(scale * values), plain, rtol=1e-12)


@pytest.mark.parametrize(("factor", "offset"), [(1e39, 0), (1e-50, 0), (1.0, 1e12)])
def test_raw_values_that_float32_cannot_represent_are_refused(factor, offset):
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    with pytest.raises(ValueError, match=r"y must remain finite and varying as float32 if margins='none'; got .* from"):
        infomax.estimate(x, factor * y + offset, bound="infonce", margins="none", progress=False)
    assert np.isfinite(infomax.estimate(x, factor * y + offset, bound="ksg", margins="none").mi)
