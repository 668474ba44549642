import functools
import os

import pytest
import torch
from hypothesis import settings

from infomax import Schedule, estimate, tasks

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


@pytest.fixture(scope="session")
def gaussian():
    """2,000 pairs of 5 + 5 Gaussian columns with 1 nat."""
    return tasks.get("normal-5d-1").sample(2000, 0)


@pytest.fixture(scope="session")
def quick(gaussian):
    """The quick estimate of these pairs by a bound; each is made once."""
    options = {"schedule": Schedule(steps=100, batch_size=128), "quick": True, "progress": False}
    return functools.cache(lambda bound: estimate(*gaussian, bound=bound, **options))
