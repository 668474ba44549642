"""Where float32 begins, and up to which scale of the inputs values and gradients are finite."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from attack.odd_tensors import REFUSED

from infomax import CPC, DoE, GaussianMixtureMemory, InfoNCE, InnerProducts, JSDLowerBound, bounds
from infomax.bounds import divergences, objectives

PAGE = Path(__file__).parents[2] / "docs" / "choose-a-bound.md"
#: Types of autocast and of the inputs in the columns of the table.
COLUMNS = [
    (None, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
    (torch.float16, torch.float16),
]


def table():
    """The name of each bound, and the powers of ten of its columns, from the page."""
    lines = PAGE.read_text(encoding="utf-8").split("| bound | float32 |")[1].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    cells = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]
    names = {name.strip(" `"): powers for joined, *powers in cells for name in joined.split(",")}
    return {
        name: [int(power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))[2:]) for power in powers]
        for name, powers in names.items()
    }


def is_finite(name, autocast, dtype, scale):
    """Value, loss and all gradients of 64 normal pairs, with the default critic or density."""
    torch.manual_seed(0)
    bound = bounds.get(name)(3, 2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 3, generator=generator)
    y = x[:, :2] + torch.randn(64, 2, generator=generator)
    for training in (False, True):
        inputs = [(scale * side.double()).to(dtype).requires_grad_() for side in (x, y)]
        bound.train(training)
        for call in (bound, bound.loss):
            try:
                with torch.autocast("cpu", autocast, enabled=autocast is not None):
                    value = call(*inputs)
            except ValueError:  # the memory refuses infinities
                return False
            slopes = torch.autograd.grad(value, [*inputs, *bound.parameters()], allow_unused=True)
            if not all(each.isfinite().all() for each in (value, *slopes) if each is not None):
                return False
    return True


def test_bounds_are_finite_up_to_the_scales_of_the_page_and_not_much_farther():
    limits = table()
    assert sorted(limits) == bounds.names()
    for name, powers in limits.items():
        for power, (autocast, dtype) in zip(powers, COLUMNS, strict=True):
            assert is_finite(name, autocast, dtype, 10.0**power), (name, autocast, dtype)
            assert not is_finite(name, autocast, dtype, 10.0 ** (power + 2)), (name, autocast, dtype)


@pytest.mark.parametrize("name", bounds.names())
def test_float16_autocast_computes_in_float32(name):
    torch.manual_seed(0)
    bound = bounds.get(name)(3, 2).eval()
    x, y = torch.randn(16, 3), torch.randn(16, 2)
    with torch.autocast("cpu", torch.float16):
        value = bound(x, y)
    assert value == bound(x, y)
    with torch.autocast("cpu", torch.float16):
        value = bound(x.half(), y.half())
    torch.testing.assert_close(value, bound(x.half().float(), y.half().float()), rtol=0, atol=0)


@pytest.mark.parametrize("critic", ["separable", "bilinear", "cosine", "predictor", "gaussian_residual"])
def test_products_of_embeddings_are_the_same_in_a_matrix_and_in_tiles_under_autocast(critic):
    torch.manual_seed(0)
    bound = InfoNCE(3, 2, critic=critic)
    x, y = 30 * torch.randn(40, 3), 30 * torch.randn(40, 2)
    with torch.autocast("cpu", torch.bfloat16):
        bound.tiled_from = math.inf
        matrix = bound.scores(x, y)
        bound.tiled_from = 2
        tiled = bound.scores(x, y)
        assert isinstance(tiled, InnerProducts)
        assert matrix.dtype == tiled.dense().dtype == tiled.dtype == torch.float32
        if critic != "gaussian_residual":  # which adds its terms in another order
            torch.testing.assert_close(matrix, tiled.dense(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", ["infonce_anchor", "interpolated"])
def test_ties_of_large_scores_have_finite_gradients(name):
    """600 pairs in bfloat16 autocast: many embeddings are equal."""
    torch.manual_seed(0)
    bound = bounds.get(name)(3, 2)
    x, y = (1e4 * torch.randn(600, dim) for dim in (3, 2))
    with torch.autocast("cpu", torch.bfloat16):
        loss = bound.loss(x.requires_grad_(), y)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def test_one_of_two_equal_large_scores_is_left_out():
    scores = torch.tensor([[1e8, 1e8, 0.0], [1e8, 1e8, 1e8]], requires_grad=True)
    left = objectives.leave_one_out_logsumexp(scores)
    torch.testing.assert_close(left, torch.full((2, 3), 1e8))
    (slope,) = torch.autograd.grad(left[1].sum(), scores)
    torch.testing.assert_close(slope[1], torch.ones(3))


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_gradients_of_large_scores_are_the_same_in_a_matrix_and_in_tiles(scale):
    """From one pass for both directions, and from one for all pairs."""
    a, b = (scale * side for side in torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0)))
    a.requires_grad_()
    for objective in (objectives.infonce_both, objectives.donsker_varadhan, objectives.infonce):
        (dense,) = torch.autograd.grad(objective(a @ b.T), a)
        (tiled,) = torch.autograd.grad(objective(InnerProducts(a, b, tile=(16, 9))), a)
        assert dense.abs().max() > 0
        torch.testing.assert_close(tiled, dense, rtol=0, atol=1e-4 * float(dense.abs().max()))


@pytest.mark.parametrize("kl", [-1e6, -300.0, -20.0, -17.0])
def test_the_jensen_shannon_bound_is_finite_for_a_tangent_far_below_zero(kl):
    """The slope tends to 2; J(k) to log 2 - (1 - k) / 2."""
    k = torch.tensor(kl)
    assert float(divergences.least_kl_slope(k)) == pytest.approx(2, rel=1e-6)
    assert float(divergences.greatest_jsd(k)) == pytest.approx(math.log(2) - (1 - kl) / 2, rel=1e-6)
    bound = JSDLowerBound(3, 2)
    bound.tangent.data.copy_(k)
    value = bound(torch.randn(5, 3), torch.randn(5, 2))
    assert torch.autograd.grad(value, bound.tangent)[0].isfinite()


def test_half_precision_modules_give_float32_values():
    memory = GaussianMixtureMemory(2).half()
    y = torch.tensor([[100.0, -100.0]] * 4 + [[0.0, 0.0]] * 4).half()
    assert memory(y).dtype == memory.log_prob(200 * y).dtype == torch.float32
    assert memory.log_prob(200 * y).isfinite().all(), "below the smallest float16"
    cosine = CPC(3, 2, normalize=True, temperature="learned").half()
    assert cosine(torch.zeros(4, 3).half(), torch.randn(4, 2).half()).isfinite()


def test_embeddings_of_zero_have_finite_gradients_in_float16():
    """Whose largest number is 65,504: the inverse of the smallest length must be below."""
    cpc = CPC(3, 2, normalize=True, temperature=0.1).half()
    x = torch.zeros(8, 3, dtype=torch.float16, requires_grad=True)
    y = torch.randn(8, 2).half().requires_grad_()
    for of_zero in (cpc, lambda x, y: cpc(y @ torch.ones(2, 3).half(), x[:, :2])):  # x itself, and its prediction
        value = of_zero(x, y)
        assert value.isfinite()
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(value, [x, *cpc.parameters()]))


@pytest.mark.parametrize(
    ("convert", "instead"),
    [
        (torch.Tensor.long, "got torch.int64: pass x.float(), or one-hot columns if the numbers are labels"),
        (
            lambda x: x.to(torch.complex64),
            "got torch.complex64: pass its real and imaginary parts as columns, torch.view_as_real(x).flatten(1)",
        ),
        (torch.Tensor.to_sparse, "got torch.sparse_coo: pass x.to_dense()"),
    ],
)
def test_errors_of_types_say_what_to_pass(convert, instead):
    with pytest.raises(TypeError) as error:
        InfoNCE(3, 2)(convert(torch.ones(8, 3)), torch.ones(8, 2))
    assert str(error.value).endswith(instead)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_collinear_columns_have_a_warm_start_in_any_unit(scale):
    two = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).mul(scale).repeat(20, 1)  # two rows, by turns
    for bound in (DoE(3, 3), bounds.get("ba").for_estimation(3, 3, 40)):
        bound.warm_start(two[torch.arange(40) // 2], two)
        assert bound(two, two).isfinite()


def test_flows_compute_in_float32_under_autocast():
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    bound = DoE(3, 2, densities="flow")
    x, y = torch.randn(8, 3).bfloat16(), torch.randn(8, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = bound(x, y)
    torch.testing.assert_close(value, bound(x.float(), y.float()), rtol=0, atol=0)


@pytest.mark.parametrize("odd", REFUSED)
def test_scores_and_factors_must_be_real_and_dense(odd):
    square = torch.randn(6, 6)
    for call, name in (
        (objectives.infonce, "scores"),
        (objectives.nwj, "scores"),
        (lambda scores: objectives.interpolated(scores, 0.5), "scores"),
        (objectives.club_pointwise, "log_probs"),
        (lambda a: InnerProducts(a, square), "a"),
        (lambda b: InnerProducts(square, b), "b"),
        (GaussianMixtureMemory(6), "y"),
    ):
        with pytest.raises(TypeError, match=rf"^{name} must be a (torch\.Tensor|dense tensor of float16, .*); got "):
            call(REFUSED[odd](square))


def test_scores_must_be_square():
    for shape in ((3, 4), (3,), (1, 1)):
        with pytest.raises(ValueError, match=r"scores must have shape \(N, N\) with N at least 2; got \("):
            objectives.nwj(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"scores must have shape \(N, N\) with N at least 1; got \(0, 0\)"):
        objectives.infonce(torch.zeros(0, 0))
    assert objectives.infonce(torch.zeros(1, 1)) == 0


def test_values_of_the_meta_device_cannot_be_summed_in_tiles():
    bound = InfoNCE(3, 2).to("meta")
    assert bound(torch.zeros(600, 3, device="meta"), torch.zeros(600, 2, device="meta")).is_meta  # as a matrix
    scores = InnerProducts(*torch.zeros(2, 9, 3, device="meta"))
    with pytest.raises(ValueError, match="a and b must hold values to be summed in tiles; got tensors on the meta"):
        objectives.infonce(scores)
