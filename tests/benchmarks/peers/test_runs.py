"""The comparison with other packages: what is recorded of runs, and environments."""

import csv
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import sweep
from benchmarks.peers import environments as of_peers
from benchmarks.peers import runner, runs
from benchmarks.speed import losses

TASK = "normal-1d-0.5"
#: Seconds that a run and its child sleep: far longer than any machine needs to end them.
SLEEP = 1200

# What a run of this stand-in does is told by the name of the estimator.
STAND_IN = (
    f"SLEEP = {SLEEP}"
    + """
import json, os, subprocess, sys, time
from pathlib import Path

name, path, seed = sys.argv[1:]
assert Path(path).stat().st_size and Path.cwd() == Path(path).parent.resolve()
print("a peer that talks")
if name.endswith("smile"):
    print(json.dumps({"estimate": 0.75 + int(seed), "seconds": 1.5, "memory": 321}))
elif name.endswith("mine"):
    print(json.dumps({"estimate": float("nan"), "seconds": 1.5, "memory": 321}))
elif name.endswith("js"):
    print(json.dumps({"estimate": -float("inf"), "seconds": 1.5, "memory": 321}))
elif name.endswith("nwj"):
    raise RuntimeError("no luck in " + os.getcwd())
elif name.endswith("infonce"):
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({SLEEP})"])
    Path(__file__).with_name("pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(SLEEP)
elif name.endswith("doe"):
    os.kill(os.getpid(), 9)
"""
)


