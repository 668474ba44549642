"""The log of a run, one JSON object in each line, and optional TensorBoard files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infomax import distributed


@contextmanager
def log_of(directory: Path, epoch: int, *, tensorboard: bool) -> Iterator[Any]:
    """A function that appends records to ``log.jsonl``. Existing records after ``epoch`` are removed first.

    Such records are from an interrupted run that is resumed at an earlier checkpoint.
    """
    if distributed.rank():
        yield lambda _: None
        return
    path = directory / "log.jsonl"
    kept = [line for line in _lines(path) if json.loads(line).get("epoch", 0) <= epoch]
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


def records(directory: Path) -> Sequence[dict[str, Any]]:
    """The records in the log of a run."""
    return [json.loads(line) for line in _lines(directory / "log.jsonl")]


def _lines(path: Path) -> list[str]:
    """The complete lines. An interrupted process may leave an incomplete last line, which is dropped."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a nested record, under names with slashes."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)


def require_tensorboard() -> None:
    """Check that TensorBoard's files can be written.

    Raises:
        ImportError: without the package ``tensorboard``.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs the package tensorboard: pip install tensorboard")


def _board(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra

    return SummaryWriter(str(directory / "tensorboard"))
