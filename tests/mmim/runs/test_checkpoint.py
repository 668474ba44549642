import os
import re
import subprocess
import sys

import pytest
import torch
from multimodal import ROOT

from mmim_example.runs import checkpoint


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    """A limit on file sizes stands for the full disk: the system refuses to write on."""
    program = f"""
import resource, torch
from pathlib import Path
from mmim_example.runs import checkpoint
path = Path({str(tmp_path / "last.safetensors")!r})
checkpoint.save(path, {{"a": torch.ones(3)}}, {{"epoch": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    checkpoint.save(path, {{"a": torch.ones(100_000)}}, {{"epoch": 2}})
except OSError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"could not save .*last.safetensors: .*; the previous file is kept", done.stdout)
    kept, facts = checkpoint.load(tmp_path / "last.safetensors")
    assert facts == {"epoch": 1}
    assert kept["a"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(checkpoint.CheckpointError, match="must be a checkpoint of this example"):
        checkpoint.load(path)


def test_a_pickle_in_its_place_is_refused_unread(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "last.safetensors")
    with pytest.raises(checkpoint.CheckpointError, match="must be a checkpoint of this example"):
        checkpoint.load(tmp_path / "last.safetensors")
