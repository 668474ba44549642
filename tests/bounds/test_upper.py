import copy
import math

import naive
import pytest
import torch
from exact import ExactConditional
from torch import nn

import infomax
from infomax import CLUB, ConditionalGaussian, DoE, L1Out, MarginalGaussian, estimate, tasks
from infomax.densities.conditional import log_prob_matrix

X = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def spread(module):
    """The module with parameters that are nowhere special."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.requires_grad_(False)


def loops(density, x, y):
    """Log q(y_j | x_i), one pair at a time."""
    rows = []
    for a in x:
        mean, log_variance = density.moments(a[None])
        rows.append([naive.gaussian_log_prob(b, mean[0], log_variance[0].exp()) for b in y])
    return [[float(value) for value in row] for row in rows]


@pytest.mark.parametrize(("cls", "formula"), [(CLUB, naive.club), (L1Out, naive.l1out)])
def test_equals_plain_loops(cls, formula):
    bound = spread(cls(3, 2).double())
    assert float(bound(X, Y)) == pytest.approx(formula(loops(bound.density, X, Y)), rel=1e-9)
    assert float(bound.pointwise(X, Y).mean()) == pytest.approx(float(bound(X, Y)))
    torch.testing.assert_close(bound.loss(X, Y), -bound.density.log_prob(Y, X).mean())


def test_difference_of_entropies_equals_plain_loops():
    bound = spread(DoE(3, 2).double())
    bound.marginal.regression.zero_()
    mean, variance = bound.marginal.mean, bound.marginal.log_variance.exp()
    without = naive.mean(float(naive.gaussian_log_prob(b, mean, variance)) for b in Y)
    assert float(bound(X, Y)) == pytest.approx(naive.joint_mean(loops(bound.density, X, Y)) - without, rel=1e-9)
    torch.testing.assert_close(bound.loss(X, Y), -bound.log_prob(X, Y).mean() - bound.marginal_log_prob(Y).mean())


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_matrix_of_densities_is_that_of_repeated_rows(correlated, grad, monkeypatch):
    monkeypatch.setattr("infomax.densities.conditional._TILE_ELEMENTS", 40)  # several blocks
    density = spread(ConditionalGaussian(3, 2, correlated=correlated).double())

    class Plain(nn.Module):
        def log_prob(self, y, x):
            return density.log_prob(y, x)

    with torch.set_grad_enabled(grad):
        own, generic = log_prob_matrix(density, Y[:5], X), log_prob_matrix(Plain(), Y[:5], X)
    assert own.shape == (9, 5)
    torch.testing.assert_close(own, generic)
    torch.testing.assert_close(own[7, 2], density.log_prob(Y[2:3], X[7:8])[0])


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_club_in_closed_form_is_that_of_the_matrix(correlated, dtype):
    """Far from zero as well; gradients too."""
    density = spread(ConditionalGaussian(3, 2, correlated=correlated).double()).to(dtype)
    club = CLUB(3, 2, density=density)
    x, y = (10 + torch.cat([side, -side]).to(dtype) for side in (X, Y))
    x.requires_grad_()
    y.requires_grad_()
    found, naive_terms = club.pointwise(x, y), club.pointwise_objective(club.log_probs(x, y))
    tolerance = 1e-6 if dtype is torch.float32 else 1e-12
    assert (found - naive_terms).abs().max() < tolerance * naive_terms.abs().max()
    for got, want in zip(*(torch.autograd.grad(terms.mean(), [x, y]) for terms in (found, naive_terms)), strict=True):
        assert (got - want).abs().max() < 3 * tolerance * want.abs().max()
    kept = torch.arange(18) % 3 > 0
    torch.testing.assert_close(club.value_of_rows(x, y)(kept), club(x[kept], y[kept]))


def test_club_needs_memory_for_its_rows_alone():
    """A matrix of 40,000 pairs would take 6 GiB for each column of y."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40_000, 3, generator=generator), torch.randn(40_000, 2, generator=generator)
    assert CLUB(3, 2)(x.requires_grad_(), y).isfinite()


