"""The 40 tasks: their published truths, and moments of their samples against the definitions."""

import math

import numpy as np
import pytest
from scipy import stats

from infomax import tasks

#: Nats, as published with the tasks (Czyż et al. 2023, arXiv 2306.11078).
TRUTH = {
    **dict.fromkeys(
        [
            "1v1-normal-0.75",
            "normal_cdf-1v1-normal-0.75",
            "1v1-bimodal-0.75",
            "wiggly-1v1-normal-0.75",
            "half_cube-1v1-normal-0.75",
            "swissroll_x-normal_cdf-1v1-normal-0.75",
            "multinormal-dense-3-3-0.5",
        ],
        0.41334,
    ),
    "1v1-additive-0.1": 1.70944,
    "1v1-additive-0.75": 0.33333,
    "student-identity-1-1-1": 0.22417,
    "asinh-student-identity-1-1-1": 0.22417,
    "multinormal-dense-2-2-0.5": 0.29389,
    "multinormal-dense-5-5-0.5": 0.59281,
    "multinormal-dense-25-25-0.5": 1.29218,
    "multinormal-dense-50-50-0.5": 1.62427,
    **{
        f"{version}multinormal-sparse-{dim}-{dim}-2-2.0": 1.02165
        for version in ("", "normal_cdf-", "half_cube-", "spiral-", "spiral-normal_cdf-")
        for dim in ((2, 3, 5, 25) if version == "" else (3, 5, 25))
    },
    **{f"{version}student-identity-2-2-1": 0.43195 for version in ("", "asinh-")},
    "student-identity-2-2-2": 0.19315,
    **{f"{version}student-identity-3-3-2": 0.29092 for version in ("", "asinh-")},
    "student-identity-3-3-3": 0.17871,
    **{f"{version}student-identity-5-5-2": 0.44815 for version in ("", "asinh-")},
    "student-identity-5-5-3": 0.29854,
}
N = 50_000


def test_there_are_forty():
    assert sorted(tasks.names("beyond-normal")) == sorted(TRUTH)
    assert len(TRUTH) == 40


@pytest.mark.parametrize("name", TRUTH)
def test_published_truth(name):
    assert tasks.get(name).mi == pytest.approx(TRUTH[name], abs=1e-5)


def normal_pair(name, *versions, seed=0):
    """x and y of a task, taken back to the normal pair they came from by the versions' inverses."""
    return tuple(version(side) for version, side in zip(versions, tasks.get(name).sample(N, seed), strict=True))


def unwind(speed, i, j):
    """The inverse of the spiral, written apart from it: complex numbers."""

    def undo(values):
        z = (values[:, i] + 1j * values[:, j]) * np.exp(-1j * speed * (values**2).sum(axis=1))
        result = values.copy()
        result[:, i], result[:, j] = z.real, z.imag
        return result

    return undo


def unroll(values):
    return (np.hypot(values[:, :1], values[:, 1:]) * 21 / (1.5 * math.pi) - 1) / 2


def table(forward):
    """The inverse of a monotone function, by interpolation."""
    grid = np.linspace(-8, 8, 400_001)
    return lambda values: np.interp(values, forward(grid), grid)


def bimodal(*parts):
    def cdf(v):
        return sum(weight * stats.norm.cdf(v - mean) for weight, mean in parts)

    return lambda values: stats.norm.ppf(cdf(values))


