import math

import naive
import pytest
import torch
from exact import ExactLogRatio
from hypothesis import given
from hypothesis import strategies as st

from infomax import tasks
from infomax.bounds import objectives

matrices = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(-8, 8), min_size=n, max_size=n), min_size=n, max_size=n)
)


@pytest.mark.parametrize(
    "name", ["infonce", "nwj", "donsker_varadhan", "jensen_shannon", "squared_hellinger", "pairwise_sigmoid"]
)
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


@given(scores=matrices, alpha=st.floats(0, 1))
def test_interpolated_equals_plain_loops(scores, alpha):
    value = objectives.interpolated(torch.tensor(scores, dtype=torch.float64), alpha)
    assert float(value) == pytest.approx(naive.interpolated(scores, alpha), rel=1e-9, abs=1e-9)


@given(scores=matrices)
def test_interpolated_is_nwj_at_one_end_and_infonce_at_the_other(scores):
    scores = torch.tensor(scores, dtype=torch.float64)
    torch.testing.assert_close(objectives.interpolated(scores, 0.0), objectives.nwj(scores))
    # InfoNCE among N - 1 candidates, for each one left out.
    n = len(scores)
    expected = []
    for left_out in range(n):
        kept = [k for k in range(n) if k != left_out]
        candidates = scores[kept][:, kept]
        expected.append(objectives.infonce_pointwise(candidates))
    torch.testing.assert_close(objectives.interpolated(scores, 1.0), torch.cat(expected).mean())


@given(scores=matrices, anchor=st.floats(0.01, 10))
def test_anchored_classification_equals_plain_loops(scores, anchor):
    value = objectives.anchored_classification(torch.tensor(scores, dtype=torch.float64), anchor)
    assert float(value) == pytest.approx(naive.anchored_classification(scores, anchor), rel=1e-9, abs=1e-9)


@given(scores=matrices, tau=st.floats(0.1, 20))
def test_smile_equals_plain_loops(scores, tau):
    value = objectives.smile_pointwise(torch.tensor(scores, dtype=torch.float64), tau).mean()
    assert float(value) == pytest.approx(naive.smile(scores, tau), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["club", "l1out"])
@given(log_probs=matrices)
def test_upper_bounds_equal_plain_loops(name, log_probs):
    value = getattr(objectives, f"{name}_pointwise")(torch.tensor(log_probs, dtype=torch.float64)).mean()
    assert float(value) == pytest.approx(getattr(naive, name)(log_probs), rel=1e-9, abs=1e-9)


@given(scores=matrices)
def test_leave_one_out_equals_leaving_out(scores):
    scores = torch.tensor(scores, dtype=torch.float64)
    for k in range(len(scores)):
        kept = [j for j in range(len(scores)) if j != k]
        expected = torch.logsumexp(scores[:, kept], 1)
        torch.testing.assert_close(objectives.leave_one_out_logsumexp(scores)[:, k], expected)


def test_leaving_out_what_outweighs_the_rest_loses_nothing():
    scores = torch.tensor([[1e4, 1.0, 2.0], [5.0, 5.0, -1e4]])
    left = objectives.leave_one_out_logsumexp(scores)
    torch.testing.assert_close(left[0, 0], torch.tensor([1.0, 2.0]).logsumexp(0))
    torch.testing.assert_close(left[1], torch.tensor([5.0, 5.0, 5.0 + math.log(2)]))


@pytest.mark.parametrize(
    ("objective", "best"),
    [
        (objectives.jensen_shannon, math.log(2)),
        (objectives.squared_hellinger, 2.0),
        (objectives.nwj, math.inf),
        (lambda scores: objectives.anchored_classification(scores, 1.0), 0.0),
    ],
)
def test_what_fits_a_critic_is_greatest_at_the_log_ratio(objective, best, pairs):
    """Any scale or offset of the true log-ratio makes it worse, and its greatest value is not passed."""
    critic = ExactLogRatio(tasks.get("normal-5d-1"))
    scores = critic(*pairs("normal-5d-1", 1500))
    top = objective(scores)
    assert top < best
    for scale, shift in ((0.8, 0.0), (1.25, 0.0), (1.0, 0.3), (1.0, -0.3)):
        assert objective(scale * scores + shift) < top
