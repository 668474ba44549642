import csv
import json
import os
import pickle
import shutil

import numpy as np
import pytest
from multimodal import frames_config, frames_data, small_config

from mmim_example import config, reading
from mmim_example.__main__ import main


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Generated data, and a quick configuration."""
    folder = tmp_path_factory.mktemp("work")
    assert main(["generate", str(folder / "data"), "--rows", "96", "32", "40", "--seed", "3"]) == 0
    config.write(small_config(epochs=2), folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def run(work):
    """A trained run. Tests that continue it copy it first."""
    words = ("train", work / "run", "--data", work / "data", "--config", work / "config.json", "--no-progress")
    assert main([str(word) for word in words]) == 0
    return work / "run"


def fails(capsys, *words):
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err


def test_from_generated_data_to_figures(work, tmp_path, capsys):
    capsys.readouterr()
    run = tmp_path / "run"
    common = ["--data", str(work / "data")]
    words = ["train", str(run), *common, "--config", str(work / "config.json"), "--set", "alpha=0.3", "--no-progress"]
    assert main(words) == 0
    assert "2 epochs; the best is epoch" in capsys.readouterr().out
    assert config.read(run / "config.json").alpha == 0.3
    truth = ["--truth", str(work / "data" / "truth.json")]
    assert main(["evaluate", str(run), *common, "--missing", "--by-video", *truth]) == 0
    shown = capsys.readouterr().out
    assert "MAE" in shown
    written = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert f"{written['values']['mae']:.3f}" in shown
    assert (written["split"], written["data"]) == ("test", str(work / "data"))
    assert {path.name for path in run.glob("*.png")} == {
        "information.png",
        "losses.png",
        "missing.png",
        "predictions.png",
    }


def test_generated_data_hold_what_truth_json_says(work):
    truth = json.loads((work / "data" / "truth.json").read_text(encoding="utf-8"))
    assert truth["text-target"] == pytest.approx(0.5)
    assert truth["all-target"] > 0.5
    dataset = reading.load(work / "data")
    assert [len(split) for split in dataset.splits().values()] == [96, 32, 40]


def test_settings_by_name(work, tmp_path):
    words = ["--data", work / "data", "--config", work / "config.json", "--no-progress", "--set", "epochs=1"]
    settings = ["fusion_bound=nwj", "fusion_options={}", "modalities.text.hidden=5"]
    assert main([str(w) for w in ("train", tmp_path, *words, *settings)]) == 0
    made = config.read(tmp_path / "config.json")
    assert (made.fusion_bound, made.fusion_options, made.modalities["text"].hidden) == ("nwj", {}, 5)


def test_ablate_prints_the_table(work, tmp_path, capsys):
    arms = tmp_path / "arms.json"
    arms.write_text(json.dumps({"alone": {"use_fusion": False, "use_pairs": False}, "both": {}}), encoding="utf-8")
    words = ("ablate", tmp_path / "runs", "--data", work / "data", "--config", work / "config.json", "--arms", arms)
    more = ("--seeds", "2", "--set", "epochs=1", "--metrics", "mae", "--no-progress")
    assert main([str(word) for word in (*words, *more)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert "difference to alone" in lines[0]
    assert (tmp_path / "runs" / "test.md").read_text(encoding="utf-8").splitlines() == lines
    with (tmp_path / "runs" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "mae"]
    assert [(row["arm"], row["seed"]) for row in rows] == [("alone", "0"), ("alone", "1"), ("both", "0"), ("both", "1")]
    mean = (float(rows[0]["value"]) + float(rows[1]["value"])) / 2
    assert f"| alone | {mean:.3f} ±" in lines[2]


def test_convert_reads_a_pickle_and_leaves_the_plain_format(tmp_path, capsys):
    dataset = frames_data()
    stored = {}
    for name, split in dataset.splits().items():
        stored[name] = {
            "raw_text": np.array(["so it is"] * len(split)),
            "text": np.repeat(split.features["text"][:, None], 3, 1),
            "audio": split.features["audio"],
            "vision": split.features["vision"],
            "audio_lengths": split.lengths["audio"].tolist(),
            "vision_lengths": split.lengths["vision"].tolist(),
            "id": np.array([i.replace("_", "$_$") for i in split.ids]),
            "regression_labels": split.labels,
        }
    (tmp_path / "unaligned_50.pkl").write_bytes(pickle.dumps(stored))
    assert main(["convert", str(tmp_path / "plain"), "--data", str(tmp_path / "unaligned_50.pkl")]) == 0
    assert "train 48, valid 16, test 16" in capsys.readouterr().out
    read = reading.load(tmp_path / "plain")
    np.testing.assert_array_equal(read.train.lengths["audio"], dataset.train.lengths["audio"])
    assert read.train.text[0] == "so it is"


class TestBadInput:
    def test_no_data(self, tmp_path, capsys):
        said = fails(capsys, "train", tmp_path / "run", "--data", tmp_path / "nowhere")
        assert said.startswith("mmim_example: error: ")
        assert "nowhere" in said

    def test_a_hostile_pickle_is_refused_by_what_it_wants(self, tmp_path, capsys):
        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'executed'}",)

        (tmp_path / "data.pkl").write_bytes(pickle.dumps({"train": Hostile()}))
        assert "system" in fails(capsys, "train", tmp_path / "run", "--data", tmp_path / "data.pkl")
        assert not (tmp_path / "executed").exists()

    def test_an_unknown_preset(self, work, tmp_path, capsys):
        with pytest.raises(SystemExit):
            main(["train", str(tmp_path), "--data", str(work / "data"), "--preset", "mosy"])
        assert "invalid choice: 'mosy'" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("assignment", "message"),
        [
            ("alpha", "--set must be NAME=VALUE; got 'alpha'"),
            ("alfa=1", "Config has no 'alfa'; did you mean 'alpha'?"),
            ("modalities.smell.hidden=1", "there is no group 'smell'"),
            ("alpha=-1", "alpha must be greater than or equal to 0; got -1"),
            ("fusion_bound=nwk", "did you mean"),
        ],
    )
    def test_settings_that_cannot_be(self, work, tmp_path, capsys, assignment, message):
        words = ("--data", work / "data", "--config", work / "config.json", "--set", assignment)
        assert message in fails(capsys, "train", tmp_path / "run", *words)

    def test_a_run_is_not_overwritten(self, work, run, capsys):
        words = ("train", run, "--data", work / "data", "--config", work / "config.json", "--no-progress")
        assert "already contains a run" in fails(capsys, *words)

    def test_resuming_what_is_not_there(self, work, tmp_path, capsys):
        said = fails(capsys, "train", tmp_path / "none", "--data", work / "data", "--resume")
        assert "there is no run to resume" in said

    def test_resuming_with_other_settings(self, work, run, tmp_path, capsys):
        shutil.copytree(run, tmp_path / "run")
        words = ("train", tmp_path / "run", "--data", work / "data", "--no-progress")
        assert "its alpha is 0.1, not 9" in fails(capsys, *words, "--resume", "--set", "alpha=9")
        assert main([str(word) for word in (*words, "--resume", "--set", "epochs=3")]) == 0
        assert "3 epochs" in capsys.readouterr().out

    @pytest.mark.parametrize("arms", ["[1, 2]", "{}", '{"a": 3}'])
    def test_arms_that_are_none(self, work, tmp_path, capsys, arms):
        (tmp_path / "arms.json").write_text(arms, encoding="utf-8")
        words = ("ablate", tmp_path / "runs", "--data", work / "data", "--arms", tmp_path / "arms.json")
        assert "must be a JSON object: name -> object of settings" in fails(capsys, *words)

    def test_an_unknown_baseline(self, work, tmp_path, capsys):
        words = ("ablate", tmp_path, "--data", work / "data")
        assert "--seeds must be at least 1; got 0" in fails(capsys, *words, "--seeds", 0)
        assert "--arms must be a file" in fails(capsys, *words, "--arms", tmp_path / "none.json")
        said = fails(capsys, "ablate", tmp_path, "--data", work / "data", "--baseline", "nothing")
        assert "--baseline must be one of task only, + CPC" in said

    def test_a_model_for_other_modalities(self, work, tmp_path, capsys):
        reading.save(frames_data(), tmp_path / "frames")
        config.write(frames_config(epochs=1), tmp_path / "frames.json")
        words = ("--data", tmp_path / "frames", "--config", tmp_path / "frames.json", "--no-progress")
        assert main([str(word) for word in ("train", tmp_path / "run", *words)]) == 0
        said = fails(capsys, "evaluate", tmp_path / "run", "--data", work / "data")
        assert "audio must have 3 axes for an encoder of kind 'frames'" in said