@pytest.mark.parametrize("cls", [CLUB, L1Out])
@pytest.mark.parametrize("n", [2, 8, 64])
def test_an_exact_density_gives_an_upper_bound_for_any_number_of_pairs(cls, n, pairs):
    task = tasks.get("normal-5d-1")
    bound = cls(5, 5, density=ExactConditional(task), exact=True).eval()
    values = torch.stack([bound(*pairs(task.name, n, seed)) for seed in range(4000 // n)])
    assert bound.kind == "upper"
    assert cls(5, 5, density=ExactConditional(task)).kind == cls.kind == "estimate"
    assert values.mean() > task.mi - 3 * values.std() / math.sqrt(len(values))


def test_club_exceeds_by_the_divergence_from_product_to_joint(pairs):
    """For normal pairs of correlation rho: rho^2 / (1 - rho^2) nats a pair of coordinates."""
    task = tasks.get("normal-5d-1")
    bound = CLUB(5, 5, density=ExactConditional(task), exact=True)
    rho2 = 1 - math.exp(-2 * task.mi / 5)
    assert bound(*pairs(task.name, 2000)).item() == pytest.approx(5 * rho2 / (1 - rho2), rel=0.03)


def test_an_exact_density_is_measured_as_it_is():
    task = tasks.get("normal-5d-1")
    x, y = task.sample(1000, 0)
    density = ConditionalGaussian(5, 5)
    with torch.no_grad():
        rho = ExactConditional(task).rho
        for part in (density.mean, density.log_variance):
            part[-1].weight.zero_()
            part[-1].bias.zero_()
        density.linear_mean.weight.copy_(rho * torch.eye(5))
        density.linear_mean.bias.zero_()
        density.linear_log_variance.bias.fill_(math.log(1 - rho**2))
    bound = L1Out(5, 5, density=density.requires_grad_(False), exact=True)
    before = copy.deepcopy(bound.state_dict())
    with pytest.raises(ValueError, match="margins must be 'none'"):
        estimate(x, y, bound=bound, progress=False)
    result = estimate(x, y, bound=bound, margins="none", progress=False)
    assert result.kind == "upper"
    expected = bound(*(torch.from_numpy(side).float() for side in (x, y))).item()
    assert result.mi == pytest.approx(expected, abs=0.05)  # in folds of 200 rows
    for key, value in bound.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_marginal_gaussian_is_fitted_in_closed_form(pairs):
    y = pairs("normal-5d-1", 5000)[1] @ torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double() + 3
    density = MarginalGaussian(5).double().requires_grad_(False)
    density.warm_start(y)
    expected = torch.distributions.MultivariateNormal(y.mean(0), y.T.cov()).log_prob(y).mean()
    assert density.log_prob(y).mean().item() == pytest.approx(expected.item(), abs=2e-3)


def test_flows_are_densities_and_find_what_gaussians_miss():
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    axis = torch.linspace(-8, 8, 2001)
    mass = infomax.Flow(3, 1).log_prob(axis[:, None], torch.ones(2001, 3)).exp().sum() * (axis[1] - axis[0])
    assert mass.item() == pytest.approx(1.0, abs=1e-3)
    # Two humps where x is positive and one where it is negative, of one mean: the truth by quadrature.
    normal = torch.distributions.Normal
    two = (normal(1.5, 0.4).log_prob(axis).exp() + normal(-1.5, 0.4).log_prob(axis).exp()) / 2
    one = normal(0.0, 0.4).log_prob(axis).exp()
    both = (one + two) / 2
    entropies = [-float(torch.xlogy(p, p).sum() * (axis[1] - axis[0])) for p in (both, one, two)]
    truth = entropies[0] - sum(entropies[1:]) / 2
    assert 0.5 < truth < math.log(2)
    x = torch.randn(8000, 1)
    y = (x > 0) * (3.0 * torch.randint(2, (8000, 1)) - 1.5) + 0.4 * torch.randn(8000, 1)
    bound = DoE(1, 1, densities="flow")
    optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
    for step in range(250):
        rows = torch.arange(step * 256, step * 256 + 256) % 6000
        optimizer.zero_grad()
        bound.loss(x[rows], y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        assert float(bound(x[6000:], y[6000:])) == pytest.approx(truth, abs=0.1)
        gaussian = DoE.for_estimation(1, 1, 6000)
        gaussian.warm_start(x[:6000], y[:6000])
        assert float(gaussian(x[6000:], y[6000:])) < 0.1


def test_flows_name_the_extra_that_they_need(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko.flows", None)
    with pytest.raises(ImportError, match=r"flows need zuko: pip install 'infomax\[flows\]'"):
        DoE(2, 1, densities="flow")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CLUB(3, 2, exact=True), "density must be given when exact=True; got None"),
        (
            lambda: L1Out(3, 2, density=ConditionalGaussian(3, 2), exact=True),
            "density must have no trainable parameters when exact=True; got 12",
        ),
        (lambda: DoE(3, 2, densities="student"), "densities must be one of gaussian, flow; got 'student'"),
        (lambda: DoE(3, 2, marginal=Wrong()).double()(X, Y), r"marginal.log_prob must return shape \(9,\); got"),
        (lambda: L1Out(3, 2, density=Wrong())(X, Y), r"density.log_prob must return shape \(81,\); got \(81, 2\)"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Wrong(nn.Module):
    def log_prob(self, y, x=None):
        return y
