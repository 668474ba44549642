import copy

import numpy as np
import pytest
import torch
from multimodal import frames_config, frames_data, small_config, small_data

import infomax
from mmim_example.config import Modality
from mmim_example.loss import noisy
from mmim_example.model import MMIM
from mmim_example.reading import batch, without


def model_and_batch(config, dataset=None, rows=12):
    dataset = dataset or small_data()
    torch.manual_seed(0)
    model = MMIM(config, dataset.dims()).double()
    read = batch(dataset.train, np.arange(rows), names=list(config.modalities))
    inputs = {name: x.double() for name, x in read.inputs.items()}
    return model, type(read)(inputs, read.lengths, read.present, read.labels.double())


def losses(model, read):
    output = model(read)
    terms = model.terms(output, read.labels)
    return output, terms, model.loss(terms)


def naive_cpc(net, h, z):
    """−log N less of L_N, equation by equation: which of the h belongs to this Z?"""
    n, total = len(h), 0.0
    for i in range(n):
        predicted = z[i] @ net[0].weight.T + net[0].bias
        scores = [h[j] @ predicted / (h[j].norm() * predicted.norm()) for j in range(n)]
        total += scores[i] - torch.logsumexp(torch.stack(scores), 0) + np.log(n)
    return total / n


def naive_ba(bound, x, y, labels):
    """Mean log-density of the Gaussian less that of a mixture by class, in plain loops."""
    density = bound.density
    mean = density.linear_mean(x) + density.mean(x)
    variance = (density.linear_log_variance(x) + density.log_variance(x)).exp()
    log_q = (-0.5 * (y - mean) ** 2 / variance - 0.5 * (2 * np.pi * variance).log()).sum(1).mean()
    mixture = bound.memory.mixture(y, labels)
    log_m = []
    for row in y:
        parts = [
            mixture.log_weights[c]
            + torch.distributions.MultivariateNormal(mixture.means[c], mixture.covariances[c]).log_prob(row)
            for c in range(len(mixture.means))
        ]
        log_m.append(torch.logsumexp(torch.stack(parts), 0))
    return log_q - torch.stack(log_m).mean()


def test_the_loss_is_the_papers_equation_by_equation():
    model, read = model_and_batch(small_config(alpha=0.3, beta=0.2))
    model.eval()
    output, terms, loss = losses(model, read)
    h, z = output.representations, output.fused
    task = (output.prediction - read.labels).abs().mean()
    cpc = {name: naive_cpc(model.fusion_bounds[name].critic.predict, h[name], z) for name in h}
    signs = (read.labels.sign() + 1).long()
    ba = {f"text-{y}": naive_ba(model.pair_bounds[f"text-{y}"], h["text"], h[y], signs) for y in ("vision", "audio")}
    for name, value in cpc.items():
        torch.testing.assert_close(terms.fusion[name], value)
    for name, value in ba.items():
        torch.testing.assert_close(terms.pairs[name], value)
    torch.testing.assert_close(loss, task - 0.3 * sum(cpc.values()) - 0.2 * sum(ba.values()))


def test_the_fusion_is_two_tanh_layers_over_all_modalities_in_order():
    model, read = model_and_batch(small_config())
    output = model.eval()(read)
    joined = torch.cat([output.representations[name] for name in ("text", "audio", "vision")], 1)
    part = model.fusion
    z = torch.tanh(torch.tanh(joined @ part.first.weight.T + part.first.bias) @ part.second.weight.T + part.second.bias)
    torch.testing.assert_close(output.fused, z)
    torch.testing.assert_close(output.prediction, (z @ part.head.weight.T + part.head.bias)[:, 0])


@pytest.mark.parametrize(
    ("switches", "pairs", "fusion"),
    [
        ({}, ["text-vision", "text-audio"], ["text", "audio", "vision"]),
        ({"use_pairs": False}, [], ["text", "audio", "vision"]),
        ({"use_fusion": False}, ["text-vision", "text-audio"], []),
        ({"use_pairs": False, "use_fusion": False}, [], []),
    ],
)
def test_a_switch_takes_its_term_out_of_the_loss_whole(switches, pairs, fusion):
    model, read = model_and_batch(small_config(**switches))
    _, terms, loss = losses(model, read)
    assert list(terms.pairs) == pairs
    assert list(terms.fusion) == fusion
    if not pairs and not fusion:
        torch.testing.assert_close(loss, terms.task)
    assert bool(model.pair_parameters()) == bool(pairs)


