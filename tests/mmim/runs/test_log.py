import importlib.util

import pytest
from multimodal import small_config, small_data

from mmim_example.runs import log
from mmim_example.trainer import train


def test_tensorboard_is_an_extra(tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(ImportError, match="--tensorboard needs the package tensorboard"):
            train(small_config(epochs=1), small_data(), tmp_path, progress=False, tensorboard=True)
        assert not list(tmp_path.iterdir())  # said before any work
    else:
        train(small_config(epochs=1), small_data(), tmp_path, progress=False, tensorboard=True)
        assert list((tmp_path / "tensorboard").iterdir())


def test_scalars_have_names_with_slashes():
    record = {"epoch": 1, "train": {"task": 0.5, "pairs": {"text-audio": 0.1}}, "pair_loss": None}
    assert dict(log.scalars(record)) == {"epoch": 1, "train/task": 0.5, "train/pairs/text-audio": 0.1}


def test_half_a_line_of_a_killed_run_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "start"}\n{"eve', encoding="utf-8")
    assert log.records(tmp_path) == [{"event": "start"}]
