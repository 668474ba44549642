import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression

from infomax import tasks
from infomax.estimators import ksg
from infomax.statistics import neighbours
from infomax.statistics.neighbours import count_within, ksg_terms, near_and_far_terms, neighbour_distances
from infomax.statistics.ordering import in_order

#: Of both sides: line, few dimensions, and so many that all pairs are faster.
DIMS = [(1, 1), (2, 1), (1, 3), (3, 3), (6, 2), (9, 8)]


@pytest.fixture(params=["sets", "scikit-learn", "SciPy", "threads"])
def workers(request, monkeypatch):
    """Each way to answer the same question."""
    if request.param != "sets":
        monkeypatch.setattr(neighbours, "_FEW", 0)
    monkeypatch.setattr(neighbours, "_WORTH_IMPORT", 0 if request.param == "scikit-learn" else 10**9)
    return 2 if request.param == "threads" else 1


def sample(x_dim, y_dim, n, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, x_dim)), rng.normal(size=(n, y_dim))
    y[:, 0] += x[:, 0]
    return x, y


def naive_terms(x, y, k):
    n, terms = len(x), []
    for i in range(n):
        in_x, in_y = np.abs(x - x[i]).max(1), np.abs(y - y[i]).max(1)
        radius = np.sort(np.maximum(in_x, in_y))[k]  # entry 0 is the point itself
        closer = (in_x < radius).sum(), (in_y < radius).sum()  # itself among them
        terms.append(digamma(k) + digamma(n) - digamma(closer[0]) - digamma(closer[1]))
    return np.array(terms)


@pytest.mark.parametrize(("x_dim", "y_dim"), DIMS)
@pytest.mark.parametrize("k", [1, 3, 10])
def test_every_row_has_the_papers_term(x_dim, y_dim, k, workers):
    x, y = sample(x_dim, y_dim, 150, seed=k)
    np.testing.assert_allclose(ksg_terms(x, y, k, workers=workers), naive_terms(x, y, k), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e200])
@pytest.mark.parametrize(("x_dim", "y_dim"), [(1, 1), (3, 3), (9, 8)])
def test_units_change_nothing(x_dim, y_dim, scale, workers):
    x, y = sample(x_dim, y_dim, 200)
    expected = ksg_terms(x, y, 3, workers=workers)
    np.testing.assert_allclose(ksg_terms(x * scale, y * scale, 3, workers=workers), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 7, 16, 17, 33])
@pytest.mark.parametrize(("x_dim", "y_dim"), DIMS)
def test_numbers_of_rows_that_no_block_divides(n, x_dim, y_dim, workers, monkeypatch):
    monkeypatch.setattr(neighbours, "_QUERIES", 5)
    x, y = sample(x_dim, y_dim, n)
    for k in (1, n - 1):
        np.testing.assert_allclose(ksg_terms(x, y, k, workers=workers), naive_terms(x, y, k), rtol=0, atol=1e-12)


def plain_terms(u, v, k):
    """As public recipes do it: three trees of SciPy, all rows at once."""
    joint = np.hstack([u, v])
    radius = KDTree(joint).query(joint, k=[k + 1], p=np.inf)[0][:, 0] - 1e-14
    counts = [KDTree(side).query_ball_point(side, radius, p=np.inf, return_length=True) for side in (u, v)]
    return digamma(k) + digamma(len(u)) - digamma(counts[0]) - digamma(counts[1])


@pytest.mark.parametrize(("x_dim", "y_dim", "n"), [(1, 1, 20_000), (2, 2, 5000), (3, 3, 4000), (8, 8, 1500)])
def test_many_rows_are_measured_as_trees_of_scipy_do(x_dim, y_dim, n, workers):
    x, y = sample(x_dim, y_dim, n)
    np.testing.assert_allclose(ksg_terms(x, y, 3, workers=workers), plain_terms(x, y, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(1, 2), (63, 2), (64, 3), (65, 4), (200, 5), (333, 2)])
def test_sets_of_points_count_as_loops_do(n, dim, monkeypatch):
    """Also ties, in tables and blocks of any size, and without numpy's function that counts bits."""
    for name, size in (("_SET", 70), ("_SETS", 9), ("_QUERIES", 50)):
        monkeypatch.setattr(neighbours, name, size)
    rng = np.random.default_rng(n)
    points, rows, radius = rng.integers(9, size=(n, dim)) / 4, rng.integers(n, size=2 * n), rng.random(2 * n)
    expected = [(np.abs(points - points[i]).max(1) <= r).sum() - 1 for i, r in zip(rows, radius, strict=True)]
    assert count_within(points, rows, radius).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert count_within(points, rows, radius).tolist() == expected


def test_single_precision_candidates_are_not_trusted_where_rounding_could_hide_a_nearer_point():
    """All points within 1e-9 of each other, but for one far away: in single precision they are one point."""
    points = 1e-9 * np.random.default_rng(0).normal(size=(60, 16)) + 0.5
    points[0] = 1.0
    expected = [np.sort(np.abs(points - point).max(1))[3] for point in points]
    assert neighbour_distances(points, [(3, np.arange(60))])[0].tolist() == expected


def test_equal_points_are_at_distance_zero_and_count_each_other(workers):
    for dim in (1, 2, 6, 16):
        points = np.repeat(np.arange(10.0), 5)[:, None] * np.ones(dim)
        rows = np.arange(50)
        assert neighbour_distances(points, [(3, rows)], workers=workers)[0].tolist() == [0.0] * 50
        assert count_within(points, rows, np.zeros(50), workers=workers).tolist() == [4] * 50
        assert count_within(points, rows, np.full(50, 1.0), workers=workers).tolist() == [9] * 5 + [14] * 40 + [9] * 5


@pytest.mark.parametrize(("x_dim", "y_dim"), DIMS)
def test_two_numbers_of_neighbours_are_measured_together_as_apart(x_dim, y_dim, workers, monkeypatch):
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    x, y = sample(x_dim, y_dim, 150)
    near, far = naive_terms(x, y, 3), naive_terms(x, y, 12)
    for rows in (np.arange(150), np.array([0, 5, 17, 149])):
        found = near_and_far_terms(x, y, 3, 12, rows, workers=workers)
        np.testing.assert_allclose(found[0], near, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found[1], far[rows], rtol=0, atol=1e-12)


def test_ksg_is_the_mean_of_the_papers_terms_on_normal_scores():
    from scipy.stats import norm, rankdata

    x, y = np.round(sample(2, 1, 300)[0], 1), np.round(sample(2, 1, 300)[1], 1)  # with ties
    rng = np.random.default_rng(5)
    x, y = (x, y) if in_order(x, y) else (y, x)  # the noise is drawn for the sides in this order
    scores = [norm.ppf((rankdata(side, axis=0) - 0.5) / 300) + rng.uniform(-5e-7, 5e-7, side.shape) for side in (x, y)]
    np.testing.assert_allclose(ksg(x, y, seed=5), naive_terms(*scores, 3), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(ksg(y, x, seed=5), ksg(x, y, seed=5))


def test_ksg_agrees_with_scikit_learn():
    x, y = tasks.get("normal-1d-1").sample(2000, 0)
    theirs = mutual_info_regression(x, y[:, 0], n_neighbors=3, random_state=0)[0]
    assert ksg(x, y).mean() == pytest.approx(theirs, abs=0.03)


def test_ksg_refuses_too_many_neighbours():
    with pytest.raises(ValueError, match=r"neighbours must lie in 1\.\.9; got 10"):
        ksg(np.zeros((10, 1)), np.zeros((10, 1)), neighbours=10)
