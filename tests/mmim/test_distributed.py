"""Several processes with a share of each batch give what one process gives with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from multimodal import (
    TIMEOUT,
    assert_same,
    finish,
    frames_config,
    frames_data,
    halves_of_batches,
    stage_0,
    start,
    tensors,
    two_batches,
)

from mmim_example import config, reading
from mmim_example.__main__ import main

ROOT = Path(__file__).parents[2]


def torchrun(*words):
    """Run a command as two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    settings = {"env": environment, "capture_output": True, "text": True, "timeout": TIMEOUT}
    return subprocess.run([*start, *map(str, words)], check=False, **settings)


@pytest.mark.parametrize("cuts", [[8], [11], [5, 9]], ids=["halves", "unequal parts", "three processes"])
def test_gradients_and_memories_are_those_of_one_process_with_the_whole_batch(tmp_path, cuts):
    world = len(cuts) + 1
    shared = (world, tmp_path / "store", tmp_path / "found", cuts)
    finish(*[start(halves_of_batches, rank, *shared) for rank in range(world)])
    alone = two_batches([np.arange(16), np.arange(16, 32)])
    for rank in range(world):
        found = torch.load(tmp_path / f"found-{rank}", weights_only=True)
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_with_dropout_and_noise_all_processes_leave_stage_0_with_the_same_bounds(tmp_path):
    finish(*[start(stage_0, rank, 2, tmp_path / "store", tmp_path / "found") for rank in range(2)])
    assert_same(*(torch.load(tmp_path / f"found-{rank}", weights_only=True) for rank in range(2)))


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(tmp_path):
    reading.save(frames_data((64, 16, 16)), tmp_path / "data")
    config.write(frames_config(epochs=2, lr=1e-3), tmp_path / "config.json")
    words = ("--data", tmp_path / "data", "--config", tmp_path / "config.json", "--no-progress")
    assert main([str(word) for word in ("train", tmp_path / "alone", *words)]) == 0
    both = torchrun("-m", "mmim_example", "train", tmp_path / "both", *words)
    assert both.returncode == 0, both.stderr
    a, b = tensors(tmp_path / "alone"), tensors(tmp_path / "both")
    for name, value in a.items():
        if name.startswith("model/"):
            torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    # Two processes write one log.
    assert len((tmp_path / "both" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job(tmp_path):
    program = tmp_path / "job.py"
    program.write_text(
        "import os, sys, torch\n"
        "from infomax import distributed\n"
        "with distributed.processes():\n"
        "    if distributed.rank() == 1:\n"
        "        os._exit(3)\n"
        "    distributed.gather(torch.ones(2))\n",
        encoding="utf-8",
    )
    assert torchrun(program).returncode != 0
