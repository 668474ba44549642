"""The benchmark's command and its tables, against numbers worked out by hand."""

import csv
import re

import pytest

from benchmarks.accuracy import known_mi
from benchmarks.accuracy.known_mi_report import above_the_truth, names, summary, write_report
from benchmarks.choices import chosen_tasks
from benchmarks.errors import by_task
from benchmarks.sweep import SweepError
from infomax import estimate, tasks


def row(estimator, task, bias, *, n=1000, seed=0, stderr=0.01, **others):
    facts = {"truth": "1.0", "estimate": str(1 + bias), "low": "0.9", "high": "1.2", "covered": "1", "kind": "lower"}
    facts |= {
        "ceiling": "",
        "warnings": "",
        "seconds": "2.0",
        "memory": "300",
        "error": "",
        "date": "2026-01-01",
        "machine": "infomax 9, 2 cores",
    }
    cell = {"task": task, "estimator": estimator, "n": str(n), "seed": str(seed), "mode": "default"}
    return {**cell, **facts, "bias": str(bias), "stderr": str(stderr), **others}


ROWS = [
    row("nwj", "a", 0.1),
    row("nwj", "a", -0.3, seed=1, covered="0", warnings="careful"),
    row("nwj", "b", 0.2, seconds="4.0", memory="350", high="1.6"),
    row("ksg", "a", 0.5, kind="estimate", n=200),
    {**row("ksg", "b", 0.0, n=200), **dict.fromkeys(known_mi.COLUMNS, ""), "error": "ValueError: no"},
]


def cells_of(line):
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_summary_is_what_one_works_out_by_hand():
    lines = summary(ROWS).splitlines()
    ksg, nwj = cells_of(lines[2]), cells_of(lines[3])
    # nwj: 0.1 and 0.3 of task a, 0.2 of b; mean errors -0.1 and +0.2.
    # Two of three intervals cover; widths 0.3, 0.3 and 0.7.
    assert nwj == ["1,000", "nwj", "0.200", "+0.20 (b)", "67%", "0.43", "33%", "2.0"]
    assert ksg == ["200", "ksg", "0.500", "+0.50 (a)", "100%", "0.30", "0%", "2.0"]
    assert above_the_truth(ROWS[:4]).endswith("in 2 of 3 runs.")
    assert by_task(ROWS[:3]) == pytest.approx({"a": -0.1, "b": 0.2})
    assert names(ROWS, "estimator") == ["nwj", "ksg"]  # by their error


def test_report_has_failures_and_figures(tmp_path):
    path = tmp_path / "known_mi.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    write_report(path, "default")
    text = (tmp_path / "known_mi.md").read_text()
    assert "- b, ksg, 200: ValueError: no" in text
    assert "Default settings. 2026-01-01: infomax 9, 2 cores." in text
    with pytest.raises(SweepError, match="must contain the rows of a sweep; it does not exist"):
        write_report(tmp_path / "other.csv", "default")
    assert "[known_mi.csv](./known_mi.csv)" in text
    for name in ("error", "coverage", "time"):
        assert (tmp_path / f"known_mi_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_cell_is_the_estimate_that_a_user_gets():
    cell = {"task": "1v1-bimodal-0.75", "estimator": "ksg", "n": 500, "seed": 3, "mode": "default"}
    x, y = tasks.get("1v1-bimodal-0.75").sample(500, 3)
    result = estimate(x, y, bound="ksg", seed=3)
    measured = known_mi.run(cell)
    assert measured["estimate"] == round(result.mi, 6)
    assert (measured["low"], measured["high"]) == pytest.approx(result.confidence_interval(), abs=1e-6)
    assert measured["covered"] == int(result.confidence_interval()[0] <= 0.413339 <= result.confidence_interval()[1])
    assert measured["bias"] == pytest.approx(result.mi - 0.413339, abs=2e-6)


def test_warnings_are_recorded():
    cell = {"task": "multinormal-sparse-25-25-2-2.0", "estimator": "ksg", "n": 300, "seed": 0, "mode": "default"}
    assert "KSG is biased low here" in known_mi.run(cell)["warnings"]


def test_chosen_tasks():
    assert chosen_tasks(["staircase", "normal-20d-2", "1v1-AI"]) == [*tasks.names("staircase"), "1v1-AI"]
    assert chosen_tasks(["all"]) == tasks.names()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "normal-1d-7"], "'normal-1d-7' is not known; did you mean"),
        (["--estimators", "nce"], r"estimators must be among default, .*; got nce"),
        (["--jobs", "0"], "jobs must be at least 1; got 0"),
        (["--backend", "slurm"], "backend must be loky, dask or ray; got 'slurm'"),
        (["--address", "tcp://here"], "address is for the backends dask and ray; got 'tcp://here' with 'loky'"),
        (["--plugin", "no_such_module"], "plugin must name a module that can be imported; got 'no_such_module'"),
        (["--seeds", "0"], "seeds must be at least 1; got 0"),
        (["--n", "0"], "n must be at least 1; got 0"),
    ],
)
def test_bad_requests_are_told_before_anything_runs(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        known_mi.main([*options, "--output", str(tmp_path)])
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        known_mi.main(["--report", "--output", str(tmp_path)])
    assert "it does not exist" in capsys.readouterr().err