@pytest.fixture
def environments(tmp_path, monkeypatch):
    """This interpreter in place of every peer's, and the stand-in in place of what it runs there."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(runs, "RUNNER", script)
    folder = tmp_path / "environments"
    real = folder / "real" / "bin"
    real.mkdir(parents=True)
    (real / "python").symlink_to(sys.executable)
    for peer in runs.PEERS:
        (folder / peer).symlink_to(folder / "real")
    return folder


def cell(estimator, seed=0, task=TASK):
    return {"task": task, "estimator": estimator, "n": 50, "seed": seed}


def gone(pid):
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("smile", {"estimate": 2.75, "bias": 2.25, "seconds": 1.5, "memory": 321, "error": ""}),
        ("nwj", {"seconds": None, "memory": None, "error": "RuntimeError: no luck in ."}),
        ("doe", {"seconds": None, "memory": None, "error": "killed by SIGKILL"}),
        ("gm", {"seconds": None, "memory": None, "error": "no estimate and no error message"}),
    ],
)
def test_a_run_is_recorded_as_it_ended(environments, estimator, expected):
    found = runs.run(cell(f"torch-mist: {estimator}", seed=2), environments=environments, limit=60)
    assert found == {"truth": 0.5} | expected


@pytest.mark.parametrize(("estimator", "value"), [("mine", "nan"), ("js", "-inf")])
def test_a_value_that_is_not_finite_is_kept_and_is_an_error(environments, estimator, value):
    found = runs.run(cell(f"torch-mist: {estimator}"), environments=environments, limit=60)
    assert str(found["estimate"]) == str(found["bias"]) == value
    assert found["error"] == f"the estimate is {value}"


def test_a_run_that_takes_too_long_is_ended_with_its_children(environments, tmp_path):
    start = time.monotonic()
    found = runs.run(cell("torch-mist: infonce"), environments=environments, limit=2)
    assert time.monotonic() - start < SLEEP / 2
    assert found["error"] == "TimeoutExpired: Command 'torch-mist: infonce' timed out after 2 seconds"
    assert found["truth"] == 0.5
    assert found["seconds"] > 0
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    while not all(map(gone, pids)):
        assert time.monotonic() - start < SLEEP / 2, "a process outlived its run"
        time.sleep(0.05)


def test_rows_of_a_sweep(environments, tmp_path):
    path = tmp_path / "peers.csv"
    cells = [cell(f"torch-mist: {name}") for name in ("mine", "nwj", "smile")]
    run = partial(runs.run, environments=environments, limit=60)
    sweep.sweep(path, cells, run, runs.COLUMNS)
    with path.open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in ("date", "machine")} for row in csv.DictReader(file)]
    assert [",".join(row.values()) for row in rows] == [
        f"{TASK},torch-mist: mine,50,0,0.5,nan,nan,1.5,321,the estimate is nan",
        f"{TASK},torch-mist: nwj,50,0,0.5,,,,,RuntimeError: no luck in .",
        f"{TASK},torch-mist: smile,50,0,0.5,0.75,0.25,1.5,321,",
    ]


def test_the_command_writes_rows_and_table(environments, tmp_path, capsys):
    folder = tmp_path / "results"
    output = folder / "peers.csv"
    command = ["--tasks", TASK, "normal-5d-0.5", "--n", "50", "--seeds", "2", "--jobs", "1", "--output", str(folder)]
    command += ["--environments", str(environments), "--ours", str(tmp_path / "none.csv")]
    runs.main([*command, "--peers", "torch-mist: smile"])
    with output.open(newline="") as file:
        rows = [(row["task"], row["seed"], row["estimate"]) for row in csv.DictReader(file)]
    assert rows == [(task, str(seed), str(0.75 + seed)) for task in (TASK, "normal-5d-0.5") for seed in (0, 1)]
    assert output.with_suffix(".md").read_text() in capsys.readouterr().out
    runs.main(["--report", "--output", str(folder), "--ours", str(tmp_path / "none.csv")])
    # Errors of .25 and 1.25 on both tasks.
    assert "| torch-mist: smile | 2 | 0.750 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--n", "0"], "n must be at least 1; got 0"),
        (["--peers", "torch-mits"], "got torch-mits"),
        (["--tasks", "normal-1d-0.55"], "did you mean"),
    ],
)
def test_a_name_that_is_not_known_is_refused(command, message, capsys):
    with pytest.raises(SystemExit):
        runs.main(command)
    assert message in capsys.readouterr().err


def test_choice_of_estimators_and_cells():
    assert runs.chosen_estimators(["ennemi", "torch-mist: nwj"]) == ["torch-mist: nwj", "ennemi: estimate_mi"]
    cells = runs.cells_of([TASK, "normal-5d-0.5"], ["torch-mist: nwj", "ennemi: estimate_mi"], 50, 1)
    assert [(cell["task"], cell["estimator"]) for cell in cells] == [
        (TASK, "torch-mist: nwj"),
        (TASK, "ennemi: estimate_mi"),
        ("normal-5d-0.5", "torch-mist: nwj"),
    ]


def test_every_peer_has_a_list_of_pinned_packages():
    packages = {**{peer: (peer,) for peer in runs.PEERS}, "losses": losses.PACKAGES, "tigramite": ("tigramite",)}
    assert sorted(path.stem for path in of_peers.PINS.iterdir()) == sorted(packages)
    for peer, wanted in packages.items():
        lines = (of_peers.PINS / f"{peer}.txt").read_text().splitlines()
        names, versions = zip(*(line.split("==") for line in lines), strict=True)
        assert set(wanted) <= set(names)
        assert all(version.replace(".", "").isalnum() for version in versions)  # neither local versions nor places


def test_an_environment_is_made_once_for_a_list_of_packages(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(of_peers, "run_child", lambda command, **_: commands.append(command))
    monkeypatch.setattr(of_peers, "PINS", tmp_path)
    pins, environments = tmp_path / "ennemi.txt", tmp_path / "environments"
    environments.mkdir()
    pins.write_text("ennemi==1\n")
    for expected in (2, 2):
        of_peers.make_environment("ennemi", environments, "a python")
        assert len(commands) == expected
    assert commands[0][:3] == ["a python", "-m", "venv"]
    assert commands[1][0] == str(environments / "ennemi" / "bin" / "python")
    assert commands[1][-1] == str(pins)
    pins.write_text("ennemi==2\n")
    of_peers.make_environment("ennemi", environments, "a python")
    assert len(commands) == 4


def test_an_environment_that_could_not_be_made_is_begun_anew(tmp_path, monkeypatch, capsys):
    def fail(command, **_):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(of_peers, "run_child", fail)
    for _ in range(2):
        with pytest.raises(SystemExit):
            runs.main(["--environments", str(tmp_path), "--peers", "ennemi", "--tasks", TASK])
        assert "could not be made" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_runner_in_a_process_of_its_own(tmp_path):
    pytest.importorskip("sklearn")
    python = tmp_path / "scikit-learn" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # A link would not find its packages: an interpreter looks for them beside itself.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    name = "scikit-learn: mutual_info_regression"
    found = runs.run(cell(name) | {"n": 2000}, environments=tmp_path, limit=120)
    assert found["error"] == ""
    assert found["estimate"] == pytest.approx(0.5, abs=0.1)
    assert found["seconds"] > 0
    assert 20 < found["memory"] < 2000
    refused = runs.run(cell(name, task="normal-5d-0.5"), environments=tmp_path, limit=120)
    assert refused["error"] == "ValueError: takes one column of x and one of y; got 5 columns"


def test_bits_become_nats(monkeypatch):
    class NpeetPlus:
        @staticmethod
        def mi(x, y):
            return 2.0

    monkeypatch.setitem(sys.modules, "npeet_plus", NpeetPlus)
    assert runner.npeet_plus()(0, 0) == pytest.approx(2 * np.log(2))
