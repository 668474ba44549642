"""Mixtures of normals: their truths by quadrature and by Monte Carlo, and their samples by moments."""

import math

import numpy as np
import pytest
from scipy import stats

from infomax import tasks
from infomax.tasks.mixtures import (
    NormalMixture,
    concentric,
    cross,
    galaxy,
    letters,
    normal_mixture,
    normal_with_inliers,
    waves,
)

N = 200_000


def test_every_registered_truth_is_exact():
    assert all(tasks.get(name).mi_error == 0 for name in tasks.names("mixtures"))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (cross, "1v1-X-0.9"),
        (letters, "1v1-AI"),
        (waves, "2v1-waves-12-5.0-3.0"),
        (galaxy, "2v1-galaxy-0.5-3.0"),
        (lambda: concentric(3), "3v1-concentric_gaussians-5"),
        (lambda: normal_with_inliers(5, 0.2), "mult-sparse-w-inliers-5-5-2-2.0-0.2"),
        (lambda: normal_with_inliers(5, 0.5), "mult-sparse-w-inliers-5-5-2-2.0-0.5"),
    ],
)
def test_mixtures_by_monte_carlo(make, name, monkeypatch):
    whole = NormalMixture.mutual_information
    monkeypatch.setattr(NormalMixture, "mutual_information", lambda self: whole(self, n=N, seed=7))
    sampled = make()
    assert 0 < sampled.mi_error < 0.005
    assert "Monte Carlo" in sampled.reference
    assert sampled.mi == pytest.approx(tasks.get(name).mi, abs=4.5 * sampled.mi_error)
    assert tasks.get(name).mi_error == 0
    assert sampled.sample(50, 1)[0].tobytes() == tasks.get(name).sample(50, 1)[0].tobytes()


# Of what matters in x and in y: weights, means, variances and correlations of the parts, and where they lie.
STROKES = [
    (1.0, 0.0, 0.01, 0.2, 0.0),
    (1.0, 1.0, 0.05, 0.001, 0.0),
    (1.0, -1.0, 0.05, 0.001, 0.0),
    (-0.8, -0.2, 0.03, 0.001, 0.0),
    (-1.2, 0.0, 0.04, 0.2, 0.95),
    (-0.4, 0.0, 0.04, 0.2, -0.95),
]
PLANES = {
    "1v1-X-0.9": ([(0.0, 0.0, 1.0, 1.0, 0.9), (0.0, 0.0, 1.0, 1.0, -0.9)], (-9, 9), (-9, 9)),
    "1v1-AI": (STROKES, (-3.2, 3.0), (-4.5, 4.5)),
    # x counts through its place on the line through the two balls; of the waves, through its first coordinate unbent.
    "2v1-galaxy-0.5-3.0": ([(s * 4.5 / 3 * 2**0.5, s * 1.5, 1.0, 1.0, 0.0) for s in (-1, 1)], (-11, 11), (-11, 11)),
    "2v1-waves-12-5.0-3.0": ([(1.5 * k, 1.5 * (k % 4), 0.1, 0.1, 0.0) for k in range(12)], (-3, 20), (-3, 8)),
}


@pytest.mark.parametrize("name", PLANES)
def test_mixtures_in_a_plane_by_quadrature(name):
    parts, ends_x, ends_y = PLANES[name]
    x, y = np.linspace(*ends_x, 1601), np.linspace(*ends_y, 1601)
    joint = np.zeros((len(x), len(y)))
    for a, b, u, v, rho in parts:
        p, q = ((x - a) / math.sqrt(u))[:, None], ((y - b) / math.sqrt(v))[None]
        exponent = (p**2 - 2 * rho * p * q + q**2) / (2 * (1 - rho**2))
        joint += np.exp(-exponent) / (2 * math.pi * math.sqrt(u * v * (1 - rho**2)) * len(parts))
    outer = np.outer(
        np.mean([stats.norm.pdf(x, a, math.sqrt(u)) for a, _, u, _, _ in parts], axis=0),
        np.mean([stats.norm.pdf(y, b, math.sqrt(v)) for _, b, _, v, _ in parts], axis=0),
    )
    area = (x[1] - x[0]) * (y[1] - y[0])
    assert joint.sum() * area == pytest.approx(1, abs=1e-6)
    seen = joint > 1e-300
    information = np.sum(joint[seen] * np.log(joint[seen] / outer[seen])) * area
    assert information == pytest.approx(tasks.get(name).mi, abs=2e-6)


@pytest.mark.parametrize("dim", [3, 5, 25])
def test_concentric_balls_by_their_radius(dim):
    radius = np.linspace(1e-6, 80, 100_001)
    given = np.array([stats.chi(dim).pdf(radius / k) / k for k in range(1, 6)])
    mixed = given.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(given > 0, given * np.log(given / mixed), 0)
    information = np.trapezoid(terms, radius, axis=1).mean()
    assert information == pytest.approx(tasks.get(f"{dim}v1-concentric_gaussians-5").mi, abs=1e-6)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_inliers_by_quadrature(share):
    z, w = np.polynomial.hermite_e.hermegauss(48)
    w = w / math.sqrt(2 * math.pi)
    first, second = np.meshgrid(z, z, indexing="ij")
    weights = np.outer(w, w).ravel()

    def log_ratio(x, y):
        return stats.multivariate_normal(cov=[[1, 0.8], [0.8, 1]]).logpdf(np.stack([x, y], -1)) - (
            stats.norm.logpdf(x) + stats.norm.logpdf(y)
        )

    information = 0.0
    for y, part in ((0.8 * first + 0.6 * second, 1 - share), (second, share)):
        pair = log_ratio(first, y).ravel()
        both = np.logaddexp(math.log(1 - share) + pair[:, None] + pair[None], math.log(share))
        information += part * weights @ both @ weights
    for dim in (5, 25):
        assert information == pytest.approx(tasks.get(f"mult-sparse-w-inliers-{dim}-{dim}-2-2.0-{share}").mi, abs=2e-6)


def test_mixture_samples_have_its_moments():
    mixture = NormalMixture(
        np.array([0.3, 0.7]),
        np.array([[0.0, 1.0, 2.0], [3.0, -1.0, 0.0]]),
        np.array([np.diag([1.0, 2.0, 3.0]), [[2.0, 1.0, 0.0], [1.0, 2.0, -1.0], [0.0, -1.0, 1.0]]]),
        2,
    )
    values = np.hstack(mixture.sample(N, np.random.default_rng(0)))
    mean = mixture.weights @ mixture.means
    second = sum(
        w * (c + np.outer(m, m)) for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    )
    assert values.mean(axis=0) == pytest.approx(mean, abs=0.02)
    assert np.cov(values.T) == pytest.approx(second - np.outer(mean, mean), abs=0.06)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normal_mixture("m", [1.0], [[0.0]], [[[1.0]]], x_dim=1), "x_dim must leave .* got 1"),
        (
            lambda: normal_mixture("m", [0.6, 0.6], np.zeros((2, 2)), [np.eye(2)] * 2, x_dim=1),
            "weights must be positive",
        ),
        (lambda: normal_mixture("m", [1.0], np.zeros((2, 2)), [np.eye(2)] * 2, x_dim=1), "must have shapes"),
    ],
)
def test_bad_requests(make, message):
    with pytest.raises(ValueError, match=message):
        make()
