"""The published objective, against a second implementation of it from its formulas, in plain loops."""

import math

import pytest
import torch

from mmim_example.config import Config, Modality
from mmim_example.legacy import OfficialCPC, OfficialPair
from mmim_example.model import MMIM
from mmim_example.published_weights import load_official

DIMS = {"text": 12, "audio": 5, "vision": 7}
#: By part of the published model, the shapes of its parameters: text of 12 columns, all else of its default sizes.
PUBLISHED = {
    **{
        f"{name}_enc.{part}": shape
        for name, dim in (("acoustic", 5), ("visual", 7))
        for part, shape in {
            "rnn.weight_ih_l0": (64, dim), "rnn.weight_hh_l0": (64, 16), "rnn.bias_ih_l0": (64,),
            "rnn.bias_hh_l0": (64,), "linear_1.weight": (16, 16), "linear_1.bias": (16,),
        }.items()
    },
    **{
        f"{pair}.{part}": shape
        for pair in ("mi_tv", "mi_ta")
        for part, shape in {
            "mlp_mu.0.weight": (16, 12), "mlp_mu.0.bias": (16,), "mlp_mu.2.weight": (16, 16), "mlp_mu.2.bias": (16,),
            "mlp_logvar.0.weight": (16, 12), "mlp_logvar.0.bias": (16,), "mlp_logvar.2.weight": (16, 16),
            "mlp_logvar.2.bias": (16,), "entropy_prj.0.weight": (4, 16), "entropy_prj.0.bias": (4,),
        }.items()
    },
    **{
        f"{cpc}.net.{part}": shape
        for cpc, dim in (("cpc_zt", 12), ("cpc_zv", 16), ("cpc_za", 16))
        for part, shape in {"weight": (dim, 128), "bias": (dim,)}.items()
    },
    "fusion_prj.linear_1.weight": (128, 44), "fusion_prj.linear_1.bias": (128,),
    "fusion_prj.linear_2.weight": (128, 128), "fusion_prj.linear_2.bias": (128,),
    "fusion_prj.linear_3.weight": (1, 128), "fusion_prj.linear_3.bias": (1,),
}  # fmt: skip


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return OfficialPair(3, 8).double()


def batches(sizes, x_dim=3, y_dim=8):
    """Consecutive x, y that want gradients, and labels of which every fifth is 0."""
    made = []
    for seed, n in enumerate(sizes):
        x, y = draw(n, x_dim, seed=3 * seed).requires_grad_(), draw(n, y_dim, seed=3 * seed + 1).requires_grad_()
        labels = draw(n, seed=3 * seed + 2)
        labels[::5] = 0
        made.append((x, y, labels))
    return made


# --- The formulas, number by number ----------------------------------------------------------------------------------


def perceptron(net, row):
    hidden = [max_zero(value) for value in linear(net[0], row)]
    return linear(net[2], hidden)


def linear(layer, row):
    return [
        sum(w * v for w, v in zip(weights, row, strict=True)) + b
        for weights, b in zip(*layer.parameters(), strict=True)
    ]


def max_zero(value):
    return value if value > 0 else 0 * value


def naive_likelihood(pair, x, y):
    total = 0
    for row, target in zip(x, y, strict=True):
        means, log_variances = perceptron(pair.mlp_mu, row), perceptron(pair.mlp_logvar, row)
        for mean, log_variance, value in zip(means, log_variances, target, strict=True):
            total = total - (mean - value) ** 2 / (2 * math.e**log_variance)
    return total / len(x)


def naive_projected(pair, y, labels, sign):
    kept = [row for row, label in zip(y, labels, strict=True) if label * sign > 0]
    return [[torch.tanh(value) for value in linear(pair.entropy_prj[0], row)] for row in kept]


def naive_log_det(rows):
    """Of the maximum-likelihood covariance: by elimination, a column at a time."""
    n, dim = len(rows), len(rows[0])
    means = [sum(row[k] for row in rows) / n for k in range(dim)]
    matrix = [
        [sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / n for j in range(dim)] for i in range(dim)
    ]
    total = 0
    for k in range(dim):
        total = total + torch.log(matrix[k][k])
        for i in range(k + 1, dim):
            share = matrix[i][k] / matrix[k][k]
            matrix[i] = [matrix[i][j] - share * matrix[k][j] for j in range(dim)]
    return total


def naive_values(pair, given):
    """What the published loss subtracts, times beta, at each batch of an epoch."""
    values, last = [], None
    for number, (x, y, labels) in enumerate(given):
        value = naive_likelihood(pair, x, y)
        now = [naive_projected(pair, y, labels, sign) for sign in (1, -1)]
        if number >= 2:
            for old, new in zip(last, now, strict=True):
                value = value + naive_log_det([[v.detach() for v in row] for row in old] + new) / 4
        last = now
        values.append(value)
    return values


