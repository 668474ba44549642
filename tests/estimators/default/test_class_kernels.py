import numpy as np
import pytest
import torch

from infomax.estimators.default import class_kernels
from infomax.estimators.default.class_kernels import _left_one_out, _squares, by_kernels


def two_rings(n, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = (1 + 2 * label) * np.stack([np.cos(angle), np.sin(angle)]) + 0.2 * rng.normal(size=(2, n))
    return torch.from_numpy(x.T.copy()), torch.from_numpy(label)


def test_errors_are_those_of_a_fit_without_the_row():
    x, label = two_rings(60)
    own = torch.nn.functional.one_hot(label, 2).double()
    centres = x[:20]
    _, _, errors = _left_one_out(x, centres, own, 0.5, [0.3])
    scale = -0.5 / (0.25 * float(_squares(x, centres).median()))
    kernel, between = (torch.exp(scale * _squares(one, centres)) for one in (x, centres))
    between = between + 1e-6 * torch.eye(20, dtype=torch.float64)
    for row in (0, 30, 59):
        others = torch.arange(60) != row
        target = own[others] - own.mean(0)
        normal = kernel[others].T @ kernel[others] + 0.3 * between
        predicted = own.mean(0) + kernel[row] @ torch.linalg.solve(normal, kernel[others].T @ target)
        torch.testing.assert_close(errors[row], own[row] - predicted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("many", [4_000, 200])
def test_rings_are_told_apart_in_the_order_of_the_rows(many, monkeypatch):
    monkeypatch.setattr(class_kernels, "_MANY_ROWS", many)
    monkeypatch.setattr(class_kernels, "_COMPARED", 150)
    x, label = two_rings(400)
    found = by_kernels(x, label, 2, np.random.default_rng(0))
    assert (found.argmax(1) == label).double().mean() > 0.98
