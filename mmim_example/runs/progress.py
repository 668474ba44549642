"""A progress bar, if the optional package ``tqdm`` is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmim_example.runs.log import scalars


@contextmanager
def progress_bar(total: int, title: str, *, shown: bool) -> Iterator[Callable[..., None]]:
    """A function that advances the bar by one step. Its optional argument returns a record to show beside the bar."""
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ImportError:
        shown = False
    if not shown:
        yield lambda _=None: None
        return
    with tqdm(total=total, desc=title, leave=False) as bar:

        def advance(record: Callable[[], Mapping[str, Any]] = dict) -> None:
            bar.set_postfix({name: f"{value:.2f}" for name, value in scalars(record())}, refresh=False)
            bar.update()

        yield advance
