"""Transforms are undone here, by inverses of their own."""

import math

import numpy as np
import pytest
from scipy import stats

from infomax import estimate
from infomax.tasks.normal import correlated_normal
from infomax.tasks.transforms import (
    asinh,
    chain,
    coupling,
    cube,
    embedding,
    exponential,
    half_cube,
    normal_cdf,
    rotation,
    sines,
    spiral,
    swiss_roll,
    transformed,
    two_normals,
)


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal((500, 5))


@pytest.mark.parametrize(
    "monotone",
    [
        normal_cdf,
        exponential,
        cube,
        half_cube,
        asinh,
        sines((0.3, 2.0, 1.0), (0.1, 3.0, 0.0)),
        two_normals((0.2, -3.0), (0.8, 2.0)),
    ],
)
def test_monotone_maps_keep_the_order_of_each_coordinate(monotone, values):
    before = values.copy()
    mapped = monotone(values)
    assert (values == before).all()
    assert (mapped.argsort(axis=0) == values.argsort(axis=0)).all()
    assert len(np.unique(mapped)) == values.size
    assert monotone(values[:3]) == pytest.approx(mapped[:3])  # a row's image is its own


def test_two_normals_has_the_quantiles_of_the_mixture(values):
    mapped = two_normals((0.3, 0.0), (0.7, 5.0))(values)
    assert 0.3 * stats.norm.cdf(mapped) + 0.7 * stats.norm.cdf(mapped - 5) == pytest.approx(
        stats.norm.cdf(values), abs=1e-12
    )


def test_coupling_is_undone_by_its_inverse(values):
    bent = coupling(seed=3, layers=4)(values)
    rng = np.random.default_rng(3)
    layers = []
    for layer in range(4):
        kept = [k for k in range(5) if k % 2 == layer % 2]
        moved = [k for k in range(5) if k % 2 != layer % 2]
        weights = rng.standard_normal((2, len(kept), len(moved))) / math.sqrt(len(kept))
        layers.append((kept, moved, *weights))
    back = bent.copy()
    for kept, moved, scale, shift in reversed(layers):
        a = back[:, kept]
        back[:, moved] = (back[:, moved] - np.tanh(a @ shift)) / np.exp(np.tanh(a @ scale))
    assert back == pytest.approx(values, abs=1e-9)
    assert abs(bent - values).max() > 1


def test_rotation_and_embedding_keep_distances(values):
    for rigid, dim in ((rotation(4), 5), (embedding(30, seed=4), 30)):
        moved = rigid(values)
        assert moved.shape == (500, dim)
        np.testing.assert_allclose(moved @ moved.T, values @ values.T, rtol=1e-6, atol=1e-12)
        assert abs(moved[:, :5] - values).max() > 0.5


def test_rotations_are_spread_evenly():
    """The first entry of a Haar matrix of dimension d has variance 1/d; without the sign it would lean to one side."""
    entries = np.array([rotation(seed)(np.eye(4))[0, 0] for seed in range(2000)])
    assert entries.mean() == pytest.approx(0, abs=0.05)
    assert entries.var() == pytest.approx(0.25, abs=0.03)


def test_spiral_keeps_norms_and_turns_by_the_squared_norm():
    turned = spiral(math.pi / 2, plane=(0, 1))(np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))
    assert turned == pytest.approx(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 3.0]]))


def test_swiss_roll_ends_where_it_should():
    ends = swiss_roll(np.array([[0.0], [0.5], [1.0]]))
    assert ends * 21 == pytest.approx(np.array([[0.0, -1.5 * math.pi], [-3 * math.pi, 0.0], [0.0, 4.5 * math.pi]]))


def test_composed_task_keeps_truth_and_tells_its_dimensions():
    base = correlated_normal(1.0, dim=3)
    task = transformed(base, x=chain(cube, embedding(10, seed=0)), y=coupling(0), name="bent")
    assert (task.name, task.mi, task.x_dim, task.y_dim, task.family) == ("bent", 1.0, 10, 3, "normal")
    x, _ = task.sample(50, seed=1)
    original, _ = base.sample(50, seed=1)
    np.testing.assert_allclose(x @ x.T, (original**3) @ (original**3).T, rtol=1e-6, atol=1e-12)


def test_neighbours_find_the_same_information_behind_monotone_maps():
    base = correlated_normal(1.0)
    for map_x, map_y in ((cube, exponential), (normal_cdf, two_normals((0.5, -2.0), (0.5, 2.0)))):
        x, y = transformed(base, x=map_x, y=map_y, name="m").sample(5000, 0)
        assert estimate(x, y, bound="ksg").mi == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sines((0.5, 1.0, 0.0), (0.3, 2.0, 0.0)), "sum to less than 1; got 1.1"),
        (lambda: two_normals((0.5, 0.0), (0.6, 1.0)), "weights must be positive and sum to 1; got"),
        (lambda: coupling(0)(np.ones((3, 1))), "at least 2 dimensions; got 1"),
        (lambda: embedding(2, 0)(np.ones((3, 4))), "at least that of the values, 4; got 2"),
        (lambda: spiral(1.0, (1, 1)), r"plane must be two different coordinates.*; got \(1, 1\)"),
        (lambda: swiss_roll(np.ones((3, 2))), "one dimension; got 2"),
        (lambda: transformed(correlated_normal(1.0), y=np.ravel, name="flat"), r"y must map .* gave \(2,\)"),
    ],
)
def test_bad_requests(make, message):
    with pytest.raises(ValueError, match=message):
        make()
