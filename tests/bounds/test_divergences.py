import math

import naive
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infomax.bounds import divergences

probabilities = st.lists(st.floats(0, 1), min_size=2, max_size=5).map(lambda p: [v + 1e-9 for v in p])


def normalised(weights):
    return [weight / sum(weights) for weight in weights]


def float64(value):
    return torch.tensor(value, dtype=torch.float64)


@given(p=probabilities, q=probabilities)
def test_no_pair_of_distributions_lies_below(p, q):
    length = min(len(p), len(q))
    jsd, kl = naive.divergences(normalised(p[:length]), normalised(q[:length]))
    assert float(divergences.least_kl(float64(jsd))) <= kl + 1e-9


@pytest.mark.parametrize("kl", [1e-6, 0.1, 1.0, 4.0, 12.0, 30.0])
def test_a_restriction_to_an_event_lies_on_it(kl):
    """P is Q restricted to an event of probability e^-kl: the bound cannot be raised."""
    event = math.exp(-kl)
    jsd, exact = naive.divergences([1.0, 0.0], [event, 1 - event])
    assert exact == pytest.approx(kl)
    assert float(divergences.greatest_jsd(float64(kl))) == pytest.approx(jsd, rel=1e-12)
    assert float(divergences.least_kl(float64(jsd))) == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize("jsd", [0.02, 0.2, 0.45, 0.65])
def test_is_the_least_of_all_binary_pairs(jsd):
    """By brute force: for each p, the q of that Jensen-Shannon divergence by bisection, and the least KL among them."""
    least = math.inf
    for p in np.linspace(0.5, 1, 501):
        low, high = 1e-12, p
        if naive.divergences([p, 1 - p], [low, 1 - low])[0] < jsd:
            continue
        for _ in range(60):
            middle = (low + high) / 2
            far = naive.divergences([p, 1 - p], [middle, 1 - middle])[0] > jsd
            low, high = (middle, high) if far else (low, middle)
        least = min(least, naive.divergences([p, 1 - p], [low, 1 - low])[1])
    assert float(divergences.least_kl(float64(jsd))) == pytest.approx(least, rel=1e-6)


def test_inverse_slope_and_ends():
    kl = torch.tensor([1e-3, 0.1, 1.0, 3.0, 10.0], dtype=torch.float64, requires_grad=True)
    jsd = divergences.greatest_jsd(kl)
    torch.testing.assert_close(divergences.least_kl(jsd), kl)
    (slope,) = torch.autograd.grad(jsd.sum(), kl)
    torch.testing.assert_close(1 / slope, divergences.least_kl_slope(kl))
    at = torch.tensor([-0.2, 0.0, 0.1, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(divergences.least_kl, (at,))
    assert divergences.least_kl(torch.zeros(())) == 0
    assert float(divergences.least_kl(float64(-0.1))) == pytest.approx(-0.2 / math.log(2))
    assert divergences.least_kl(torch.tensor([math.log(2), 1.0])).isfinite().all()


def test_every_tangent_lies_below():
    """Also one at a negative KL divergence, which training may pass through."""
    jsd = torch.linspace(-0.3, 0.69, 200, dtype=torch.float64)
    curve = divergences.least_kl(jsd.clamp_min(0))[jsd >= 0]
    for k in float64([-2.0, -0.3, 0.0, 0.5, 2.0, 6.0]):
        line = k + divergences.least_kl_slope(k) * (jsd - divergences.greatest_jsd(k))
        assert (line[jsd >= 0] <= curve + 1e-12).all()
