import json

import numpy as np
import pytest
import torch
from multimodal import assert_same, frames_config, frames_data, small_config, small_data, tensors
from torch.nn import functional as F

from mmim_example import reading
from mmim_example.__main__ import main
from mmim_example.config import Config, Modality
from mmim_example.model import MMIM
from mmim_example.results import evaluation, prediction
from mmim_example.runs import log
from mmim_example.runs.environment import check_precision
from mmim_example.runs.facts import CheckpointError
from mmim_example.trainer import train

HALF = torch.bfloat16


def models(make, dataset):
    """The same weights in float32 and in mixed precision, with a batch."""
    made = []
    for amp in ("none", "bf16"):
        torch.manual_seed(0)
        made.append(MMIM(make(amp=amp), dataset.dims()).eval())
    batch = reading.batch(dataset.train, np.arange(32), names=list(made[0].config.modalities))
    return *made, batch


def test_linear_layers_are_computed_in_bfloat16():
    single, mixed, batch = models(small_config, small_data())
    h = mixed.encode(batch)["audio"]
    (linear,) = (part for part in mixed.encoders["audio"].modules() if isinstance(part, torch.nn.Linear))
    x = mixed.encoders["audio"].standardize(batch.inputs["audio"])
    torch.testing.assert_close(h, F.linear(x.to(HALF), linear.weight.to(HALF), linear.bias.to(HALF)).float())
    difference = (h - single.encode(batch)["audio"]).abs().max().item()
    assert 0 < difference < 2**-7 * h.abs().max().item()  # bfloat16 has 8 bits of precision


def test_lstms_bounds_losses_and_weights_are_in_float32():
    single, mixed, batch = models(frames_config, frames_data())
    encoder = mixed.encoders["audio"]
    h = encoder._final(batch.inputs["audio"], batch.lengths["audio"])
    weight, bias = (part.to(HALF) for part in encoder.project.parameters())
    present = batch.present["audio"]
    linear = F.linear(h.to(HALF), weight, bias).float()
    torch.testing.assert_close(mixed.encode(batch)["audio"][present], linear[present])
    output = mixed(batch)
    terms = mixed.terms(output, batch.labels)
    values = [*output.representations.values(), output.fused, output.prediction, terms.task, *terms.fusion.values()]
    values += [*terms.pairs.values(), mixed.loss(terms), *mixed.parameters()]
    assert {value.dtype for value in values} == {torch.float32}
    torch.testing.assert_close(output.prediction, single(batch).prediction, rtol=0.02, atol=0.02)
    assert torch.equal(terms.fusion["text"], mixed.fusion_bounds["text"](output.representations["text"], output.fused))


