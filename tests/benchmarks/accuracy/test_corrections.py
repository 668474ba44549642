"""The table of the default beside its largest candidate; and its command."""

import math

import pytest

from benchmarks import sweep
from benchmarks.accuracy import corrections


def test_differences_are_in_standard_errors_of_the_difference():
    """The compared rows are a fifth: the variance of the difference is four fifths of that of their mean."""
    row = {"n": "20000", "rows": "4000", "estimate": "1.0", "largest": "0.9", "largest_stderr": "0.02"}
    assert corrections.apart(row) == pytest.approx(0.1 / (math.sqrt(0.8) * 0.02))


def test_one_run_and_the_report(tmp_path):
    corrections.main(["--tasks", "normal-1d-1", "--n", "200", "--output", str(tmp_path), "--jobs", "1"])
    (row,) = sweep.read(tmp_path / "corrections.csv")
    assert float(row["estimate"]) == pytest.approx(float(row["truth"]), abs=0.4)
    assert abs(corrections.apart(row)) < 3
    text = (tmp_path / "corrections.md").read_text()
    assert "1 of 1 tasks differ by less than three standard errors." in text
    assert "| normal-1d-1 |" in text
