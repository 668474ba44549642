import math

import naive
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infomax.bounds import objectives

matrices = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(-8, 8), min_size=n, max_size=n), min_size=n, max_size=n)
)


@pytest.mark.parametrize("name", ["infonce", "nwj", "donsker_varadhan"])
@given(scores=matrices)
def test_equals_plain_loops(name, scores):
    value = getattr(objectives, name)(torch.tensor(scores, dtype=torch.float64))
    assert float(value) == pytest.approx(getattr(naive, name)(scores), rel=1e-9, abs=1e-9)


@given(scores=matrices, shift=st.floats(-5, 5))
def test_infonce_ignores_what_depends_on_x_alone(scores, shift):
    scores = torch.tensor(scores, dtype=torch.float64)
    rows = shift * torch.arange(len(scores))[:, None]
    torch.testing.assert_close(objectives.infonce(scores + rows), objectives.infonce(scores), rtol=0, atol=1e-9)


@given(scores=matrices, shift=st.floats(-5, 5))
def test_donsker_varadhan_ignores_a_shift_and_is_never_below_nwj(scores, shift):
    scores = torch.tensor(scores, dtype=torch.float64)
    value = objectives.donsker_varadhan(scores)
    torch.testing.assert_close(objectives.donsker_varadhan(scores + shift), value, rtol=0, atol=1e-9)
    assert value >= objectives.nwj(scores) - 1e-9  # log a <= a - 1


def test_rows_are_x():
    """The negatives of x_i are in row i: a matrix whose rows are easy and whose columns are not tells them apart."""
    scores = torch.tensor([[5.0, 0.0], [5.0, 0.0]])
    expected = 0.5 * (5 - math.log((math.exp(5) + 1) / 2) + 0 - math.log((math.exp(5) + 1) / 2))
    assert float(objectives.infonce(scores)) == pytest.approx(expected, rel=1e-6)
    assert float(objectives.infonce(scores.T)) == pytest.approx(0.0, abs=1e-6)


def test_infonce_of_perfect_scores_is_its_ceiling():
    assert float(objectives.infonce(1e3 * torch.eye(64))) == pytest.approx(math.log(64), rel=1e-6)


def test_tangent_exp_is_exp_until_its_limit_and_linear_after():
    x = torch.tensor([-1.0, 29.0, 30.0, 31.0, 40.0], dtype=torch.float64, requires_grad=True)
    value = objectives.tangent_exp(x)
    torch.testing.assert_close(value[:3], x[:3].exp())
    torch.testing.assert_close(value[3:], math.exp(30) * (x[3:] - 29))
    (slope,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(slope[2:], torch.full((3,), math.exp(30), dtype=torch.float64))


def test_mine_has_the_value_of_donsker_varadhan_and_the_corrected_gradient():
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    log_average = torch.tensor(0.7, dtype=torch.float64)
    value = objectives.mine(scores, log_average)
    torch.testing.assert_close(value, objectives.donsker_varadhan(scores))
    (gradient,) = torch.autograd.grad(value, scores)
    # Belghazi et al.: the second term's gradient is mean(grad e^f) over the average instead of over the batch's mean.
    expected = torch.where(torch.eye(5, dtype=torch.bool), 1 / 5, -scores.detach().exp() / 20 / math.exp(0.7))
    torch.testing.assert_close(gradient, expected)
