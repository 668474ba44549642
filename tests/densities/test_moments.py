"""Moments that are kept, against a memory that computes all of them anew."""

import copy
import pickle

import pytest
import torch

from infomax import GaussianMixtureMemory

DIM, CAPACITY = 20, 800


def batches(count, size=90, seed=0):
    """Rows whose mean is far from zero and drifts, and labels of which the last is rare."""
    generator = torch.Generator().manual_seed(seed)
    for i in range(count):
        rows = torch.randn(size, DIM, generator=generator) + 1000 + i
        yield rows, torch.rand(size, generator=generator).mul(2.1).long()


def filled(entropy="lower"):
    memory = GaussianMixtureMemory(DIM, 3, CAPACITY, entropy=entropy)
    for rows, labels in batches(25, seed=1):
        memory(rows, labels)
    return memory


def anew(memory):
    """One with the same state, that has kept nothing."""
    other = GaussianMixtureMemory(DIM, 3, CAPACITY, entropy=memory.entropy).to(memory.samples.dtype)
    other.load_state_dict(copy.deepcopy(memory.state_dict()))
    return other.train(memory.training)


def step(memory, rows, labels):
    rows = rows.clone().requires_grad_()
    value = memory(rows, labels)
    value.backward()
    return value.detach(), rows.grad


def assert_same(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("entropy", ["lower", "monte_carlo"])
def test_resumed_at_any_time_it_is_the_same_to_the_last_bit(entropy):
    memory = GaussianMixtureMemory(DIM, 3, CAPACITY, entropy=entropy)
    for rows, labels in batches(40):  # more than go around
        other = anew(memory)
        assert_same(step(memory, rows, labels), step(other, rows, labels))
        assert_same(memory.state_dict().values(), other.state_dict().values())


def written_through(memory):
    memory.samples[0, 300] = 5.0
    return memory


def as_often_written(tensor, other):
    """``tensor`` with another's count of writes."""
    while tensor._version < other._version:
        tensor.add_(0)
    return tensor


def replaced(memory):
    memory.samples = as_often_written(memory.samples.flip(2).clone(), memory.samples)
    return memory


def copied(memory):
    other = copy.deepcopy(memory)
    other.samples.mul_(2)
    for own, theirs in zip(other.buffers(), memory.buffers(), strict=True):
        as_often_written(own, theirs)
    return other


def loaded(memory):
    state = copy.deepcopy(memory.state_dict())
    state["samples"] *= 2
    memory.load_state_dict(state)
    return memory


def refilled(memory):
    memory.reset_parameters()
    for rows, labels in batches(6, size=200, seed=3):
        memory.update(rows, labels)
    return memory


def updated_in_evaluation(memory):
    memory.eval()
    for rows, labels in batches(3, seed=3):
        memory(rows, labels)
        memory.update(rows, labels)
    return memory.train()


def written_by_what_counts_no_writes(memory):
    """As collectives do."""
    version = memory.samples._version
    memory.samples.numpy()[:, 10:20] += 1
    assert memory.samples._version == version
    return memory


CHANGES = [written_through, written_by_what_counts_no_writes, replaced, loaded, refilled, updated_in_evaluation]
COPIES = [GaussianMixtureMemory.double, copied, lambda memory: pickle.loads(pickle.dumps(memory))]


@pytest.mark.parametrize("change", CHANGES + COPIES)
def test_nothing_is_kept_that_changed(change):
    memory = change(filled())
    for rows, labels in batches(4, seed=2):
        other = anew(memory)
        assert_same(step(memory, rows, labels), step(other, rows, labels))


def test_a_copy_changes_apart():
    memory = filled()
    other = copy.deepcopy(memory)
    for rows, labels in batches(3, seed=4):
        other(rows, labels)
    rows, labels = next(batches(1, seed=5))
    assert_same(step(memory, rows, labels), step(filled(), rows, labels))


def test_inference_mode_before_training():
    memory = filled()
    rows, labels = next(batches(1, seed=2))
    with torch.inference_mode():
        memory.eval()(rows, labels)
        memory.update(rows, labels)
        memory.samples[0, 300] = 5.0
    other = anew(memory.train())
    assert_same(step(memory, rows, labels), step(other, rows, labels))
    with torch.inference_mode():  # tensors that do not tell of writes
        inside = anew(memory)
        inside.samples = inside.samples.clone()
        inside(rows, labels)
        inside.samples[0, 300] = 5.0
        other = anew(inside)
        assert torch.equal(inside(rows, labels), other(rows, labels))


def test_moments_are_exact_far_from_zero():
    """Of float32 rows whose mean is 10,000 deviations, against float64 throughout."""
    generator = torch.Generator().manual_seed(0)
    memory = GaussianMixtureMemory(DIM, capacity=CAPACITY)
    exact = GaussianMixtureMemory(DIM, capacity=CAPACITY).double()
    scale = torch.logspace(-2, 2, DIM)
    for _ in range(12):
        rows = scale * (torch.randn(90, DIM, generator=generator) + 1e4)
        memory(rows)
        exact(rows.double() - scale.double() * 1e4)
    rows = scale * (torch.randn(90, DIM, generator=generator) + 1e4)
    found, expected = memory.mixture(rows), exact.mixture(rows.double() - scale.double() * 1e4)
    torch.testing.assert_close(found.covariances, expected.covariances, rtol=1e-9, atol=1e-12)
