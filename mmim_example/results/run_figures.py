"""Which figures a run has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmim_example.reading.files import read_json
from mmim_example.results import figures
from mmim_example.runs import checkpoint, log
from mmim_example.runs.facts import CheckpointError


def truth(path: Path) -> dict[str, float]:
    """The true MI of generated data, in nats, by name.

    Raises:
        ValueError: if the file has other content.
    """
    found = read_json(path)
    if not isinstance(found, dict) or any(type(nats) not in (int, float) for nats in found.values()):
        raise ValueError(f"{path} must be a JSON object of numbers, as generate writes it; got other content")
    return found


def of_training(directory: Path, known: dict[str, float] | None = None) -> dict[str, Callable[[], Any]]:
    """Functions that draw the figures of a training run, by the name of the file.

    Args:
        known: see :func:`truth`.

    Raises:
        CheckpointError: if the log has no epoch.
    """
    records = log.records(directory)
    if not any(record["event"] == "epoch" for record in records):
        raise CheckpointError(
            f"{directory / 'log.jsonl'} must contain an epoch; got {len(records)} records without one"
        )
    made: dict[str, Callable[[], Any]] = {"losses": partial(figures.losses, records)}
    measured = any(record.get("train", {}).get(level) for record in records for level in ("pairs", "fusion"))
    if measured and not checkpoint.run_config(directory).legacy:  # its values are not information
        made["information"] = partial(figures.information, records, known)
    return made
