"""What options of pairs do to the bound; their errors, precision and memory; temperatures."""

import copy
import itertools
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from infomax import CPC, NWJ, GlobalBatch, InfoNCE, critics

JOINT = torch.tensor([[0.4, 0.1], [0.15, 0.35]], dtype=torch.float64)
MARGINAL = JOINT.sum(0)
LOG_RATIO = (JOINT / (JOINT.sum(1, keepdim=True) * MARGINAL)).log()
TRUTH = float((JOINT * LOG_RATIO).sum())


def expectation(bound, n, options_of, further=0):
    """Of n pairs of two binary variables and further draws of y, over all batches."""
    total = 0.0
    for cells in itertools.product(range(4), repeat=n):
        i, j = torch.tensor(cells) // 2, torch.tensor(cells) % 2
        x, y = (F.one_hot(side, 2).double() for side in (i, j))
        for more in itertools.product(range(2), repeat=further):
            k = torch.tensor(more, dtype=torch.long)
            options = options_of(i, j) | ({"negatives": F.one_hot(k, 2).double()} if further else {})
            total += float(JOINT[i, j].prod() * MARGINAL[k].prod() * bound(x, y, **options))
    return total


def critic_values(options_of, *, n=3, further=0, **settings):
    """The expected values with several critics, the exact one first."""
    generator = torch.Generator().manual_seed(0)
    values = []
    for scale, shift in ((0.0, 0.0), (0.3, -0.3), (1.0, 0.0), (2.0, 1.0), (4.0, 0.0)):
        bound = InfoNCE(2, 2, critic="bilinear", **settings).double().eval().requires_grad_(False)
        noise = torch.randn(2, 2, generator=generator, dtype=torch.float64)
        bound.critic.weight.copy_(LOG_RATIO + shift + scale * noise)
        values.append(expectation(bound, n, options_of, further))
    return values


FIXED = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1]]) == 1


@pytest.mark.parametrize(
    ("options_of", "settings"),
    [
        (lambda i, j: {}, {"further": 2, "n": 2}),
        (lambda i, j: {}, {"hardness": 1.0}),
        (lambda i, j: {"mask": ~FIXED}, {}),
        (lambda i, j: {"labels": j}, {}),
        (lambda i, j: {"labels": j}, {"placement": "in"}),
        (lambda i, j: {"labels": j}, {"placement": "in", "further": 1}),
        (lambda i, j: {"positives": FIXED}, {"placement": "in"}),
        (lambda i, j: {"positives": FIXED}, {}),
        (lambda i, j: {"weights": torch.tensor([[0, 0.3, 1], [0.5, 0, 0.5], [1, 0.1, 0]])}, {}),
        (lambda i, j: {"weights": torch.tensor([0.2, 1.0, 3.0])}, {}),
    ],
)
def test_what_is_called_a_lower_bound_is_one_in_exact_expectation(options_of, settings):
    values = critic_values(options_of, **settings)
    assert max(values) < TRUTH + 1e-9
    assert max(values) > -0.2, "and is not far below"


def test_weights_above_one_exceed_by_less_than_their_log():
    for weight in (2.0, 30.0):
        bound = InfoNCE(2, 2, critic="bilinear").double().requires_grad_(False)
        bound.critic.weight.copy_(math.sqrt(weight) * LOG_RATIO)
        value = expectation(bound, 2, lambda i, j, w=weight: {"weights": torch.full((2, 2), w)})
        assert (value > TRUTH) == (weight == 30.0)
        assert value < TRUTH + math.log(weight)


