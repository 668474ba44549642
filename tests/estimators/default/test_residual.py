import math

import naive
import pytest
import torch
from torch import nn

from infomax import tasks
from infomax.estimators.default.residual import BatchedCritic, BatchedMLP, fit_residuals, logistic_losses
from infomax.training.fit import Schedule


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def separate(network, model):
    """One model of a :class:`BatchedMLP` as PyTorch's own layers."""
    layers = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2]).double()
        linear.weight.data, linear.bias.data = weight.data[model].T.clone(), bias.data[model, 0].clone()
        layers += [nn.SiLU(), linear]
    return nn.Sequential(*layers[1:])


def test_a_batched_perceptron_is_several_of_pytorchs():
    network = BatchedMLP(3, (4, 8, 8, 2), generator()).double()
    x = torch.randn(3, 10, 4, generator=generator(1), dtype=torch.float64)
    for model, found in enumerate(network(x)):
        torch.testing.assert_close(found, separate(network, model)(x[model]))


def test_initial_weights_are_those_of_pytorchs_layers():
    network = BatchedMLP(5, (16, 64, 3), generator(), last_gain=0.1)
    for layer, limit in ((0, 1 / 4), (1, 0.1 / 8)):
        for values in (network.weights[layer], network.biases[layer]):
            assert limit * (0.9 if values.numel() > 100 else 0.5) < values.abs().max() <= limit
    assert network.weights[0].std().item() == pytest.approx(1 / 4 / math.sqrt(3), rel=0.05)


def test_a_batched_critic_is_several_critics():
    critic = BatchedCritic.dense(3, 4, 2, generator(), hidden=8, embed_dim=5).double()
    with torch.no_grad():
        critic.c += torch.arange(3).reshape(3, 1, 1)
    x = torch.randn(3, 6, 4, generator=generator(1), dtype=torch.float64)
    y = torch.randn(3, 6, 2, generator=generator(2), dtype=torch.float64)
    scores = critic(x, y)
    for model in range(3):
        g, h, a, b = (separate(part, model) for part in (critic.g, critic.h, critic.a, critic.b))
        expected = g(x[model]) @ h(y[model]).T + a(x[model]) + b(y[model]).T + model
        torch.testing.assert_close(scores[model], expected)
        alone = critic.one(model)
        torch.testing.assert_close(alone(x[[model]], y[[model]])[0], expected)
        assert {p.data_ptr() for p in alone.parameters()}.isdisjoint(p.data_ptr() for p in critic.parameters())
    torch.testing.assert_close(critic.pairs(x, y), scores.diagonal(dim1=1, dim2=2))


def test_an_additive_critic_is_a_sum_over_pairs_of_columns():
    r""":math:`\\sum_{jk} g_j(x_j)^\\top A_{jk} h_k(y_k)` of two models, each column by a network of its own."""
    critic = BatchedCritic.additive(2, 3, 2, generator()).double()
    columns_x, coupling = critic.g
    x = torch.randn(2, 6, 3, generator=generator(1), dtype=torch.float64)
    y = torch.randn(2, 6, 2, generator=generator(2), dtype=torch.float64)
    scores = critic(x, y)
    for model in range(2):
        g = [separate(columns_x.each, model * 3 + j)(x[model][:, [j]]) for j in range(3)]
        h = [separate(critic.h.each, model * 2 + k)(y[model][:, [k]]) for k in range(2)]
        matrix, shift = coupling.weights[0][model], coupling.biases[0][model, 0]
        expected = critic.c[model] + separate(critic.a, model)(x[model]) + separate(critic.b, model)(y[model]).T
        for k in range(2):
            own = slice(8 * k, 8 * k + 8)
            expected = expected + (shift[own] @ h[k].T)[None]
            for j in range(3):
                expected = expected + g[j] @ matrix[8 * j : 8 * j + 8, own] @ h[k].T
        torch.testing.assert_close(scores[model], expected)
        torch.testing.assert_close(critic.one(model)(x[[model]], y[[model]])[0], expected)
    torch.testing.assert_close(critic.pairs(x, y), scores.diagonal(dim1=1, dim2=2))


def test_a_critic_starts_near_zero_and_says_nothing():
    critic = BatchedCritic.dense(2, 3, 3, generator())
    x, y = torch.randn(2, 2, 200, 3, generator=generator(1))
    assert critic(x, y).abs().max() < 0.05


@pytest.mark.parametrize("size", [2, 7])
def test_logistic_losses_equal_plain_loops(size):
    scores = 3 * torch.randn(4, size, size, generator=generator(), dtype=torch.float64)
    expected = [naive.logistic(each) for each in scores.tolist()]
    assert logistic_losses(scores).tolist() == pytest.approx(expected, rel=1e-12)


def test_logistic_losses_of_huge_scores_are_finite():
    scores = torch.full((1, 5, 5), 1e4)
    assert logistic_losses(scores).item() == pytest.approx(1e4, rel=1e-5)
    assert logistic_losses(-scores).item() == pytest.approx(1e4, rel=1e-5)