@pytest.mark.parametrize(
    "names", [("text", "audio"), ("vision", "text"), ("audio", "vision"), ("text", "audio", "vision")]
)
def test_any_two_or_more_modalities(names):
    config = small_config(
        modalities={name: Modality(out=4) for name in names}, pairs=((names[0], names[1]),), entropy_classes="none"
    )
    model, read = model_and_batch(config)
    output, terms, loss = losses(model, read)
    assert list(output.representations) == list(names)
    assert list(terms.fusion) == list(names)
    loss.backward()
    assert all(p.grad is not None for p in model.main_parameters())


@pytest.mark.parametrize("bound", [name for name in infomax.bounds.names() if name not in ("club", "l1out")])
def test_every_registered_bound_can_be_put_in_at_either_level(bound):
    for level in ("fusion", "pair"):
        config = small_config(**{f"{level}_bound": bound, f"{level}_options": {}})
        model, read = model_and_batch(config)
        output, terms, loss = losses(model, read)
        model.pair_loss(output.representations, output.present).backward(retain_graph=True)
        loss.backward()
        assert loss.isfinite()
        assert len(terms.fusion) == 3
        assert len(terms.pairs) == 2


@pytest.mark.parametrize("bound", ["club", "l1out"])
def test_an_upper_bound_is_not_maximised(bound):
    for level in ("fusion", "pair"):
        with pytest.raises(ValueError, match=rf"{level}_bound must be .* maximised.* got '{bound}', an upper bound"):
            model_and_batch(small_config(**{f"{level}_bound": bound, f"{level}_options": {}}))


def test_options_reach_the_bound():
    config = small_config(
        fusion_options={"normalize": True, "temperature": "learned"}, pair_options={"entropy": "upper"}
    )
    model, _ = model_and_batch(config)
    assert any("temperature" in name for name, _ in model.fusion_bounds["text"].named_parameters())
    assert model.pair_bounds["text-audio"].memory.entropy == "upper"


def test_parameters_fall_into_groups_by_module():
    model, _ = model_and_batch(small_config())
    pairs, main = model.pair_parameters(), model.main_parameters()
    assert {id(p) for p in pairs} == {id(p) for p in model.pair_bounds.parameters()}
    assert not {id(p) for p in pairs} & {id(p) for p in main}
    assert len(pairs) + len(main) == len(list(model.parameters()))


def test_stage_0_teaches_the_pairs_bounds_and_nothing_else():
    model, read = model_and_batch(small_config())
    output = model(read)
    still = {name: h.detach() for name, h in output.representations.items()}
    model.pair_loss(still, output.present).backward()
    assert all(p.grad is not None for p in model.pair_parameters())
    assert all(p.grad is None for p in model.main_parameters())


def test_rows_with_label_zero_count_in_the_entropy():
    model, read = model_and_batch(small_config())
    read.labels[:4] = 0
    losses(model, read)
    counts = model.pair_bounds["text-audio"].memory.counts
    assert counts.tolist() == [int((read.labels < 0).sum()), 4, int((read.labels > 0).sum())]


def test_a_missing_modality_is_zero_and_left_out_of_its_bounds():
    dataset = small_data()
    config = small_config()
    model, _ = model_and_batch(config, dataset)
    model.eval().float()
    lacking = without(dataset.train, "vision", np.array([1, 5]))
    rows = np.arange(10)
    output = model(batch(lacking, rows, names=list(config.modalities)))
    assert not output.representations["vision"][[1, 5]].any()
    terms = model.terms(output, torch.zeros(10))
    kept = np.delete(rows, [1, 5])
    there = batch(dataset.train, kept, names=list(config.modalities))
    h = model.encode(there)
    alone = model.fusion_bounds["vision"](h["vision"], output.fused[torch.from_numpy(kept)])
    torch.testing.assert_close(terms.fusion["vision"], alone)


