"""Every bound under the transforms of ``torch.func`` and on the meta device."""

import pytest
import torch
from torch.func import functional_call, grad, jvp

from infomax import bounds

# PyTorch's own, from its first use of forward-mode differentiation.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

GENERATOR = torch.Generator().manual_seed(0)
X, Y, DIRECTION = (torch.randn(3, 12, dim, generator=GENERATOR, dtype=torch.float64) for dim in (3, 2, 2))


@pytest.fixture(params=bounds.names())
def bound(request):
    """In evaluation mode: nothing is stored between the calls that are compared."""
    return bounds.get(request.param)(3, 2).double().eval()


def test_grad_is_that_of_autograd(bound):
    y = Y[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(bound(X[0], y), y)
    torch.testing.assert_close(grad(lambda y: bound(X[0], y))(Y[0]), expected)
    parameters = dict(bound.named_parameters())
    found = grad(lambda values: functional_call(bound, values, (X[0], Y[0])))(parameters)
    wanted = torch.autograd.grad(
        bound(X[0], Y[0]), list(parameters.values()), allow_unused=True, materialize_grads=True
    )
    for name, gradient in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(found[name], gradient)


def test_jvp_is_the_gradient_in_that_direction(bound):
    value, slope = jvp(lambda y: bound(X[0], y), (Y[0],), (DIRECTION[0],))
    torch.testing.assert_close(value, bound(X[0], Y[0]))
    torch.testing.assert_close(slope, (grad(lambda y: bound(X[0], y))(Y[0]) * DIRECTION[0]).sum())


def test_vmap_is_one_call_after_the_other(bound):
    torch.testing.assert_close(torch.vmap(bound)(X, Y), torch.stack([bound(x, y) for x, y in zip(X, Y, strict=True)]))


@pytest.mark.parametrize("train", [True, False])
def test_meta_device(bound, train):
    bound = bound.to("meta").train(train)
    y = Y[0].to("meta").requires_grad_()
    value = bound(X[0].to("meta"), y)
    assert value.is_meta
    assert value.shape == ()
    assert torch.autograd.grad(value, y)[0].is_meta


def test_nothing_is_stored_inside_a_transform():
    bound = bounds.get("ba")(3, 2).double()
    grad(lambda y: bound(X[0], y))(Y[0])
    assert not bound.memory.counts.any()
    bound(X[0], Y[0])
    assert bound.memory.counts.tolist() == [12]
