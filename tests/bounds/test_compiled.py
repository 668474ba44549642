"""Bounds under ``torch.compile`` and under bfloat16 autocast."""

import shutil
import warnings

import pytest
import torch

import infomax

BOUNDS = ("infonce", "nwj", "ba")


def bound_and_pairs(name, n=256):
    torch.manual_seed(0)
    bound = infomax.bounds.get(name)(6, 4)
    x = torch.randn(n, 6)
    y = 0.9 * x[:, :4] + (1 - 0.9**2) ** 0.5 * torch.randn(n, 4)
    optimizer = torch.optim.Adam(bound.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        bound.loss(x, y).backward()
        optimizer.step()
    return bound.eval(), x.requires_grad_(), y.requires_grad_()


def value_and_gradients(call, bound, x, y):
    value = call(x, y)
    return [value.detach(), *torch.autograd.grad(value, [x, y, *bound.parameters()])]


def assert_compiled_is_the_same(bound, x, y, backend):
    expected = value_and_gradients(bound, bound, x, y)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        found = value_and_gradients(torch.compile(bound, backend=backend), bound, x, y)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.skipif(" " in torch.__file__, reason="torch 2.13 does not quote its own path for the linker")
@pytest.mark.slow
def test_compiled():
    assert_compiled_is_the_same(*bound_and_pairs("infonce"), "inductor")


@pytest.mark.parametrize("name", ["infonce", "ba", pytest.param("nwj", marks=pytest.mark.slow)])
def test_graphs_that_the_compiler_takes(name):
    """Traced, with the gradient, as for the compiler, which would take a minute."""
    assert_compiled_is_the_same(*bound_and_pairs(name), "aot_eager")


def test_a_joint_critic_in_tiles_is_left_to_itself():
    torch.manual_seed(0)
    bound = infomax.InfoNCE(6, 4, critic=infomax.critics.Concat(6, 4, hidden=(16, 16), tile=300))
    x, y = torch.randn(40, 6, requires_grad=True), torch.randn(40, 4, requires_grad=True)
    assert_compiled_is_the_same(bound, x, y, "aot_eager")


@pytest.mark.parametrize("name", BOUNDS)
def test_bfloat16_autocast(name):
    bound, x, y = bound_and_pairs(name)
    expected = value_and_gradients(bound, bound, x, y)

    def call(x, y):
        with torch.autocast("cpu", torch.bfloat16):
            return bound(x, y)

    found = value_and_gradients(call, bound, x, y)
    assert found[0].item() == pytest.approx(expected[0].item(), abs=0.03)
    assert all(got.dtype == want.dtype for got, want in zip(found, expected, strict=True))
    got, want = (torch.cat([gradient.flatten() for gradient in values[1:]]) for values in (found, expected))
    assert (got - want).norm() <= 0.05 * want.norm()
