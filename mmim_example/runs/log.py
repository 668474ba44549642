"""The run's log: one JSON object a line, and TensorBoard's files on request."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infomax import distributed


@contextmanager
def log_of(directory: Path, epoch: int, *, tensorboard: bool) -> Iterator[Any]:
    """A function that writes records to ``log.jsonl``; records after ``epoch`` are of a killed run, and go."""
    if distributed.rank():
        yield lambda _: None
        return
    path = directory / "log.jsonl"
    kept = [line for line in read_lines(path) if json.loads(line).get("epoch", 0) <= epoch]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    board = _board(directory) if tensorboard else None
    with path.open("a", encoding="utf-8") as file:

        def write(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()
            if board is not None and record["event"] == "epoch":
                for name, value in scalars(record):
                    board.add_scalar(name, value, record["epoch"])

        yield write
    if board is not None:
        board.close()


def read_lines(path: Path) -> list[str]:
    """Whole lines of a log; a last line that a killed process left half-written is dropped."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def scalars(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a nested record, under names with slashes."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)


def require_tensorboard() -> None:
    """Complain before any work if TensorBoard's files could not be written.

    Raises:
        ImportError: without the package ``tensorboard``.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs the package tensorboard: pip install tensorboard")


def _board(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra

    return SummaryWriter(str(directory / "tensorboard"))


def records(directory: Path) -> Sequence[dict[str, Any]]:
    """The records of a run's log."""
    return [json.loads(line) for line in read_lines(directory / "log.jsonl")]
