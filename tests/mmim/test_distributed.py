"""Two processes with half a batch each are one process with the whole."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from multimodal import (
    ROOT,
    assert_same,
    frames_config,
    frames_data,
    process,
    run_command,
    stage_0,
    tensors,
    two_batches,
)

from mmim_example import config, reading

TIMEOUT = 120


@pytest.mark.parametrize("cuts", [[8], [11], [5, 9]], ids=["halves", "unequal parts", "three processes"])
def test_gradients_and_memories_are_those_of_one_process_with_the_whole_batch(tmp_path, cuts):
    world = len(cuts) + 1
    started = mp.spawn(
        process, (world, tmp_path / "store", tmp_path / "found", cuts), nprocs=world, join=False, daemon=True
    )
    for _ in range(world + 1):
        if started.join(timeout=TIMEOUT):
            break
    alone = two_batches([np.arange(16), np.arange(16, 32)])
    for rank in range(world):
        found = torch.load(tmp_path / f"found-{rank}", weights_only=True)
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_with_dropout_and_noise_all_processes_leave_stage_0_with_the_same_bounds(tmp_path):
    started = mp.spawn(stage_0, (2, tmp_path / "store", tmp_path / "found"), nprocs=2, join=False, daemon=True)
    for _ in range(3):
        if started.join(timeout=TIMEOUT):
            break
    assert_same(*(torch.load(tmp_path / f"found-{rank}", weights_only=True) for rank in range(2)))


def test_torchrun_trains_as_one_process_does(tmp_path):
    reading.save(frames_data((64, 16, 16)), tmp_path / "data")
    config.write(frames_config(epochs=2, lr=1e-3), tmp_path / "config.json")
    words = ("--data", tmp_path / "data", "--config", tmp_path / "config.json", "--no-progress")
    alone = run_command("train", tmp_path / "alone", *words)
    assert alone.returncode == 0, alone.stderr
    both = run_command("train", tmp_path / "both", *words, processes=2)
    assert both.returncode == 0, both.stderr
    a, b = tensors(tmp_path / "alone"), tensors(tmp_path / "both")
    for name, value in a.items():
        if name.startswith("model/"):
            torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    # Two processes write one log.
    assert len((tmp_path / "both" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 3


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
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode != 0