def test_a_transformer_too(tiny_bert):
    text = Modality("transformer", out=0, pretrained=str(tiny_bert))
    made = {}
    for amp in ("none", "bf16"):
        torch.manual_seed(0)
        config = Config(
            modalities={"text": text, "audio": Modality(out=4)}, pairs=(("text", "audio"),), fusion=8, amp=amp
        )
        made[amp] = MMIM(config, {"audio": 3}).eval()
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    tokens = torch.stack([ids, (ids != 0).long(), torch.zeros_like(ids)], 1)
    inputs = {"tokens": tokens, "audio": torch.zeros(2, 3)}
    batch = reading.Batch(inputs, {}, {name: torch.ones(2, dtype=torch.bool) for name in inputs}, torch.zeros(2))
    batch.present["text"] = batch.present["tokens"]
    single, mixed = (made[amp].encode(batch)["text"] for amp in ("none", "bf16"))
    assert mixed.dtype == torch.float32
    assert 0 < (single - mixed).abs().max() < 0.05


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in mixed precision, by the command."""
    folder, dataset = tmp_path_factory.mktemp("mixed"), small_data()
    reading.save(dataset, folder / "data")
    words = ["train", folder / "run", "--data", folder / "data", "--amp", "bf16", "--no-progress"]
    settings = ["epochs=3", "fusion=8", "batch_size=32", *(f"modalities.{m}.dropout=0.3" for m in ("text", "audio"))]
    assert main([str(word) for word in (*words, "--set", *settings)]) == 0
    return folder, dataset


def test_the_choice_is_stored(run):
    folder, _ = run
    assert json.loads((folder / "run" / "config.json").read_text(encoding="utf-8"))["amp"] == "bf16"
    assert log.records(folder / "run")[0]["amp"] == "bf16"
    assert evaluation.load_model(folder / "run" / "best.safetensors")[0].config.amp == "bf16"


def test_a_run_is_resumed_to_the_same_bits(run, tmp_path):
    folder, dataset = run
    config = evaluation.load_model(folder / "run" / "best.safetensors")[0].config
    for epochs in (1, 3):
        train(config.replace(epochs=epochs), dataset, tmp_path / "parts", resume=epochs > 1, progress=False)
    assert_same(tensors(folder / "run"), tensors(tmp_path / "parts"))
    train(config.replace(amp="none"), dataset, tmp_path / "single", progress=False)
    single, mixed = (log.records(where)[-1]["valid"]["task"] for where in (tmp_path / "single", folder / "run"))
    assert single != mixed
    assert mixed == pytest.approx(single, rel=0.05)
    with pytest.raises(CheckpointError, match="its amp is bf16, not 'none'"):
        train(config.replace(amp="none"), dataset, folder / "run", resume=True, progress=False)


def test_evaluation_and_prediction_compute_as_training_did(run):
    folder, dataset = run
    best = folder / "run" / "best.safetensors"
    found = evaluation.evaluate(best, dataset, split="valid", intervals=False)
    assert found.terms["task"] == min(r["valid"]["task"] for r in log.records(folder / "run") if r["event"] == "epoch")
    predicted = prediction.predict(best, {"valid": dataset.valid}, source="data")
    assert np.array_equal(predicted.predictions, found.predictions)


def test_another_type_or_device_is_refused(run, capsys):
    folder, dataset = run
    with pytest.raises(ValueError, match="amp must be 'none' or 'bf16'; got 'fp16'"):
        small_config(amp="fp16")
    message = "amp='bf16' needs a CPU, or an NVIDIA GPU with bfloat16; got the device 'meta': use amp='none'"
    with pytest.raises(ValueError, match=message):
        train(small_config(amp="bf16"), dataset, folder / "none", device="meta")
    assert not (folder / "none").exists()
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(folder / "run" / "best.safetensors", dataset, device="meta")
    words = ["train", folder / "none", "--data", folder / "data", "--amp", "fp16"]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    assert "invalid choice: 'fp16'" in capsys.readouterr().err


@pytest.mark.parametrize(("able", "refused"), [(True, False), (False, True)])
def test_a_gpu_must_have_bfloat16(monkeypatch, able, refused):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: able)
    device = torch.device("cuda", 0)
    check_precision("none", device)
    if refused:
        with pytest.raises(ValueError, match="got the device 'cuda:0'"):
            check_precision("bf16", device)
    else:
        check_precision("bf16", device)


def test_ablation_takes_it(tmp_path):
    reading.save(small_data(), tmp_path / "data")
    words = ["ablate", tmp_path / "runs", "--data", tmp_path / "data", "--amp", "bf16", "--seeds", "1", "--no-progress"]
    (tmp_path / "arms.json").write_text('{"mixed": {}, "single": {"amp": "none"}}', encoding="utf-8")
    assert main([str(word) for word in (*words, "--arms", tmp_path / "arms.json", "--set", "epochs=1")]) == 0
    kept = {
        arm: json.loads((tmp_path / "runs" / arm / "seed-0" / "result.json").read_text(encoding="utf-8"))
        for arm in ("mixed", "single")
    }
    assert {arm: result["configuration"]["amp"] for arm, result in kept.items()} == {"mixed": "bf16", "single": "none"}
    assert kept["mixed"]["test"]["mae"] != kept["single"]["test"]["mae"]
