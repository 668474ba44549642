import collections
import math

import pytest
import torch

from infomax import GaussianMixtureMemory
from infomax.densities.mixtures import Mixture, mixture_entropy_lower, mixture_entropy_upper, mixture_log_prob
from infomax.statistics.gaussian import ledoit_wolf


def two_components(distance):
    means = torch.tensor([[0.0, 0.0], [distance, 0.0]], dtype=torch.float64)
    cholesky = torch.tensor([[[1.0, 0.0], [0.3, 0.8]], [[0.6, 0.0], [-0.2, 1.2]]], dtype=torch.float64)
    return Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64).log(), means, cholesky @ cholesky.mT)


def quadrature_entropy(mixture):
    axis = torch.linspace(-14, 26, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_prob = mixture_log_prob(mixture, grid)
    return float(-(log_prob.exp() * log_prob).sum() * (axis[1] - axis[0]) ** 2)


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0, 10.0])
def test_bounds_enclose_the_mixtures_entropy(distance):
    mixture = two_components(distance)
    truth = quadrature_entropy(mixture)
    assert mixture_entropy_lower(mixture) <= truth + 1e-6
    assert mixture_entropy_upper(mixture) >= truth - 1e-6
    if distance == 10.0:  # far apart both are H(component) + E H(y | component)
        exact = -0.3 * math.log(0.3) - 0.7 * math.log(0.7) + 0.3 * 2.6147 + 0.7 * 2.5094
        assert float(mixture_entropy_lower(mixture)) == pytest.approx(truth, abs=1e-3)
        assert float(mixture_entropy_upper(mixture)) == pytest.approx(truth, abs=1e-3)
        assert truth == pytest.approx(exact, abs=1e-3)


def test_log_prob_is_torch_distributions():
    mixture = two_components(2.0)
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=mixture.log_weights),
        torch.distributions.MultivariateNormal(mixture.means, mixture.covariances),
    )
    y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(mixture_log_prob(mixture, y), reference.log_prob(y))


@pytest.mark.parametrize("entropy", ["lower", "upper", "monte_carlo"])
def test_one_gaussian_has_its_closed_form(entropy):
    covariance = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    y = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = y @ torch.linalg.cholesky(covariance).T
    memory = GaussianMixtureMemory(2, entropy=entropy)
    exact = math.log(2 * math.pi * math.e) + 0.5 * float(torch.logdet(covariance))
    assert float(memory(y)) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("entropy", ["lower", "upper", "monte_carlo"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (torch.randn(6, 4), [0, 0, 0, 0, 0, 0]),  # the second component is empty
        (torch.randn(6, 4), [0, 0, 0, 0, 0, 1]),  # one sample
        (torch.cat([torch.randn(3, 4), torch.ones(3, 4)]), [0, 0, 0, 1, 1, 1]),  # constant
        (torch.ones(6, 4), [0, 0, 0, 1, 1, 1]),  # everything constant
        (torch.randn(6, 1) * torch.ones(1, 4), [0, 1, 0, 1, 0, 1]),  # rank one
        (1e6 * torch.randn(6, 4), [0, 1, 0, 1, 0, 1]),
        (torch.randn(1, 4), [0]),
    ],
)
def test_degenerate_components_are_finite_and_differentiable(entropy, training, rows, labels):
    memory = GaussianMixtureMemory(4, components=2, capacity=8, entropy=entropy).train(training)
    for dtype in (torch.float32, torch.float64):
        y = rows.to(dtype, copy=True).requires_grad_()
        value = memory(y, torch.tensor(labels))
        value.backward()
        assert value.isfinite()
        assert value.dtype == dtype
        assert y.grad.isfinite().all()


@pytest.mark.parametrize("entropy", ["lower", "upper", "monte_carlo"])
def test_gradient_in_the_current_batch(entropy):
    generator = torch.Generator().manual_seed(0)
    memory = GaussianMixtureMemory(2, components=2, capacity=16, entropy=entropy).double()
    labels = torch.tensor([0, 1, 0, 1, 1])
    for _ in range(3):
        memory(torch.randn(5, 2, generator=generator, dtype=torch.float64), labels)
    y = torch.randn(5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    memory._remember = lambda *_: None  # the finite differences must all see the same history
    assert torch.autograd.gradcheck(lambda rows: memory(rows, labels), (y,))


@pytest.mark.parametrize("capacity", [50, 24, 5])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_mixture_is_that_of_each_component_apart(capacity, offset):
    """All components in one pass, against rows kept in lists and shrunk one component at a time."""
    generator = torch.Generator().manual_seed(0)
    memory = GaussianMixtureMemory(3, components=3, capacity=capacity).double()
    history = [collections.deque(maxlen=capacity) for _ in range(3)]
    for size in (12, 1, 30, 7, 60, 3, 3, 40, 5, 80, 2):
        y = torch.randn(size, 3, generator=generator, dtype=torch.float64) + offset
        y *= torch.tensor([1.0, 5.0, 0.1])
        labels = torch.randint(0, 2 if size == 12 else 3, (size,), generator=generator)
        rows = [[*history[c], *y[labels == c]] for c in range(3)]
        pooled = torch.stack([row for part in rows for row in part])
        variance = pooled.var(0, correction=0)
        scale = (variance + 1e-4 * variance.mean() + 1e-12).sqrt()
        found = memory.mixture(y, labels)
        for c, part in enumerate(rows):
            if len(part) < 2:
                covariance = torch.diag(scale**2)
            else:
                covariance = ledoit_wolf(torch.stack(part) / scale, floor=1e-6) * scale[:, None] * scale
            mean = torch.stack(part).mean(0) if part else pooled.mean(0)
            torch.testing.assert_close(found.means[c], mean)
            torch.testing.assert_close(found.covariances[c], covariance)
            assert found.log_weights[c].exp().item() == pytest.approx(len(part) / len(pooled))
        memory.update(y, labels)
        for c in range(3):
            history[c].extend(y[labels == c])
            kept = memory.samples[c, : memory.counts[c]]
            assert sorted(kept[:, 0].tolist()) == sorted(row[0].item() for row in history[c])


def test_memory_is_bounded_and_forgets_the_oldest_of_each_component():
    memory = GaussianMixtureMemory(1, components=2, capacity=3)
    for start in (0, 4):
        memory.update(torch.arange(start, start + 4.0)[:, None], torch.tensor([0, 0, 1, 0]))
    assert memory.counts.tolist() == [3, 2]
    assert sorted(memory.samples[0, :, 0].tolist()) == [4.0, 5.0, 7.0]
    assert memory.samples[1, :2, 0].tolist() == [2.0, 6.0]
    memory.update(torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.long))
    assert sorted(memory.samples[0, :, 0].tolist()) == [7.0, 8.0, 9.0]


