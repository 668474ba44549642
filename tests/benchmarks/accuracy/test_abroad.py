"""The table of the default on data of other structure, against numbers worked out by hand; and its command."""

import infomax
from benchmarks import sweep
from benchmarks.accuracy import abroad


def row(task, n, bias, *, covered, warnings="", seconds=2.0):
    truth = infomax.tasks.get(task).mi
    return {
        "task": task,
        "n": str(n),
        "truth": str(truth),
        "bias": str(bias),
        "low": "0.0",
        "high": "0.5",
        "covered": str(int(covered)),
        "warnings": warnings,
        "seconds": str(seconds),
    }


def test_far_is_beyond_a_third_of_a_nat_and_a_tenth_of_the_truth():
    assert abroad.far(row("clusters-4d", 1000, -0.31, covered=False))
    assert not abroad.far(row("clusters-4d", 1000, -0.29, covered=False))
    assert not abroad.far(row("clusters-32d", 1000, -0.6, covered=False))  # of 6.89
    assert abroad.far(row("clusters-32d", 1000, 0.7, covered=False))


def test_summary():
    rows = [
        row("clusters-4d", 1000, -0.4, covered=True, seconds=1.0),
        row("clusters-4d", 1000, 0.02, covered=True, warnings="w", seconds=2.0),
        row("clusters-8d", 1000, -0.5, covered=False, seconds=4.0),
        row("sines-2d-1.0592", 10_000, 0.01, covered=True),
    ]
    head, (first, second) = abroad.summary(rows)
    assert head[1:5] == ["error, n = 1,000", "error, n = 10,000", "coverage, n = 1,000", "coverage, n = 10,000"]
    # The mean of .21 and .5.
    assert first == ["clusters", "0.355", "–", "67 % of 3", "–", "2.0"]
    assert second == ["sines", "–", "0.010", "–", "100 % of 1", "2.0"]


def test_the_page_lists_few_of_the_errors_in_silence(tmp_path):
    facts = {"estimate": "0.1", "stderr": "0.1", "pvalue": "1", "error": "", "date": "2026-01-01", "machine": "m"}
    rows = [
        row("clusters-4d", 1000, -0.4 - i / 100, covered=False) | facts | {"seed": str(i), "memory": "1"}
        for i in range(12)
    ]
    sweep.write(tmp_path / "abroad.csv", list(rows[0]), rows)
    text = abroad.write_report(tmp_path / "abroad.csv")
    assert "Far off: 12 of 12 runs with 1,000 rows, 0 said." in text
    part = text[text.index("The largest 10 of 12 errors in silence") : text.index("The largest errors with")]
    assert part.count("| clusters-4d |") == 10
    assert "[abroad.csv](./abroad.csv)" in text


def test_one_run_and_the_report(tmp_path):
    abroad.main(["--tasks", "normal-1d-1", "codes-20-0.5", "--n", "200", "--output", str(tmp_path), "--jobs", "1"])
    rows = sweep.read(tmp_path / "abroad.csv")
    assert [(found["task"], found["n"]) for found in rows] == [("codes-20-0.5", "200"), ("normal-1d-1", "200")]
    text = (tmp_path / "abroad.md").read_text()
    assert "| codes |" in text
    assert "normal-1d-1" not in text  # neither of the design nor held out
    before = (tmp_path / "abroad.csv").read_bytes()
    abroad.main(["--report", "--output", str(tmp_path)])
    assert (tmp_path / "abroad.csv").read_bytes() == before


def test_families_are_those_of_contributing():
    assert set(abroad.DESIGNED) | set(abroad.HELD_OUT) <= set(infomax.tasks.families())
    assert not set(abroad.DESIGNED) & set(abroad.HELD_OUT)