def naive_cpc(net, x, y):
    total = 0
    for i in range(len(x)):
        cosines = []
        for j in range(len(x)):
            predicted = torch.stack(linear(net, y[j]))
            cosines.append((x[i] * predicted).sum() / (x[i].square().sum() * predicted.square().sum()) ** 0.5)
        total = total + cosines[i] - torch.log(sum(torch.exp(c) for c in cosines))
    return total / len(x)


def same_gradients(one, other, *inputs):
    for found, wanted in zip(*(torch.autograd.grad(v, inputs, allow_unused=True) for v in (one, other)), strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_pair_is_the_published_formula_over_an_epoch(pair):
    given = batches((14, 9, 16, 12))
    for (x, y, labels), wanted in zip(given, naive_values(pair, given), strict=True):
        value = pair(x, y, labels)
        torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)
        same_gradients(value, wanted, x, y, *pair.parameters())


def test_stage_0_is_the_likelihood_alone(pair):
    (x, y, _), *_ = batches((10,))
    wanted = -naive_likelihood(pair, x, y)
    torch.testing.assert_close(pair.loss(x, y), wanted, rtol=1e-10, atol=1e-10)
    same_gradients(pair.loss(x, y), wanted, x, y, *pair.parameters())


def test_cpc_is_the_published_formula():
    torch.manual_seed(1)
    cpc = OfficialCPC(3, 6).double()
    x, y = draw(7, 3, seed=1).requires_grad_(), draw(7, 6, seed=2).requires_grad_()
    value, wanted = cpc(x, y), naive_cpc(cpc.net, x, y)
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)
    same_gradients(value, wanted, x, y, *cpc.parameters())
    assert cpc.ceiling(7) is None


# --- The memory ------------------------------------------------------------------------------------------------------


def test_memory_is_of_one_batch_and_of_one_epoch(pair):
    first, second, third, *_ = given = batches((14, 9, 16, 12))
    values = [pair(*one).item() for one in given]
    pair.start_epoch()
    assert [pair(*one).item() for one in given] == values
    pair.start_epoch()
    for one in (second, first, second):  # the third batch's entropy takes the one before it and no other
        value = pair(*one)
    pair.start_epoch()
    for one in (third, first, second):
        again = pair(*one)
    assert value.item() == again.item()


def test_evaluation_leaves_the_memory_as_it_is(pair):
    given = batches((14, 9, 16))
    wanted = [pair(*one).item() for one in given][-1]
    pair.start_epoch()
    for one in given[:2]:
        pair(*one)
    pair.eval()
    pair(*given[0])
    pair.train()
    assert pair(*given[2]).item() == wanted


# --- Its faults, kept on purpose -------------------------------------------------------------------------------------


def test_fault_an_infinite_variance_is_the_most_likely():
    """Nothing of y has to be known: the longer the variance grows, the nearer the "likelihood" is to its maximum, 0."""
    pair = OfficialPair(3, 8).double()
    x, y = draw(50, 3, seed=0), draw(50, 8, seed=1)
    values = []
    with torch.no_grad():
        for log_variance in (0.0, 2.0, 8.0, 32.0):
            pair.mlp_logvar[2].weight.zero_()
            pair.mlp_logvar[2].bias.fill_(log_variance)
            values.append(pair.likelihood(x, y).item())
            spread = 0.5 * (y - pair.mlp_mu(x)).square().sum(1).mean().item()
            assert values[-1] == pytest.approx(-spread * math.exp(-log_variance))
    assert values == sorted(values)
    assert -1e-10 < values[-1] < 0
    gradient = torch.autograd.grad(pair.likelihood(x, y), pair.mlp_logvar[2].bias)[0]
    assert (gradient > 0).all()  # up for ever


def test_fault_rows_of_label_0_vanish(pair):
    given = batches((14, 9, 16))
    for x, y, labels in given[:2]:
        pair(x, y, labels)
    x, y, labels = given[2]
    gradient = torch.autograd.grad(pair.entropy(y, labels), y)[0]
    assert (gradient[labels == 0] == 0).all()
    assert (gradient[labels != 0] != 0).any(1).all()


def test_fault_a_class_without_rows_is_not_a_number(pair):
    given = batches((14, 9, 16))
    for number, (x, y, labels) in enumerate(given):
        value = pair(x, y, labels.abs())
        assert math.isnan(value.item()) == (number == 2)  # as long as the entropy does not count, nobody sees it


