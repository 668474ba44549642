import math

import pytest
import torch
from torch import nn

from infomax import BA, tasks
from infomax.densities.mixtures import gaussian_entropies


def test_known_entropy_makes_it_a_lower_bound(pairs):
    x, y = pairs("normal-5d-1", 4000)
    entropy = 2.5 * math.log(2 * math.pi * math.e)
    bound = BA(5, 5, entropy=entropy).double().eval()
    assert bound.kind == "lower"
    assert BA(5, 5).kind == "estimate"
    torch.testing.assert_close(bound(x, y), bound.log_prob(x, y).mean() + entropy)
    torch.testing.assert_close(bound(x, y), bound.pointwise(x, y).mean())
    assert bound(x, y) < 1.0


def test_value_is_the_mean_of_the_pointwise_log_ratio(pairs):
    x, y = pairs("normal-5d-1", 500)
    bound = BA(5, 5).double()
    bound.warm_start(x[:250], y[:250])
    bound.eval()
    torch.testing.assert_close(bound(x[250:], y[250:]), bound.pointwise(x[250:], y[250:]).mean())


def test_warm_start_alone_reaches_the_oracle():
    """rho = 0.8 in 16 of 16 pairs, x in 32 dimensions: 8.173 nats."""
    task = next(task for task in map(tasks.get, tasks.names()) if task.name.startswith("normal-32x16"))
    x, y = map(torch.from_numpy, task.sample(20_000, 0))
    bound = BA.for_estimation(32, 16, 10_000).double().requires_grad_(False)
    bound.warm_start(x[:10_000], y[:10_000])
    value = float(bound.eval()(x[10_000:], y[10_000:]))
    assert task.mi == pytest.approx(8.173, abs=5e-4)
    assert 8.0 < value < task.mi + 0.1


@pytest.mark.parametrize("correlated", [False, True])
def test_likelihood_is_complete(correlated):
    """Without its -log sigma term the density would not integrate to one."""
    from infomax import ConditionalGaussian

    torch.manual_seed(0)
    density = ConditionalGaussian(1, 2, correlated=correlated).double()
    with torch.no_grad():
        density.linear_log_variance.bias.copy_(torch.tensor([0.8, -1.1]))
        if correlated:
            density.regression.fill_(0.7)
    axis = torch.linspace(-12, 12, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    mass = density.log_prob(grid, torch.full((len(grid), 1), 0.3, dtype=torch.float64)).exp().sum()
    assert float(mass.detach()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-4)


def test_maximum_likelihood_finds_the_noise(pairs):
    """I = 1 nat in one dimension: the residual variance is e^-2. A likelihood without log sigma would let it grow."""
    x, y = pairs("normal-1d-1", 2000)
    bound = BA(1, 1).double()
    optimizer = torch.optim.Adam(bound.density.parameters(), lr=2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        bound.loss(x, y).backward()
        optimizer.step()
    log_variance = bound.density.linear_log_variance(x) + bound.density.log_variance(x)
    assert float(log_variance.mean().exp().detach()) == pytest.approx(math.exp(-2), rel=0.1)


def test_memory_is_updated_by_the_value_in_training_and_by_nothing_else():
    bound = BA(3, 2, components=2, capacity=8)
    x, y, labels = torch.randn(6, 3), torch.randn(6, 2), torch.tensor([0, 0, 1, 1, 1, 1])
    bound.loss(x, y)
    bound.pointwise(x, y, labels)
    assert bound.memory.counts.tolist() == [0, 0]
    bound(x, y, labels)
    assert bound.memory.counts.tolist() == [2, 4]
    bound.eval()(x, y, labels)
    assert bound.memory.counts.tolist() == [2, 4]


def test_value_with_labels_is_log_likelihood_plus_mixture_entropy():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 2
    y = torch.randn(2000, 2, generator=generator, dtype=torch.float64) + 200.0 * labels[:, None]
    bound = BA(2, 2, components=2, weights=[0.5, 0.5], entropy="lower").double()
    value = bound(y, y, labels)
    mixture = bound.memory.mixture(y, labels)
    # Far apart and equally many: H = log 2 + the mean of the two entropies.
    expected = bound.log_prob(y, y).mean() + math.log(2) + gaussian_entropies(mixture).mean()
    torch.testing.assert_close(value, expected)


def test_a_density_of_a_wrong_shape_is_refused():
    class Wrong(nn.Module):
        def log_prob(self, y, x):
            return y

    with pytest.raises(ValueError, match=r"density.log_prob must return shape \(4,\); got \(4, 1\)"):
        BA(2, 1, density=Wrong())(torch.zeros(4, 2), torch.zeros(4, 1))


def test_labels_are_required_for_several_components():
    with pytest.raises(ValueError, match="labels must be given when components > 1"):
        BA(2, 1, components=3)(torch.zeros(4, 2), torch.zeros(4, 1))
