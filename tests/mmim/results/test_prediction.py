import csv
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from multimodal import frames_config, frames_data, small_config, small_data

from mmim_example import reading
from mmim_example.__main__ import main
from mmim_example.config import Modality
from mmim_example.measurement import half_width
from mmim_example.reading import Dataset
from mmim_example.results import evaluation
from mmim_example.runs import checkpoint
from mmim_example.trainer import train


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def run_main(*words):
    assert main([str(word) for word in words]) == 0


def unlabelled(folder, split, text=None):
    """A split in the plain format, with no column but the id (and the text)."""
    folder.mkdir()
    with (folder / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id"] + ["text"] * (text is not None))
        out.writerows([i, *([text[k]] if text is not None else [])] for k, i in enumerate(split.ids))
    arrays = dict(split.features) | {f"{name}_lengths": length for name, length in split.lengths.items()}
    np.savez(folder / "features.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run that is evaluated on its test split, and its data in the plain format."""
    dataset, folder = small_data((400, 100, 400)), tmp_path_factory.mktemp("run")
    train(small_config(epochs=6, lr=5e-3), dataset, folder / "run", progress=False)
    reading.save(dataset, folder / "data")
    run_main("evaluate", folder / "run", "--data", folder / "data")
    return folder, dataset


def test_new_data_without_labels_get_what_evaluate_gives(trained, tmp_path):
    folder, dataset = trained
    expected = (folder / "run" / "predictions.csv").read_text(encoding="utf-8")
    new = unlabelled(tmp_path / "new", dataset.test)
    run_main("predict", folder / "run", "--data", new, "--output", tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text(encoding="utf-8") == expected
    whole = ("--data", folder / "data", "--split", "test")  # labels are not needed, and not used
    run_main("predict", folder / "run", *whole, "--output", tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text(encoding="utf-8") == expected
    rows = table(tmp_path / "all.csv")
    found = evaluation.evaluate(folder / "run" / "best.safetensors", dataset, intervals=False)
    assert [row["id"] for row in rows] == list(dataset.test.ids)
    np.testing.assert_allclose(column(rows, "prediction"), found.predictions, rtol=1e-5)


def test_80_per_cent_of_new_labels_lie_in_the_interval(trained):
    folder, dataset = trained
    rows, labels = table(folder / "run" / "predictions.csv"), dataset.test.labels
    inside = (column(rows, "low_80") <= labels) & (labels <= column(rows, "high_80"))
    # Both the 100 validation rows and the 400 test rows make noise: 0.8 ± 3 √(0.16/100 + 0.16/400).
    assert abs(inside.mean() - 0.8) < 0.134
    width = column(rows, "high_80") - column(rows, "low_80")
    assert np.ptp(width) < 1e-4
    assert width.mean() < np.quantile(labels, 0.9) - np.quantile(labels, 0.1)  # narrower than without a model


def test_the_half_width_is_a_quantile_of_validation_residuals(trained):
    folder, dataset = trained
    found = evaluation.evaluate(folder / "run" / "best.safetensors", dataset, split="valid", intervals=False)
    residuals = sorted(abs(found.labels.astype(float) - found.predictions))
    assert found.half_width == pytest.approx(residuals[81 - 1], rel=1e-5)  # ceil(0.8 * 101)


@pytest.mark.parametrize("n", [4, 5, 9, 14])
def test_intervals_cover_80_per_cent_in_small_samples(n):
    rng = np.random.default_rng(n)
    hits = []
    for _ in range(4000):
        residuals = rng.standard_t(3, n + 1)
        hits.append(abs(residuals[-1]) <= half_width(np.zeros(n), residuals[:-1]))
    level = int(np.ceil(0.8 * (n + 1))) / (n + 1)  # exact for exchangeable rows
    assert np.mean(hits) == pytest.approx(level, abs=0.02)


def test_too_few_rows_have_no_interval():
    assert half_width(np.zeros(3), np.ones(3)) is None


def test_modalities_may_be_missing(trained, tmp_path, capsys):
    folder, dataset = trained
    test = dataset.test.rows(np.arange(1))
    test = dataclasses.replace(
        test,
        features={name: array for name, array in test.features.items() if name != "audio"},
        missing={name: array for name, array in test.missing.items() if name != "audio"},
    )
    words = ("--data", unlabelled(tmp_path / "new", test), "--output", tmp_path / "one.csv")
    run_main("predict", folder / "run", *words)
    assert "audio is not in" in capsys.readouterr().err
    without = reading.without(dataset.test.rows(np.arange(2)), "audio", np.arange(2))
    same = Dataset(dataset.train, dataset.valid, without, source="without")
    expected = evaluation.evaluate(folder / "run" / "best.safetensors", same, intervals=False).predictions[0]
    assert column(table(tmp_path / "one.csv"), "prediction")[0] == pytest.approx(expected, rel=1e-4)
    none = dataclasses.replace(test, features={"smell": test.features["text"]}, missing={})
    words = ("predict", folder / "run", "--data", unlabelled(tmp_path / "none", none), "--output", tmp_path / "no.csv")
    assert main([str(word) for word in words]) == 2
    assert "there must be a modality of the model, text or audio or vision; got none" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


def test_what_does_not_fit_is_named(trained, tmp_path, capsys):
    folder, dataset = trained
    words = ("predict", folder / "run", "--output", tmp_path / "x.csv", "--data")
    wide = {name: np.ones((400, 99), np.float32) for name in dataset.test.features}
    new = unlabelled(tmp_path / "wide", dataclasses.replace(dataset.test, features=wide))
    assert main([str(word) for word in (*words, new)]) == 2
    assert "text must have 8 columns, as in training; got 99" in capsys.readouterr().err
    new = unlabelled(tmp_path / "new", dataset.test)
    assert main([str(word) for word in (*words, new, "--split", "test")]) == 2
    assert "--split must be one of data in these data; got test" in capsys.readouterr().err
    twice = dataclasses.replace(dataset.test, ids=("a",) * 400)
    assert main([str(word) for word in (*words, unlabelled(tmp_path / "twice", twice))]) == 2
    assert "ids must be unique and not empty; got 'a' 400 times" in capsys.readouterr().err


def test_classes_come_with_probabilities(tmp_path):
    dataset = small_data()
    for split in dataset.splits().values():
        split.labels[:] = (split.labels > 0) + 1.0 * (split.labels > 1)
    config = small_config(target="classification", classes=3, entropy_classes="label", epochs=1)
    train(config, dataset, tmp_path / "run", progress=False)
    new = unlabelled(tmp_path / "new", dataset.test)
    run_main("predict", tmp_path / "run", "--data", new, "--output", tmp_path / "classes.csv")
    rows = table(tmp_path / "classes.csv")
    assert list(rows[0]) == ["id", "prediction", "p0", "p1", "p2"]
    scores = evaluation.evaluate(tmp_path / "run" / "best.safetensors", dataset, intervals=False).predictions
    p = np.stack([column(rows, f"p{i}") for i in range(3)], 1)
    np.testing.assert_allclose(p, torch.from_numpy(scores).double().softmax(1), rtol=1e-4)
    np.testing.assert_array_equal(p.argmax(1), column(rows, "prediction"))


def test_representations_are_exported(tmp_path):
    dataset = frames_data()
    train(frames_config(epochs=1), dataset, tmp_path / "run", progress=False)
    reading.save(dataset, tmp_path / "data")
    run_main("export", tmp_path / "run", "--data", tmp_path / "data", "--output", tmp_path / "out.npz")
    model, _ = evaluation.load_model(tmp_path / "run" / "best.safetensors")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        assert found["id"].tolist() == [i for split in dataset.splits().values() for i in split.ids]
        names = list(model.config.modalities)
        output = model(reading.batch(dataset.test, np.arange(16), names=names))
        np.testing.assert_allclose(found["fused"][-16:], output.fused.detach(), atol=1e-5)
        np.testing.assert_allclose(found["audio"][-16:], output.representations["audio"].detach(), atol=1e-5)
        np.testing.assert_allclose(found["prediction"][-16:], output.prediction.detach(), atol=1e-5)
        np.testing.assert_array_equal(found["audio_missing"][-16:], dataset.test.lengths["audio"] == 0)


def test_a_pickle_of_mmsa_without_labels(tmp_path):
    dataset = frames_data()
    train(frames_config(epochs=1), dataset, tmp_path / "run", progress=False)
    test = dataset.test
    content = dict(test.features) | {"id": list(test.ids)}
    content |= {f"{name}_lengths": length for name, length in test.lengths.items()}
    (tmp_path / "one.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "split.pkl").write_bytes(pickle.dumps({"test": content}))
    new = unlabelled(tmp_path / "plain", test)
    for data in ("one.pkl", "split.pkl", new):
        run_main(
            "predict", tmp_path / "run", "--data", tmp_path / data, "--output", tmp_path / f"{data}.csv".split("/")[-1]
        )
    first, second, third = (tmp_path / f"{name}.csv" for name in ("one.pkl", "split.pkl", "plain"))
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_a_transformer_reads_text_or_does_without(tiny_bert, tmp_path, capsys):
    dataset = frames_data((24, 8, 8))
    texts = {
        name: dataclasses.replace(
            split,
            text=tuple("good film" if y > 0 else "bad" for y in split.labels),
            features={k: v for k, v in split.features.items() if k != "text"},
            missing={},
        )
        for name, split in dataset.splits().items()
    }
    config = frames_config(epochs=1)
    bert = Modality("transformer", out=0, pretrained=str(tiny_bert))
    config = config.replace(modalities=dict(config.modalities) | {"text": bert})
    train(config, Dataset(**texts, source="texts"), tmp_path / "run", progress=False)
    words = ("predict", tmp_path / "run", "--output", tmp_path / "out.csv", "--data")
    test = texts["test"]
    run_main(*words, unlabelled(tmp_path / "with", test, test.text))
    read = column(table(tmp_path / "out.csv"), "prediction")
    assert "is not in" not in capsys.readouterr().err
    run_main(*words, unlabelled(tmp_path / "without", test))
    assert "text is not in" in capsys.readouterr().err
    assert not np.allclose(column(table(tmp_path / "out.csv"), "prediction"), read)


def test_a_model_of_version_0_1_predicts_without_intervals(trained, tmp_path):
    folder, dataset = trained
    stored = checkpoint.read(folder / "run" / "best.safetensors")
    model, _ = evaluation.load_model(stored.path)
    older = {name: value for name, value in stored.facts.items() if name != "half_width"}
    checkpoint.save(tmp_path / "best.safetensors", checkpoint.module_tensors(model), older)
    run_main(
        "predict", tmp_path, "--data", unlabelled(tmp_path / "new", dataset.test), "--output", tmp_path / "out.csv"
    )
    assert {row["low_80"] for row in table(tmp_path / "out.csv")} == {""}
