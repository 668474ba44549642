"""Scores known by their factors against their matrix."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from infomax import CPC, NWJ, InfoNCE, InnerProducts, bounds, critics
from infomax.bounds import objectives
from infomax.scores.statistics import LogSums, SoftplusSums


def sides(n, scale=1.0, dtype=torch.float64, dim=6):
    a, b = torch.randn(2, n, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (scale * a).to(dtype).requires_grad_(), (scale * b).to(dtype).requires_grad_()


def gradients(value, *inputs):
    return torch.autograd.grad(value, inputs)


OBJECTIVES = {
    "infonce": objectives.infonce,
    "infonce of the transpose": lambda scores: objectives.infonce(scores.T),
    "infonce both ways": objectives.infonce_both,
    "weighted infonce": lambda scores: objectives.infonce_pointwise(scores) @ torch.arange(len(scores)).double(),
    "nwj": objectives.nwj,
    "dv": objectives.donsker_varadhan,
    "mine": lambda scores: objectives.mine(scores, torch.tensor(0.3)),
    "js": objectives.jensen_shannon,
    "hellinger": objectives.squared_hellinger,
    "smile": lambda scores: objectives.smile_pointwise(scores, 1.5).mean(),
    "interpolated": lambda scores: objectives.interpolated(scores, 0.5),
    "column offset": lambda scores: objectives.nwj(scores - torch.arange(len(scores)) / 10),
    "row offset": lambda scores: objectives.nwj(scores + torch.arange(len(scores))[:, None] / 10),
    "number": lambda scores: objectives.nwj(0.7 * -scores / 2 + 1.0),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("n", [2, 30])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_objectives_of_factors_are_those_of_the_matrix(name, n, scale):
    objective, (a, b) = OBJECTIVES[name], sides(n, scale)
    tiled, dense = objective(InnerProducts(a, b, tile=(7, 11))), objective(a @ b.T)
    torch.testing.assert_close(tiled, dense, rtol=1e-12, atol=1e-12)
    scale_of = float(dense.detach().abs())
    for mine, theirs in zip(gradients(tiled, a, b), gradients(dense, a, b), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12 * max(1.0, scale_of))


@pytest.mark.parametrize("n", [1500, 1501])
def test_in_float32_at_the_size_where_it_is_used(n):
    a, b = sides(n, 1.3, torch.float32, dim=16)
    for objective in (objectives.infonce, objectives.donsker_varadhan, objectives.jensen_shannon):
        exact = objective(a.double() @ b.double().T)
        tiled = objective(InnerProducts(a, b))
        assert abs(tiled.item() - exact.item()) < 1e-5 * max(1, abs(exact.item()))
        for mine, theirs in zip(gradients(tiled, a, b), gradients(exact, a, b), strict=True):
            assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_statistics_that_are_shared_come_from_one_pass_and_have_any_gradient(monkeypatch):
    a, b = sides(20)
    wanted = [LogSums(), LogSums(by_column=True), LogSums(limit=1.0), SoftplusSums(), SoftplusSums(by_column=True)]
    scores = InnerProducts(a, b, tile=(7, 6)).sharing(wanted)
    own = torch.eye(20, dtype=torch.bool)
    matrix = (a @ b.T).masked_fill(own, -math.inf)
    clipped = (a @ b.T).clamp(-1, 1).masked_fill(own, -math.inf)
    expected = [matrix.logsumexp(1), matrix.logsumexp(0), clipped.logsumexp(1)]
    expected += [F.softplus(matrix).sum(1), F.softplus(matrix).sum(0)]
    weights = torch.randn(5, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        scores.statistic(SoftplusSums())  # whoever asks first may need no gradient
    monkeypatch.setattr("infomax.scores.gradients.statistics", None)  # found already: nothing is computed again
    found = [scores.statistic(each) for each in wanted]
    torch.testing.assert_close(scores.T.statistic(LogSums()), found[1])
    torch.testing.assert_close(scores.T.T.statistic(LogSums()), found[0])
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    mine = gradients((torch.stack(found) * weights).sum(), a, b)
    theirs = gradients((torch.stack(expected) * weights).sum(), a, b)
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


def test_statistics_of_scores_too_large_for_plain_exponentials():
    a, b = sides(20, 12.0)
    scores = InnerProducts(a, b, tile=(7, 6)).sharing([LogSums(), LogSums(by_column=True)])
    assert (a @ b.T).abs().max() > 1000
    tiled, dense = objectives.infonce(scores) + objectives.infonce(scores.T), 2 * objectives.infonce_both(a @ b.T)
    torch.testing.assert_close(tiled, dense, rtol=1e-12, atol=1e-9)
    for mine, theirs in zip(gradients(tiled, a, b), gradients(dense, a, b), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-9)


def test_what_tiles_do_not_give_is_done_on_the_matrix():
    a, b = sides(9)
    scores, matrix = InnerProducts(a, b), a @ b.T
    kept = torch.arange(9) % 3 > 0
    assert (scores.shape, len(scores), scores.dtype, scores.device) == ((9, 9), 9, torch.float64, a.device)
    assert (scores.ndim, scores.requires_grad) == (2, True)
    torch.testing.assert_close(scores.softmax(1), matrix.softmax(1))
    torch.testing.assert_close(torch.logsumexp(scores, 0), matrix.logsumexp(0))
    torch.testing.assert_close(torch.cat([scores, matrix]), torch.cat([matrix, matrix]))
    torch.testing.assert_close(F.softplus(input=scores), F.softplus(matrix))
    torch.testing.assert_close(matrix + scores, 2 * matrix)
    torch.testing.assert_close(scores * matrix + scores * 2, matrix.square() + 2 * matrix)
    torch.testing.assert_close(scores + torch.ones(9, 9), matrix + 1)
    torch.testing.assert_close(scores[kept][:, kept], objectives.of_rows(scores, kept).dense())
    assert repr(scores) == "InnerProducts(N=9, D=6, torch.float64, cpu)"
    with pytest.raises(AttributeError, match="has no attribute 'colour'"):
        _ = scores.colour


def test_a_gradient_of_a_gradient_is_an_error_that_says_what_to_do():
    a, b = sides(8)
    for value in (objectives.infonce(InnerProducts(a, b)), objectives.infonce_pointwise(InnerProducts(a, b)).mean()):
        (slope,) = torch.autograd.grad(value, a, create_graph=True)
        torch.testing.assert_close(slope, torch.autograd.grad(objectives.infonce(a @ b.T), a)[0])
        with pytest.raises(RuntimeError, match=r"no second derivatives; set the bound's tiled_from to math.inf"):
            slope.sum().backward()


@pytest.mark.parametrize("which", [0, 1])
def test_only_what_needs_a_gradient_gets_one(which, monkeypatch):
    asked = []
    original = objectives.InnerProducts.mean_log_sum
    import infomax.scores.gradients as module

    log_sums = module.log_sums
    monkeypatch.setattr(module, "log_sums", lambda *a, **k: asked.append(k["gradients"]) or log_sums(*a, **k))
    pair = list(sides(8))
    pair[which] = pair[which].detach()
    value = original(InnerProducts(*pair))
    value.backward()
    with torch.no_grad():
        original(InnerProducts(*sides(8)))
    assert asked == [(which == 1, which == 0), (False, False)]
    torch.testing.assert_close(
        pair[1 - which].grad, gradients((pair[0] @ pair[1].T).logsumexp(1).mean(), pair[1 - which])[0]
    )


def test_factors_that_lie_in_memory_in_any_way():
    a, b = sides(12)
    strange = a.T.contiguous().T, torch.stack([b, b], 1)[:, 1]
    assert not any(side.is_contiguous() for side in strange)
    torch.testing.assert_close(objectives.nwj(InnerProducts(*strange, tile=(5, 5))), objectives.nwj(a @ b.T))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_factors_are_summed_in_float32(dtype):
    a, b = sides(40, 0.7, dtype)
    exact = objectives.infonce(a.double() @ b.double().T)
    value = objectives.infonce(InnerProducts(a, b, tile=(16, 16)))
    assert value.dtype == torch.float32
    assert abs(value.item() - exact.item()) < 1e-5
    for mine, theirs in zip(gradients(value, a, b), gradients(exact, a, b), strict=True):
        assert mine.dtype == dtype
        assert (mine.float() - theirs).abs().max() < torch.finfo(dtype).eps * theirs.abs().max()


def test_products_of_gradients_are_narrow_only_if_chosen():
    a, b = sides(300, 1.0, torch.float32)
    wide, narrow = InnerProducts(a, b, tile=(128, 128)), InnerProducts(a, b, tile=(128, 128), narrow=torch.bfloat16)
    for objective in (objectives.infonce, objectives.nwj, objectives.jensen_shannon, objectives.infonce_both):
        assert objective(narrow).item() == objective(wide).item()
        exact = gradients(objective(wide), a, b)
        for mine, theirs in zip(gradients(objective(narrow), a, b), exact, strict=True):
            error = (mine - theirs).abs().max() / theirs.abs().max()
            assert 1e-5 < error < 2e-2


def test_autocast_does_not_narrow_products_in_tiles():
    torch.manual_seed(0)
    bound = InfoNCE(5, 5, critic="bilinear")
    bound.tiled_from, bound.tile = 2, (16, 16)
    x, y = torch.randn(2, 40, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = bound(x, y)
        value.backward()
        a, b = bound.critic.embed(x, y)
    assert a.dtype == torch.bfloat16
    exact = objectives.infonce(a.double() @ b.double().T)
    assert abs(value.item() - exact.item()) < 1e-5
    assert bound.critic.weight.grad.isfinite().all()


def test_under_functional_transforms():
    a, b = (side.detach().reshape(3, 10, 6) for side in sides(30))

    def tiled(a, b):
        return objectives.infonce(InnerProducts(a, b, tile=(4, 4)))

    def rows(a, b):
        return objectives.infonce_pointwise(InnerProducts(a, b, tile=(4, 4))).square().sum()

    for function, dense in (
        (tiled, lambda a, b: objectives.infonce(a @ b.T)),
        (rows, lambda a, b: objectives.infonce_pointwise(a @ b.T).square().sum()),
    ):
        torch.testing.assert_close(torch.func.grad(function)(a[0], b[0]), torch.func.grad(dense)(a[0], b[0]))
        torch.testing.assert_close(torch.vmap(function)(a, b), torch.vmap(dense)(a, b))
        each = torch.vmap(torch.func.grad(function, (0, 1)), in_dims=(0, None))(a, b[0])
        torch.testing.assert_close(each, torch.vmap(torch.func.grad(dense, (0, 1)), in_dims=(0, None))(a, b[0]))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile's own, which it hides
@pytest.mark.parametrize("tiled_from", [2, math.inf])
def test_compiled_bounds_run(tiled_from):
    torch.manual_seed(0)
    bound = InfoNCE(3, 3, critic="bilinear")
    bound.tiled_from = tiled_from
    x, y = torch.randn(2, 20, 3)
    value = torch.compile(bound, backend="aot_eager")(x, y)
    value.backward()
    slope = bound.critic.weight.grad.clone()
    bound.zero_grad()
    expected = bound(x, y)
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, bound.critic.weight.grad)


def test_memory_that_is_missing_is_named(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    a, b = sides(40)
    monkeypatch.setattr("torch.mm", fail)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"N = 40 with 40; set tile=\(rows, columns\) to fewer rows"):
        objectives.infonce(InnerProducts(a, b))


def test_what_is_no_pair_of_factors_is_refused():
    a, b = sides(6)
    with pytest.raises(ValueError, match=r"a and b must both have shape \(N, D\); got \(6, 6\) and \(5, 6\)"):
        InnerProducts(a, b[:5])
    with pytest.raises(ValueError, match=r"narrow must be a type with the range of float32, .*; got torch\.float16"):
        objectives.infonce(InnerProducts(a, b, narrow=torch.float16))
    with pytest.raises(ValueError, match=r"tile must have at least one row and one column; got \(0, 4\)"):
        objectives.infonce(InnerProducts(a, b, tile=(0, 4)))


class Dot(nn.Module):
    """A user's own critic."""

    def embed(self, x, y):
        return x, y

    def forward(self, x, y):
        return x @ y.T