def test_history_sharpens_the_estimate():
    """From batches of 16 in 8 dimensions: the entropy settles at the truth as history fills."""
    generator = torch.Generator().manual_seed(0)
    memory = GaussianMixtureMemory(8, capacity=4096, entropy="lower")
    scales = torch.linspace(0.2, 3.0, 8)
    for _ in range(200):
        value = memory(scales * torch.randn(16, 8, generator=generator))
    exact = 4 * math.log(2 * math.pi * math.e) + float(scales.log().sum())
    assert float(value) == pytest.approx(exact, abs=0.06)


def test_evaluation_uses_history_only_and_changes_nothing():
    memory = GaussianMixtureMemory(2, entropy="upper")
    memory(torch.randn(100, 2))
    memory.eval()
    state = {key: value.clone() for key, value in memory.state_dict().items()}
    assert memory(100 * torch.randn(50, 2)) == memory(torch.zeros(5, 2))
    assert all(torch.equal(value, memory.state_dict()[key]) for key, value in state.items())


def test_what_is_written_into_the_buffers_counts():
    """Also through ``.data``, of which autograd's version counters know nothing: nothing is computed ahead."""
    memory = GaussianMixtureMemory(2)
    y = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    memory(y)
    memory.eval()
    before = memory(y)
    memory.samples.data[0].mul_(3.0)
    fresh = GaussianMixtureMemory(2)
    fresh.update(3.0 * y)
    torch.testing.assert_close(memory(y), fresh.eval()(y))
    assert abs(memory(y) - before) > 0.1


def test_weights():
    y = torch.randn(40, 2, dtype=torch.float64)
    labels = (torch.arange(40) < 10).long()
    empirical = GaussianMixtureMemory(2, 2).mixture(y, labels)
    assert empirical.log_weights.exp().tolist() == pytest.approx([0.75, 0.25])
    fixed = GaussianMixtureMemory(2, 2, weights=[0.5, 0.5]).mixture(y, labels)
    assert fixed.log_weights.exp().tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixtureMemory(0), "dim must be at least 1; got 0"),
        (lambda: GaussianMixtureMemory(1, capacity=0), "capacity must be at least 1; got 0"),
        (lambda: GaussianMixtureMemory(1, entropy="exact"), "entropy must be one of .*; got 'exact'"),
        (lambda: GaussianMixtureMemory(1, 2, weights=[0.9, 0.2]), "2 probabilities that sum to 1"),
        (lambda: GaussianMixtureMemory(1, 2, weights="equal"), "got 'equal'"),
        (lambda: GaussianMixtureMemory(3)(torch.zeros(4, 2)), r"y must have shape \(N, 3\); got \(4, 2\)"),
        (lambda: GaussianMixtureMemory(1, 2, weights=[math.nan, 1.0]), "2 probabilities"),
        (lambda: GaussianMixtureMemory(1)(torch.tensor([[1.0], [math.nan]])), "y must be finite; got .* in 1 rows"),
        (lambda: GaussianMixtureMemory(1)(torch.zeros(0, 1)), "y must have at least one row; got 0"),
        (lambda: GaussianMixtureMemory(2, 2)(torch.zeros(4, 2)), "labels must be given"),
        (lambda: GaussianMixtureMemory(2, 2)(torch.zeros(1, 2), torch.tensor([2])), r"lie in 0\.\.1; got 2\.\.2"),
        (lambda: GaussianMixtureMemory(2, 2)(torch.zeros(2, 2), torch.zeros(2)), "labels must be integers"),
        (lambda: GaussianMixtureMemory(2, 2)(torch.zeros(2, 2), torch.zeros(2) * 1j), "labels must be integers"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_that_are_no_tensor_are_named():
    with pytest.raises(TypeError, match=r"labels must be a torch\.Tensor; got list"):
        GaussianMixtureMemory(2, 2)(torch.zeros(2, 2), [0, 1])
