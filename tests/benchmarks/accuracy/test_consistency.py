import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.accuracy import consistency, consistency_report
from benchmarks.accuracy.consistency_report import Ratio


def numbered(n=6, height=8, width=8):
    """Pictures whose pixels all differ, none of them 0."""
    return 1.0 + np.arange(n * height * width).reshape(n, height, width)


def test_the_images_are_the_digits_as_they_are():
    pictures = consistency.images()
    assert pictures.shape == (1797, 8, 8)
    assert (pictures.min(), pictures.max(), len(np.unique(pictures))) == (0, 16, 17)


@pytest.mark.parametrize("t", range(9))
def test_masks_keep_exactly_the_top_rows(t):
    pictures = numbered()
    before = pictures.copy()
    masked = consistency.top_rows(pictures, t)
    assert masked.shape == (6, 64)
    assert (masked[:, : 8 * t] == pictures.reshape(6, 64)[:, : 8 * t]).all()
    assert not masked[:, 8 * t :].any()
    assert (pictures == before).all()


def test_each_test_has_the_sides_that_it_should():
    pictures = numbered()
    flat = pictures.reshape(6, 64)
    x, y = consistency.samples("baseline", 3, pictures, np.random.default_rng(0))
    assert (x == flat).all()
    assert (y == consistency.top_rows(pictures, 3)).all()
    x, y = consistency.samples("processing", 3, pictures, np.random.default_rng(0))
    assert (x == np.hstack([flat, flat])).all()
    assert (y == np.hstack([consistency.top_rows(pictures, 3), consistency.top_rows(pictures, 2)])).all()
    alone, _ = consistency.samples("half", 3, pictures, np.random.default_rng(0))
    x, y = consistency.samples("additivity", 3, pictures, np.random.default_rng(0))
    assert x.shape == y.shape == (3, 128)
    first, second = x[:, :64], x[:, 64:]
    assert (first == alone).all()  # the divisor has the same rows
    assert {tuple(row) for row in np.vstack([first, second])} == {tuple(row) for row in flat}  # each image once
    assert (y[:, :24] == first[:, :24]).all()
    assert (y[:, 64:88] == second[:, :24]).all()
    assert not y[:, 24:64].any()
    assert not y[:, 88:].any()
    with pytest.raises(ValueError, match="test must be one of baseline, processing, half, additivity; got 'rows'"):
        consistency.samples("rows", 3, pictures, np.random.default_rng(0))


def test_every_divisor_is_run():
    for rows in (consistency.ROWS, consistency.QUICK_ROWS):
        assert {*rows["processing"], 8} <= {*rows["baseline"]}
        assert {*rows["additivity"]} <= {*rows["half"]}


@pytest.mark.parametrize(
    ("mi", "ceiling", "near", "wanted"),
    [(5.8, 5.88, True, "ceiling"), (1.0, 5.88, False, ""), (7.6, None, False, "log n"), (7.4, None, False, "")],
)
def test_saturation_is_near_the_ceiling_or_beyond_log_n(mi, ceiling, near, wanted):
    result = SimpleNamespace(mi=mi, ceiling=ceiling, near_ceiling=near, n=1797)  # log n = 7.49
    assert consistency.saturation(result) == wanted


def row(test, t, mi, *, saturated="", seed=0):
    return {"test": test, "rows": str(t), "bound": "b", "seed": str(seed), "mi": str(mi), "saturated": saturated}


def test_ratios_are_of_means_over_seeds_and_carry_the_marks_of_both():
    found = consistency_report.values(
        [
            row("baseline", 1, 2.0, seed=0),
            row("baseline", 1, 4.0, seed=1),
            row("baseline", 8, 6.0, saturated="ceiling"),
            row("additivity", 1, 6.0),
            row("half", 1, 2.4),
            row("processing", 8, 3.0, saturated="log n"),
            row("processing", 1, -1.0),
        ]
    )
    assert consistency_report.ratios(found, "b", "baseline") == {1: Ratio(0.5, True, False), 8: Ratio(1.0, True, False)}
    assert consistency_report.ratios(found, "b", "additivity") == {1: Ratio(2.5, False, False)}
    processing = consistency_report.ratios(found, "b", "processing")
    assert processing == {1: Ratio(-1 / 3, False, False), 8: Ratio(0.5, True, True)}
    assert str(processing[8]) == "0.50\\*†"


def test_nothing_is_divided_by_what_is_not_positive():
    found = consistency_report.values([row("baseline", 8, -2.0), row("processing", 8, 3.0)])
    (ratio,) = consistency_report.ratios(found, "b", "processing").values()
    assert math.isnan(ratio.value)
    assert str(ratio) == "–"
    assert consistency_report.verdict({8: ratio}, "processing") == "fails"


@pytest.mark.parametrize(
    ("test", "numbers", "wanted"),
    [
        ("baseline", [0, 0.5, 0.46, 1], "passes"),
        ("baseline", [0, 0.5, 0.44, 1], "fails"),
        ("baseline", [0, 0.53, 0.5, 0.47, 1], "fails"),  # small steps down add up
        ("baseline", [0.1, 0.5, 1], "fails"),
        ("processing", [0.96, 1.04], "passes"),
        ("processing", [1.0, 1.06], "fails"),
        ("additivity", [1.91, 2.09], "passes"),
        ("additivity", [1.89], "fails"),
        ("additivity", [], "–"),
    ],
)
def test_verdicts(test, numbers, wanted):
    found = {t: Ratio(number, False, False) for t, number in enumerate(numbers)}
    assert consistency_report.verdict(found, test) == wanted


def test_a_verdict_tells_of_ceilings_first():
    ratio, ceiling, beyond = Ratio(1.0, False, False), Ratio(1.0, True, False), Ratio(1.0, False, True)
    assert consistency_report.verdict({2: ratio, 4: ceiling, 8: beyond}, "processing") == "passes, near ceiling"
    assert consistency_report.verdict({2: ratio, 8: beyond}, "additivity") == "fails, above log n"


def test_a_quick_run_writes_finite_rows_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    few = consistency.images()[::6]  # 300 of them
    arguments = ["--quick", "--bounds", "gaussian", "infonce", "--jobs", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(consistency, "images", lambda: few)
    consistency.main(arguments)
    with (tmp_path / "consistency.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert all(line["error"] == "" and math.isfinite(float(line["mi"])) for line in rows)
    assert all("constant" in line["warnings"] for line in rows)
    mi = {(line["bound"], line["test"], line["rows"]): float(line["mi"]) for line in rows}
    assert mi["infonce", "baseline", "0"] == 0
    assert 0 < mi["infonce", "baseline", "1"] <= math.log(150)  # two folds of at most 150 rows
    assert mi["gaussian", "additivity", "1"] == pytest.approx(2 * mi["gaussian", "half", "1"], rel=0.1)
    text = capsys.readouterr().out
    assert (tmp_path / "consistency.md").read_text() in text
    assert "| infonce | passes, near ceiling |" in text
    assert (tmp_path / "consistency.png").stat().st_size > 10_000
    monkeypatch.setattr(consistency, "run", None)  # nothing is left to run
    consistency.main(arguments)


def test_an_unknown_bound_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        consistency.main(["--bounds", "infnce", "--output", str(tmp_path)])
    assert "got infnce" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
