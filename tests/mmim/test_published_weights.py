"""Weights of the published code, from a second implementation of its modules: one utterance at a time, no packing."""

import warnings

import pytest
import torch
from torch import nn

from mmim_example.config import Config, Modality
from mmim_example.model import MMIM
from mmim_example.published_weights import UntrainedWeightsWarning, load_official
from mmim_example.reading import Batch

DIMS = {"text": 12, "audio": 5, "vision": 7}
TERMS = {"cpc_zt": "text", "cpc_za": "audio", "cpc_zv": "vision"}


class Encoder(nn.Module):
    """The published LSTM encoder, which reads one layer: "first" as in the published code, or "last"."""

    def __init__(self, dim, layers, bidirectional, reads):
        super().__init__()
        self.rnn = nn.LSTM(dim, 6, num_layers=layers, bidirectional=bidirectional)
        self.linear_1 = nn.Linear(12 if bidirectional else 6, 8)
        self.reads = {"first": 0, "last": layers - 1}[reads]

    def forward(self, x, lengths):
        directions = 2 if self.rnn.bidirectional else 1
        rows = []
        for frames, length in zip(x, lengths, strict=True):
            _, (state, _) = self.rnn(frames[:length])
            rows.append(torch.cat(list(state[directions * self.reads : directions * (self.reads + 1)])))
        return self.linear_1(torch.stack(rows))


class Published(nn.Module):
    """The published model with its names, for text vectors."""

    def __init__(self, layers=1, bidirectional=False, cpc_layers=1, reads="last"):
        super().__init__()
        self.acoustic_enc = Encoder(5, layers, bidirectional, reads)
        self.visual_enc = Encoder(7, layers, bidirectional, reads)
        for name in ("mi_tv", "mi_ta"):
            part = nn.Module()
            part.mlp_mu = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8))
            part.mlp_logvar = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8))
            part.entropy_prj = nn.Sequential(nn.Linear(8, 2), nn.Tanh())
            self.add_module(name, part)
        for name, width in (("cpc_zt", 12), ("cpc_zv", 8), ("cpc_za", 8)):
            more = [nn.Linear(width, width) for _ in range(cpc_layers - 1)]
            part = nn.Module()
            part.net = nn.Sequential(nn.Linear(10, width), nn.Tanh(), *more) if more else nn.Linear(10, width)
            self.add_module(name, part)
        self.fusion_prj = nn.Module()
        for number, (columns, rows) in enumerate(((28, 10), (10, 10), (10, 1)), 1):
            self.fusion_prj.add_module(f"linear_{number}", nn.Linear(columns, rows))

    def forward(self, batch):
        h = {"text": batch.inputs["text"]}
        h["audio"] = self.acoustic_enc(batch.inputs["audio"], batch.lengths["audio"])
        h["vision"] = self.visual_enc(batch.inputs["vision"], batch.lengths["vision"])
        fusion = self.fusion_prj
        fused = torch.tanh(fusion.linear_2(torch.tanh(fusion.linear_1(torch.cat(list(h.values()), 1)))))
        cpc = {}
        for name, modality in TERMS.items():
            predicted = getattr(self, name).net(fused)
            total = 0
            for i, row in enumerate(h[modality]):
                cosines = torch.stack([torch.cosine_similarity(row, other, dim=0) for other in predicted])
                total = total + cosines[i] - cosines.exp().sum().log()
            cpc[modality] = total / len(fused)
        likelihood = {}
        for name, modality in (("mi_tv", "vision"), ("mi_ta", "audio")):
            mean, variance = getattr(self, name).mlp_mu(h["text"]), getattr(self, name).mlp_logvar(h["text"]).exp()
            likelihood[f"text-{modality}"] = -((mean - h[modality]) ** 2 / (2 * variance)).sum() / len(fused)
        return fusion.linear_3(fused)[:, 0], cpc, likelihood


def config(layers=1, bidirectional=False, cpc_layers=1, **changes):
    frames = Modality(
        "frames", hidden=6, out=8, layers=layers, bidirectional=bidirectional, dropout=0.0, standardize=False
    )
    modalities = {"text": Modality(out=0, standardize=False), "audio": frames, "vision": frames}
    options = {"layers": cpc_layers}
    return Config(**{"modalities": modalities, "legacy": True, "fusion": 10, "fusion_options": options, **changes})


