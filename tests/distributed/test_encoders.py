"""Chunks of encoders, and sequences, on two ranks are one process with the whole batch."""

import encoder_ranks
import pytest
import ranks
import torch


@pytest.mark.slow
def test_two_ranks_are_one_process(tmp_path):
    """DistributedDataParallel exchanges the gradients of the encoder once, with its last chunk."""
    wanted = encoder_ranks.one_process()
    assert ranks.start(encoder_ranks.run, 2, tmp_path / "store", tmp_path / "found") == [0, 0]
    for rank in range(2):
        found = torch.load(f"{tmp_path / 'found'}-{rank}")
        for key, values in wanted.items():
            for came, expected in zip(found[key], values, strict=True):
                torch.testing.assert_close(came, expected, rtol=1e-9, atol=1e-12)
