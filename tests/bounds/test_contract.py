"""One body of tests over every registered bound."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from attack.odd_tensors import LAYOUTS, REFUSED
from exact import ExactConditional, ExactLogRatio
from torch import nn

import infomax
from infomax import Bound, bounds, tasks
from infomax.bounds.contrastive import Contrastive

ALL = bounds.names()
TASK = "normal-5d-1"


def exact(name):
    """The bound with the true log-ratio, or the true conditional density, in place of what it would learn."""
    task, cls = tasks.get(TASK), bounds.get(name)
    if issubclass(cls, Contrastive):
        return cls(task.x_dim, task.y_dim, critic=ExactLogRatio(task)).double().eval()
    return cls(task.x_dim, task.y_dim, density=ExactConditional(task)).double().eval()


def fresh(name, x_dim=3, y_dim=2):
    torch.manual_seed(0)
    return bounds.get(name)(x_dim, y_dim)


def batch(n=16, dtype=torch.float64, x_dim=3, y_dim=2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, x_dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, y_dim, generator=generator, dtype=torch.float64)
    return x.to(dtype), (x[:, :1] + noise).to(dtype)


@pytest.mark.parametrize("name", ALL)
def test_facts_are_stated(name):
    cls = bounds.get(name)
    assert cls.name == name
    assert cls.kind in {"lower", "upper", "estimate"}
    assert all(isinstance(fact, str) and fact for fact in (cls.reference, cls.cost, cls.use_when, cls.ceiling_formula))
    assert (fresh(name).ceiling(100) is None) == (cls.ceiling_formula == "none")
    if cls.ceiling_formula != "none":
        with pytest.raises(ValueError, match="n must be at least"):
            fresh(name).ceiling(0)


@pytest.mark.parametrize("name", ALL)
def test_exact_log_ratio_gives_the_known_value(name, pairs):
    bound, truth = exact(name), tasks.get(TASK).mi
    values = torch.stack([bound(*pairs(TASK, 500, seed)) for seed in range(20)])
    error = values.mean() - truth
    # The mean of 10,000 pointwise log-ratios has a standard error of about 0.013 here.
    assert (abs(error) < 0.05) == bound.tight
    if bound.kind == "lower":
        assert error < 3 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("name", ALL)
def test_a_lower_bound_stays_below_the_truth_with_a_wrong_critic(name, pairs):
    """In expectation, for critics that are far from the log-ratio; an upper bound stays above it."""
    cls, truth = bounds.get(name), tasks.get(TASK).mi
    if cls.kind == "estimate":
        return
    sign = 1 if cls.kind == "lower" else -1
    for scale in (0.5, 1.5):
        critic = ExactLogRatio(tasks.get(TASK))
        critic.register_forward_hook(lambda module, inputs, scores, scale=scale: scale * scores + 0.3)
        bound = cls(5, 5, critic=critic).double().eval()
        values = torch.stack([bound(*pairs(TASK, 256, seed)) for seed in range(30)])
        assert sign * (values.mean() - truth) < 3 * values.std() / math.sqrt(30)
        assert abs(values.mean() - truth) > 0.02, "this critic should cost something"


JOINT = torch.tensor([[0.4, 0.1], [0.15, 0.35]], dtype=torch.float64)


def exact_expectation(bound, n):
    """Of n independent pairs of two binary variables, as indicators: over all 4^n batches."""
    total = 0.0
    for cells in itertools.product(range(4), repeat=n):
        i, j = torch.tensor(cells) // 2, torch.tensor(cells) % 2
        x, y = (nn.functional.one_hot(side, 2).double() for side in (i, j))
        total += float(JOINT[i, j].prod() * bound(x, y))
    return total


@pytest.mark.parametrize("name", [name for name in ALL if issubclass(bounds.get(name), Contrastive)])
@pytest.mark.parametrize("n", [2, 3])
def test_a_lower_bound_is_below_the_truth_in_exact_expectation(name, n):
    """However few the pairs, and whatever the critic and the other parameters."""
    product = JOINT.sum(1, keepdim=True) * JOINT.sum(0)
    log_ratio = (JOINT / product).log()
    truth = float((JOINT * log_ratio).sum())
    generator = torch.Generator().manual_seed(0)
    values = []
    for scale, shift in ((0.0, 0.0), (0.0, 0.5), (0.3, -0.3), (1.0, 0.0), (2.0, 1.0)):
        bound = bounds.get(name)(2, 2, critic="bilinear").double().eval().requires_grad_(False)
        for parameter in bound.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        bound.critic.weight.add_(log_ratio + shift)
        values.append(exact_expectation(bound, n))
    if bound.kind == "lower":
        assert max(values) < truth + 1e-9
    else:
        assert max(values) > truth + 0.01, "a lower bound after all? say so"
    if bound.kind == "lower" and bound.tight and bound.ceiling_formula == "none":
        assert values[0] == pytest.approx(truth), "unbiased, and exact with the exact critic"


@pytest.mark.parametrize("name", ["club", "l1out"])
@pytest.mark.parametrize("n", [2, 3])
def test_an_upper_bound_is_above_the_truth_in_exact_expectation(name, n):
    log_conditional = (JOINT / JOINT.sum(1, keepdim=True)).log()
    truth = float((JOINT * (log_conditional - JOINT.sum(0).log())).sum())

    class Table(nn.Module):
        def log_prob(self, y, x):
            return ((x @ log_conditional) * y).sum(1)

    assert exact_expectation(bounds.get(name)(2, 2, density=Table(), exact=True), n) > truth + 0.01


@pytest.mark.parametrize("name", ALL)
def test_independent_pairs_give_about_zero(name, pairs):
    x, y = pairs(TASK, 2000)
    generator = torch.Generator().manual_seed(3)
    shuffled = y[torch.randperm(len(y), generator=generator)]
    bound = bounds.get(name).for_estimation(5, 5, len(x)).double()
    bound.warm_start(x[:1000], shuffled[:1000])
    assert abs(bound.eval()(x[1000:], shuffled[1000:])) < 0.06


@pytest.mark.parametrize("name", ALL)
def test_order_of_the_pairs_does_not_matter(name):
    bound = fresh(name).double().eval()
    x, y = batch()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(bound(x, y), bound(x[order], y[order]))
    torch.testing.assert_close(bound.pointwise(x, y)[order], bound.pointwise(x[order], y[order]))


@pytest.mark.parametrize("name", ALL)
def test_values_are_finite_scalars_in_nats(name):
    bound = fresh(name).double().eval()
    x, y = batch()
    assert bound(x, y).shape == bound.loss(x, y).shape == ()
    assert bound.pointwise(x, y).shape == (len(x),)
    ceiling = bound.ceiling(len(x))
    assert ceiling is None or bound(x, y) <= ceiling


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_parameter_and_both_inputs(name):
    bound = fresh(name).double()
    x, y = (t.requires_grad_() for t in batch())
    bound.loss(x, y).backward()
    missing = [key for key, p in bound.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing
    x.grad = y.grad = None
    bound(x, y).backward()
    assert x.grad.abs().sum() > 0
    assert y.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_gradcheck(name):
    """Values against finite differences; in evaluation mode, where no bound corrects its gradient."""
    bound = fresh(name).double().eval()
    x, y = (t.requires_grad_() for t in batch(6))
    assert torch.autograd.gradcheck(bound, (x, y))
    assert torch.autograd.gradcheck(bound.loss, (x, y))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [True, False])
def test_wild_inputs_stay_finite(name, training):
    bound = fresh(name).train(training)
    x, y = batch(16, torch.float32)
    for scale in (1e4, 0.0):
        a, b = (scale * x).requires_grad_(), (scale * y).requires_grad_()
        value = bound(a, b)
        value.backward()
        assert value.isfinite()
        assert a.grad.isfinite().all()
        assert b.grad.isfinite().all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_values_and_gradients_are_finite_at_every_scale_to_a_million(name, autocast):
    """With rows that repeat, so that scores tie: as a matrix and, if the bound has scores, in tiles."""
    x, y = batch(9, torch.float32)
    x, y = torch.cat([x, x[:2]]), torch.cat([y, y[:2]])
    scales = (1e4, 1e6) if autocast else (1e-6, 1e2, 1e4, 1e6)
    for scale, training, tiled_from in itertools.product(scales, (True, False), (math.inf, 2)):
        bound = fresh(name).train(training)
        bound.tiled_from, bound.tile = tiled_from, (4, 6)
        inputs = [(scale * side).requires_grad_() for side in (x, y)]
        with torch.autocast("cpu", autocast, enabled=autocast is not None):
            values = [bound(*inputs), bound.loss(*inputs)]
        for value in values:
            assert value.isfinite()
            assert value.dtype == torch.float32
            slopes = torch.autograd.grad(
                value, [*inputs, *bound.parameters()], allow_unused=True, materialize_grads=True
            )
            assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("name", [name for name in ALL if issubclass(bounds.get(name), Contrastive)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_of_ten_thousand_stay_finite(name, dtype):
    scores = (2e4 * torch.rand(12, 12, generator=torch.Generator().manual_seed(4), dtype=dtype) - 1e4).requires_grad_()
    bound = bounds.get(name)(1, 1)
    value = bound.objective(scores)
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_narrow_floats_agree_with_float64(name, dtype, tolerance):
    reference = fresh(name).double().eval()
    x, y = batch(64)
    narrow = copy.deepcopy(reference).to(dtype)
    value = narrow(x.to(dtype), y.to(dtype))
    assert value.isfinite()
    assert abs(value.double() - reference(x, y)) < tolerance * max(1, abs(reference(x, y)))


@pytest.mark.parametrize("name", ALL)
def test_state_dict_round_trips(name):
    trained, other = fresh(name), bounds.get(name)(3, 2)
    x, y = batch(dtype=torch.float32)
    for _ in range(3):
        trained(x, y)
    other.load_state_dict(trained.state_dict())
    torch.testing.assert_close(trained.eval()(x, y), other.eval()(x, y), rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_leave_out_equals_leaving_out(name):
    bound = exact(name)
    x, y = batch(12, x_dim=5, y_dim=5)
    groups = list(torch.arange(12).chunk(4))
    kept = [torch.tensor([i for i in range(12) if i not in group]) for group in groups]
    expected = torch.stack([bound(x[rows], y[rows]) for rows in kept])
    torch.testing.assert_close(bound.leave_out(x, y, groups), expected)
    state = copy.deepcopy(bound.train().state_dict())
    bound.leave_out(x, y, groups)
    assert bound.training
    for key, value in bound.state_dict().items():
        torch.testing.assert_close(value, state[key], equal_nan=True, rtol=0, atol=0)


CONTRASTIVE = [name for name in ALL if issubclass(bounds.get(name), Contrastive)]


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("critic", ["gaussian_residual", "cosine"])
@pytest.mark.parametrize("training", [True, False])
def test_scores_in_tiles_agree_with_their_matrix(name, critic, training):
    """Value, loss, pointwise values, jackknife, and the gradients by all inputs and parameters."""
    torch.manual_seed(0)
    bound = bounds.get(name)(3, 2, critic=critic).double().train(training)
    x, y = (t.requires_grad_() for t in batch(20))
    bound.warm_start(x.detach(), y.detach())
    weights = torch.linspace(-1, 1, 20, dtype=torch.float64)
    found = []
    for tiled_from in (math.inf, 2):
        one = copy.deepcopy(bound)
        one.tiled_from, one.tile = tiled_from, (7, 9)
        inputs = [x, y, *one.parameters()]
        values = [one(x, y), one.loss(x, y), one.pointwise(x, y) @ weights]
        slopes = [torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True) for value in values]
        found.append([*values, one.leave_out(x, y, list(torch.arange(20).chunk(4))), *itertools.chain(*slopes)])
    for dense, tiled in zip(*found, strict=True):
        torch.testing.assert_close(tiled, dense, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_scores_in_tiles_agree_in_float32(name):
    torch.manual_seed(0)
    bound = bounds.get(name)(3, 2, critic="cosine").eval()
    bound.tile = (128, 100)
    x, y = batch(600, torch.float32)
    value = bound(x, y)
    exact = copy.deepcopy(bound).double()
    exact.tiled_from = math.inf
    reference = exact(x.double(), y.double())
    assert abs(value.item() - reference.item()) < 1e-5 * max(1, abs(reference.item()))
    slopes = torch.autograd.grad(value, list(bound.parameters()), allow_unused=True, materialize_grads=True)
    wanted = torch.autograd.grad(reference, list(exact.parameters()), allow_unused=True, materialize_grads=True)
    greatest = max(each.abs().max() for each in wanted)
    for mine, theirs in zip(slopes, wanted, strict=True):
        assert (mine - theirs).abs().max() < 1e-5 * greatest


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("x_shape", "y_shape", "message"),
    [
        ((8, 4), (8, 2), r"x must have shape \(N, 3\); got \(8, 4\)"),
        ((8, 3), (8,), r"y must have shape \(N, 2\); got \(8,\)"),
        ((8, 3), (7, 2), "y must have as many rows as x; got 7 and 8"),
        ((0, 3), (0, 2), "x must have at least"),
    ],
)
def test_bad_batches_are_refused(name, x_shape, y_shape, message):
    with pytest.raises(ValueError, match=message):
        fresh(name)(torch.zeros(x_shape), torch.zeros(y_shape))


def test_registry_names_close_matches():
    with pytest.raises(ValueError, match="'infonc' is not known; did you mean 'infonce'"):
        bounds.get("infonc")


def test_registry_refuses_a_second_bound_of_one_name():
    with pytest.raises(ValueError, match="'cpc' is registered already"):
        bounds.register("cpc")(bounds.get("cpc"))


def test_bound_cannot_be_made_without_its_methods():
    with pytest.raises(TypeError, match="abstract"):
        Bound(1, 1)


def test_what_is_no_tensor_and_no_dimension_is_named():
    with pytest.raises(TypeError, match=r"y must be a torch\.Tensor; got ndarray"):
        bounds.get("infonce")(3, 2)(torch.zeros(4, 3), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"x_dim must be a whole number of at least 1; got 3\.5"):
        bounds.get("infonce")(3.5, 2)


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_dense_tensor_of_real_numbers_is_named(name):
    bound, (x, y) = fresh(name), batch(dtype=torch.float32)
    for odd in REFUSED.values():
        for call in (bound, bound.loss, bound.pointwise, infomax.GlobalBatch(bound)):
            with pytest.raises(TypeError, match=r"^x must be a (torch\.Tensor|dense tensor of float16, .*); got "):
                call(odd(x), y)
        with pytest.raises(TypeError, match=r"^y must be a (torch\.Tensor|dense tensor of float16, .*); got "):
            bound(x, odd(y))


@pytest.mark.parametrize("name", ALL)
def test_views_of_any_layout_are_the_same_data(name):
    bound, (x, y) = fresh(name).double().eval(), batch(20)
    bound.tiled_from = 20  # a matrix of 19 pairs, tiles of 20
    for layout, n in itertools.product(LAYOUTS.values(), (19, 20)):
        torch.testing.assert_close(bound(layout(x[:n]), layout(y[:n])), bound(x[:n], y[:n]))


@pytest.mark.parametrize("name", ALL)
def test_a_dtype_that_is_not_the_parameters_is_named(name):
    bound, (x, y) = fresh(name), batch(dtype=torch.float32)
    with pytest.raises(
        TypeError, match=r"x must have the dtype .*, torch\.float32; got torch\.float64: convert one of"
    ):
        bound(x.double(), y.double())
    with pytest.raises(TypeError, match=r"y\.to\(torch\.float32\) or bound\.to\(torch\.float64\)"):
        bound(x, y.double())
    for autocast in (torch.bfloat16, torch.float16):  # converts by itself
        with torch.autocast("cpu", dtype=autocast):
            assert bound(x.to(autocast), y).isfinite()
            with pytest.raises(TypeError, match=r"x must have the dtype .*, torch\.float32; got torch\.float64"):
                bound(x.double(), y)
