import pytest
import torch
from torch import nn

from infomax import critics, tasks


@pytest.fixture(params=critics.names())
def critic(request):
    torch.manual_seed(0)
    return critics.make(request.param, 3, 2)


def test_entry_ij_scores_x_i_with_y_j(critic):
    x, y = torch.randn(5, 3), torch.randn(7, 2)
    if isinstance(critic, critics.GaussianResidual):
        critic.warm_start(torch.randn(50, 3), torch.randn(50, 2))
    scores = critic(x, y)
    assert scores.shape == (5, 7)
    for i, j in [(0, 0), (1, 6), (4, 2)]:
        torch.testing.assert_close(critic(x[i : i + 1], y[j : j + 1])[0, 0], scores[i, j])


def test_gradcheck_and_gradients_reach_every_parameter(critic):
    critic = critic.double()
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(critic, (x, y))
    critic(x, y).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters())


def test_concat_is_a_perceptron_of_the_joined_pair():
    torch.manual_seed(0)
    critic = critics.Concat(3, 2, hidden=(8, 8))
    first = nn.Linear(5, 8)
    with torch.no_grad():
        first.weight.copy_(torch.cat([critic.first_x.weight, critic.first_y.weight], 1))
        first.bias.copy_(critic.first_x.bias)
    x, y = torch.randn(6, 3), torch.randn(4, 2)
    pairs = torch.cat([x.repeat_interleave(4, 0), y.repeat(6, 1)], 1)
    torch.testing.assert_close(critic(x, y), critic.rest(first(pairs)).reshape(6, 4))


def test_gaussian_residual_scores_are_the_gaussian_log_ratio_plus_the_residual():
    class Zero(nn.Module):
        def forward(self, x, y):
            return torch.zeros(len(x), len(y), dtype=x.dtype)

    task = tasks.get("normal-1d-1")
    x, y = map(torch.from_numpy, task.sample(50_000, 0))
    critic = critics.GaussianResidual(1, 1, residual=Zero()).double()
    assert critic(x[:4], y[:4]).abs().sum() == 0  # before the warm start
    critic.warm_start(x, y)
    covariance = torch.cov(torch.cat([x, y], 1).T)
    grid = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    joint = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    margins = [torch.distributions.Normal(0.0, covariance[i, i].sqrt()) for i in (0, 1)]
    pairs = torch.cartesian_prod(grid[:, 0], grid[:, 0])
    expected = joint.log_prob(pairs) - margins[0].log_prob(pairs[:, 0]) - margins[1].log_prob(pairs[:, 1])
    torch.testing.assert_close(critic(grid, grid), expected.reshape(5, 5), rtol=0, atol=0.05)


def test_cosine_scores_lie_within_one_over_temperature():
    torch.manual_seed(0)
    critic = critics.Cosine(3, 2, temperature=0.2, learn_temperature=False)
    scores = critic(100 * torch.randn(50, 3), 100 * torch.randn(50, 2)).detach()
    assert scores.abs().max() <= 5.0 + 1e-5
    assert scores.abs().max() > 2.0


def test_make():
    module = nn.Identity()
    assert critics.make(module, 1, 1) is module
    with pytest.raises(ValueError, match=r"critic must be a module or one of separable, .*; got 'dot'"):
        critics.make("dot", 1, 1)
    with pytest.raises(ValueError, match="hidden must name at least one layer"):
        critics.Concat(1, 1, hidden=())
    with pytest.raises(ValueError, match="tile must be at least 1; got 0"):
        critics.Concat(1, 1, tile=0)
