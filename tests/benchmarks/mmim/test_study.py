import csv

import numpy as np
import pytest

from benchmarks.mmim import data, study
from benchmarks.mmim import study_plan as plan
from benchmarks.mmim.study_report import report
from mmim_example.reading import Dataset
from mmim_example.results.comparison import holm, paired
from mmim_example.synthetic import generate

ALL = dict(plan.ARMS)


@pytest.fixture
def small(monkeypatch):
    """A study of two arms, three seeds and few rows."""
    monkeypatch.setattr(plan, "FINAL", range(100, 103))
    more = {("official", "task only"): range(100, 105)}
    monkeypatch.setattr(plan, "MORE", more)
    monkeypatch.setattr(plan, "CHOICE", range(1))
    monkeypatch.setattr(plan, "RATES", {"official": (1e-3, 5e-3)})
    monkeypatch.setattr(plan, "DROPOUTS", (0.1,))
    arms = {name: plan.ARMS[name] for name in ("task only", "+ CPC")}
    monkeypatch.setattr(plan, "ARMS", arms)
    monkeypatch.setattr(plan, "GRID", {"alpha": (0.1, 0.3)})
    made = generate((80, 40, 40))[0]
    monkeypatch.setattr("benchmarks.mmim.data.mosi", lambda folder, split: Dataset(made.train, made.valid, made.test))
    config_of = study.config_of
    monkeypatch.setattr(study, "config_of", lambda dataset: config_of(dataset).replace(epochs=2))