INVERSES = {
    "1v1-normal-0.75": (np.asarray, np.asarray),
    "normal_cdf-1v1-normal-0.75": (stats.norm.ppf, stats.norm.ppf),
    "half_cube-1v1-normal-0.75": (lambda v: np.sign(v) * abs(v) ** (2 / 3),) * 2,
    "wiggly-1v1-normal-0.75": (
        table(lambda v: v + 0.4 * np.sin(v) + 0.2 * np.sin(1.7 * v + 1) + 0.03 * np.sin(3.3 * v - 2.5)),
        table(lambda v: v - 0.4 * np.sin(0.4 * v) + 0.17 * np.sin(1.3 * v + 3.5) + 0.02 * np.sin(4.3 * v - 2.5)),
    ),
    "1v1-bimodal-0.75": (bimodal((0.3, 0), (0.7, 5)), bimodal((0.5, -1), (0.5, 3))),
    "swissroll_x-normal_cdf-1v1-normal-0.75": (lambda v: stats.norm.ppf(unroll(v)), stats.norm.ppf),
}
for _d in (3, 5, 25):
    _base = f"multinormal-sparse-{_d}-{_d}-2-2.0"
    _undo = unwind(1 / _d, 0, 1), unwind(1 / _d, 1, 2)
    INVERSES |= {
        _base: (np.asarray, np.asarray),
        f"normal_cdf-{_base}": (stats.norm.ppf, stats.norm.ppf),
        f"half_cube-{_base}": (lambda v: np.sign(v) * abs(v) ** (2 / 3),) * 2,
        f"spiral-{_base}": _undo,
        f"spiral-normal_cdf-{_base}": tuple(lambda v, undo=undo: stats.norm.ppf(undo(v)) for undo in _undo),
    }


@pytest.mark.parametrize("name", INVERSES)
def test_undone_they_are_standard_normal_with_the_right_correlations(name):
    x, y = normal_pair(name, *INVERSES[name])
    d = x.shape[1]
    expected = np.eye(2 * d)
    for k in range(1 if d == 1 else 2):
        expected[k, d + k] = expected[d + k, k] = 0.75 if d == 1 else 0.8
    both = np.hstack([x, y])
    tolerance = 5 / math.sqrt(N)
    assert np.cov(both.T) == pytest.approx(expected, abs=1.5 * tolerance)
    assert both.mean(axis=0) == pytest.approx(0, abs=tolerance)
    assert min(stats.kstest(column, "norm").pvalue for column in both.T[[0, d - 1, d, -1]]) > 1e-4


@pytest.mark.parametrize("dim", [2, 3, 5, 25, 50])
def test_dense_normal_correlates_by_a_half_everywhere(dim):
    both = np.hstack(tasks.get(f"multinormal-dense-{dim}-{dim}-0.5").sample(N, 0))
    assert np.cov(both.T) == pytest.approx(0.5 + 0.5 * np.eye(2 * dim), abs=0.05)
    assert both.mean(axis=0) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("epsilon", [0.1, 0.75])
def test_additive_noise_is_uniform(epsilon):
    x, y = tasks.get(f"1v1-additive-{epsilon}").sample(N, 0)
    noise = (y - x)[:, 0]
    assert stats.kstest(noise, stats.uniform(-epsilon, 2 * epsilon).cdf).pvalue > 1e-3
    assert stats.kstest(x[:, 0], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(x[:, 0], noise)[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("dim", "df", "asinh"),
    [(1, 1, True), (2, 1, True), (2, 2, False), (3, 2, True), (3, 3, False), (5, 2, True), (5, 3, False)],
)
def test_student_is_student(dim, df, asinh):
    """Margins are Student, coordinates do not correlate in rank, and the radius has its F distribution."""
    name = f"student-identity-{dim}-{dim}-{df}"
    both = np.hstack(tasks.get(name).sample(10_000, 0))
    assert min(stats.kstest(column, stats.t(df).cdf).pvalue for column in both.T) > 1e-4
    ranks = both.argsort(axis=0).argsort(axis=0)
    assert abs(np.corrcoef(ranks.T) - np.eye(2 * dim)).max() < 0.05
    radius = (both**2).sum(axis=1) / (2 * dim)
    assert stats.kstest(radius, stats.f(2 * dim, df).cdf).pvalue > 1e-3
    if asinh:
        squeezed = np.hstack(tasks.get(f"asinh-{name}").sample(10_000, 0))
        np.testing.assert_allclose(np.sinh(squeezed), both, rtol=1e-9, atol=1e-12)
