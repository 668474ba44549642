"""Several memories in one call, against a call for each."""

import copy

import pytest
import torch

from infomax import BA, GaussianMixtureMemory, entropies
from infomax.bounds import barber_agakov

DIM = 3


def samples(count, n=40, components=3, seed=0):
    """Representations of the same samples, in different units, and their labels; the last of these is rare."""
    generator = torch.Generator().manual_seed(seed)
    ys = [(torch.randn(n, DIM, generator=generator) + i) * 10.0**i for i in range(count)]
    labels = torch.rand(n, generator=generator).mul(components - 0.9).long() if components > 1 else None
    return [y.requires_grad_() for y in ys], labels


def assert_alike(memories, ys, labels):
    others = copy.deepcopy(memories)
    values = entropies(memories, ys, labels)
    found = torch.autograd.grad(sum(values), ys)
    alone = [memory(y, labels) for memory, y in zip(others, ys, strict=True)]
    torch.testing.assert_close(values, alone)
    torch.testing.assert_close(found, torch.autograd.grad(sum(alone), ys))
    for memory, other in zip(memories, others, strict=True):
        torch.testing.assert_close(memory.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("kind", ["monte_carlo", "lower", "upper"])
def test_those_that_are_alike(kind, components):
    memories = [GaussianMixtureMemory(DIM, components, 50, entropy=kind) for _ in range(3)]
    memories[1].update(
        *samples(1, 20, components, seed=9)[0], samples(1, 20, components, seed=9)[1]
    )  # fuller than others
    for step in range(6):  # goes around
        assert_alike(memories, *samples(3, components=components, seed=step))


def test_given_weights():
    memories = [GaussianMixtureMemory(DIM, 2, 50, weights=weights) for weights in ([0.2, 0.8], [0.7, 0.3])]
    for step in range(2):
        assert_alike(memories, *samples(2, components=2, seed=step))


def test_those_that_differ():
    memories = [
        GaussianMixtureMemory(DIM, 3, 50),
        GaussianMixtureMemory(DIM, 3, 60),
        GaussianMixtureMemory(DIM, 4, 50, entropy="lower"),
        GaussianMixtureMemory(DIM, 3, 50).eval(),
    ]
    memories[3].update(torch.randn(30, DIM), torch.arange(30) % 3)
    for step in range(3):
        assert_alike(memories, *samples(4, seed=step))


def test_in_evaluation_nothing_is_remembered():
    memories = [GaussianMixtureMemory(DIM).eval() for _ in range(2)]
    memories[0].update(torch.randn(20, DIM))  # the other takes the batch itself
    assert_alike(memories, *samples(2, components=1))
    assert memories[1].counts.tolist() == [0]


def test_nothing_is_remembered_where_one_refuses():
    memories = [GaussianMixtureMemory(DIM, 3), GaussianMixtureMemory(DIM, 2)]
    ys, _ = samples(2)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1; got 0\.\.2"):
        entropies(memories, ys, torch.arange(40) % 3)
    with pytest.raises(ValueError, match="y must be finite; got NaN or infinity in 1 rows"):
        entropies(memories, [ys[0], torch.full((1, DIM), torch.inf)], torch.arange(40) % 2)
    with pytest.raises(ValueError, match="y must have at least one row; got 0"):
        entropies(memories, [ys[0], ys[1][:0]], torch.arange(40) % 2)
    assert [memory.counts.sum().item() for memory in memories] == [0, 0]


def test_numbers_of_memories():
    memory = GaussianMixtureMemory(DIM)
    assert entropies([], []) == []
    with pytest.raises(ValueError, match="ys must be as many as memories; got 1 and 2"):
        entropies([memory, GaussianMixtureMemory(DIM)], [torch.ones(2, DIM)])
    with pytest.raises(ValueError, match="memories must be different ones; got one twice"):
        entropies([memory, memory], [torch.ones(2, DIM)] * 2)


@pytest.mark.parametrize("kind", ["monte_carlo", "lower", "upper"])
def test_values_may_be_changed_in_place(kind):
    memories = [GaussianMixtureMemory(DIM, entropy=kind) for _ in range(2)]
    ys, _ = samples(2, components=1)
    first, second = entropies(memories, ys)
    before = second.item()
    first += ys[0].square().mean()
    first.add_(1)
    assert second.item() == before
    (first + second).backward()
    alone = GaussianMixtureMemory(DIM, entropy=kind)(ys[0])
    expected = torch.autograd.grad(alone + ys[0].square().mean(), ys[0])[0]
    torch.testing.assert_close(ys[0].grad, expected)


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_densities_of_no_rows(components, training):
    memory = GaussianMixtureMemory(DIM, components).train(training)
    nothing, labels = torch.zeros(0, DIM, requires_grad=True), torch.zeros(0, dtype=torch.long)
    for _ in range(2):  # an empty memory, and one with rows
        assert memory.log_prob(nothing, labels).shape == (0,)
        assert memory.mixture(nothing, labels).means.shape == (components, DIM)
        memory.update(torch.randn(9, DIM), torch.arange(9) % components)


def test_a_bounds_memory_is_called_as_a_module():
    bound, seen = BA(2, DIM), []
    bound.memory.register_forward_hook(lambda *_: seen.append(1))
    bound(torch.randn(5, 2), torch.randn(5, DIM))
    assert seen == [1]


def test_several_barber_agakov_bounds():
    torch.manual_seed(0)
    bounds = [BA(2, DIM, components=3), BA(4, DIM, components=3), BA(2, DIM, entropy=3.0)]
    ys, labels = samples(3)
    xs = [torch.randn(len(y), bound.x_dim) for bound, y in zip(bounds, ys, strict=True)]
    others = copy.deepcopy(bounds)
    values = barber_agakov(bounds, list(zip(xs, ys, strict=True)), labels)
    alone = [bound(x, y, labels) for bound, x, y in zip(others, xs, ys, strict=True)]
    torch.testing.assert_close(values, alone)
    assert bounds[1].memory.counts.sum() == 40
    with pytest.raises(ValueError, match="pairs must be as many as bounds; got 2 and 3"):
        barber_agakov(bounds, list(zip(xs, ys, strict=True))[:2], labels)
