import pytest
import torch
from torch import nn

import infomax
from infomax import critics
from infomax.critics import joint as all_pairs

SIZES = [  # N, M, hidden, tile
    (7, 5, (8, 6), 4),  # parts of a row
    (7, 5, (8, 6), 13),  # some rows
    (7, 5, (8, 6), 1),
    (5, 7, (8,), 10),  # one hidden layer
    (30, 40, (16, 12, 8), 77),
    (1, 40, (16, 8), 9),
    (40, 1, (16, 8), 9),
    (90, 80, (128, 96), None),
]


def scored_two_ways(critic, x, y, tile):
    """Scores and gradients, in tiles and from all pairs at once; the scores' gradient is not contiguous."""
    found = []
    weight = torch.randn(len(y), len(x), generator=torch.Generator().manual_seed(0)).to(x).T
    wanted = [value for value in (x, y, *critic.parameters()) if value.requires_grad]
    for critic.tile in (tile, len(x) * len(y)):
        scores = critic(x, y)
        found.append([scores.detach(), *torch.autograd.grad((scores * weight).sum(), wanted)])
    return found


def assert_close(found, expected, tolerance):
    for got, want in zip(found, expected, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert (got - want).abs().max() <= tolerance * want.abs().max()


def rows(n, dim, dtype=torch.float64, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


@pytest.mark.parametrize("kept", [0, 3000, 1 << 24])  # no hidden layer is kept for the gradient, some are, all are
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("precision", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_scores_and_gradients_are_those_of_all_pairs_at_once(monkeypatch, size, kept, precision):
    (n, m, hidden, tile), (dtype, tolerance) = size, precision
    monkeypatch.setattr(all_pairs, "_KEPT_BYTES", kept)
    monkeypatch.setattr(all_pairs, "_FEW_ELEMENTS", 0)
    torch.manual_seed(0)
    critic = critics.Concat(3, 2, hidden=hidden).to(dtype)
    assert_close(*scored_two_ways(critic, rows(n, 3, dtype), rows(m, 2, dtype, 1), tile), tolerance)


def test_against_joined_pairs_one_by_one():
    torch.manual_seed(0)
    critic = critics.Concat(2, 3, hidden=(6, 5, 4), tile=5).double()
    x, y = rows(4, 2), rows(3, 3)
    scores = critic(x, y)
    for i in range(4):
        for j in range(3):
            hidden = critic.first_x(x[i]) + critic.first_y(y[j])
            torch.testing.assert_close(scores[i, j], critic.rest(hidden)[0])


def test_gradcheck_with_tiles_that_do_not_divide():
    critic = critics.Concat(2, 3, hidden=(6, 5), tile=5).double()
    parameters = [p.detach().clone().requires_grad_() for p in critic.parameters()]
    names = [name for name, _ in critic.named_parameters()]

    def scores(x, y, *values):
        return torch.func.functional_call(critic, dict(zip(names, values, strict=True)), (x, y))

    assert torch.autograd.gradcheck(scores, (rows(4, 2), rows(3, 3), *parameters))


def test_inputs_that_are_not_contiguous():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    x, y = rows(3, 14).detach().T[::2].requires_grad_(), rows(5, 4).detach()[:, ::2].requires_grad_()
    found, expected = scored_two_ways(critic, x, y, 4)
    assert_close(found, expected, 1e-12)


def test_what_needs_no_gradient_gets_none():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    critic.rest.requires_grad_(requires_grad=False)
    x, y = rows(7, 3), rows(5, 2).detach()
    assert_close(*scored_two_ways(critic, x, y, 4), 1e-12)
    critic.requires_grad_(requires_grad=False)
    assert_close(*scored_two_ways(critic, x, y, 4), 1e-12)
    assert not critic(x.detach(), y).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(critic(x, y), critic(x.detach().clone(), y))


def test_the_graph_can_be_used_twice():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    x = rows(7, 3)
    scores = critic(x, rows(5, 2))
    first, second = (torch.autograd.grad(scores.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_gradients_of_gradients():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    x, y = rows(7, 3), rows(5, 2)
    with pytest.raises(RuntimeError, match=r"second derivatives are not available .* set tile= .* at least N x M"):
        torch.autograd.grad(critic(x, y).sum(), x, create_graph=True)
    critic.tile = 35
    (gradient,) = torch.autograd.grad(critic(x, y).sum(), x, create_graph=True)
    assert torch.autograd.grad(gradient.square().sum(), x)[0].abs().sum() > 0


def test_out_of_memory_names_the_pairs_and_the_knob(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")

    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    x, y = rows(7, 3), rows(5, 2)
    scores = critic(x, y)
    monkeypatch.setattr(all_pairs, "_Network", full)
    message = r"scores of 7 x 5 pairs in tiles of 4 do not fit in memory: reduce tile= of the critic"
    with pytest.raises(torch.cuda.OutOfMemoryError, match=message):
        critic(x, y)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=message):
        scores.sum().backward()


def test_other_errors_stay_what_they_are(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(all_pairs, "_Network", broken)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        critics.Concat(3, 2, hidden=(8, 6), tile=4)(torch.zeros(7, 3), torch.zeros(5, 2))


def test_rows_must_be_real_and_dense():
    weights, biases = [torch.zeros(1, 3)], [torch.zeros(1)]
    for a, b, name in ((torch.zeros(4, 3).long(), torch.zeros(5, 3), "a"), (torch.zeros(4, 3), None, "b")):
        with pytest.raises(TypeError, match=rf"{name} must be a "):
            critics.score_pairs(a, b, weights, biases)


def test_no_pairs():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4)
    assert critic(torch.zeros(0, 3), torch.zeros(5, 2)).shape == (0, 5)
    assert critic(torch.zeros(4, 3), torch.zeros(0, 2)).shape == (4, 0)


def test_autocast_scores_in_bfloat16():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4)
    x, y = torch.randn(7, 3), torch.randn(5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        scores = critic(x, y)
    assert scores.dtype == torch.bfloat16
    torch.testing.assert_close(scores.float(), critic(x, y), atol=0.02, rtol=0.02)
    scores.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.abs().sum() > 0 for p in critic.parameters())


@pytest.mark.parametrize("name", ["infonce", "nwj", "js", "smile"])
def test_a_bounds_value_and_gradient_do_not_depend_on_the_tile(name):
    torch.manual_seed(0)
    bound = infomax.bounds.get(name)(3, 2, critic=critics.Concat(3, 2, hidden=(16, 16))).double()
    x, y = rows(40, 3), rows(40, 2, seed=1)
    found = []
    for bound.critic.tile in (1600, 333):
        loss = bound.loss(x, y)
        found.append([loss.detach(), *torch.autograd.grad(loss, [x, y, *bound.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_the_first_layers_gradients_follow_the_chain_rule():
    critic = critics.Concat(3, 2, hidden=(8, 6), tile=4).double()
    joined = nn.Linear(5, 8).double()
    x, y = rows(7, 3).detach(), rows(5, 2).detach()
    joined.weight.data = torch.cat([critic.first_x.weight, critic.first_y.weight], 1).detach()
    joined.bias.data = critic.first_x.bias.detach()
    pairs = torch.cat([x.repeat_interleave(5, 0), y.repeat(7, 1)], 1)
    critic(x, y).square().sum().backward()
    critic.rest(joined(pairs)).square().sum().backward()
    own = torch.cat([critic.first_x.weight.grad, critic.first_y.weight.grad], 1)
    torch.testing.assert_close(own, joined.weight.grad)
