import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmim_example.results import figures, metrics

ROOT = Path(__file__).parents[3]


def record(epoch, *, pairs=("text-vision", "text-audio"), fusion=("text", "audio", "vision")):
    def part(shift):
        return {
            "loss": 1 / epoch + shift,
            "task": 2 / epoch + shift,
            "pairs": {name: i + 0.1 * epoch - shift for i, name in enumerate(pairs)},
            "fusion": {name: i + 0.2 * epoch - shift for i, name in enumerate(fusion)},
        }

    ceilings = {"pairs": dict.fromkeys(pairs), "fusion": {name: 1.8 + i for i, name in enumerate(fusion)}}
    return {
        "event": "epoch",
        "epoch": epoch,
        "train": part(0),
        "valid": part(0.05),
        "ceilings": ceilings,
        "best_epoch": min(epoch, 3),
    }


def log(epochs=5, **parts):
    return [{"event": "start"}, *(record(epoch, **parts) for epoch in range(1, epochs + 1)), {"event": "stop"}]


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_losses_hold_the_numbers_of_the_log():
    records = log()
    axes = figures.losses(records).get_axes()
    assert [ax.get_title("left") for ax in axes] == [
        "total loss",
        "task loss",
        "input level, between modalities",
        "fusion level, with Z",
    ]
    for split in ("train", "valid"):
        parts = [r[split] for r in records if r["event"] == "epoch"]
        drawn = [lines(ax)[split] for ax in axes]
        assert all(list(line.get_xdata()) == [1, 2, 3, 4, 5] for line in drawn)
        assert list(drawn[0].get_ydata()) == [part["loss"] for part in parts]
        assert list(drawn[1].get_ydata()) == [part["task"] for part in parts]
        assert list(drawn[2].get_ydata()) == [sum(part["pairs"].values()) for part in parts]
        assert list(drawn[3].get_ydata()) == [sum(part["fusion"].values()) for part in parts]
    assert all(list(lines(ax)["selected epoch"].get_xdata()) == [3, 3] for ax in axes)


def test_losses_of_the_task_alone():
    assert len(figures.losses(log(1, pairs=(), fusion=())).get_axes()) == 2


def test_information_holds_values_ceilings_and_truth():
    records = log()
    axes = figures.information(records, {"vision-text": 0.9, "text": 4.0, "target": 1.0}).get_axes()
    found = {ax.get_title("left"): lines(ax) for ax in axes}
    assert list(found) == ["I(text; vision)", "I(text; audio)", "I(text; Z)", "I(audio; Z)", "I(vision; Z)"]
    valid = [r["valid"] for r in records if r["event"] == "epoch"]
    assert list(found["I(text; audio)"]["valid"].get_ydata()) == [part["pairs"]["text-audio"] for part in valid]
    assert list(found["I(vision; Z)"]["valid"].get_ydata()) == [part["fusion"]["vision"] for part in valid]

    def level(title, label):
        line = found[title].get(label)
        return None if line is None else (line.get_ydata()[0], line.get_linestyle())

    ceiling, truth = "ceiling of the bound", "true MI (upper limit)"
    assert level("I(text; Z)", ceiling) == (1.8, "--")
    assert level("I(vision; Z)", ceiling) == (3.8, "--")
    assert level("I(text; vision)", ceiling) is None
    assert level("I(text; vision)", truth) == (0.9, ":")  # whichever way round the pair is named
    assert level("I(text; Z)", truth) == (4.0, ":")
    assert level("I(text; audio)", truth) is None


def test_many_bounds_go_into_rows_of_four():
    names = [f"m{i}" for i in range(6)]
    axes = figures.information(log(pairs=(), fusion=names)).get_axes()
    assert [ax.get_subplotspec().rowspan.start for ax in axes] == [0, 0, 0, 0, 1, 1]


def test_values_that_a_log_lacks_are_gaps():
    first, second = record(1), record(2)
    second["valid"] = {"loss": None, "task": 1.0}
    del second["best_epoch"], second["ceilings"]
    axes = figures.losses([first, second]).get_axes()
    assert math.isnan(lines(axes[0])["valid"].get_ydata()[1])
    assert math.isnan(lines(axes[2])["valid"].get_ydata()[1])
    assert "selected epoch" not in lines(axes[0])
    assert len(figures.information([first, second]).get_axes()) == 5