class Bounded(Dot):
    """Its scores are no inner products any more."""

    def forward(self, x, y):
        return super().forward(x, y).tanh()


def test_a_users_critic_takes_part_if_its_scores_are_inner_products():
    x, y = (side.detach() for side in sides(12))
    for cls, tiled in ((Dot, True), (Bounded, False)):
        bound = NWJ(6, 6, critic=cls())
        bound.tiled_from = 2
        assert isinstance(bound.scores(x, y), InnerProducts) is tiled
        torch.testing.assert_close(bound(x, y), objectives.nwj(cls()(x, y)))
    hooked = Dot()
    hooked.register_forward_hook(lambda module, inputs, scores: 2 * scores)
    changed = Dot()
    changed.forward = lambda x, y: x @ y.T + 1
    named = nn.Module()
    named.embed = nn.Linear(6, 6)
    for critic in (hooked, changed, named, critics.Concat(6, 6), critics.GaussianResidual(6, 6, residual=Bounded())):
        assert critics.embedding(critic, x.float(), y.float()) is None

    class Wrong(Dot):
        def embed(self, x, y):
            return x, y[1:]

    with pytest.raises(
        ValueError, match=r"embed must return shapes \(12, D\) and \(12, D\) with one D; got \[\(12, 6\)"
    ):
        critics.embedding(Wrong(), x, y)


