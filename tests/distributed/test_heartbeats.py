"""A rank that is stopped ends the others, with an error that names it; one that computes does not."""

import os
import signal
import socket

import numpy as np
import pytest
import ranks
import stopped
from multimodal import frames_config, frames_data

from infomax import distributed
from mmim_example import config, reading

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stops processes")


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("silent", "who"),
    [
        (1, "rank 1 gave no sign of life for 2 s"),
        pytest.param(0, "rank 0, or the launcher that has its store, did not answer for 2 s", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_rank_is_named_and_a_busy_one_is_waited_for(silent, who, port, tmp_path):
    codes = ranks.start(stopped.compute_then_stop, 2, port, silent, tmp_path)
    assert codes[silent] == -signal.SIGKILL
    for rank in range(2):
        assert (tmp_path / f"gathered-{rank}").read_text() == "[0, 1]"
    error = (tmp_path / f"error-{1 - silent}").read_text()
    assert error == f"exchanging results: {who}; this rank cannot continue without it"


def test_a_rank_that_never_comes_is_named(port, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 3, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    with (
        pytest.raises(distributed.RankError, match=r"starting the group: ranks 1, 2 gave no sign of life for 5 s"),
        distributed.processes(5.0),  # on a busy machine the store itself takes a while to start
    ):
        pytest.fail("the group is not complete")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 2e9])
def test_a_wrong_timeout_is_refused(timeout):
    with (
        pytest.raises(ValueError, match="timeout must be more than 0 and at most 1e9 seconds; got"),
        distributed.processes(timeout),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("command", ["estimate", "train"])
def test_commands_name_the_rank_that_is_stopped(command, port, tmp_path):
    if command == "estimate":
        np.save(tmp_path / "rows.npy", np.hstack(ranks.samples()))
        words = ["estimate", str(tmp_path / "rows.npy"), "--x", "0,1", "--y", "2", "--bound", "infonce,nwj", "--quick"]
        where, program = "infomax.command_line.commands.estimate", "infomax"
    else:
        reading.save(frames_data((64, 16, 16)), tmp_path / "data")
        config.write(frames_config(epochs=2), tmp_path / "config.json")
        words = ["train", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
        words += ["--config", str(tmp_path / "config.json")]
        where, program = "mmim_example.trainer.Trainer.fit_main", "mmim_example"
    assert ranks.start(stopped.run_command, 2, port, tmp_path, words, where) == [0, -signal.SIGKILL]
    status, errors = (tmp_path / "error-0").read_text().split(" ", 1)
    assert status == "2"
    assert errors.startswith(f"{program}: error")
    assert "rank 1 gave no sign of life for 2 s; this rank cannot continue without it" in errors
    assert errors.count("\n") == 1