def sentiment():
    rng = np.random.default_rng(0)
    labels = rng.normal(0, 1.5, 200)
    return 0.7 * labels + rng.normal(0, 0.5, 200), labels


def test_predictions_are_all_drawn_and_judged():
    x, y = sentiment()
    (ax,) = figures.predictions(x, y).get_axes()
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), np.stack([y, x], 1))
    found = metrics.regression(x, y)
    assert ax.get_title("left") == f"MAE {found['mae']:.3f}, Corr {found['corr']:.3f}, 200 rows"
    (identity,) = ax.get_lines()
    assert list(identity.get_xdata()) == list(identity.get_ydata())
    assert ax.get_xlim() == ax.get_ylim()


def test_one_prediction_is_drawn():
    (ax,) = figures.predictions(np.ones(1), np.ones(1)).get_axes()
    low, high = ax.get_xlim()
    assert low < 1 < high


def classes():
    scores = np.eye(3)[[0, 0, 1, 2, 2, 1]]
    return scores, np.array([0, 0, 0, 2, 2, 2])


def test_confusion_has_true_classes_down_and_counts_in_cells():
    ax = figures.confusion(*classes()).get_axes()[0]
    texts = {text.get_position(): text.get_text() for text in ax.texts}  # (predicted, true)
    assert texts == {(0, 0): "2", (1, 0): "1", (2, 2): "2", (1, 2): "1"}
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 0, 0], [0, 1 / 3, 2 / 3]])
    assert ax.get_title("left") == "Accuracy 0.667, 6 rows"


def curve():
    values = {"text": [0.8, 1.0, 1.4], "audio": [0.8, 0.81, 0.82]}
    return {"shares": [0, 0.5, 1]} | {name: {"mae": v, "corr": [1 - x for x in v]} for name, v in values.items()}


@pytest.mark.parametrize(("metric", "key", "label"), [(None, "mae", "MAE"), ("corr", "corr", "Corr")])
def test_the_missing_curve_has_a_line_for_each_modality(metric, key, label):
    (ax,) = figures.missing(curve(), metric).get_axes()
    found = lines(ax)
    assert list(found) == ["text", "audio"]
    for name, line in found.items():
        assert list(line.get_xdata()) == [0, 50, 100]
        assert list(line.get_ydata()) == curve()[name][key]
    assert ax.get_ylabel() == label


@pytest.mark.parametrize(
    ("draw", "given"),
    [
        (figures.losses, lambda: (log(),)),
        (figures.information, lambda: (log(),)),
        (figures.predictions, sentiment),
        (figures.confusion, classes),
        (figures.missing, lambda: (curve(),)),
    ],
)
def test_each_figure_is_saved(draw, given, tmp_path):
    path = tmp_path / "figure.png"
    draw(*given()).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("draw", "given", "text"),
    [
        (figures.losses, ([{"event": "start"}],), "records must contain an epoch; got 1 records without one"),
        (figures.information, ([],), "records must contain an epoch; got 0 records"),
        (figures.information, (log(pairs=(), fusion=()),), "must contain values of bounds; got none"),
        (figures.predictions, (np.ones(2), np.ones(3)), "predictions must have as many rows as labels"),
        (figures.confusion, (np.ones((2, 2)), np.array([0, 2])), "labels must be integers from 0 to 1"),
        (figures.missing, ({},), "curve must have 'shares' and at least one modality; got nothing"),
        (figures.missing, ({"shares": [0]},), "at least one modality; got shares"),
        (figures.missing, (curve(), "f1"), "curve must have 3 values of 'f1' for 'text'; got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, given, text):
    with pytest.raises(ValueError, match=text):
        draw(*given)


def test_matplotlib_is_loaded_on_first_use_only():
    code = "import sys, mmim_example.results.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'infomax\[plot\]'"):
        figures.losses(log())
