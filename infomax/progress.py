"""A progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any


def no_progress(steps: int) -> None:
    """Show nothing."""


def _bar() -> Any:
    """The class of bars for a notebook or a terminal; None without tqdm. Notebooks without ipywidgets show text."""
    try:
        if find_spec("ipywidgets") is None:  # tqdm.auto would warn of it in notebooks
            from tqdm import tqdm  # noqa: PLC0415 - an extra
        else:
            from tqdm.auto import tqdm  # noqa: PLC0415
    except ImportError:
        return None
    return tqdm


@contextmanager
def progress_bar(show: bool, total: int, unit: str = "step") -> Iterator[Callable[[int], None]]:
    """A function that advances a bar by a number of steps. Without ``show`` or without tqdm there is no bar."""
    bar_of = _bar() if show else None
    if bar_of is None:
        yield no_progress
        return
    pause = 0.1 if sys.stderr.isatty() else 10.0  # seconds; few lines in a log file
    with bar_of(total=total, unit=unit, leave=False, desc="estimating", mininterval=pause) as bar:

        def advance(steps: int) -> None:
            bar.update(steps)

        yield advance
