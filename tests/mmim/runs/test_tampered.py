"""What was changed in the files of a run is refused before anything is loaded, by file, entry, rule and value."""

import copy
import json
import re
import shutil

import pytest
import torch
from multimodal import small_config, small_data
from safetensors.torch import load_file

from mmim_example import config
from mmim_example.results.evaluation import load_model
from mmim_example.runs import checkpoint, log
from mmim_example.runs.facts import CheckpointError
from mmim_example.trainer import TrainingError, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs, of four that are planned."""
    folder = tmp_path_factory.mktemp("run")
    train(small_config(epochs=2), small_data((48, 16, 16)), folder, progress=False)
    return folder


def resume(folder):
    return train(small_config(epochs=2), small_data((48, 16, 16)), folder, resume=True, progress=False)


def put(*path, value=None):
    """A change of facts: the entry at this path becomes ``value``."""

    def change(facts, _):
        for step in path[:-1]:
            facts = facts[step]
        facts[path[-1]] = value

    return change


def tensor(name, make):
    """A change of tensors: this one becomes ``make`` of it, or is left out."""

    def change(_, tensors):
        made = make(tensors.pop(name))
        if made is not None:
            tensors[name] = made

    return change


def every_moment_of_a_parameter(_, tensors):
    for name in [name for name in tensors if name.startswith("main/0.")]:
        del tensors[name]


def every_moment(facts, tensors):
    facts["optimizers"]["main"]["moments"] = []
    for name in [name for name in tensors if name.startswith("main/")]:
        del tensors[name]


WEIGHT = "model/fusion.first.weight"
RESUMED = {
    "a moment of another shape": (
        tensor("main/0.exp_avg", lambda t: t.new_zeros(3)),
        r"the first is 'main/0.exp_avg': expected F32 \(.*\), got F32 \(3,\)",
    ),
    "a moment of another type": (tensor("main/0.exp_avg", torch.Tensor.double), r"'main/0.exp_avg': .* got F64 \("),
    "a moment that is missing": (tensor("main/0.exp_avg", lambda _: None), r"'main/0.exp_avg': expected .* got none"),
    "moments that are missing": (every_moment_of_a_parameter, r"3 tensors differ, the first is 'main/0.exp_avg'"),
    "no moments": (
        every_moment,
        r"optimizers.main must be an optimiser with moments after the first epoch; got a dict",
    ),
    "a negative second moment": (
        tensor("main/0.exp_avg_sq", lambda t: -t - 1),
        r"main.0.exp_avg_sq must be finite, and",
    ),
    "half a step": (tensor("main/0.step", lambda t: t - 0.5), r"optimizers.main.0.step must be a number of steps; got"),
    "a name that leads nowhere": (lambda _, t: t.update({"x": torch.ones(1)}), r"'x': expected none, got F32 \(1,\)"),
    "a parameter of NaN": (
        tensor(WEIGHT, lambda t: t * torch.nan),
        r"model/fusion.first.weight must be finite; got nan",
    ),
    "an epoch beyond the last": (
        put("progress", "epoch", value=3),
        r"progress.epoch must be an integer from 0 to 2; got 3",
    ),
    "a negative epoch": (put("progress", "epoch", value=-1), r"progress.epoch must be an integer from 0 to 2; got -1"),
    "an epoch that is true": (put("progress", "epoch", value=True), r"progress.epoch must be an integer .*; got True"),
    "a best epoch to come": (
        put("progress", "best_epoch", value=5),
        r"best_epoch must be an integer from 0 to 2; got 5",
    ),
    "a count of other epochs": (
        put("progress", "waited", value=2),
        r"progress.waited must be an integer from \d to \d; got",
    ),
    "a loss of NaN": (
        put("progress", "best_valid", value=float("nan")),
        r"best_valid must be a number from .*; got nan",
    ),
    "a loss of text": (put("progress", "best_valid", value="1"), r"best_valid must be a number from .*; got '1'"),
    "a loss that is infinite": (
        put("progress", "best_valid", value=float("inf")),
        r"must be finite if there is a best",
    ),
    "progress as a list": (put("progress", value=[]), r"progress must be an object; got a list"),
    "progress without an entry": (
        put("progress", value={"epoch": 1}),
        r"progress must have the entries epoch, best_epoch",
    ),
    "optimisers as null": (put("optimizers", value=None), r"optimizers must be an object; got None"),
    "an unknown optimiser": (
        put("optimizers", "other", value={}),
        r"optimizers must have the entries main, pairs; got",
    ),
    "rates as a number": (put("optimizers", "main", "lr", value=1), r"optimizers.main.lr must be a list; got 1"),
    "a rate above the first": (
        put("optimizers", "main", "lr", value=[9.0]),
        r"lr must be 1 learning rates, positive and",
    ),
    "a moment of no parameter": (
        put("optimizers", "main", "moments", value=[99]),
        r"moments must be numbers of parameters",
    ),
    "a scheduler of another epoch": (
        put("optimizers", "pairs", "scheduler", "last_epoch", value=1),
        r"optimizers.pairs.scheduler.last_epoch must be an integer from 2 to 2; got 1",
    ),
    "a configuration as a list": (put("config", value=[]), r"config: must be an object; got a list"),
    "a configuration of other values": (
        put("config", "pairs", value=[[[], "x"]]),
        r"config: pairs.0.0 must be a valid string; got \[\]",
    ),
    "data as a number": (put("data", value=3), r"data must be text; got 3"),
}


@pytest.mark.parametrize("change", RESUMED)
def test_a_tampered_run_is_not_resumed(run, tmp_path, change):
    make, message = RESUMED[change]
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "last.safetensors"
    facts, tensors = copy.deepcopy(checkpoint.read(path).facts), load_file(path)
    make(facts, tensors)
    checkpoint.save(path, tensors, facts)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=message) as caught:
        resume(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("other", ["last.safetensors", "config.json", None])
def test_a_run_whose_best_model_is_lost_is_not_resumed(run, tmp_path, other):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    (tmp_path / "best.safetensors").unlink()
    if other:
        shutil.copy(run / other, tmp_path / "best.safetensors")
    with pytest.raises((CheckpointError, FileNotFoundError), match=re.escape(str(tmp_path / "best.safetensors"))):
        resume(tmp_path)


EVALUATED = {
    "columns beyond any memory": (
        put("dims", "text", value=10**9),
        r"'encoders.text.net.1.weight': expected F32 \(4, 1000",
    ),
    "a width beyond any memory": (
        put("config", "fusion", value=10**7),
        r"'fusion.first.bias': expected F32 \(10000000,\)",
    ),
    "columns as text": (put("dims", "text", value="8"), r"dims.text must be an integer from 1 to .*; got '8'"),
    "dimensions as a list": (put("dims", value=[3]), r"dims must be an object; got a list"),
    "a modality without columns": (
        put("dims", value={"text": 8}),
        r"config and dims must describe a model; got: dims must",
    ),
    "an unknown bound": (put("config", "fusion_bound", value="none"), r"config and dims must describe a model; got: "),
    "an unknown option": (
        put("config", "fusion_options", value={"a": 1}),
        r"config and dims must describe a model; got: ",
    ),
    "epoch 0": (put("epoch", value=0), r"epoch must be an integer from 1 to 2; got 0"),
    "a loss of null": (put("valid", value=None), r"valid must be a number from .*; got None"),
    "another entry": (
        put("more", value=1),
        r"facts must have the entries config, dims, epoch, valid, half_width; got .*, more",
    ),
    "a half width of text": (put("half_width", value="1"), r"half_width must be a number from 0 to .*; got '1'"),
    "a negative half width": (put("half_width", value=-1.0), r"half_width must be a number from 0 to .*; got -1"),
}


@pytest.mark.parametrize("change", EVALUATED)
def test_a_tampered_model_is_not_loaded(run, tmp_path, change):
    make, message = EVALUATED[change]
    path = tmp_path / "best.safetensors"
    facts, tensors = checkpoint.read(run / path.name).facts, load_file(run / path.name)
    make(facts, tensors)
    checkpoint.save(path, tensors, facts)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))


def test_a_tensor_that_occurs_twice_in_the_header_is_refused(run, tmp_path):
    data = (run / "best.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name, entry = next(item for item in header.items() if item[0] != "__metadata__")
    text = json.dumps(header).encode()[:-1] + f", {json.dumps(name)}: {json.dumps(entry)}}}".encode()
    path = tmp_path / "best.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(CheckpointError, match="its header must be JSON; got: a name occurs twice in an object"):
        load_model(path)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", '{"modalities": 1}', '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}"]
)
def test_a_damaged_configuration_is_refused_by_name(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "config.json"))):
        checkpoint.run_config(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "3",
        "[]",
        "{",
        '{"event": 1}',
        '{"event": "epoch"}',
        '{"event": "epoch", "epoch": 1, "train": 3}',
        "[" * 9999,
    ],
)
def test_a_damaged_log_is_refused_with_the_line(tmp_path, line):
    (tmp_path / "log.jsonl").write_text(f'{{"event": "start"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"log.jsonl: line 2 must be"):
        log.records(tmp_path)


@pytest.mark.parametrize(
    ("number", "rule"), [(10**400, "a valid number"), (2**60, "less than or equal to 9007199254740992")]
)
def test_numbers_too_large_are_refused(number, rule):
    with pytest.raises(ValueError, match=f"lr must be {rule}; got 1[0-9]+$"):
        config.Config.from_dict(small_config().to_dict() | {"lr": number})


def test_a_run_whose_parameters_are_not_finite_ends_and_leaves_a_checkpoint(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)

    def measure(model, *_):
        with torch.no_grad():
            model.fusion.first.bias[0] = torch.inf
        return {"task": 1.0}, None

    monkeypatch.setattr("mmim_example.trainer.measure", measure)
    with pytest.raises(TrainingError, match=r"parameters must be finite after epoch 3; got .* in fusion.first.bias"):
        train(small_config(epochs=3), small_data((48, 16, 16)), tmp_path, resume=True, progress=False)
    assert resume(tmp_path).epochs == 2