def test_too_few_columns_for_a_quarter_are_refused():
    with pytest.raises(ValueError, match=r"y_dim must be at least 4 .* got 3"):
        OfficialPair(8, 3)


# --- Initial weights -------------------------------------------------------------------------------------------------


def network(seed=0, **changes):
    """The initial encoders and fusion, by name."""
    torch.manual_seed(seed)
    state = MMIM(config(**changes), DIMS).state_dict()
    return {name: value for name, value in state.items() if not name.startswith(("pair_bounds.", "fusion_bounds."))}


@pytest.mark.parametrize("init", ["pytorch", "xavier"])
def test_the_objectives_start_from_the_same_network(init):
    published_terms, correct = network(init=init), network(init=init, legacy=False)
    alone = network(init=init, legacy=False, use_fusion=False, use_pairs=False)
    assert published_terms.keys() == correct.keys() == alone.keys()
    names = [name for name in correct if name.endswith(("weight", "weight_ih_l0", "weight_hh_l0"))]
    assert len(names) == 9
    for name in correct:
        assert torch.equal(published_terms[name], correct[name]), name
        assert torch.equal(alone[name], correct[name]), name


def test_xavier_draws_every_matrix_again_and_no_bias():
    wide = {**config().modalities, "text": Modality(hidden=300, out=200, standardize=False)}
    plain, drawn = network(modalities=wide), network(modalities=wide, init="xavier")
    for name, before in plain.items():
        assert torch.equal(before, drawn[name]) == (before.ndim < 2), name
    (big,) = (value for value in drawn.values() if value.shape == (200, 300))
    assert big.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.02)  # its standard error is 0.3 %
    torch.manual_seed(0)
    terms = dict(MMIM(config(init="xavier"), DIMS).named_parameters())
    torch.manual_seed(0)
    before = dict(MMIM(config(), DIMS).named_parameters())
    matrices = [name for name in terms if "_bounds." in name and terms[name].ndim > 1]
    assert len(matrices) == 2 * 5 + 3
    assert not any(torch.equal(terms[name], before[name]) for name in matrices)


# --- Published weights -----------------------------------------------------------------------------------------------


def config(**changes):
    frames = Modality("frames", hidden=16, standardize=False)
    modalities = {"text": Modality(out=0, standardize=False), "audio": frames, "vision": frames}
    return Config(**{"modalities": modalities, "legacy": True, **changes})


def published(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in PUBLISHED.items()}


def test_published_weights_reach_every_parameter():
    model, state = MMIM(config(), DIMS), published()
    load_official(model, state)
    left = {id(p): name for name, p in model.named_parameters()}
    assert len(left) == len(state)
    for wanted in state.values():
        taken = [p for p in model.parameters() if p.shape == wanted.shape and torch.equal(p, wanted)]
        assert len(taken) == 1
        del left[id(taken[0])]
    assert not left
    ours = dict(model.named_parameters())
    assert torch.equal(ours["pair_bounds.text-audio.mlp_logvar.2.weight"], state["mi_ta.mlp_logvar.2.weight"])
    assert torch.equal(ours["fusion_bounds.vision.net.weight"], state["cpc_zv.net.weight"])
    assert torch.equal(ours["encoders.audio.project.bias"], state["acoustic_enc.linear_1.bias"])


@pytest.mark.parametrize(
    "name", ["mi_tv.entropy_prj.0.weight", "visual_enc.rnn.bias_hh_l0", "fusion_prj.linear_3.bias"]
)
def test_a_state_that_lacks_a_parameter_is_refused(name):
    model, state = MMIM(config(), DIMS), published()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    del state[name]
    with pytest.raises(KeyError, match=f"must have {name}"):
        load_official(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_state_of_other_shapes_is_refused():
    state = published()
    state["cpc_zt.net.bias"] = torch.zeros(13)
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_official(MMIM(config(), DIMS), state)


def test_modalities_in_another_order_are_refused():
    """Audio and vision are of one size: the weights of the fusion would fit, and mean something else."""
    modalities = config().modalities
    swapped = config(modalities={name: modalities[name] for name in ("text", "vision", "audio")})
    with pytest.raises(ValueError, match="must be text, audio, vision; got text, vision, audio"):
        load_official(MMIM(swapped, DIMS), published())


def test_a_model_with_parameters_of_its_own_is_refused():
    modalities = config().modalities | {"text": Modality(out=12, standardize=False)}
    with pytest.raises(KeyError, match=r"no counterpart of encoders\.text\.net"):
        load_official(MMIM(config(modalities=modalities), DIMS), published())
