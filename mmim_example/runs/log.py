"""The log of a run, one JSON object in each line, with optional TensorBoard files, and the progress bar."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infomax import distributed
from mmim_example.reading import DataError
from mmim_example.reading.files import parse_json, write_text
from mmim_example.runs.facts import CheckpointError

#: Terms that have a value for each bound; and a limit on integers, which all are far below.
_LEVELS, _LARGEST = ("pairs", "fusion"), 2**53


@contextmanager
def log_of(directory: Path, epoch: int, *, tensorboard: bool) -> Iterator[Any]:
    """A function that appends records to ``log.jsonl``. Existing records after ``epoch`` are removed first.

    Such records are from an interrupted run that is resumed at an earlier checkpoint.
    """
    if distributed.rank():
        yield lambda _: None
        return
    path = directory / "log.jsonl"
    kept = [line for line, record in _records(path) if record.get("epoch", 0) <= epoch]
    write_text(path, "".join(f"{line}\n" for line in kept))
    board = _board(directory) if tensorboard else None

    def write(record: dict[str, Any]) -> None:
        _append(path, json.dumps(record) + "\n")
        if board is not None and record["event"] == "epoch":
            for name, value in scalars(record):
                board.add_scalar(name, value, record["epoch"])

    yield write
    if board is not None:
        board.close()


def records(directory: Path) -> Sequence[dict[str, Any]]:
    """The records in the log of a run.

    Raises:
        CheckpointError: names a line that is no record.
    """
    return [record for _, record in _records(directory / "log.jsonl")]


def _append(path: Path, text: str) -> None:
    """Add a line. On a full disk, an incomplete one may stay, which :func:`_records` leaves out."""
    data = text.encode()
    try:
        with path.open("ab", buffering=0) as file:
            while data:
                data = data[file.write(data) :]
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The complete lines with their records. An interrupted process may leave an incomplete last line."""
    if not path.is_file():
        return
    content = path.read_bytes()
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            record = parse_json(line, f"{path}: line {number}")
        except DataError as error:
            raise CheckpointError(str(error)) from None
        if not _is_record(record):
            raise CheckpointError(f"{path}: line {number} must be a record of this example; got {line[:60]!r}")
        yield line.decode(), record


def _is_record(record: Any) -> bool:
    """Whether it has an event, and an epoch that figures can show: terms are numbers, or objects of numbers."""
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return False
    if record["event"] != "epoch":
        return not isinstance(record.get("epoch", 0), (dict, list, str, type(None)))
    places = [record.get(name) for name in ("epoch", "best_epoch")]
    terms = [record.get(part) for part in ("train", "valid", "ceilings")]
    return all(type(n) is int and 0 <= n < _LARGEST for n in places) and all(
        isinstance(part, dict) and all(_is_term(value, name in _LEVELS) for name, value in part.items())
        for part in terms
    )


def _is_term(value: Any, is_level: bool) -> bool:
    if is_level:
        return isinstance(value, dict) and not any(
            isinstance(v, dict) or not _is_term(v, False) for v in value.values()
        )
    return value is None or isinstance(value, float) or (type(value) is int and abs(value) < _LARGEST)


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


@contextmanager
def progress_bar(total: int, title: str, *, shown: bool) -> Iterator[Callable[..., None]]:
    """A function that advances a bar by one step, if the package ``tqdm`` is installed.

    Its optional argument returns a record to show beside the bar.
    """
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
