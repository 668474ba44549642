import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.mmim import known_truth, known_truth_report
from benchmarks.mmim import known_truth_plan as plan
from benchmarks.mmim.known_truth_report import Value
from infomax import CPC, GaussianMixtureMemory
from mmim_example.reading import without


@pytest.mark.parametrize("level", plan.LEVELS)
def test_text_and_vision_share_what_the_level_says(level):
    dataset, limits = known_truth.generated(level, (2000, 2, 2), seed=0)
    assert limits["text-vision"] == pytest.approx(level)
    assert 0 < limits["text-audio"] < level < limits["text"]
    x, y = (dataset.train.features[name].astype(np.float64) for name in ("text", "vision"))
    joint = np.linalg.slogdet(np.corrcoef(np.hstack([x, y]).T))[1]
    apart = sum(np.linalg.slogdet(np.corrcoef(side.T))[1] for side in (x, y))
    assert 0.5 * (apart - joint) == pytest.approx(level, abs=0.1)  # of normal columns; 48 correlations on 2000 rows


@pytest.fixture
def small(monkeypatch):
    """One level, three variants, two epochs."""
    monkeypatch.setattr(plan, "LEVELS", (0.4,))
    few = {name: plan.VARIANTS[name] for name in ("BA, by sign", "legacy", "task only")}
    monkeypatch.setattr(plan, "VARIANTS", few)
    monkeypatch.setattr(known_truth, "CONFIG", known_truth.CONFIG.replace(epochs=2, batch_size=32))


def run(tmp_path):
    words = ["--seeds", "1", "--rows", "120", "60", "80", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    assert known_truth.main(words) == 0
    with (tmp_path / "known_truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_page_and_figure_of_a_small_run(small, tmp_path, capsys, monkeypatch):
    rows = run(tmp_path)
    one = {(r["variant"], r["split"], r["quantity"], r["of"]): r for r in rows}
    reading = one["BA, by sign", "valid", "reading", "text-vision"]
    assert float(reading["limit"]) == pytest.approx(0.4)
    series = [float(text) for text in reading["epochs"].split()]
    kept = int(one["BA, by sign", "", "kept epoch", ""]["value"])
    assert len(series) == 2
    assert series[kept - 1] == pytest.approx(float(reading["value"]), rel=1e-3)
    assert float(one["BA, by sign", "test", "reading", "text"]["limit"]) <= math.log(32)
    assert ("task only", "test", "reading", "text") not in one  # no bound of the fusion level
    assert ("legacy", "test", "without: own critic", "text") not in one  # which is none
    low, value, high = (float(one["task only", "test", "infonce", "text-vision"][k]) for k in ("low", "value", "high"))
    assert low <= value <= high
    assert all(math.isfinite(float(r["value"])) and r["date"] and r["machine"] for r in rows)
    text = capsys.readouterr().out
    assert (tmp_path / "known_truth.md").read_text(encoding="utf-8") in text
    assert "### Truth: 0.40 nats" in text
    assert (tmp_path / "known_truth.png").stat().st_size > 10_000
    monkeypatch.setattr("mmim_example.ablation.train", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(known_truth, "measured", lambda *_: pytest.fail("measured again"))
    assert run(tmp_path) == rows


def test_the_trained_critic_is_measured_in_batches_on_a_fusion_that_lacks_the_modality(small, tmp_path):
    run(tmp_path)
    dataset, _ = known_truth.generated(0.4, (120, 60, 80), seed=0)
    (path,) = tmp_path.glob("runs/*/*/ba-by-sign/*/best.safetensors")
    model, _ = known_truth.load_model(path)
    lacking = known_truth.forward(model, without(dataset.test, "text", np.arange(80)))
    assert not lacking.representations["text"].any()
    h = known_truth.forward(model, dataset.test).representations
    found = known_truth.own_critic(model, h, lacking.fused)
    bound = model.fusion_bounds["text"]
    assert isinstance(bound, CPC)
    with torch.no_grad():
        parts = [(n, float(bound(a, z))) for n, a, z in zip(
            (32, 32, 16), h["text"].split(32), lacking.fused.split(32), strict=True
        )]  # fmt: skip
    assert found == pytest.approx(sum(n * value for n, value in parts) / 80, abs=1e-6)


def test_the_surplus_of_an_entropy_is_that_of_one_gaussian_over_two(monkeypatch):
    def two_clusters(_, n):
        rng = np.random.default_rng(n)
        return SimpleNamespace(
            representations={"vision": torch.from_numpy(rng.choice([-5, 5], (n, 1)) + rng.normal(size=(n, 1)))}
        )

    monkeypatch.setattr(known_truth, "forward", two_clusters)
    memory = GaussianMixtureMemory(1, capacity=2000).eval()
    memory.update(two_clusters(None, 2000).representations["vision"].float())
    model = SimpleNamespace(
        config=SimpleNamespace(noise=0.0), pair_bounds={"text-vision": SimpleNamespace(memory=memory)}
    )
    sizes = SimpleNamespace(splits=lambda: {"train": 2000, "valid": 1000, "test": 4000})
    found = known_truth.entropy_excess(model, sizes, seed=0)
    assert found == pytest.approx(
        0.5 * math.log(26) - math.log(2), abs=0.03
    )  # variance 25 + 1; two halves of variance 1


def one(value, limit=1.0, **others):
    return Value(value, others.get("low", math.nan), others.get("high", math.nan), limit, others.get("epochs", ()))


def test_the_summary_counts_what_is_clearly_above_the_truth():
    found = {
        ("1", "v", "test", "reading", "text-vision"): [one(1.04), one(1.2), one(0.4)],
        ("1", "v", "test", "reading", "text-audio"): [one(0.5, 0.3)],
        ("1", "v", "train", "reading", "text-vision"): [one(0.5)],
        ("1", "v", "valid", "reading", "text-vision"): [one(0.9)],
        ("1", "v", "test", "entropy too large by", "text-vision"): [one(0.9), one(0.1)],
    }
    line = known_truth_report.summary(found, ["1"], ["v", "no readings"]).splitlines()[-1]
    assert line == "| v | 2 of 4 | -0.04 | -0.60 | +0.20 | -0.40 | 0.10 to 0.90 |"


def test_a_reading_is_marked_where_its_mean_is_above_the_truth():
    key = ("1", "v", "test")
    found = {
        (*key, "reading", "text-vision"): [one(1.0), one(1.4)],
        (*key, "infonce", "text-vision"): [one(0.8, low=0.7, high=0.9), one(0.9, low=0.8, high=1.1)],
    }
    line = known_truth_report.level_table(found, "1", ["v"]).splitlines()[-1]
    assert line == "| v | 1.20 (1.00 to 1.40) | +0.20\\* | 0.85 [0.70, 1.10] | – | – |"


def test_counts_that_are_not_positive_are_refused(capsys):
    with pytest.raises(SystemExit):
        known_truth.main(["--seeds", "0"])
    assert "--seeds must be at least 1; got 0" in capsys.readouterr().err
