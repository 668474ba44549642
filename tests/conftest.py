import pytest
import torch
from hypothesis import settings

from infomax import tasks

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture
def pairs():
    """n pairs of a normal task as float64 tensors."""

    def draw(name, n, seed=0):
        return tuple(map(torch.from_numpy, tasks.get(name).sample(n, seed)))

    return draw
