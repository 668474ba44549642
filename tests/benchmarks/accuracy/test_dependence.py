"""The table of independent sides whose rows depend on each other; and its command."""

from benchmarks import sweep
from benchmarks.accuracy import dependence


def row(case, pvalue, covered, free_pvalue, *, warned):
    return {
        "case": case,
        "estimate": "0.01",
        "high": "0.2",
        "covered": str(covered),
        "pvalue": str(pvalue),
        "free_covered": "0",
        "free_pvalue": str(free_pvalue),
        "warned": str(warned),
    }


def test_summary():
    case = "AR(1), φ = .5, n = 400"
    rows = [row(case, 0.05, 1, 0.01, warned=1), row(case, 0.06, 0, 0.3, warned=1), row(case, 0.5, 1, 0.01, warned=0),
            row(case, 0.9, 1, 0.04, warned=1)]  # fmt: skip
    (line,) = dependence.summary(rows)
    assert line == (case, "4", "25 %", "75 %", "0.010", "0.20", "75 %", "0 %", "75 %")


def test_one_draw_and_the_report(tmp_path):
    case = "60 subjects × 20 nearly equal rows"
    dependence.main(["--cases", case, "--seeds", "1", "--output", str(tmp_path), "--jobs", "1"])
    (found,) = sweep.read(tmp_path / "dependence.csv")
    assert (found["covered"], found["warned"]) == ("1", "1")
    assert float(found["free_estimate"]) > float(found["estimate"]) + 0.3
    assert f"| {case} | 1 |" in (tmp_path / "dependence.md").read_text()