def test_what_is_called_no_bound_exceeds_mutual_information():
    def false_negatives(i, j):
        return {"mask": j[:, None] == j} if 0 < j.sum() < len(j) else {}

    assert max(critic_values(false_negatives, n=4)) > TRUTH + 0.01
    bound = InfoNCE(2, 2, critic="cosine", debias=0.6, temperature=1.0).double().requires_grad_(False)
    for project in (bound.critic.project_x, bound.critic.project_y):
        project.weight.zero_()
        project.bias.zero_()
        project.weight[0, 0] = project.weight[1, 1] = 1.0
    assert bound.kind == "estimate"
    assert expectation(bound, 4, lambda i, j: {}) > TRUTH + 0.01


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_simclr_and_supcon_are_the_same_rows_on_both_sides():
    """NT-Xent of two views and the loss of Khosla et al., with their own normalisation, up to the log of the number."""
    views = F.normalize(normal(16, 4, dtype=torch.float64), dim=1)
    critic = nn.Module()
    critic.forward = lambda x, y: x @ y.T / 0.2
    bound = InfoNCE(4, 4, critic=critic)
    similarity = (views @ views.T / 0.2).fill_diagonal_(-math.inf)
    pair_of = torch.arange(8).repeat(2)
    nt_xent = F.cross_entropy(similarity, (torch.arange(16) + 8) % 16)
    assert float(bound.loss(views, views, labels=pair_of, exclude_self=True)) == pytest.approx(
        float(nt_xent) - math.log(15)
    )
    labels = torch.tensor([0, 1, 0, 2, 1, 1, 0, 2]).repeat(2)
    log_prob = similarity.log_softmax(1)
    positive = (labels[:, None] == labels) & ~torch.eye(16, dtype=torch.bool)
    supcon = -(log_prob.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()
    assert float(bound.loss(views, views, labels=labels, exclude_self=True)) == pytest.approx(
        float(supcon) - math.log(15)
    )


def test_ceilings():
    bound = InfoNCE(3, 2)
    assert bound.ceiling(10, negatives=30) == pytest.approx(math.log(40))
    assert bound.ceiling(10, negatives=normal(10, 30, 2)) == pytest.approx(math.log(40))
    labels = torch.tensor([0] * 4 + [1] * 6)
    entropy = -0.4 * math.log(0.4) - 0.6 * math.log(0.6)
    assert bound.ceiling(10, labels=labels) == pytest.approx(entropy)
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[0, 1:6] = True
    assert bound.ceiling(10, mask=mask) == pytest.approx(0.1 * math.log(5) + 0.9 * math.log(10))
    assert bound.ceiling(10, weights=torch.full((10, 10), 0.5)) == pytest.approx(math.log(1 + 4.5))
    both = InfoNCE(3, 2, symmetric=True)
    assert both.ceiling(10, negatives=30) == pytest.approx((math.log(40) + math.log(10)) / 2)
    cosine = InfoNCE(3, 2, critic="cosine", temperature=0.5)
    assert cosine.ceiling(10) == pytest.approx(CPC(3, 2, normalize=True, temperature=0.5).ceiling(10))
    assert cosine.ceiling(10) < math.log(10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"negatives": normal(5, 3)}, ValueError, r"negatives must have shape \(M, 2\) or \(8, M, 2\); got \(5, 3\)"),
        ({"negatives": normal(7, 5, 2)}, ValueError, r"negatives must have shape \(M, 2\) or \(8, M, 2\); got \(7, 5"),
        (
            {"negatives": torch.ones(5, 2).long()},
            TypeError,
            "negatives must be a dense tensor .* got torch.int64",
        ),
        ({"negatives": normal(5, 2).double()}, TypeError, "negatives must have the dtype of the bound's parameters"),
        ({"label": torch.arange(8)}, TypeError, "option 'label' is not known; did you mean 'labels'"),
        ({"mask": torch.ones(8, 8)}, TypeError, r"mask must be a tensor of booleans; got torch\.float32"),
        ({"mask": torch.ones(8, 7) > 0}, ValueError, r"mask must have shape \(8, 8\); got \(8, 7\)"),
        (
            {"mask": torch.ones(8, 7) > 0, "negatives": normal(5, 2)},
            ValueError,
            r"mask must have shape \(8, 5\) or \(8, 8\) or \(8, 13\); got \(8, 7\)",
        ),
        (
            {"mask": torch.ones(8, 8) > 0, "negatives": normal(8, 2)},
            ValueError,
            "mask must have 16 columns, for the batch and then for the negatives, because both have 8; got 8",
        ),
        (
            {"mask": torch.arange(8)[:, None].expand(8, 8) == 3},
            ValueError,
            "mask must leave every row a negative; row 3 ",
        ),
        (
            {"weights": torch.arange(8.0)[:, None].expand(8, 8)},
            ValueError,
            "weights must leave every row a nega.* row 0 ",
        ),
        ({"weights": -torch.ones(8, 8)}, ValueError, "weights must be finite and not negative"),
        ({"weights": torch.full((8,), math.nan)}, ValueError, "weights must be finite and not negative"),
        ({"weights": torch.zeros(8)}, ValueError, "weights and positives must leave a row; got none"),
        ({"positives": torch.zeros(8, 8) > 0}, ValueError, "weights and positives must leave a row; got none"),
        ({"weights": torch.ones(7)}, ValueError, r"weights must have shape \(8,\) or \(8, 8\); got \(7,\)"),
        ({"labels": torch.ones(8)}, TypeError, r"labels must be a tensor of integers; got torch\.float32"),
        ({"labels": [0] * 8}, TypeError, "labels must be a tensor of integers; got list"),
        ({"labels": torch.ones(9).long()}, ValueError, r"labels must have shape \(8,\); got \(9,\)"),
        (
            {"labels": torch.ones(9).long(), "negatives": normal(5, 2)},
            ValueError,
            r"labels must have shape \(8,\) or \(13,\), with those of the negatives; got \(9,\)",
        ),
        ({"labels": torch.ones(8).long(), "positives": torch.eye(8) > 0}, ValueError, "must not both be given"),
        ({"exclude_self": True}, ValueError, "exclude_self needs labels= or positives="),
    ],
)
def test_options_that_do_not_fit_are_named(options, error, message):
    for tiled_from in (math.inf, 2):
        bound = InfoNCE(3, 2)
        bound.tiled_from = tiled_from
        for call in (bound, bound.loss, bound.pointwise, GlobalBatch(bound)):
            with pytest.raises(error, match=message):
                call(normal(8, 3), normal(8, 2), **options)


