import os

import pytest
import torch
from hypothesis import settings

from infomax import tasks

# The same examples in each run, however slow the machine.
settings.register_profile("same examples", deadline=None, derandomize=True)
settings.load_profile("same examples")

if "PYTEST_XDIST_WORKER" in os.environ:  # beside others, and so are the processes that it starts
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def pairs():
    """n pairs of a normal task as float64 tensors."""

    def draw(name, n, seed=0):
        return tuple(map(torch.from_numpy, tasks.get(name).sample(n, seed)))

    return draw
