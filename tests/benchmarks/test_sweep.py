"""Sweeps: nothing is lost, nothing is run twice, and one bad cell stops nothing."""

import csv
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cells
import pytest

from benchmarks.accuracy import known_mi
from benchmarks.sweep import sweep

ROOT = Path(__file__).parents[2]
NUMBERS = [{"number": number, "side": side} for side in ("b", "a") for number in (3, 10, 2, 1)]
COLUMNS = ("square", "text")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def untimed(path):
    """A CSV without its measured times and memory, as text."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "memory", "date")} for row in rows_of(path)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_are_in_order_whatever_finished_first(tmp_path, jobs):
    path = tmp_path / "new" / "s.csv"
    rows = sweep(path, NUMBERS, cells.square, COLUMNS, jobs=jobs)
    assert [(row["side"], row["number"], row["square"]) for row in rows] == [
        (side, str(n), str(n**2)) for n in (1, 2, 3, 10) for side in "ab"
    ]
    assert rows[0]["text"] == 'two lines, and a "quote"'
    assert rows == rows_of(path)
    assert all(float(row["seconds"]) >= 0 and not row["error"] for row in rows)


def test_cells_of_the_file_are_not_run_again(tmp_path):
    path = tmp_path / "s.csv"
    sweep(path, NUMBERS[:3], cells.with_own_time, COLUMNS)
    rows = sweep(path, NUMBERS, cells.square, COLUMNS)
    assert sorted(row["number"] for row in rows if row["seconds"] == "99.0") == ["10", "2", "3"]
    assert len(rows) == 8
    assert len(sweep(path, NUMBERS[:2], cells.fail_on_three, COLUMNS)) == 2  # the others stay in the file
    assert len(rows_of(path)) == 8


def test_cells_that_are_asked_for_twice_are_run_once(tmp_path):
    spaced = [{"number": n, "side": "a  b"} for n in (2, 2, 1)]
    path = tmp_path / "s.csv"
    assert [row["number"] for row in sweep(path, spaced, cells.with_own_time, COLUMNS)] == ["1", "2"]
    assert [row["seconds"] for row in sweep(path, spaced, cells.square, COLUMNS)] == ["99.0", "99.0"]


def test_retry_leaves_the_failures_of_other_cells(tmp_path):
    path = tmp_path / "s.csv"
    sweep(path, NUMBERS, cells.fail_on_three, COLUMNS)
    sweep(path, [{"number": 7, "side": "a"}], cells.square, COLUMNS, retry=True)
    assert sum(row["error"] != "" for row in rows_of(path)) == 2
    assert len(rows_of(path)) == 9


def test_a_second_sweep_on_the_file_is_refused(tmp_path):
    path = tmp_path / "s.csv"
    rows = sweep(path, [{"number": str(path), "side": "a"}], cells.sweep_again, COLUMNS)
    assert "is being written by another sweep; wait for it" in rows[0]["error"]


def test_an_error_of_the_machinery_is_no_error_of_the_cells(tmp_path):
    """A scheduler that is not there, for example, must not fill the file with failures."""
    path = tmp_path / "s.csv"
    with pytest.raises(Exception, match="pickle"):
        sweep(path, NUMBERS, functools.partial(cells.square_with, threading.Lock()), COLUMNS, jobs=2)
    assert not rows_of(path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_cell_is_a_row(tmp_path, jobs):
    path = tmp_path / "s.csv"
    rows = sweep(path, NUMBERS, cells.fail_on_three, COLUMNS, jobs=jobs)
    assert [row["error"] for row in rows if row["number"] == "3"] == ["ValueError: three is not allowed"] * 2
    assert sum(row["square"] != "" for row in rows) == 6
    assert sweep(path, NUMBERS, cells.square, COLUMNS) == rows
    again = sweep(path, NUMBERS, cells.square, COLUMNS, retry=True)
    assert not any(row["error"] for row in again)


def test_a_dying_worker_is_a_row_and_the_others_are_run(tmp_path):
    rows = sweep(tmp_path / "s.csv", NUMBERS[:4], cells.die_on_three, COLUMNS, jobs=2)
    died = "the worker process died (TerminatedWorkerError)"
    assert [row["error"] for row in rows] == ["", "", died, ""]
    assert [row["square"] for row in rows] == ["1", "4", "", "100"]


def test_a_line_that_was_cut_off_is_run_again(tmp_path):
    path = tmp_path / "s.csv"
    whole = sweep(path, NUMBERS, cells.with_own_time, COLUMNS)
    text = path.read_bytes()
    for cut in (5, len(text) // 2, len(text) - 1):
        path.write_bytes(text[:cut])
        assert sweep(path, NUMBERS, cells.with_own_time, COLUMNS) == whole


def test_another_sweeps_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"must have the columns .* got \['a', 'b'\]: move the file away"):
        sweep(path, NUMBERS, cells.square, COLUMNS)
    assert path.read_text() == "a,b\n1,2\n"
    long = path.with_name("long.csv")
    sweep(long, NUMBERS[:2], cells.square, COLUMNS)
    long.write_text(long.read_text() + "1,2,3,4,5,6,7,8,9,10,11\n")
    with pytest.raises(ValueError, match="must have 9 columns in every row; row 3 differs"):
        sweep(long, NUMBERS, cells.square, COLUMNS)
    with pytest.raises(ValueError, match=r"cells must all have the keys \['number', 'side'\]"):
        sweep(tmp_path / "t.csv", [*NUMBERS, {"number": 1}], cells.square, COLUMNS)
    assert sweep(tmp_path / "u.csv", [], cells.square, COLUMNS) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is measured on Linux")
def test_peak_memory_is_of_the_cell(tmp_path):
    rows = sweep(tmp_path / "s.csv", [{"number": n} for n in (0, 1, 2)], cells.grow, COLUMNS)
    before, large, after = (int(row["memory"]) for row in rows)
    assert 280 < large - before < 400
    assert abs(after - before) < 100  # what the large cell took is not counted for the next


# The command itself, killed for real.
COMMAND = ["--tasks", "normal-1d-0.5", "normal-1d-1", "--estimators", "gaussian", "infonce", "--quick"]
COMMAND += ["--n", "200", "300", "--seeds", "3", "--jobs", "1"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The CSV of the command when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("unbroken")
    known_mi.main([*COMMAND, "--output", str(folder)])
    return folder / "known_mi.csv"


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_csv(tmp_path, unbroken):
    path = tmp_path / "known_mi.csv"
    command = [sys.executable, "-m", "benchmarks.accuracy.known_mi", *COMMAND, "--output", str(tmp_path)]
    killed = []
    for enough in (3, 10):  # data rows, after which it is killed
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline and process.poll() is None:
                if path.exists() and path.read_bytes().count(b"\n") > enough:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.01)
        assert process.returncode == -signal.SIGKILL
        killed.append(path.read_text().splitlines())
    assert killed[1][: len(killed[0])] == killed[0]  # nothing was lost, nothing run twice
    assert len(killed[1]) < 25
    known_mi.main([*COMMAND, "--output", str(tmp_path)])
    assert untimed(path) == untimed(unbroken)
    assert set(killed[1]) <= set(path.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_dask_cluster_gives_the_same_csv(tmp_path, unbroken):
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        known_mi.main([*COMMAND, "--backend", "dask", "--address", address, "--output", str(tmp_path)])
        workers = {worker.pid for worker in cluster.workers.values()}
    assert untimed(tmp_path / "known_mi.csv") == untimed(unbroken)
    assert len(workers) == 2
    assert os.getpid() not in workers
