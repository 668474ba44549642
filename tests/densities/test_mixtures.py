import pytest
import torch

from infomax.densities.mixtures import (
    Mixture,
    gaussian_entropies,
    mixture_entropy_lower,
    mixture_entropy_upper,
    mixture_log_prob,
)


def parts(components=3, dim=2, seed=0):
    """Weights, means, and roots of covariances."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(components, generator=generator, dtype=torch.float64)
    means = torch.randn(components, dim, generator=generator, dtype=torch.float64)
    roots = torch.randn(components, dim, dim, generator=generator, dtype=torch.float64)
    return weights / weights.sum(), means, roots


def of(weights, means, roots):
    identity = torch.eye(means.shape[1], dtype=means.dtype)
    return Mixture(weights.log(), means, roots @ roots.mT + 0.1 * identity)


def test_lower_bound_is_its_formula():
    weights, means, roots = parts()
    mixture = of(weights, means, roots)
    expected = (weights * gaussian_entropies(mixture)).sum()
    for c in range(3):
        inner = torch.zeros((), dtype=torch.float64)
        for k in range(3):
            first, second = mixture.covariances[c], mixture.covariances[k]
            middle, difference = (first + second) / 2, means[c] - means[k]
            distance = difference @ torch.linalg.solve(middle, difference) / 8
            distance += 0.5 * (middle.logdet() - 0.5 * (first.logdet() + second.logdet()))
            inner += weights[k] * (-distance).exp()
        expected -= weights[c] * inner.log()
    torch.testing.assert_close(mixture_entropy_lower(mixture), expected)


@pytest.mark.parametrize("components", [1, 2, 3])
@pytest.mark.parametrize("bound", [mixture_entropy_lower, mixture_entropy_upper])
def test_gradients_of_bounds(bound, components):
    weights, means, roots = parts(components)
    given = (weights.log().requires_grad_(), means.requires_grad_(), roots.requires_grad_())
    assert torch.autograd.gradcheck(lambda logits, *others: bound(of(logits.softmax(0), *others)), given)


def test_gradients_of_log_densities():
    weights, means, roots = parts()
    y = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(
        lambda rows, *given: mixture_log_prob(of(weights, *given), rows),
        (y.requires_grad_(), means.requires_grad_(), roots.requires_grad_()),
    )


def test_a_component_without_weight_counts_for_nothing():
    _, means, roots = parts(2)
    means.requires_grad_()
    value = mixture_entropy_lower(of(torch.tensor([1.0, 0.0], dtype=torch.float64), means, roots))
    alone = Mixture(torch.zeros(1, dtype=torch.float64), means[:1], of(torch.ones(2), means, roots).covariances[:1])
    torch.testing.assert_close(value, gaussian_entropies(alone)[0])
    assert torch.autograd.grad(value, means)[0].tolist() == [[0.0, 0.0]] * 2


def test_log_densities_can_be_differentiated_twice():
    weights, means, roots = parts()
    y = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda rows, *given: mixture_log_prob(of(weights, *given), rows),
        (y, means.requires_grad_(), roots.requires_grad_()),
    )