def run(tmp_path, *more):
    words = [
        "official",
        "--mosi",
        str(tmp_path),
        "--runs",
        str(tmp_path / "runs"),
        "--output",
        str(tmp_path),
        "--jobs",
        "1",
    ]
    assert study.main([*words, *more]) == 0
    with (tmp_path / "study.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(rows, arm, name, stage="final"):
    return [float(row[name]) for row in rows if (row["arm"], row["stage"]) == (arm, stage)]


def test_every_run_is_in_the_file_and_the_choice_is_by_validation(small, tmp_path):
    rows = run(tmp_path)
    assert {row["stage"] for row in rows} == {"base-0", "base-1", "choice-0", "choice-1", "final"}
    assert not [row for row in rows if row["stage"] != "final" and row["test mae"]]
    valid = [values(rows, "+ CPC", "score", f"choice-{i}")[0] for i in range(2)]
    chosen = next(row["settings"] for row in rows if (row["arm"], row["stage"]) == ("+ CPC", "final"))
    assert f"alpha={(0.1, 0.3)[int(np.argmin(valid))]}" in chosen
    base = [values(rows, "task only", "score", f"base-{i}")[0] for i in range(2)]
    assert f"lr={(1e-3, 5e-3)[int(np.argmin(base))]}" in chosen


def test_the_page_compares_by_seed_and_corrects_for_all(small, tmp_path):
    rows = run(tmp_path)
    cpc, alone = (values(rows, arm, "test mae") for arm in ("+ CPC", "task only"))
    assert (len(cpc), len(alone)) == (3, 5)
    expected = paired(cpc, alone[:3])  # of the seeds that both have
    page = report(tmp_path / "study.csv")
    line = next(line for line in page.splitlines() if line.startswith("| + CPC |"))
    assert f"{np.mean(cpc):.3f} ± {np.std(cpc, ddof=1):.3f}" in line
    assert f"{expected.difference:+.4f} [{expected.low:+.4f}, {expected.high:+.4f}]" in line
    assert line.rstrip(" |").endswith(f"{holm([expected.t_pvalue])[0]:.3f}")
    assert "| MMIM | published |" in page
    assert "| task only | this study, mean of 5 seeds |" in page
    assert "On MOSI, official split, “task only” have 5 seeds" in page


def test_arms_are_compared_with_the_task_alone_from_the_same_initial_weights(small, tmp_path, monkeypatch):
    names = ("task only", "+ CPC", "task only, Xavier", "published, Xavier")
    monkeypatch.setattr(plan, "ARMS", {name: ALL[name] for name in names})
    monkeypatch.setattr(plan, "GRID", {"alpha": (0.1,), "beta": (0.01,)})
    first = run(tmp_path)
    page = report(tmp_path / "study.csv")
    for arm, baseline in (("+ CPC", "task only"), ("published, Xavier", "task only, Xavier")):
        expected = paired(values(first, arm, "test mae"), values(first, baseline, "test mae")[:3])
        line = next(line for line in page.splitlines() if line.startswith(f"| {arm} |"))
        assert f"{expected.difference:+.4f} [{expected.low:+.4f}, {expected.high:+.4f}]" in line
    effect = paired(values(first, "task only, Xavier", "test mae"), values(first, "task only", "test mae")[:3])
    assert f"| task only | 3 | MAE | {effect.difference:+.4f} [" in page
    # An arm that is run again replaces its own rows alone.
    others = [row for row in first if (row["arm"], row["stage"]) != ("+ CPC", "final")]
    again = run(tmp_path, "--arms", "+ CPC")
    assert [row for row in again if (row["arm"], row["stage"]) != ("+ CPC", "final")] == others
    assert values(again, "+ CPC", "test mae") == values(first, "+ CPC", "test mae")


def test_both_initial_weights_have_the_weights_that_were_chosen_once(small, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ARMS", {name: ALL[name] for name in ("task only", "published", "published, Xavier")})
    monkeypatch.setattr(plan, "GRID", {"alpha": (0.1, 0.3), "beta": (0.01,)})
    rows = run(tmp_path)
    assert {row["arm"] for row in rows if row["stage"].startswith("choice")} == {"published, Xavier"}
    settings = {row["arm"]: row["settings"] for row in rows if row["stage"] == "final"}
    assert settings["published"] == settings["published, Xavier"]
    assert values(rows, "published", "test mae") != values(rows, "published, Xavier", "test mae")


def test_what_is_there_is_not_run_again(small, tmp_path, monkeypatch):
    first = run(tmp_path)
    monkeypatch.setattr("mmim_example.ablation.train", lambda *_, **__: pytest.fail("trained again"))
    assert run(tmp_path) == first


def test_rows_of_an_earlier_revision_leave_the_file(small, tmp_path):
    rows = run(tmp_path)
    path = tmp_path / "study.csv"
    others = [row | {"data": "video"} for row in rows[:2]]
    others[1] |= {"revision": "1"}
    with path.open("a", encoding="utf-8") as file:
        csv.DictWriter(file, rows[0]).writerows(others)
    assert [row for row in run(tmp_path) if row["data"] == "video"] == others[:1]


def test_a_page_of_earlier_runs_alone_is_refused(tmp_path, capsys):
    (tmp_path / "study.csv").write_text("data,stage,arm,settings,seed\nofficial,final,task only,,100\n")
    with pytest.raises(SystemExit):
        study.main(["official", "--report", "--output", str(tmp_path)])
    assert "must have runs of revision" in capsys.readouterr().err
    assert not (tmp_path / "study.md").exists()


def test_the_page_names_versions_and_has_rows_of_a_fine_tuned_encoder(small, tmp_path, monkeypatch):
    rows = run(tmp_path)
    monkeypatch.setattr(plan, "TUNED_SEEDS", range(100, 103))
    alone = [row for row in rows if (row["arm"], row["stage"]) == ("task only", "final")]
    tuned = [
        row | {"test mae": float(row["test mae"]) - 0.25, "data": "tuned", "machine": "infomax 9"} for row in alone
    ]
    with (tmp_path / "study.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows([*rows, *(row | {"data": "video"} for row in alone), *tuned])
    page, when = report(tmp_path / "study.csv"), rows[0]["date"]
    assert [line for line in page.splitlines() if line.startswith(f"- {when}")] == [
        f"- {when}; {rows[0]['machine']}. MOSI, official split: choices; task only; + CPC. "
        "MOSI, split by video: task only.",
        f"- {when}; infomax 9. Text encoder fine-tuned: task only.",
    ]
    frozen = values(rows, "task only", "test mae")[:3]
    (line,) = (line for line in page.splitlines() if line.startswith("| task only, text fine-tuned |"))
    assert line.startswith("| task only, text fine-tuned | 3 |")
    assert f"| {np.mean(frozen) - 0.25:.3f} ± {np.std(frozen, ddof=1):.3f} |" in line
    assert f"the same seeds have: task only: MAE {np.mean(frozen):.3f} ± {np.std(frozen, ddof=1):.3f}. This" in page


def test_transcripts_replace_the_embeddings(tmp_path):
    made = generate((4, 3, 2))[0]
    ids = [i for split in made.splits().values() for i in split.ids]
    with (tmp_path / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "id"])
        table.writerows([f"words of {i}", i] for i in reversed(ids))
    found = data.with_transcripts(made, tmp_path)
    for name, split in found.splits().items():
        assert split.text == tuple(f"words of {i}" for i in split.ids)
        assert list(split.features) == ["audio", "vision"]
        assert split.features["audio"] is getattr(made, name).features["audio"]
