import pytest

from mmim_example.runs.environment import pick_device


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="device must be available on this machine; got 'tpu9'"):
        pick_device("tpu9")