@pytest.mark.parametrize("case", ["one row", "one class", "vision missing everywhere", "everything missing"])
def test_awkward_batches_are_finite(case):
    dataset, config = frames_data(), frames_config()
    torch.manual_seed(0)
    model = MMIM(config, dataset.dims())
    rows = np.arange(1) if case == "one row" else np.arange(12)
    read = batch(dataset.train, rows, names=list(config.modalities))
    if case == "one class":
        read.labels[:] = 2.0
    for name in read.present:
        if case == "everything missing" or (case == "vision missing everywhere" and name == "vision"):
            read.present[name][:] = False
            if name in read.lengths:
                read.lengths[name][:] = 0
    _, terms, loss = losses(model, read)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    if case == "everything missing":
        assert all(value == 0 for value in (*terms.pairs.values(), *terms.fusion.values()))


def test_classification_learns_by_cross_entropy_and_the_memory_goes_by_class():
    config = small_config(target="classification", classes=4, entropy_classes="label")
    model, read = model_and_batch(config)
    read.labels[:] = torch.arange(12) % 4
    output, terms, _ = losses(model, read)
    expected = -torch.log_softmax(output.prediction, 1)[torch.arange(12), read.labels.long()].mean()
    torch.testing.assert_close(terms.task, expected)
    assert model.pair_bounds["text-audio"].memory.counts.tolist() == [3, 3, 3, 3]


def test_noise_lowers_what_a_pair_can_tell():
    x = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    values = []
    for noise in (0.0, 1.0):
        config = small_config(noise=noise, pair_start=True, entropy_classes="none", memory=4000, modalities={
            name: Modality(out=0, standardize=False) for name in ("text", "audio", "vision")
        })  # fmt: skip
        torch.manual_seed(0)
        model = MMIM(config, {"text": 4, "audio": 4, "vision": 4}).eval()
        y = x + 0.5 * torch.randn(4000, 4, generator=torch.Generator().manual_seed(1))
        h = {"text": x, "audio": y, "vision": y}
        there = {name: torch.ones(4000, dtype=torch.bool) for name in h}
        model.start_pairs(h, there, torch.zeros(4000))
        pair = model.pairs["text-audio"][2]
        values.append(pair.value(x, noisy(y, noise), torch.zeros(4000)).item())
    # ½ log(1 + signal / noise) in each of four coordinates; y's own variance is 1.25, and the noise is as large.
    assert values[0] == pytest.approx(2 * np.log1p(1 / 0.25), abs=0.1)
    assert values[1] == pytest.approx(2 * np.log1p(1 / (0.25 + 1.25)), abs=0.1)


def test_keywords_that_a_bound_has_not_are_refused_by_its_name():
    with pytest.raises(ValueError, match=r"nwj must accept .* and fusion_options normalize; got TypeError"):
        model_and_batch(small_config(fusion_bound="nwj", fusion_options={"normalize": True}))
    with pytest.raises(ValueError, match=r"ba must accept .* and pair_options density, .*, foo; got TypeError"):
        model_and_batch(small_config(pair_options={"foo": 1}))


def test_dims_that_lack_a_modality_are_refused():
    with pytest.raises(ValueError, match="dims must name every modality; got text, audio without 'vision'"):
        MMIM(small_config(), {"text": 3, "audio": 3})


@pytest.mark.parametrize("missing", [False, True])
def test_pairs_read_together_are_the_pairs_one_by_one(missing):
    dataset = small_data()
    if missing:
        dataset = type(dataset)(without(dataset.train, "audio", np.arange(5)), dataset.valid, dataset.test)
    model, read = model_and_batch(small_config(entropy_classes="sign"), dataset)
    other = copy.deepcopy(model)
    _, terms, _ = losses(model, read)
    h, present = (getattr(other(read), name) for name in ("representations", "present"))
    for name, bound in other.pair_bounds.items():
        x, y = name.split("-")
        rows = present[x] & present[y]
        assert bool(rows.all()) is not (missing and y == "audio")
        alone = bound(h[x][rows], h[y][rows], (read.labels[rows].sign() + 1).long())
        torch.testing.assert_close(terms.pairs[name], alone)
        torch.testing.assert_close(model.pair_bounds[name].memory.samples, bound.memory.samples)
