"""Device, threads and random numbers of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """PyTorch's random numbers from these inside; as they were outside. Dropout knows no other source."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng():
        torch.manual_seed(int(state >> np.uint64(1)))
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads inside, and as before outside; 0: as it is."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str | None) -> torch.device:
    """The device of that name; by default a GPU if there is one.

    Raises:
        ValueError: if this machine has none of that name.
    """
    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", torch.cuda.current_device())
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that this machine has; got {name!r}: {error}") from None
    return device
