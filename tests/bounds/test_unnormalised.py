import math

import naive
import pytest
import torch
from torch import nn

from infomax import FLO, NWJ, TUBA, Interpolated

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(12, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Row(nn.Module):
    """The first coordinate."""

    def forward(self, y):
        return y[:, 0]


@pytest.mark.parametrize("baseline", ["network", "constant", Row()])
def test_tuba_equals_plain_loops(baseline):
    bound = TUBA(3, 2, baseline=baseline).double().requires_grad_(False)
    for parameter in bound.baseline.parameters():
        parameter.add_(0.4)
    expected = naive.tuba(bound.critic(X, Y).tolist(), bound.baseline(Y).exp().tolist())
    assert float(bound(X, Y)) == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(bound.pointwise(X, Y), bound.critic(X, Y).diagonal() - bound.baseline(Y))


def test_tuba_with_the_best_constant_is_donsker_varadhan():
    bound = TUBA(3, 2, baseline="constant").double().requires_grad_(False)
    scores = bound.critic(X, Y).tolist()
    bound.baseline.value.fill_(math.log(sum(map(math.exp, naive.negatives(scores))) / 132))
    assert float(bound(X, Y)) == pytest.approx(naive.donsker_varadhan(scores), rel=1e-9)


def test_flo_equals_plain_loops():
    bound = FLO(3, 2).double().requires_grad_(False)
    for parameter in bound.correction.parameters():
        parameter.add_(0.1)
    scores = bound.critic(X, Y)
    slacks = -scores.diagonal() - bound.correction(torch.cat([X, Y], 1))[:, 0]
    assert float(bound(X, Y)) == pytest.approx(naive.flo(scores.tolist(), slacks.tolist()), rel=1e-9)
    torch.testing.assert_close(bound.pointwise(X, Y), -slacks)


@pytest.mark.parametrize(("cls", "side"), [(TUBA, 0), (FLO, 1)])
def test_learns_what_the_critic_lacks(cls, side, pairs):
    """The true log-ratio plus a term in y (TUBA) or x (FLO) that NWJ must pay for."""
    x, y = pairs("normal-1d-1", 800)

    class Spoilt(nn.Module):
        def forward(self, x, y):
            rho = math.sqrt(1 - math.exp(-2))
            ratio = (rho * x @ y.T - 0.5 * rho**2 * (x.square() + y.T.square())) / (1 - rho**2) + 1
            return ratio + (y.T if side == 0 else x)

    bound = cls(1, 1, critic=Spoilt()).double()
    assert NWJ(1, 1, critic=Spoilt())(x, y) < 0.5
    optimizer = torch.optim.Adam(bound.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        bound.loss(x, y).backward()
        optimizer.step()
    assert bound(*pairs("normal-1d-1", 2000, 1)).item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("alpha", "n"), [(0.5, 3), (0.01, 32), (1.0, 32)])
def test_ceiling_of_interpolated_is_reached_by_perfect_scores(alpha, n):
    bound = Interpolated(1, 1, alpha=alpha)
    value = bound.objective(torch.full((n, n), -1e3, dtype=torch.float64).fill_diagonal_(1e3))
    assert float(value) == pytest.approx(bound.ceiling(n), rel=1e-6)
    assert Interpolated(1, 1, alpha=0.0).ceiling(n) is None


def test_refusals():
    with pytest.raises(ValueError, match="baseline must be a module, 'network' or 'constant'; got 'learned'"):
        TUBA(3, 2, baseline="learned")
    with pytest.raises(ValueError, match=r"baseline must return shape \(12,\); got \(12, 2\)"):
        TUBA(3, 2, baseline=nn.Identity()).double()(X, Y)
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\]; got 1.5"):
        Interpolated(3, 2, alpha=1.5)
