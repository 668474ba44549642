"""The table of independent sides whose rows depend on each other; and its command."""

import numpy as np

import infomax
from benchmarks import sweep
from benchmarks.accuracy import dependence


def row(case, pvalue, free_pvalue, *, warned, covered=None):
    estimated = covered is not None
    return {
        "case": case,
        "pvalue": str(pvalue),
        "free_pvalue": str(free_pvalue),
        "warned": str(warned),
        "warned_in_blocks": "1" if estimated else "",
        "estimate": "0.01" if estimated else "",
        "high": "0.2" if estimated else "",
        "covered": str(covered) if estimated else "",
        "free_covered": "0" if estimated else "",
    }


def test_summary():
    case = "AR(1), φ = .5, n = 400"
    rows = [row(case, 0.05, 0.01, warned=1, covered=1), row(case, 0.06, 0.3, warned=1, covered=0),
            row(case, 0.5, 0.01, warned=0), row(case, 0.9, 0.04, warned=1)]  # fmt: skip
    (line,) = dependence.summary(rows)
    assert line == (case, "25 %", "75 %", "75 %", "100 %", "50 %", "0 %", "0.20")


def test_one_draw_and_the_report(tmp_path):
    case = "60 subjects × 20 nearly equal rows"
    dependence.main(["--cases", case, "--seeds", "1", "--output", str(tmp_path), "--jobs", "1"])
    (found,) = sweep.read(tmp_path / "dependence.csv")
    assert (found["covered"], found["free_covered"], found["warned"], found["warned_in_blocks"]) == ("1", "0", "1", "0")
    assert float(found["free_pvalue"]) == 1 / 200 < float(found["pvalue"])
    text = (tmp_path / "dependence.md").read_text()
    assert f"| {case} | 0 % | 100 % | 100 % | 0 % | 100 % | 0 % |" in text
    assert "1 draws of each case. 20" in text


def test_the_structure_is_that_of_an_estimate():
    """So that the test of the table is the test of the default."""
    rng = np.random.default_rng(0)
    x, y = (dependence.autoregression(300, 0.8, rng)[:, None] for _ in range(2))
    for options in ({"block_length": "auto"}, {"block_length": 9}, {"groups": np.arange(300) // 10}):
        own = dependence.structure_of(x, y, options)
        estimated = infomax.estimate(x, y, quick=True, progress=False, **options).structure
        assert own.block_length == estimated.block_length
        np.testing.assert_array_equal(own.unit, estimated.unit)
