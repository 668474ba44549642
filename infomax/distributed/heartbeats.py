"""Signs of life of the ranks, which distinguish a rank that is stopped from one that computes for hours."""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")

#: Most seconds between two signs of life.
_PAUSE = 10.0


class SilenceError(Exception):
    """A rank has given no sign of life for too long."""


class Heartbeats:
    """Every rank counts in the store of the launcher, and reads the counts of the others, in a thread of its own.

    Silence is counted in rounds of this thread: a job that is suspended as a whole, and continued, has none.

    Args:
        rank, world: this rank, and their number. limit: seconds without a sign of life that make a rank silent.
    """

    def __init__(self, rank: int, world: int, limit: float) -> None:
        self._rank, self._limit = rank, limit
        self._pause = min(limit / 10, _PAUSE)
        self._missed = dict.fromkeys((other for other in range(world) if other != rank), 0)
        self._rounds = 0
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        """Give no more signs of life."""
        self._stopped.set()

    def wait_for(self, collective: Callable[[], T]) -> T:
        """The result of a call that waits for other ranks.

        Raises:
            SilenceError: with the ranks that are silent. The call itself cannot be ended, and is left to its thread.
        """
        found: list[T] = []
        problems: list[BaseException] = []
        done = threading.Event()
        inference = torch.is_inference_mode_enabled()

        def call() -> None:
            try:
                with torch.inference_mode(inference):  # a mode of the thread, without which its tensors are read-only
                    found.append(collective())
            except BaseException as problem:  # raised in the thread that waits
                problems.append(problem)
            done.set()

        _thread.start_new_thread(call, ())  # not Thread, which waits until it has started, several times in each step
        rounds, standing = self._rounds, 0
        while not done.wait(self._pause):
            standing = standing + 1 if rounds == self._rounds else 0
            rounds = self._rounds
            self._check(standing)
        if problems:
            raise problems[0]
        return found[0]

    def _check(self, standing: int) -> None:
        """Raise if a rank is silent, or if the store has not answered for this number of pauses."""
        who = [str(other) for other, missed in self._missed.items() if missed * self._pause >= self._limit]
        if who:
            raise SilenceError(
                f"rank{'s' * (len(who) > 1)} {', '.join(who)} gave no sign of life for {self._limit:g} s"
            )
        if standing * self._pause >= self._limit:
            raise SilenceError(f"rank 0, or the launcher that has its store, did not answer for {self._limit:g} s")

    def _beat(self) -> None:
        seen: dict[int, int] = {}
        with suppress(RuntimeError):  # the process that has the store cannot be reached, or has ended
            # A connection of its own, because another one is occupied while it waits for a key.
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            store = dist.TCPStore(  # type: ignore[attr-defined]
                address, port, is_master=False, timeout=timedelta(seconds=self._limit)
            )
            name = f"infomax heartbeats {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
            while True:
                store.add(f"{name}/{self._rank}", 1)
                for other in self._missed:
                    beats = store.add(f"{name}/{other}", 0)
                    self._missed[other] = self._missed[other] + 1 if beats == seen.get(other, 0) else 0
                    seen[other] = beats
                self._rounds += 1
                if self._stopped.wait(self._pause):
                    return
