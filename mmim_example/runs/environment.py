"""PyTorch's device, number of threads and random state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def pick_device(name: str | None) -> torch.device:
    """The device of that name; by default a GPU if there is one.

    Raises:
        ValueError: if this machine has no such device.
    """
    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", torch.cuda.current_device())
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be available on this machine; got {name!r}: {error}") from None
    return device


def check_precision(amp: str, device: torch.device) -> None:
    """Refuse a device that cannot compute with this ``amp`` of a configuration.

    Raises:
        ValueError: names the device and what to do.
    """
    able = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))
    if amp == "bf16" and not able:
        raise ValueError(
            f"amp='bf16' needs a CPU, or an NVIDIA GPU with bfloat16; got the device {str(device)!r}: use "
            "amp='none', or device='cpu'"
        )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads, and restore it on exit; 0 leaves it unchanged."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed PyTorch's global random state by these numbers, and restore it on exit. Dropout has no other source."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng():
        torch.manual_seed(int(state >> np.uint64(1)))
        yield
