import json

import numpy as np
import pytest
from multimodal import frames_config, frames_data, small_config, small_data

from mmim_example import ablation, config
from mmim_example.results import comparison
from mmim_example.runs import checkpoint
from mmim_example.runs.facts import CheckpointError
from mmim_example.trainer import train

ARMS = {"task only": {"use_fusion": False, "use_pairs": False}, "NWJ for CPC": ablation.ARMS["NWJ for CPC"]}


def test_arms_and_seeds_are_run_once_and_come_back_paired(tmp_path, monkeypatch):
    dataset, settings = small_data(), small_config(epochs=2)
    first = ablation.ablate(settings, dataset, tmp_path, arms=ARMS, seeds=[0, 3], progress=False)
    assert list(first) == list(ARMS)
    assert all(len(values) == 2 for metrics in first.values() for values in metrics.values())
    # The second seed of the first arm is what training it alone gives.
    alone = settings.replace(seed=3, use_fusion=False, use_pairs=False)
    run = train(alone, dataset, tmp_path / "alone", progress=False)
    assert first["task only"]["valid"][1] == run.best_valid
    # Nothing is trained again, for the other split neither.
    monkeypatch.setattr(ablation, "train", lambda *_, **__: pytest.fail("trained again"))
    assert ablation.ablate(settings, dataset, tmp_path, arms=ARMS, seeds=[0, 3], progress=False) == first
    valid = ablation.ablate(settings, dataset, tmp_path, arms=ARMS, seeds=[3], split="valid", progress=False)
    assert valid["task only"]["mae"][0] == pytest.approx(run.best_valid, rel=1e-6)


def test_what_the_bounds_measured_is_kept(tmp_path):
    found = ablation.ablate(
        small_config(epochs=1), small_data(), tmp_path, arms={"MMIM": {}}, seeds=[0], progress=False
    )
    names = {name for name in found["MMIM"] if name.startswith("I(")}
    assert names == {"I(text-vision)", "I(text-audio)", "I(text;Z)", "I(audio;Z)", "I(vision;Z)"}


def test_a_killed_run_is_resumed(tmp_path):
    dataset, settings = small_data(), small_config(epochs=3)
    arms = {"MMIM": {}}
    whole = ablation.ablate(settings, dataset, tmp_path / "whole", arms=arms, seeds=[0], progress=False)
    place = ablation.folder(tmp_path / "parts", "MMIM", 0)
    train(settings.replace(epochs=1), dataset, place, progress=False)  # what a run killed after one epoch leaves
    assert ablation.ablate(settings, dataset, tmp_path / "parts", arms=arms, seeds=[0], progress=False) == whole


def test_several_jobs_give_what_one_gives(tmp_path):
    dataset, settings = small_data(), small_config(epochs=1)
    one, two = (
        ablation.ablate(settings, dataset, tmp_path / str(jobs), arms=ARMS, seeds=[0, 1], jobs=jobs, progress=False)
        for jobs in (1, 2)
    )
    assert one == two


def test_a_run_without_a_finite_loss_is_reported_and_does_not_stop_the_rest(tmp_path):
    dataset = frames_data()
    dataset.train.labels[:] = np.abs(dataset.train.labels) + 0.1
    arms = {"task only": ARMS["task only"], "legacy": {"legacy": True}}
    found = ablation.ablate(frames_config(epochs=1), dataset, tmp_path, arms=arms, seeds=[0, 1], progress=False)
    assert np.isnan(found["legacy"]["valid"]).all()
    assert np.isfinite(found["task only"]["mae"]).all()
    kept = json.loads((ablation.folder(tmp_path, "legacy", 0) / "result.json").read_text(encoding="utf-8"))
    assert "must be finite; got nan in epoch 1" in kept["error"]
    assert "| legacy | – |" in comparison.table(found, "task only", ["mae"])


def test_settings_that_a_model_refuses_fail_their_arm_alone_and_are_tried_again(tmp_path):
    arms = {"task only": ARMS["task only"], "odd": {"fusion_bound": "infonce", "fusion_options": {"warmth": 3}}}
    settings = small_config(epochs=1)
    found = ablation.ablate(settings, small_data(), tmp_path, arms=arms, seeds=[0, 1], progress=False)
    assert np.isnan(found["odd"]["valid"]).all()
    assert np.isfinite(found["task only"]["mae"]).all()
    assert ablation.failed(tmp_path, arms, [0, 1]) == {"odd": ablation.failed(tmp_path, ["odd"], [1])["odd"]}
    assert (
        "infonce must accept x_dim=4, y_dim=8 and fusion_options warmth; got TypeError"
        in ablation.failed(tmp_path, ["odd"], [0])["odd"]
    )
    arms["odd"] = {"fusion_bound": "infonce", "fusion_options": {}}  # mended
    mended = ablation.ablate(settings, small_data(), tmp_path, arms=arms, seeds=[0, 1], progress=False)
    assert np.isfinite(mended["odd"]["mae"]).all()
    assert ablation.failed(tmp_path, arms, [0, 1]) == {}


def test_a_modality_that_the_data_lack_fails_its_arm_alone(tmp_path):
    arms = {"all": {}, "smell": {"modalities": {"text": {"out": 4}, "smell": {"out": 4}}, "pairs": []}}
    found = ablation.ablate(small_config(epochs=1), small_data(), tmp_path, arms=arms, seeds=[0], progress=False)
    assert np.isfinite(found["all"]["mae"]).all()
    assert "without 'smell'" in ablation.failed(tmp_path, arms, [0])["smell"]


