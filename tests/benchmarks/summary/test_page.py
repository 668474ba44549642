"""The page of results is what the committed files give, and its numbers are those of plain counts."""

import csv
from pathlib import Path
from statistics import mean

import pytest

from benchmarks.accuracy import abroad
from benchmarks.errors import MARGIN, signed_errors
from benchmarks.report import table
from benchmarks.summary import facts, page

ROOT = Path(__file__).parents[3]


def lines(path):
    with (ROOT / "benchmarks" / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_committed_page_is_made_from_the_committed_files():
    assert page.PAGE.read_text(encoding="utf-8") == page.page()


def test_check_says_when_the_page_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "results.md")
    page.main([])
    page.main(["--check"])
    page.PAGE.write_text("other")
    with pytest.raises(SystemExit, match="not what the committed results give"):
        page.main(["--check"])


def test_coverage_is_of_runs_with_draws_of_their_own():
    found = [row for row in lines("accuracy/results/default.csv") if (row["n"], row["mode"]) == ("1000", "default")]
    assert facts.own_draws(1_000).hits == sum(row["covered"] == "1" for row in found)
    assert facts.own_draws(1_000).runs == len(found)
    # No two runs have the same estimate, as versions of one pair would with draws that they share.
    assert len({row["estimate"] for row in found}) > 0.99 * len(found)


def test_errors_with_one_column_on_each_side():
    rows = [row for row in lines("peers/results/peers.csv") if row["estimator"] == "ennemi: estimate_mi"]
    own = [
        abs(float(row["estimate"]) - float(row["truth"]))
        for row in lines("accuracy/results/known_mi.csv")
        if (row["estimator"], row["n"], row["seed"]) == ("ksg", "10000", "0")
        and row["task"] in {other["task"] for other in rows}
    ]
    found = facts.one_column()
    assert found["ennemi: estimate_mi"][0] == pytest.approx(mean(map(abs, signed_errors(rows))))
    assert found["infomax: ksg"][0] == pytest.approx(mean(own), abs=1e-6)


def test_what_the_page_says_in_words():
    assert all(float(row["bias"]) < 0 for row in facts.elsewhere() if abroad.far(row))
    for effect in ("0.2 x²", "0.5 sin 3x", "0.4 |x|, white noise"):
        ours = facts.power(effect, "infomax").value
        assert ours > max(facts.power(effect, "CMIknn").value, facts.power(effect, "ParCorr").value)
    single = facts.one_column()
    assert abs(single["infomax: default"][0] - single["ennemi: estimate_mi"][0]) < MARGIN
    assert facts.own_draws(1_000).value < facts.covered(facts.known("default", 1_000)).value


@pytest.mark.parametrize("text", ["p(y|x)", "0.4 |x|, white noise", "a|b|c"])
def test_bars_in_cells_are_escaped(text):
    for cells in ([text, "1"], ["1", text]):
        row = table(["name", "value"], [cells]).splitlines()[-1]
        assert row.replace("\\|", "").count("|") == 3
        assert text.replace("|", "\\|") in row
