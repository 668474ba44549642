"""The committed pages of results: made from the committed CSV files, with tables that fit a screen."""

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import results, sweep
from benchmarks.accuracy import abroad, dependence, gaussian, selection
from benchmarks.mmim import study_report
from benchmarks.peers.environments import PINS
from benchmarks.peers.report import write_report as peers
from benchmarks.report import write_page
from benchmarks.speed import losses
from benchmarks.speed import report as speed

ROOT = Path(__file__).parents[2]
WRITERS = {
    "accuracy/abroad": abroad.write_report,
    "accuracy/dependence": dependence.write_report,
    "accuracy/gaussian": lambda path: write_page(path, gaussian.summary(sweep.read(path), path)),
    "accuracy/selection": selection.write_report,
    "mmim/study": study_report.report,
    "peers/peers": lambda path: peers(path, results.folder("accuracy") / "known_mi.csv", PINS),
    "speed/speed": lambda path: speed.report(speed.read(path)),
}
#: The most columns of a table, and the most rows of one with so many columns.
COLUMNS, ROWS = 9, 26


@pytest.mark.parametrize("name", WRITERS)
def test_pages_are_made_from_the_committed_rows(name, tmp_path):
    room, _, file = name.partition("/")
    committed = results.folder(room) / f"{file}.csv"
    shutil.copy(committed, tmp_path)
    assert WRITERS[name](tmp_path / committed.name) == committed.with_suffix(".md").read_text(encoding="utf-8")


def test_the_page_of_losses_is_made_from_the_committed_measurements():
    found = json.loads((results.folder("speed") / "losses.json").read_text(encoding="utf-8"))
    assert losses.report(found) == (results.folder("speed") / "losses.md").read_text(encoding="utf-8")


def tables(text):
    """Header and rows of each table, as lists of cells."""
    for block in re.findall(r"(?:^\|.*\|$\n?){3,}", text, flags=re.MULTILINE):
        head, _, *body = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.splitlines()]
        yield head, body


PAGES = sorted(ROOT.glob("benchmarks/*/results/*.md"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=str)
def test_rows_have_the_cells_of_their_header(page):
    """A bar that is not escaped would start a new cell."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for head, body in tables(text):
        assert [row for row in body if len(row) != len(head)] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_tables_fit_a_screen(page):
    for head, body in tables(page.read_text(encoding="utf-8")):
        assert len(head) <= COLUMNS
        assert len(body) <= ROWS