class Problem:
    """Two folds of a normal task, with no anchor."""

    def __init__(self, name="normal-1d-1", n=1000, anchor=0.0):
        self.x, self.y = (torch.from_numpy(side).float() for side in tasks.get(name).sample(n, 0))
        self.anchor = anchor
        order = torch.arange(n)
        self.train = torch.stack([order[: n // 2], order[n // 4 : 3 * n // 4]])
        self.validation = torch.stack([order[3 * n // 4 :], order[: n // 4]])
        self.drawn, self.ticks = [], []

    def critic(self, seed=0):
        dims = self.x.shape[1], self.y.shape[1]
        return BatchedCritic.dense(2, *dims, generator(seed), hidden=16, embed_dim=8)

    def anchors(self, rows):
        return torch.full((2, rows.shape[1], rows.shape[1]), self.anchor)

    def residuals(self, model, rows):
        if torch.is_grad_enabled():
            self.drawn.append(rows)
        return model(self.x[rows], self.y[rows])

    def fit(self, critic, **options):
        schedule = Schedule(**{"steps": 300, "batch_size": 64, "learning_rate": 1e-2, "check_every": 10, **options})
        return fit_residuals(
            critic,
            self.anchors,
            self.residuals,
            self.train,
            self.validation,
            schedule=schedule,
            generator=generator(1),
            tick=self.ticks.append,
        )


def test_learns_the_log_ratio_and_keeps_the_best_state():
    problem = Problem()
    critic, state = problem.critic(), torch.get_rng_state()
    histories = problem.fit(critic, patience=5)
    assert torch.equal(torch.get_rng_state(), state)
    values = critic(problem.x[problem.validation], problem.y[problem.validation]).diagonal(dim1=1, dim2=2).mean(1)
    for history, value in zip(histories, values.tolist(), strict=True):
        assert history.steps[0] == 0
        assert history.validation[0] == pytest.approx(0.0, abs=0.05)
        assert history.validation[history.steps.index(history.best_step)] == pytest.approx(value, abs=1e-5)
        assert not history.diverged
        # 1 nat; its standard error on 250 rows is sd / sqrt(250), with sd of the log-ratio = rho.
        assert value == pytest.approx(1.0, abs=3 * math.sqrt(1 - math.exp(-2)) / math.sqrt(250) + 0.1)
    last = max(history.best_step for history in histories)
    assert histories[0].steps == histories[1].steps
    assert histories[0].steps[-1] in (300, last + 50)
    assert sum(problem.ticks) == histories[0].steps[-1]


def test_the_same_generator_gives_the_same_bits():
    states, histories = [], []
    for _ in range(2):
        problem = Problem(n=200)
        critic = problem.critic()
        histories.append(problem.fit(critic, steps=40))
        states.append(critic.state_dict())
    assert histories[0] == histories[1]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_no_steps_leave_the_critic_as_it_was():
    problem = Problem(n=200)
    critic = problem.critic()
    before = [parameter.clone() for parameter in critic.parameters()]
    (first, second) = problem.fit(critic, steps=0)
    assert first.steps == second.steps == [0]
    assert problem.drawn == []
    assert all(torch.equal(old, new) for old, new in zip(before, critic.parameters(), strict=True))


def test_what_does_not_help_is_not_kept():
    """Independent sides and few rows: what was learned of them is worth nothing on others."""
    problem = Problem("normal-5d-0", n=120)
    critic = problem.critic()
    histories = problem.fit(critic, batch_size=60, patience=3)
    for history in histories:
        assert history.best_step < history.steps[-1]
    scores = critic(problem.x[problem.validation], problem.y[problem.validation])
    assert (logistic_losses(scores) <= 2 * math.log(2) + 1e-3).all()


def test_every_row_is_drawn_once_a_pass_in_each_fold():
    problem = Problem(n=120)
    problem.fit(problem.critic(), steps=5, batch_size=24)
    assert [rows.shape for rows in problem.drawn] == [(2, 24)] * 5  # 120 draws: two passes of 60 rows
    drawn = torch.cat(problem.drawn, 1)
    for fold in range(2):
        rows, counts = drawn[fold].unique(return_counts=True)
        assert torch.equal(rows, problem.train[fold].sort().values)
        assert (counts == 2).all()
        assert len(drawn[fold, :48].unique()) == 48


def test_an_exact_anchor_leaves_nothing_to_learn():
    problem = Problem("normal-1d-1", n=400)
    rho = math.sqrt(1 - math.exp(-2))

    def exact(rows):
        x, y = problem.x[rows], problem.y[rows].transpose(1, 2)
        return (rho * x * y - 0.5 * rho**2 * (x.square() + y.square())) / (1 - rho**2) + 1.0

    problem.anchors = exact
    critic = problem.critic()
    problem.fit(critic, patience=3)
    assert critic.pairs(problem.x[problem.validation], problem.y[problem.validation]).mean(1).abs().max() < 0.1


def test_divergence_is_survived_and_said():
    problem = Problem(n=200)
    finite = problem.anchors
    problem.anchors = lambda rows: finite(rows) * (math.nan if len(problem.drawn) > 25 else 1.0)
    critic = problem.critic()
    histories = problem.fit(critic, steps=100)
    assert all(history.diverged for history in histories)
    assert all(parameter.isfinite().all() for parameter in critic.parameters())
    assert histories[0].steps[-1] == 30


def test_folds_do_not_touch_each_other():
    """What the first fold sees is changed: the second one learns the same."""
    second = []
    for factor in (1.0, -3.0):
        problem = Problem(n=200)
        plain = problem.residuals
        scale = torch.tensor([factor, 1.0]).reshape(2, 1, 1)
        problem.residuals = lambda model, rows, plain=plain, scale=scale: scale * plain(model, rows)
        critic = problem.critic()
        problem.fit(critic, steps=40, patience=100)
        second.append([parameter[1] for parameter in critic.parameters()])
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other)
