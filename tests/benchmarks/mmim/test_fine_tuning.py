import csv

import pytest

from benchmarks.mmim import data, fine_tuning, mixed_precision, study
from benchmarks.mmim import study_plan as plan
from mmim_example.reading import Dataset
from mmim_example.synthetic import generate


@pytest.fixture
def mosi(monkeypatch, tmp_path):
    made = generate((64, 32, 32))[0]
    monkeypatch.setattr(data, "mosi", lambda folder, split: Dataset(made.train, made.valid, made.test))
    with (tmp_path / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text"])
        table.writerows([i, "words"] for split in made.splits().values() for i in split.ids)
    return tmp_path


def test_both_arms_fine_tune_the_encoder_on_the_transcripts(mosi, monkeypatch):
    seen = {}

    def train(place, key, config, dataset, seeds, *, jobs):
        seen[key] = config
        assert dataset.train.text[0] == "words"
        assert list(seeds) == [200, 201, 202, 203, 204]
        row = dict(zip(("data", "stage", "arm"), key, strict=True))
        row |= {"settings": "", "epoch": 5, "score": "0.5", **{f"test {m}": "0.5" for m in mixed_precision.METRICS}}
        return [row | {"seed": seed} for seed in seeds]

    monkeypatch.setattr(study, "train", train)
    alone = {"data": "video", "stage": "final", "settings": "", "test mae": "0.7", "score": "0.6"}
    study.write([alone | {"arm": a, "seed": s} for a in plan.TUNED for s in plan.FINAL], "video", mosi / "study.csv")
    assert fine_tuning.main(["--mosi", str(mosi), "--model", str(mosi), "--output", str(mosi)]) == 0
    both, only = (seen["tuned", "final", arm] for arm in ("+ both (MMIM)", "task only"))
    assert (both.use_fusion, both.use_pairs, both.alpha, both.beta) == (True, True, 0.03, 0.003)
    assert (only.use_fusion, only.use_pairs) == (False, False)
    for config in (both, only):
        text = config.modalities["text"]
        assert (text.kind, text.pretrained, text.frozen, text.pooling) == ("transformer", str(mosi), False, "mean")
        assert (config.lr, config.lr_transformer, config.dropout, text.dropout, config.epochs) == (
            1e-3,
            5e-5,
            0.1,
            0.1,
            5,
        )
    page = (mosi / "study.md").read_text(encoding="utf-8")
    assert "| + both (MMIM), text fine-tuned |" in page
    assert "| task only, text fine-tuned |" in page
    assert "Fine-tuned, “+ both (MMIM)” minus “task only”: MAE +0.0000" in page


def test_mixed_precision_is_compared_by_seed(mosi, monkeypatch):
    monkeypatch.setattr(mixed_precision, "SEEDS", range(2))
    config_of = study.config_of
    monkeypatch.setattr(study, "config_of", lambda dataset: config_of(dataset).replace(epochs=1))
    words = ["--mosi", str(mosi), "--runs", str(mosi / "runs"), "--output", str(mosi)]
    assert mixed_precision.main(words) == 0
    with (mosi / "mixed_precision.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "mae"]
    assert [(row["arm"], row["seed"]) for row in rows] == [(a, s) for a in ("float32", "bfloat16") for s in "01"]
    means = [(float(one["value"]) + float(two["value"])) / 2 for one, two in (rows[:2], rows[2:])]
    assert means[0] != means[1]
    page = (mosi / "mixed_precision.md").read_text(encoding="utf-8")
    assert f"| bfloat16 | {means[1]:.3f} ± " in page
    assert f"{means[1] - means[0]:+.4f}".replace("-", "−") + " [" in page
