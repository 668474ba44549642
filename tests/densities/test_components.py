import pytest
import torch

from infomax.densities.components import fit_components
from infomax.statistics.gaussian import ledoit_wolf


def data(counts_new, counts_old, dim=3, seed=0):
    """Rows of components with so many new and old rows; what there is not holds other numbers."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for counts in (counts_new, counts_old):
        most = max(counts)
        rows = torch.randn(len(counts), most, dim, generator=generator, dtype=torch.float64)
        rows = rows * torch.linspace(0.5, 4, dim, dtype=torch.float64) + torch.arange(len(counts))[:, None, None]
        parts += [rows, torch.arange(most) < torch.tensor(counts)[:, None]]
    return parts


COUNTS = [
    ((4, 3), (5, 9)),
    ((4,), (0,)),
    ((4, 3, 2), (0, 9, 1)),
    ((4, 0), (0, 0)),  # an empty component
    ((6, 1, 0), (7, 0, 1)),  # components of one row
    ((30, 40), (50, 30)),  # shrunk little
]


@pytest.mark.parametrize(("new", "old"), COUNTS)
def test_gradient_in_closed_form(new, old):
    rows, is_new, remembered, is_old = data(new, old)

    def fitted(values):
        _, means, covariances = fit_components(values, is_new, remembered, is_old)
        return means, covariances

    assert torch.autograd.gradcheck(fitted, (rows.requires_grad_(),))


@pytest.mark.parametrize("dim", [3, 101])  # wide ones are multiplied in blocks
def test_old_and_new_rows_count_alike(dim):
    rows, is_new, remembered, is_old = data((30, 40), (50, 30), dim)
    together, is_there = torch.cat([rows, remembered], 1), torch.cat([is_new, is_old], 1)
    share, means, covariances = fit_components(rows, is_new, remembered, is_old)
    pooled = torch.cat([together[c, is_there[c]] for c in range(2)])
    variance = pooled.var(0, correction=0)
    scale = (variance + 1e-4 * variance.mean() + 1e-12).sqrt()
    for c in range(2):
        own = together[c, is_there[c]]
        assert share[c].item() == pytest.approx(len(own) / len(pooled))
        torch.testing.assert_close(means[c], own.mean(0))
        covariance = ledoit_wolf(own / scale, floor=1e-6) * scale[:, None] * scale
        torch.testing.assert_close(covariances[c], covariance)


@pytest.mark.parametrize(("n", "dim"), [(150, 2), (150, 101), (110, 3)])
def test_gradient_is_that_of_autograd_through_the_formulas(n, dim):
    rows, is_new, remembered, is_old = data((n,), (0,), dim)
    weight = torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).tril()
    rows.requires_grad_()
    scale = (rows[0].var(0, correction=0) + 1e-4 * rows[0].var(0, correction=0).mean() + 1e-12).sqrt()
    covariance = ledoit_wolf(rows[0] / scale, floor=1e-6) * scale[:, None] * scale
    (expected,) = torch.autograd.grad((covariance * weight).sum(), rows)
    (found,) = torch.autograd.grad((fit_components(rows, is_new, remembered, is_old)[2][0] * weight).sum(), rows)
    torch.testing.assert_close(found, expected)


def test_no_rows_at_all():
    rows, is_new, remembered, is_old = data((0, 0), (0, 0))
    share, means, covariances = fit_components(rows, is_new, remembered, is_old)
    assert share.tolist() == [0.5, 0.5]
    assert means.tolist() == [[0.0] * 3] * 2
    torch.testing.assert_close(covariances, (1 + 1e-4) * torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


def test_gradients_of_gradients():
    rows, is_new, remembered, is_old = data((4, 3), (5, 9), 2)
    assert torch.autograd.gradgradcheck(
        lambda values: fit_components(values, is_new, remembered, is_old)[2], (rows.requires_grad_(),)
    )
