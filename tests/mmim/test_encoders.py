import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from mmim_example import encoders, pretrained
from mmim_example.config import Modality
from mmim_example.reading import DataError, DataWarning


def packed_reference(encoder, x, lengths):
    """The same LSTM in PyTorch's packed form: the last layer's final states, in both directions."""
    layers = encoder.layers
    directions = len(layers[0])
    lstm = nn.LSTM(x.shape[-1], layers[0][0].hidden_size, len(layers), batch_first=True, bidirectional=directions == 2)
    lstm = lstm.to(x.dtype)
    with torch.no_grad():
        for depth, layer in enumerate(layers):
            for direction, part in enumerate(layer):
                for name, value in part.named_parameters():
                    ending = name.removesuffix("_l0") + f"_l{depth}" + ("_reverse" if direction else "")
                    getattr(lstm, ending).copy_(value)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    _, (hidden, _) = lstm(packed)
    return encoder.project(torch.cat(list(hidden[-directions:]), 1))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_frames_are_encoded_as_packed_sequences_are(layers, bidirectional):
    torch.manual_seed(0)
    spec = Modality("frames", hidden=6, out=4, layers=layers, bidirectional=bidirectional, dropout=0.0)
    encoder = encoders.make(spec, 3).double()
    x, lengths = torch.randn(5, 9, 3).double(), torch.tensor([9, 1, 4, 7, 9])
    torch.testing.assert_close(encoder(x, lengths), packed_reference(encoder, x, lengths), rtol=1e-10, atol=1e-12)


def test_what_a_file_left_in_the_padding_is_never_read():
    torch.manual_seed(0)
    encoder = encoders.make(Modality("frames", hidden=6, bidirectional=True, layers=2, dropout=0.0), 3)
    x, lengths = torch.randn(4, 8, 3), torch.tensor([8, 2, 5, 1])
    other = x.clone()
    other[1, 2:], other[2, 5:], other[3, 1:] = 1e6, -1e6, 1e6
    torch.testing.assert_close(encoder(x, lengths), encoder(other, lengths))
    assert encoder(x, lengths).isfinite().all()


def test_dropout_of_frames_is_at_work_with_one_layer():
    torch.manual_seed(0)
    encoder = encoders.make(Modality("frames", hidden=16, dropout=0.5), 3).train()
    x, lengths = torch.randn(4, 8, 3), torch.full((4,), 8)
    assert not torch.equal(encoder(x, lengths), encoder(x, lengths))


def test_standardize_takes_mean_and_deviation_over_all_blocks():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(3, 2, (100, 4)))
    x[:, 2] = 1e4  # constant: only centred, whatever its size
    part = encoders.Standardize(4).double()
    part.fit(iter(x.split(17)))
    expected = (x - x.mean(0)) / x.std(0, correction=0)
    expected[:, 2] = 0
    torch.testing.assert_close(part(x), expected)


def test_standardize_cuts_what_is_far_out():
    part = encoders.Standardize(1)
    rows = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    part.fit([rows])
    assert part(torch.tensor([[1e6], [-1e6]])).flatten().tolist() == [5.0, -5.0]
    assert part(rows).abs().max() < 5


def test_standardize_without_rows_stays_the_identity():
    part = encoders.Standardize(2)
    part.fit(iter([]))
    torch.testing.assert_close(part(torch.ones(3, 2)), torch.ones(3, 2))


def test_vectors_may_go_through_as_they_are():
    encoder = encoders.make(Modality(out=0, standardize=False), 5)
    x = torch.randn(3, 5)
    assert encoder.out_dim == 5
    torch.testing.assert_close(encoder(x), x)


class TestTransformer:
    def test_tokens_go_through_the_model(self, tiny_bert):
        encoder = encoders.make(Modality("transformer", out=0, pretrained=str(tiny_bert)), None).eval()
        tokens = torch.from_numpy(pretrained.tokenize(["good film", "a very bad film", ""], str(tiny_bert), most=8))
        assert tokens.shape == (3, 3, 8)
        assert tokens[:, 1].sum(1).tolist() == [4, 6, 2]  # words, and the marks of beginning and end
        alone = encoder.model(input_ids=tokens[:1, 0, :4], attention_mask=tokens[:1, 1, :4]).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder(tokens)[:1], alone, rtol=1e-4, atol=1e-5)

    def test_mean_pooling_leaves_padding_out(self, tiny_bert):
        model = pretrained.load_transformer(str(tiny_bert)).eval()
        tokens = torch.from_numpy(pretrained.tokenize(["good film", "bad"], str(tiny_bert), most=8))
        states = model(input_ids=tokens[:, 0], attention_mask=tokens[:, 1]).last_hidden_state
        expected = torch.stack([states[0, :4].mean(0), states[1, :3].mean(0)])
        torch.testing.assert_close(pretrained.pooled(model, tokens, "mean"), expected)

    def test_frozen_means_no_gradient_and_no_dropout(self, tiny_bert):
        encoder = encoders.make(Modality("transformer", out=3, pretrained=str(tiny_bert), frozen=True), None).train()
        tokens = torch.from_numpy(pretrained.tokenize(["good film"], str(tiny_bert)))
        assert not encoder.model.training
        encoder(tokens).sum().backward()
        assert all(p.grad is None for p in encoder.model.parameters())
        assert encoder.project[1].weight.grad is not None

    def test_fine_tuned_means_gradients(self, tiny_bert):
        encoder = encoders.make(Modality("transformer", out=0, pretrained=str(tiny_bert)), None)
        encoder(torch.from_numpy(pretrained.tokenize(["good film"], str(tiny_bert)))).square().sum().backward()
        assert encoder.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0

    def test_a_text_without_tokens_is_finite_with_gradients(self, tiny_bert):
        encoder = encoders.make(Modality("transformer", out=0, pretrained=str(tiny_bert)), None)
        tokens = torch.from_numpy(pretrained.tokenize(["good", ""], str(tiny_bert), most=4))
        tokens[1, 1] = 0
        encoder(tokens).sum().backward()
        assert all(p.grad.isfinite().all() for p in encoder.model.parameters() if p.grad is not None)

    def test_embed_is_the_pooled_model_text_by_text(self, tiny_bert):
        texts = ["good film", "a very bad film indeed", "bad"]
        together = pretrained.embed(texts, str(tiny_bert), batch=2)
        apart = torch.cat([pretrained.embed([text], str(tiny_bert)) for text in texts])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)

    def test_a_model_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"pretrained must be the directory or name of a model; got .*nothing-here"
        ):
            pretrained.load_transformer(str(tmp_path / "nothing-here"))

    def test_a_name_without_a_network_is_asked_for_once(self, monkeypatch):
        tried = []

        def load(*_, **options):
            tried.append(options.get("local_files_only", False))
            raise OSError("no copy")

        def asks(*_, **options):
            assert options["timeout"] <= 10
            raise ConnectionError("no network")

        monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", load)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", asks)
        with pytest.raises(ValueError, match=r"got 'some/model', which is not here .*no network.*DIRECTORY"):
            pretrained.require("some/model")
        assert tried == [True]

    def test_texts_of_another_language_are_refused(self, tiny_bert):
        with pytest.raises(DataError, match=r"must know the words of the texts; got 100% unknown: use a model of this"):
            pretrained.tokenize(["这部电影很好", "不好看"], str(tiny_bert))
        with pytest.warns(DataWarning, match=r"got 67% unknown"):
            pretrained.tokenize(["good 电 影", ""], str(tiny_bert))
