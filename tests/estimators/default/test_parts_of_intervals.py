"""Each part of the default's standard error and gap alone, of hand-made scores: none can be left out unnoticed."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from infomax import Estimate
from infomax.estimators.candidates import Side
from infomax.estimators.default import corrections, estimator
from infomax.estimators.default.corrections import Correction
from infomax.estimators.default.estimator import _combine
from infomax.estimators.default.folds import HeldOut
from infomax.statistics.row_structure import RowStructure
from infomax.training.cross_fitting import measure_rows

N = 400
SIDE = Side.of(np.random.default_rng(0).standard_normal((N, 1)))
#: ½ √(4 / 400): four columns.
HIDDEN = 0.05


@pytest.fixture
def combined(monkeypatch):
    """The estimate where the candidate has the value ``alone``, and ``best`` with its network."""

    def combine(
        *,
        alone=1.0,
        best=1.0,
        spread=0.0,
        overfitting=0.0,
        weight=1.0,
        simplest=1.0,
        growth=0.0,
        correction=None,
        structure=None,
    ):
        noise = spread * torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(N // 2)
        held_out = {False: HeldOut(alone + noise, 0.0), True: HeldOut(best + noise, weight)}
        monkeypatch.setattr(estimator, "calibrated", lambda _, networks: held_out[networks])
        monkeypatch.setattr(estimator, "copula_correction", lambda *_: correction or Correction())
        scored = SimpleNamespace(rows=np.arange(N), overfitting=overfitting)
        trials = [SimpleNamespace(score=simplest)]
        fitted = SimpleNamespace(scored=scored, kind="network", trials=trials, growth=(growth, 0.0))
        return _combine(fitted, (SIDE, SIDE), 4, 0, structure or RowStructure.independent(N))

    return combine


def test_nothing_is_added_to_dependent_rows(combined):
    """Corrections assume independent rows; ½ √(4 / 40) for four columns and 40 groups."""
    groups = RowStructure.of_groups(np.repeat(np.arange(40), N // 40))
    found = combined(alone=0.5, overfitting=0.4, correction=Correction(0.3, 0.1), structure=groups)
    assert found.value == pytest.approx(1.0)
    assert found.gap == pytest.approx(0.2 + 0.5 * math.sqrt(4 / 40))
    assert found.stderr == pytest.approx(math.hypot(0.4 / math.sqrt(12), 1 / 40))


def test_nothing_to_add(combined):
    """The order of what four columns can hide, and one row."""
    found = combined()
    assert found.gap == pytest.approx(HIDDEN)
    assert found.stderr == pytest.approx(1 / N)
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parts", "gap"),
    [
        ({"overfitting": 0.4}, 0.2),  # a half
        ({"overfitting": 0.4, "weight": 0.5}, 0.1),  # of what the network counts
        ({"overfitting": -0.4}, 0.0),
        ({"simplest": 0.2}, 0.2),  # a quarter of 0.8
        ({"simplest": 1.2}, 0.0),
        ({"growth": 0.1}, 0.1 / (math.sqrt(2) - 1)),  # of a loss that falls with √N
        ({"growth": -0.1}, 0.0),
        ({"overfitting": 0.4, "simplest": 0.2, "growth": 0.1}, 0.4 + 0.1 / (math.sqrt(2) - 1)),
    ],
)
def test_each_part_of_the_gap(combined, parts, gap):
    assert combined(**parts).gap == pytest.approx(HIDDEN + gap)


@pytest.mark.parametrize(
    ("parts", "stderr"),
    [
        ({"spread": 2.0}, 2 * math.sqrt(N / (N - 1)) / 20),
        ({"overfitting": 0.6}, 0.6 / math.sqrt(12)),  # uniform on an interval of this length
        ({"correction": Correction(0.1, 0.3)}, 0.3),
    ],
)
def test_each_part_of_the_standard_error(combined, parts, stderr):
    assert combined(**parts).stderr == pytest.approx(math.hypot(stderr, 1 / N))


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ({"alone": 0.5, "overfitting": 0.4}, 1.2),  # half of it
        ({"alone": 0.9, "overfitting": 0.4}, 1.1),  # what the network contributes
        ({"alone": 1.1, "overfitting": 0.4}, 1.0),
        ({"correction": Correction(0.3, 0.1)}, 1.3),
        ({"alone": 4.0, "best": 5.1, "overfitting": 0.4}, 5.1),  # more than log 400 less 1: pairs are separable
    ],
)
def test_what_is_added_to_the_value(combined, parts, value):
    found = combined(**parts)
    assert found.value == pytest.approx(value)
    assert found.local.mean() == pytest.approx(value)


def test_what_a_rejected_copula_would_have_is_remarked(combined):
    assert not combined(correction=Correction(unexplained=0.29)).remarks
    (remark,) = combined(correction=Correction(unexplained=0.5)).remarks
    assert "would have 1.50 nats, but the rows reject it" in str(remark)


def test_the_gap_raises_the_upper_end_and_no_other():
    plain, wide = (Estimate(1.0, 0.1, gap, "estimate", "default", 100).confidence_interval() for gap in (0.0, 0.3))
    assert wide[0] == plain[0]
    assert wide[1] == pytest.approx(plain[1] + 0.3)


# --- the correction of a normal copula ---


@pytest.fixture
def corrected(monkeypatch):
    """The correction where the closed form has ``value``, its loss of fitting is 0.01, and twice its noise 0.04."""

    def correct(held_out, *, value=1.0, variance=0.0, calibrated=1.0, error=0.0, loss=0.01, simulated=None):
        monkeypatch.setattr(corrections, "_rank", lambda _: 1)
        monkeypatch.setattr(corrections, "normal_information", lambda *_: (value, variance))
        monkeypatch.setattr(corrections, "_unbiased_if_normal", lambda *_: (value, 0.0, 0.02**2))
        monkeypatch.setattr(corrections, "loss_of_fitting", lambda *_: loss)
        monkeypatch.setattr(corrections, "simulated_loss", lambda *_: simulated)
        return corrections.normal_correction(
            None, None, None, held_out=held_out, unshrunk=(calibrated, error), rows=100, generator=None
        )

    return correct


@pytest.mark.parametrize(
    ("held_out", "expected"), [(0.97, 0.03), (1.02, -0.02), (0.9, 0.05), (0.0, 0.05), (1.5, -0.04), (1.0, 0.0)]
)
def test_at_most_the_loss_of_fitting_and_noise(corrected, held_out, expected):
    """From twice the noise below 0 to the loss and twice the noise above."""
    assert corrected(held_out).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "simulated", "most"),
    [(0.01, 9.0, 0.01), (0.1, 0.3, 0.3), (0.1, 0.05, 0.1), (0.8, 0.3, 0.3), (0.8, 0.9, 0.8)],
)
def test_a_loss_that_shrinkage_changes_is_simulated(corrected, loss, simulated, most):
    assert corrected(-9.0, loss=loss, simulated=simulated).value == pytest.approx(most + 0.04)


def test_shrunk_by_its_noise(corrected):
    """By its square over itself and the variance."""
    found = corrected(0.97, variance=0.04**2)
    assert found.value == pytest.approx(0.03 * 0.36)
    assert found.stderr == pytest.approx(0.04 * 0.36)
    assert corrected(0.97, variance=math.inf) == Correction()


@pytest.mark.parametrize(
    ("calibrated", "error", "kept"), [(0.975, 0.0, True), (0.96, 0.0, False), (0.96, 0.01, True), (0.94, 0.01, False)]
)
def test_rows_that_reject_the_copula(corrected, calibrated, error, kept):
    """A calibrated value below 1 less the loss, 0.01, two standard errors and 0.02."""
    found = corrected(0.97, calibrated=calibrated, error=error)
    assert (found.value, found.unexplained) == pytest.approx((0.03, 0.0) if kept else (0.0, 0.03))


def test_no_correction_remains_of_many_rows():
    """The largest possible one, of ten normal columns, falls with N: as 1/N."""
    largest = []
    for n in (1_000, 10_000, 100_000):
        x, y = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        copula = corrections._unshrunk(x, y, [SimpleNamespace(others=np.arange(n))])[0].copula
        unshrunk, generator = (9.0, 0.0), torch.Generator().manual_seed(0)
        found = corrections.normal_correction(
            copula, x, y, held_out=-9.0, unshrunk=unshrunk, rows=n * 4 // 5, generator=generator
        )
        largest.append(found.value)
    np.testing.assert_allclose(largest[1:], np.array(largest[:-1]) / 10, rtol=0.1)


# --- jackknives ---


def test_the_bias_that_remains_is_the_jackknifes(monkeypatch):
    """A bias of 3 / N: a statistic of 1 - 3 / N; g groups have the factor g - 1."""
    monkeypatch.setattr(corrections, "_unbiased_if_normal", lambda x, _: (1 - 3 / len(x), 0.0, 0.0))
    for rows, dims, groups in ((1200, 2, 2), (60, 16, 3)):
        x = torch.zeros(rows, dims, dtype=torch.float64)
        left = corrections._bias_left(x, x, 1 - 3 / rows)
        assert left == pytest.approx(-3 / rows), groups
    assert corrections._bias_left(torch.zeros(40, 20), torch.zeros(40, 20), 1.0) == math.inf


def test_the_bias_that_remains_widens_with_a_factor_of_five(monkeypatch):
    """Of the variance, where more than a nat was subtracted."""
    monkeypatch.setattr(corrections, "_bias_left", lambda *_: 0.1)
    for bias, expected in ((0.9, 0.01), (1.1, 0.01 + 0.5**2)):
        monkeypatch.setattr(corrections, "_unbiased_if_normal", lambda *_, b=bias: (2.0, b, 0.01))
        assert corrections.normal_information(None, None) == (2.0, pytest.approx(expected))


def test_the_variance_of_a_mean_by_groups_is_the_known_one():
    """Of a bound that is a mean: without group g of n rows in g groups it is (n m - n/g m_g) / (n - n/g)."""
    rows = torch.randn(200, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    class Mean(torch.nn.Module):
        def forward(self, x, _):
            return x.mean()

        def leave_out(self, x, _, groups):
            keep = [np.setdiff1d(np.arange(len(x)), group) for group in groups]
            return torch.stack([x[one].mean() for one in keep])

    _, variance = measure_rows(Mean(), rows, rows, [np.arange(200)])
    means = rows.reshape(20, 10).mean(1)
    assert variance == pytest.approx(float(means.var()) / 20)
