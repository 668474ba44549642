import os

import pytest

import infomax
from benchmarks import report


def test_a_table_is_aligned_and_a_bar_inside_a_cell_stays_inside():
    assert report.table(["a", "b"], [["x|y", "1"], ["z", "2"]]).splitlines() == [
        "| a | b |",
        "| :--- | ---: |",
        "| x\\|y | 1 |",
        "| z | 2 |",
    ]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells, as the header; got 1"):
        report.table(["a", "b"], [["x"]])


def test_the_machine_is_named_on_one_line(monkeypatch):
    line = report.machine()
    assert f"infomax {infomax.__version__}, torch" in line
    assert "\n" not in line
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4_000_000}[name])
    assert "16 GB memory" in report.machine()
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert "memory" not in report.machine()


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (1.005, True, "+1.00"),
        (-99.994, False, "-99.99"),
        (1234.5, True, "+1,234"),
        (123456.0, False, "1.2e+05"),
        (float("nan"), True, "–"),
    ],
)
def test_numbers_stay_short(value, signed, text):
    assert report.number(value, signed=signed) == text


def test_provenance_is_that_of_the_rows():
    rows = [
        {"machine": m, "date": d} for m, d in (("b", "2026-02-01"), ("a", "2026-01-03"), ("a", "2026-01-01"), ("", ""))
    ]
    assert report.provenance(rows) == "2026-01-01 to 2026-01-03: a; 2026-02-01: b"
