import json
import math

import numpy as np
import pytest
import torch
from multimodal import small_config, small_data
from safetensors.torch import load_file

from mmim_example import reading
from mmim_example.reading import DataError, Dataset, Split
from mmim_example.results import evaluation, metrics
from mmim_example.runs import checkpoint
from mmim_example.runs.facts import CheckpointError
from mmim_example.trainer import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run, and its data."""
    dataset, folder = small_data((200, 100, 200)), tmp_path_factory.mktemp("run")
    train(small_config(epochs=8, lr=5e-3), dataset, folder, progress=False)
    return folder, dataset


def test_values_are_the_metrics_of_the_best_models_predictions(run):
    folder, dataset = run
    found = evaluation.evaluate(folder / "best.safetensors", dataset)
    model, epoch = evaluation.load_model(folder / "best.safetensors")
    names = list(model.config.modalities)
    whole = model(reading.batch(dataset.test, np.arange(len(dataset.test)), names=names))
    assert found.predictions == pytest.approx(whole.prediction.detach().numpy(), abs=1e-5)
    assert found.values == metrics.regression(found.predictions, dataset.test.labels)
    assert found.epoch == epoch
    assert found.terms["task"] == pytest.approx(found.values["mae"], rel=1e-5)
    for name, (low, high) in found.intervals.items():
        assert low < found.values[name] < high


def test_the_model_that_is_loaded_is_the_one_that_was_kept(run):
    folder, dataset = run
    on_valid = evaluation.evaluate(folder / "best.safetensors", dataset, split="valid", intervals=False)
    facts = checkpoint.read(folder / "best.safetensors").facts
    assert on_valid.terms["task"] == pytest.approx(facts["valid"], rel=1e-6)


def test_intervals_over_videos_are_wider_when_rows_of_a_video_are_alike(run):
    folder, dataset = run
    test = dataset.test
    alike = test.rows(np.repeat(np.arange(20), 10))  # twenty videos of ten equal utterances
    dataset = Dataset(dataset.train, dataset.valid, alike, source="alike")
    videos = [str(i // 10) for i in range(200)]
    rows = evaluation.evaluate(folder / "best.safetensors", dataset).intervals["mae"]
    groups = evaluation.evaluate(folder / "best.safetensors", dataset, groups=videos).intervals["mae"]
    assert (groups[1] - groups[0]) / (rows[1] - rows[0]) == pytest.approx(math.sqrt(10), rel=0.25)


def test_the_curve_of_missing_rows_begins_at_the_whole_and_rises(run):
    folder, dataset = run
    found = evaluation.evaluate(folder / "best.safetensors", dataset, missing=True)
    for curve in found.missing.values():
        assert curve["mae"][0] == pytest.approx(found.values["mae"])
    assert found.missing["text"]["mae"][-1] > 1.2 * found.values["mae"]  # text tells most
    assert len(found.missing["text"]["mae"]) == len(evaluation.SHARES)


def test_a_file_has_null_for_what_is_not_defined(run):
    folder, dataset = run
    one = Dataset(dataset.train, dataset.valid, dataset.test.rows(np.arange(1)), source="one row")
    found = evaluation.evaluate(folder / "best.safetensors", one)
    kept = json.loads(json.dumps(evaluation.to_json(found), allow_nan=False))
    assert kept["values"]["corr"] is None
    assert kept["intervals"]["mae"] == [None, None]
    assert kept["values"]["mae"] == found.values["mae"]


def test_a_checkpoint_to_resume_from_is_not_taken_for_a_model(run):
    folder, dataset = run
    with pytest.raises(CheckpointError, match=r"must be a model, as best.safetensors"):
        evaluation.evaluate(folder / "last.safetensors", dataset)


def test_tensors_that_do_not_fit_the_configuration_are_told(run, tmp_path):
    folder, _ = run
    tensors, facts = load_file(folder / "best.safetensors"), checkpoint.read(folder / "best.safetensors").facts
    tensors["fusion.first.weight"] = torch.zeros(3, 3)
    checkpoint.save(tmp_path / "best.safetensors", tensors, facts)
    with pytest.raises(CheckpointError, match=r"'fusion.first.weight': expected F32 \(8, 12\), got F32 \(3, 3\)"):
        evaluation.load_model(tmp_path / "best.safetensors")


def test_data_without_a_modality_are_refused(run):
    folder, dataset = run
    test = dataset.test
    features = {name: array for name, array in test.features.items() if name != "vision"}
    poorer = Dataset(*[Split(test.ids, test.labels, features)] * 3, source="poorer")
    with pytest.raises(
        DataError, match=r"poorer: features must include every modality .* got text, audio without 'vision'"
    ):
        evaluation.evaluate(folder / "best.safetensors", poorer)


def test_data_of_other_columns_are_refused_even_where_they_could_be_stretched(run):
    folder, dataset = run
    splits = {}
    for name, split in dataset.splits().items():
        splits[name] = Split(split.ids, split.labels, {**split.features, "audio": split.features["audio"][:, :1]})
    narrow = Dataset(**splits, source="narrow")
    with pytest.raises(DataError, match="narrow: audio must have 5 columns, as in training; got 1"):
        evaluation.evaluate(folder / "best.safetensors", narrow)


def test_classification_is_evaluated_by_class(tmp_path):
    dataset = small_data((200, 60, 60))
    for split in dataset.splits().values():
        split.labels[:] = np.digitize(split.labels, [-0.6, 0.6])
    settings = small_config(target="classification", classes=3, entropy_classes="label", epochs=8, lr=5e-3)
    train(settings, dataset, tmp_path, progress=False)
    found = evaluation.evaluate(tmp_path / "best.safetensors", dataset)
    guesses = found.predictions.argmax(1)
    assert found.values["accuracy"] == np.mean(guesses == dataset.test.labels)
    assert found.values["accuracy"] > 0.5
