"""The command in the environment of torchrun, and under torchrun itself."""

import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import ranks

import infomax
import infomax.command_line.main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parts(tmp_path):
    """A command that estimates from a file for each of two ranks, and what it must print."""
    x, y = ranks.samples()
    for rank, rows in enumerate(np.array_split(np.hstack([x, y]), 2)):
        np.save(tmp_path / f"part-{rank}.npy", rows)
    words = ["estimate", str(tmp_path / "part-{rank}.npy"), "--x", "0,1", "--y", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)
        alone = infomax.estimate(x, y, bound="infonce", quick=True, progress=False)
    expected = {key: pytest.approx(getattr(alone, key), rel=1e-4, abs=1e-5) for key in ("mi", "stderr", "gap")}
    return [*words, "--bound", "infonce", "--quick", "--json"], expected | {"n": len(x), "ceiling": alone.ceiling}


def test_the_command_joins_the_processes_that_its_environment_names(parts, tmp_path):
    """As torchrun sets it: their number, their count, and where they meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words, expected = parts
    assert ranks.start(ranks.run_command, 2, port, words, tmp_path / "out") == [0, 0]
    assert (tmp_path / "out-1").read_text() == ""
    printed = json.loads((tmp_path / "out-0").read_text())
    assert {key: printed[key] for key in expected} == expected


@pytest.mark.slow
def test_torchrun_gives_the_estimate_of_one_process(parts):
    words, expected = parts
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "infomax"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, *words], env=environment, capture_output=True, text=True, timeout=ranks.TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert {key: printed[key] for key in expected} == expected


def test_a_file_for_each_rank_needs_torchrun(capsys):
    assert infomax.command_line.main.main(["estimate", "part-{rank}.npy", "--x", "0", "--y", "1"]) == 2
    assert "{rank} in a file's name is for the processes that torchrun starts" in capsys.readouterr().err