def batch(n=7, steps=6):
    generator = torch.Generator().manual_seed(0)
    lengths = {name: torch.randint(1, steps + 1, (n,), generator=generator) for name in ("audio", "vision")}
    inputs = {
        name: torch.randn((n, dim) if name == "text" else (n, steps, dim), generator=generator, dtype=torch.float64)
        for name, dim in DIMS.items()
    }
    labels = torch.randn(n, generator=generator, dtype=torch.float64)
    return Batch(inputs, lengths, {name: torch.ones(n, dtype=torch.bool) for name in DIMS}, labels)


def published(**sizes):
    torch.manual_seed(1)
    model = Published(**sizes).double()
    with torch.no_grad():
        for parameter in model.parameters():  # far from the initial weights, so that layers differ clearly
            parameter.mul_(3)
    return model


def loaded(theirs, **settings):
    model = MMIM(config(**settings), DIMS).double().eval()
    load_official(model, theirs.state_dict())
    return model


def same(model, theirs):
    given = batch()
    output = model(given)
    terms = model.terms(output, given.labels)
    prediction, cpc, likelihood = theirs(given)
    torch.testing.assert_close(output.prediction, prediction, rtol=1e-10, atol=1e-12)
    for name, value in cpc.items():
        torch.testing.assert_close(terms.fusion[name], value, rtol=1e-10, atol=1e-12)
    for name, value in likelihood.items():
        torch.testing.assert_close(terms.pairs[name], value, rtol=1e-10, atol=1e-12)
    return True


@pytest.mark.parametrize("cpc_layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_are_the_published_ones(bidirectional, cpc_layers):
    sizes = {"bidirectional": bidirectional, "cpc_layers": cpc_layers}
    theirs = published(reads="first", **sizes)
    model = loaded(theirs, **sizes)
    assert same(model, theirs)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_two_layers_in_one_direction_use_the_last_layer():
    """The published code fails at such a batch; what it would compute is the state of the last layer."""
    theirs = published(layers=2, reads="last")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(loaded(theirs, layers=2), theirs)


def test_of_two_layers_in_both_directions_the_published_code_reads_the_first():
    theirs = published(layers=2, bidirectional=True, reads="first")
    assert same(loaded(theirs, bidirectional=True), theirs)  # a model of one layer has the published outputs
    with pytest.warns(UntrainedWeightsWarning, match="uses the first layer of a bidirectional LSTM"):
        model = loaded(theirs, layers=2, bidirectional=True)
    published_outputs = theirs(batch())[0]
    assert (model(batch()).prediction - published_outputs).abs().max() > 0.01
    theirs.acoustic_enc.reads = theirs.visual_enc.reads = 1
    assert same(model, theirs)


def test_the_published_code_does_not_train_its_second_layer():
    theirs = published(layers=2, bidirectional=True, reads="first")
    theirs(batch())[0].sum().backward()
    second = [p for name, p in theirs.named_parameters() if "_l1" in name]
    assert len(second) == 16
    assert all(p.grad is None or not p.grad.any() for p in second)


@pytest.mark.parametrize(
    ("theirs", "ours", "error", "message"),
    [
        ({"layers": 2, "reads": "last"}, {}, ValueError, r"got none of acoustic_enc\.rnn\.weight_ih_l1"),
        ({}, {"layers": 2}, KeyError, r"must have acoustic_enc\.rnn\.weight_ih_l1"),
        ({}, {"bidirectional": True}, KeyError, r"must have acoustic_enc\.rnn\.weight_ih_l0_reverse"),
        ({"bidirectional": True}, {}, ValueError, r"got none of acoustic_enc\.rnn\.weight_ih_l0_reverse"),
        ({"cpc_layers": 2}, {}, KeyError, r"must have cpc_zt\.net\.weight"),
        ({"cpc_layers": 3}, {"cpc_layers": 2}, ValueError, r"got none of cpc_zt\.net\.3\.weight"),
    ],
)
def test_other_sizes_are_refused(theirs, ours, error, message):
    with pytest.raises(error, match=message):
        loaded(published(**theirs), **ours)


def test_without_the_terms_the_network_is_loaded():
    theirs = published(cpc_layers=2)
    model = loaded(theirs, use_fusion=False, use_pairs=False)
    torch.testing.assert_close(model(batch()).prediction, theirs(batch())[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layers", [0, 1.5, True, "2"])
def test_the_number_of_layers_is_checked(layers):
    with pytest.raises(ValueError, match=r"fusion_options\.layers must be a positive integer; got"):
        MMIM(config(cpc_layers=layers), DIMS)
