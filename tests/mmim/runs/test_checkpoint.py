import re

import pytest
import torch
from multimodal import finish, save_on_a_full_disk, start

from mmim_example.runs import checkpoint
from mmim_example.runs.facts import CheckpointError


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {"epoch": 1})
    finish(start(save_on_a_full_disk, path))
    message = (tmp_path / "error").read_text(encoding="utf-8")
    assert re.search(r"cannot be written: .*; the previous file is kept: '.*last.safetensors'", message)
    kept = checkpoint.read(path)
    assert kept.facts == {"epoch": 1}
    assert kept.load({"a": torch.ones(3)})["a"].tolist() == [1, 1, 1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["error", "last.safetensors"]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="must be a checkpoint of this example"):
        checkpoint.read(path)


def test_a_pickle_in_its_place_is_refused_unread(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match="must be a checkpoint of this example"):
        checkpoint.read(tmp_path / "last.safetensors")
