"""A progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def no_progress(steps: int) -> None:
    """Show nothing."""


@contextmanager
def progress_bar(show: bool, total: int, unit: str = "step") -> Iterator[Callable[[int], None]]:
    """A function that advances a bar by a number of steps. Without ``show`` or without tqdm there is no bar."""
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ImportError:
        show = False
    if not show:
        yield no_progress
        return
    pause = 0.1 if sys.stderr.isatty() else 10.0  # seconds; few lines in a log file
    with tqdm(total=total, unit=unit, leave=False, desc="estimating", mininterval=pause) as bar:

        def advance(steps: int) -> None:
            bar.update(steps)

        yield advance