def test_arms_change_settings_by_dotted_names(tmp_path):
    arms = {"wide": {"modalities.text.hidden": 5, "alpha": 0.3}}
    ablation.ablate(small_config(epochs=1), small_data(), tmp_path, arms=arms, seeds=[0], progress=False)
    made = config.read(ablation.folder(tmp_path, "wide", 0) / "config.json")
    assert (made.modalities["text"].hidden, made.modalities["audio"].hidden, made.alpha) == (5, 0, 0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities.smell.out": 3}, r"arm 'odd': .*got 'modalities.smell.out', but there is no group 'smell'"),
        ({"alpha.text": 3}, r"arm 'odd': .*there is no group 'alpha'"),
        ({"alfa": 3}, "arm 'odd': Config has no 'alfa'; did you mean 'alpha'"),
    ],
)
def test_settings_that_are_none_are_told_before_any_run(tmp_path, changes, message):
    arms = {"first": {}, "odd": changes}
    with pytest.raises(ValueError, match=message):
        ablation.ablate(small_config(), small_data(), tmp_path / "runs", arms=arms, progress=False)
    assert not (tmp_path / "runs").exists()


def test_finished_runs_of_an_older_version_keep_their_meaning(tmp_path, monkeypatch):
    """It had no setting ``init``, and its published objective always had the published initialisation."""
    dataset, settings = frames_data(), frames_config(epochs=1, legacy=True, init="xavier")
    first = ablation.ablate(settings, dataset, tmp_path, arms={"published": {}}, seeds=[0], progress=False)
    done = ablation.folder(tmp_path, "published", 0) / "result.json"
    kept = json.loads(done.read_text(encoding="utf-8"))
    del kept["configuration"]["init"]
    done.write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr(ablation, "train", lambda *_, **__: pytest.fail("trained again"))
    assert ablation.ablate(settings, dataset, tmp_path, arms={"published": {}}, seeds=[0], progress=False) == first
    with pytest.raises(CheckpointError, match="belongs to another configuration"):
        ablation.ablate(settings, dataset, tmp_path, arms={"published": {"init": "pytorch"}}, seeds=[0], progress=False)


def test_runs_of_another_revision_are_neither_resumed_nor_compared(tmp_path, monkeypatch):
    place = ablation.folder(tmp_path / "killed", "a", 0)
    with monkeypatch.context() as older:
        older.setattr(checkpoint, "REVISION", checkpoint.REVISION - 1)
        ablation.ablate(small_config(epochs=1), small_data(), tmp_path / "done", arms={"a": {}}, seeds=[0])
        train(small_config(epochs=1), small_data(), place, progress=False)
    with pytest.raises(CheckpointError, match=r"result.json belongs to another revision; use another directory"):
        ablation.ablate(small_config(epochs=1), small_data(), tmp_path / "done", arms={"a": {}}, seeds=[0])
    with pytest.raises(CheckpointError, match=r"last.safetensors must be of revision .*: start a new run"):
        ablation.ablate(small_config(epochs=1), small_data(), tmp_path / "killed", arms={"a": {}}, seeds=[0])


def test_runs_of_other_settings_are_not_taken_for_these(tmp_path):
    ablation.ablate(small_config(epochs=1), small_data(), tmp_path, arms={"a": {}}, seeds=[0], progress=False)
    with pytest.raises(CheckpointError, match="belongs to another configuration; use another directory"):
        ablation.ablate(small_config(epochs=2), small_data(), tmp_path, arms={"a": {}}, seeds=[0], progress=False)


def test_runs_on_other_data_are_not_taken_for_these(tmp_path):
    changed = small_data()
    ablation.ablate(small_config(epochs=1), small_data(), tmp_path, arms={"a": {}}, seeds=[0], progress=False)
    changed.train.features["audio"][:] = 0.5
    with pytest.raises(CheckpointError, match="belongs to other data than generated"):
        ablation.ablate(small_config(epochs=1), changed, tmp_path, arms={"a": {}}, seeds=[0], progress=False)


def test_arms_whose_folders_would_be_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"arms must differ in letters or digits.* got CPC\+, CPC-"):
        ablation.ablate(small_config(), small_data(), tmp_path, arms={"CPC+": {}, "CPC-": {}}, progress=False)


def test_the_summary_compares_seed_by_seed():
    rng = np.random.default_rng(0)
    base = rng.normal(0.9, 0.05, 20)
    results = {"task only": {"mae": list(base)}, "better": {"mae": list(base - 0.01 + rng.normal(0, 0.002, 20))}}
    line = comparison.table(results, "task only", ["mae"]).splitlines()[-1]
    assert "< 0.001" in line  # unpaired, 0.01 would drown in a deviation of 0.05
    found = comparison.paired(results["better"]["mae"], results["task only"]["mae"])
    assert found.difference == pytest.approx(-0.01, abs=0.002)


@pytest.mark.parametrize("arm", ["+ both (MMIM)", "InfoNCE, learned T"])
def test_folders_are_named_after_arms(arm, tmp_path):
    place = ablation.folder(tmp_path, arm, 7)
    assert place.name == "seed-7"
    assert place.parent.name in ("both-mmim", "infonce-learned-t")
