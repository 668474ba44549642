"""Neighbours found by strips, against all pairs and SciPy's tree."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from infomax.statistics import neighbours
from infomax.statistics.neighbours import neighbour_distances
from infomax.statistics.planar_neighbours import distances_by_strips, search_strips


def brute(points, k):
    apart = np.abs(points[:, None] - points[None]).max(2)
    return np.sort(apart, axis=1)[:, k]  # the first is the point itself


def by_sample(points, some, distances):
    near = (neighbours.count_within(column[:, None], some, distances) for column in points.T)
    return distances_by_strips(points, 3, *near)


def clouds(n, rng):
    x = rng.normal(size=(n, 2))
    narrow = np.column_stack([x[:, 0], 0.999 * x[:, 0] + math.sqrt(1 - 0.999**2) * x[:, 1]])
    yield "normal", x
    yield "narrow", narrow
    yield "skew", rng.exponential(size=(n, 2)) ** 3
    yield "clusters", np.where(rng.random((n, 1)) < 0.5, 0.01 * x, 5 + x)
    yield "lattice", np.round(3 * x)  # many points in one place, many at one distance
    yield "columns", np.column_stack([np.round(x[:, 0]), x[:, 1]])
    yield "line", np.column_stack([x[:, 0], np.zeros(n)])
    yield "far away", 1e9 + x


@pytest.mark.parametrize("size", [28, 61, 700, 5000])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_what_is_certain_is_right(k, size):
    for name, points in clouds(700, np.random.default_rng(k)):
        distance, certain = search_strips(points, k, size)
        assert np.array_equal(distance[certain], brute(points, k)[certain]), name
        assert (distance >= brute(points, k)).all(), name


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 90), st.integers(1, 5), st.integers(28, 95), st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_few_points_in_any_number_of_strips(n, k, size, seed, digits):
    points = np.random.default_rng(seed).normal(size=(n, 2)).round(digits)
    distance, certain = search_strips(points, k, size)
    expected = brute(points, k) if k < n else np.full(n, np.inf)
    assert np.array_equal(distance[certain], expected[certain])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.9999])
def test_nearly_all_of_normal_points_are_certain(scale, correlation):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 20_000))
    points = scale * np.column_stack([x[0], correlation * x[0] + math.sqrt(1 - correlation**2) * x[1]])
    truth = KDTree(points).query(points, k=[4], p=np.inf)[0][:, 0]
    some = np.arange(0, 20_000, 20)
    distance, certain = by_sample(points, some, truth[some])
    assert np.array_equal(distance[certain], truth[certain])
    assert certain.mean() > 0.85


@pytest.mark.parametrize("k", [1, 3, 5, 6])
def test_all_points_of_a_plane_have_the_distances_of_a_tree(k):
    for name, points in clouds(10_007, np.random.default_rng(0)):
        rows = np.random.default_rng(1).permutation(len(points))
        near, far = neighbour_distances(points, [(k, rows), (12, rows[:50])])
        tree = KDTree(points)
        assert np.array_equal(near, tree.query(points[rows], k=[k + 1], p=np.inf)[0][:, 0]), name
        assert np.array_equal(far, tree.query(points[rows[:50]], k=[13], p=np.inf)[0][:, 0]), name


def test_the_coordinate_that_suits_is_cut():
    rng = np.random.default_rng(0)
    discrete = np.round(rng.normal(size=20_000)).clip(-1, 1) + rng.uniform(-5e-7, 5e-7, 20_000)
    line = rng.normal(size=20_000)
    some = np.arange(0, 20_000, 20)
    for points in (np.column_stack([discrete, line]), np.column_stack([line, discrete])):
        truth = KDTree(points).query(points, k=[4], p=np.inf)[0][:, 0]
        distance, certain = by_sample(points, some, truth[some])
        assert np.array_equal(distance[certain], truth[certain])
        assert certain.mean() > 0.9


def test_points_that_share_places_are_left_to_the_tree():
    points = np.random.default_rng(0).integers(4, size=(20_000, 2)).astype(float)
    assert by_sample(points, np.arange(100), np.zeros(100)) is None


def test_nearest_neighbour_estimates_of_a_plane_use_strips(monkeypatch):
    called = []

    def spied(*arguments):
        called.append(1)
        return distances_by_strips(*arguments)

    monkeypatch.setattr(neighbours, "distances_by_strips", spied)
    u, v = np.random.default_rng(0).normal(size=(2, 10_000, 1))
    found = neighbours.ksg_terms(u, v, 3)
    assert called == [1]
    monkeypatch.setattr(neighbours, "_PLANE", 10_001)
    assert np.array_equal(found, neighbours.ksg_terms(u, v, 3))
    assert called == [1]