def test_settings_that_are_not_known_are_named():
    for make, message in (
        (lambda: InfoNCE(3, 2, placement="middle"), "placement must be one of out, in; got 'middle'"),
        (lambda: InfoNCE(3, 2, hardness=-1.0), r"hardness must be at least 0; got -1\.0"),
        (lambda: InfoNCE(3, 2, critic="cosine", debias=1.0), r"debias must lie in \[0, 1\); got 1\.0"),
        (lambda: InfoNCE(3, 2, debias=0.1), "debias needs scores with a smallest value, .* got Separable"),
        (lambda: InfoNCE(3, 2, temperature=0.0), r"temperature must be positive; got 0\.0"),
        (lambda: InfoNCE(3, 2, temperature="hot"), "temperature must be a positive number or 'learned'; got 'hot'"),
        (lambda: CPC(3, 2, temperature="learned", temperature_limits=(2.0, 1.0)), "temperature_limits must be two"),
        (
            lambda: InfoNCE(3, 2, critic=critics.Cosine(3, 2), temperature=0.1),
            "temperature must be set on the critic itself, Cosine, which has one",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_temperature_of_any_critic():
    x, y = normal(8, 3), normal(8, 2, seed=1)
    plain = InfoNCE(3, 2, critic="bilinear")
    divided = InfoNCE(3, 2, critic=plain.critic, temperature=0.25)
    for tiled_from in (math.inf, 2):
        divided.tiled_from = tiled_from
        torch.testing.assert_close(divided(x, y), plain.objective(4 * plain.scores(x, y)))
    learned = InfoNCE(3, 2, critic="concat", temperature="learned")
    learned.loss(x, y).backward()
    assert learned.critic.temperature.log_temperature.grad.abs() > 0
    torch.testing.assert_close(learned.scores(x, y), 10 * learned.critic.critic(x, y))
    assert InfoNCE(3, 2, critic="cosine", temperature=0.3).scores(x, x[:, :2]).abs().max() <= 1 / 0.3 + 1e-5
    other = CPC(3, 2, critic=plain.critic, temperature=0.25)
    torch.testing.assert_close(other(x, y), CPC(3, 2, critic=plain.critic).objective(4 * plain.scores(x, y)))


def test_a_learned_temperature_stays_within_its_limits_and_comes_back():
    temperature = critics.Temperature(0.1, learn=True, limits=(0.05, 0.5))
    for value, used in ((0.01, 0.05), (0.2, 0.2), (3.0, 0.5)):
        with torch.no_grad():
            temperature.log_temperature.fill_(math.log(value))
        assert temperature(torch.tensor(1.0)).item() == pytest.approx(1 / used)
        # A descent on −1/T lowers T, and one on 1/T raises it.
        slopes = [torch.autograd.grad(sign * temperature.inverse(), temperature.log_temperature)[0] for sign in (-1, 1)]
        passes = [float(slope) != 0 for slope in slopes]
        assert passes == [value > 0.05, value < 0.5]
    assert critics.Temperature(0.001, learn=True).limits == (0.001, 100.0)


@pytest.mark.parametrize("tiled_from", [math.inf, 2])
def test_masked_pairs_do_not_reach_a_learned_temperature(tiled_from):
    """However large their scores are: −inf times 0 would be NaN."""
    bound = InfoNCE(3, 2, critic="bilinear", temperature="learned")
    bound.tiled_from, bound.tile = tiled_from, (4, 4)
    x, y = normal(10, 3), normal(10, 2, seed=1)
    mask = torch.ones(10, 10, dtype=torch.bool).triu(2) | torch.ones(10, 10, dtype=torch.bool).tril(-1)
    mask[9] = True
    mask[9, 8] = False
    for scale in (1.0, 1e4):
        value = bound(x, scale * y, mask=mask)
        slopes = torch.autograd.grad(value, list(bound.parameters()))
        assert all(slope.isfinite().all() for slope in slopes)
    wild = y.clone()
    wild[4] = 1e6  # a candidate that only its own row counts
    column = torch.zeros(10, 10, dtype=torch.bool)
    column[:, 4] = True
    kept = torch.arange(10) != 4
    alone = bound(x[kept], y[kept], mask=column[kept][:, kept])
    terms = bound.pointwise(x, wild, mask=column)[kept]
    torch.testing.assert_close(terms.mean(), alone)


SETTINGS = [{}, {"symmetric": True}, {"placement": "in"}, {"hardness": 1.0}, {"debias": 0.2}]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("tiled_from", [math.inf, 2])
def test_large_scores_are_finite_and_float32_agrees(settings, tiled_from):
    torch.manual_seed(0)
    bound = InfoNCE(3, 2, critic="cosine", temperature="learned", **settings)
    bound.tiled_from, bound.tile = tiled_from, (16, 16)
    x, y = normal(40, 3), normal(40, 2, seed=1)
    options = {
        "labels": torch.arange(40) % 7,
        "mask": normal(40, 40, seed=2) > 1,
        "weights": normal(40, 40, seed=3).abs(),
    }
    wide = copy.deepcopy(bound).double()
    wide.tiled_from = math.inf
    value, reference = bound(x, y, **options), wide(x.double(), y.double(), **options)
    assert value.item() == pytest.approx(reference.item(), abs=1e-5)
    for autocast, tolerance in ((torch.bfloat16, 0.03), (torch.float16, 1e-5)):
        with torch.autocast("cpu", autocast):
            narrow = bound(x, y, **options)
        assert narrow.dtype is torch.float32
        assert narrow.item() == pytest.approx(reference.item(), abs=tolerance)
    for temperature in (1e-4, 1e4):
        with torch.no_grad():
            bound.critic.temperature.limits = (1e-9, 1e9)
            bound.critic.temperature.log_temperature.fill_(math.log(temperature))
        x.requires_grad_()
        value = bound(x, y, **options)
        slopes = torch.autograd.grad(value, [x, *bound.parameters()])
        assert value.isfinite()
        assert all(slope.isfinite().all() for slope in slopes)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.untyped_storage().nbytes() // each.element_size())
        return result


@pytest.mark.parametrize("settings", [{"symmetric": True}, {"hardness": 1.0}])
def test_labels_and_negatives_take_memory_for_rows_alone(settings, monkeypatch):
    monkeypatch.setattr("infomax.bounds.comparisons._BLOCK_ELEMENTS", 1 << 13)
    n = 600
    bound = InfoNCE(4, 4, critic="cosine", **settings)
    bound.tile = (32, 128)
    x = normal(n, 4).requires_grad_()
    for options in ({"labels": torch.arange(n) % 20}, {"labels": torch.arange(n) // 2, "exclude_self": True}):
        with Largest() as largest:
            bound(x, normal(n, 4, seed=1), negatives=normal(100, 4, seed=2), **options).backward()
        assert largest.elements < n * n / 10


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 600])
def test_compiled(n):
    """Traced, with the gradient, as for the compiler; a matrix and tiles."""
    torch.manual_seed(0)
    bound = CPC(3, 2, normalize=True, temperature="learned")
    x, y = normal(n, 3).requires_grad_(), normal(n, 2, seed=1)
    options = {"labels": torch.arange(n) % 5, "mask": normal(n, n, seed=2) > 1, "negatives": normal(9, 3, seed=3)}
    inputs = [x, *bound.parameters()]
    wanted = bound(x, y, **options)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        came = torch.compile(bound, backend="aot_eager")(x, y, **options)
    torch.testing.assert_close(came, wanted)
    for got, want in zip(torch.autograd.grad(came, inputs), torch.autograd.grad(wanted, inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_functional_gradients():
    bound = InfoNCE(3, 2)
    x, y = normal(10, 3), normal(10, 2, seed=1)
    for tiled_from, options in itertools.product(
        (math.inf, 2), ({"labels": torch.arange(10) % 3}, {"mask": normal(10, 10, seed=2) > 1})
    ):
        bound.tiled_from = tiled_from
        wanted = torch.autograd.grad(bound(x.requires_grad_(), y, **options), x)[0]
        found = torch.func.grad(lambda x, options=options: bound(x, y, **options))(x.detach())
        torch.testing.assert_close(found, wanted)


def test_other_bounds_have_no_labels():
    with pytest.raises(TypeError, match="NWJ takes no options but negatives, mask, weights; got labels"):
        NWJ(3, 2)(normal(8, 3), normal(8, 2), labels=torch.arange(8))


def test_few_rows_and_few_classes():
    """One pair with negatives, one label for all, labels of any numbers, and batches of batches."""
    x, y = normal(10, 3), normal(10, 2, seed=1)
    for tiled_from, settings in itertools.product((math.inf, 1), SETTINGS):
        if settings.get("symmetric") or settings.get("debias"):
            continue
        bound = InfoNCE(3, 2, **settings)
        bound.tiled_from = tiled_from
        assert bound(x[:1], y[:1], negatives=y[1:]).isfinite()
        x.requires_grad_()
        value = bound(x, y, labels=torch.zeros(10, dtype=torch.long))
        assert value.abs() < 0.1  # nothing to tell apart
        assert torch.autograd.grad(value, x)[0].isfinite().all()
        x = x.detach()
        for others in (torch.arange(10) % 2 == 0, -7 * (torch.arange(10) % 2).to(torch.int8)):
            torch.testing.assert_close(bound(x, y, labels=others), bound(x, y, labels=torch.arange(10) % 2))

        def of_labels(x, y, bound=bound):
            return bound(x, y, labels=torch.arange(5) % 2)

        pairs = x.view(2, 5, 3), y.view(2, 5, 2)
        one_by_one = torch.stack([of_labels(*pair) for pair in zip(*pairs, strict=True)])
        torch.testing.assert_close(torch.func.vmap(of_labels)(*pairs), one_by_one)