@pytest.mark.parametrize("name", ["separable", "bilinear", "cosine", "gaussian_residual", "predictor"])
def test_embeddings_of_critics_give_their_scores(name):
    torch.manual_seed(0)
    critic = critics.make(name, 3, 2).double()
    x, y = torch.randn(50, 3).double(), torch.randn(40, 2).double()
    if name == "gaussian_residual":
        critic.warm_start(x[:40], y)
    a, b = critics.embedding(critic, x, y)
    torch.testing.assert_close(a @ b.T, critic(x, y))


def test_matrix_below_and_tiles_from_the_stated_number_of_pairs():
    bound = CPC(6, 6, normalize=True, temperature="learned", symmetric=True)
    x, y = torch.randn(2, 20, 6)
    assert isinstance(bound.scores(x, y), torch.Tensor)
    bound.tiled_from = 20
    assert isinstance(bound.scores(x, y), InnerProducts)
    assert isinstance(bound.scores(x[:19], y[:19]), torch.Tensor)
    bound.tiled_from = 1
    with pytest.raises(ValueError, match="x must have at least 2 rows for CPC; got 1"):
        bound(x[:1], y[:1])


@pytest.mark.parametrize("tiled_from", [2, math.inf])
def test_several_bounds_of_one_critic(tiled_from, monkeypatch):
    torch.manual_seed(0)
    critic = critics.Separable(6, 6).double()
    x, y = (side.detach() for side in sides(20))
    names = ["infonce", "dv", "nwj", "js", "smile", "cpc", "mine", "interpolated"]
    each = [bounds.get(name)(6, 6, critic=critic).double().eval() for name in names]
    for bound in each:
        bound.tiled_from = tiled_from
    values = bounds.several(each, x, y)
    for bound, value in zip(each, values, strict=True):
        torch.testing.assert_close(value, bound(x, y))
    mine = torch.autograd.grad(values.sum(), critic.parameters())
    theirs = torch.autograd.grad(sum(bound(x, y) for bound in each), critic.parameters())
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    with pytest.raises(ValueError, match="bounds must share one critic; NWJ has another than InfoNCE"):
        bounds.several([each[0], NWJ(6, 6)], x, y)
