"""Computations that do not depend on the caller's settings of torch and numpy, nor on other threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

import numpy as np
import torch

_CPU = torch.device("cpu")


@contextlib.contextmanager
def isolated(device: torch.device = _CPU) -> Iterator[None]:
    """Inside the block, torch and numpy behave in this thread as in a fresh process with one CPU thread.

    Autocast, inference mode, ``no_grad``, a default device, flushed denormals and numpy's error handling do not apply.
    Sums depend on the number of threads, and networks as small as ours are slower with several. Not covered, because
    they belong to the whole process: the default dtype (code inside names its dtypes), deterministic algorithms,
    anomaly detection, and the precision of float32 products.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_single_thread())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != _CPU:
            stack.enter_context(torch.device("cpu"))
        if not np.float64(5e-324) * np.float64(1.0):  # torch cannot be asked
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield


class _Process:
    """What the threads of this process share: see :func:`_single_thread` and :func:`seeded`."""

    def __init__(self) -> None:
        self.counting, self.global_generator = threading.Lock(), threading.RLock()
        self.inside, self.threads_before = 0, 1


_process = _Process()
if hasattr(os, "register_at_fork"):  # a lock that another thread held would never be released in the child
    os.register_at_fork(after_in_child=_process.__init__)  # type: ignore[misc]


@contextlib.contextmanager
def _single_thread() -> Iterator[None]:
    """One CPU thread until the last of the blocks that overlap in time has ended.

    ``torch.set_num_threads`` changes OpenMP's number for the calling thread, and MKL's for all threads.
    """
    own = torch.get_num_threads()
    with _process.counting:
        if not _process.inside:
            _process.threads_before = own
        _process.inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _process.counting:
            _process.inside -= 1
            if not _process.inside:
                torch.set_num_threads(_process.threads_before)
            _set_own_threads(own)


def _set_own_threads(count: int) -> None:
    """Set OpenMP's number of threads for the calling thread alone, where torch's library gives access to it."""
    if torch.get_num_threads() != count:
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(torch._C.__file__).omp_set_num_threads(count)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside the block, which one thread at a time enters; then they continue as before.

    For modules of others, which may draw from the global generators.
    """
    cuda = device.type == "cuda"
    with _process.global_generator, torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
