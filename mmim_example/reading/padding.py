"""Padding of frames: features padded at the start are moved, so that all of this example is padded at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmim_example.reading.files import Array, Budget, DataError, chunks


def to_right(frames: Array) -> tuple[Array, Array]:
    """Move the padding of frames from the left to the right.

    Args:
        frames: ``(N, T, D)``. Valid frames are those from the first that is not all zero to the last.

    Returns:
        The moved frames ``(N, T, D)``, float32, and the numbers of valid frames ``(N,)``.
    """
    steps = frames.shape[1]
    lengths = np.zeros(len(frames), np.int64)
    for place, rows in chunks(frames):
        lengths[place] = steps - count_before((rows != 0).any(-1))
    return _moved(frames, lengths), lengths


def to_start(frames: Array, lengths: Array, where: str) -> Array:
    """The frames, valid ones first. They are moved if every utterance has zeros before its last ``lengths`` frames.

    Args:
        frames: ``(N, T, D)``, padded at either side.
        lengths: ``(N,)``, the numbers of valid frames; see :mod:`mmim_example.reading.validation` for their rules.
        where: a name for messages.

    Raises:
        DataError: if some utterances seem to be padded at the start and others at the end.
    """
    steps = frames.shape[1]
    if len(lengths) != len(frames) or (lengths < 0).any() or (lengths > steps).any():
        return frames  # validation names the row
    before, after = np.zeros(len(frames), bool), np.zeros(len(frames), bool)
    for place, rows in chunks(frames):
        real, length, time = (rows != 0).any(-1), lengths[place, None], np.arange(steps)
        before[place] = ~(real & (time < steps - length)).any(1)
        after[place] = ~(real & (time >= length)).any(1)
    short = (lengths > 0) & (lengths < steps)
    at_start = short & before & ~after
    if not at_start.any():
        return frames
    if (before | ~short).all():
        return _moved(frames, lengths)
    if 2 * at_start.sum() > short.sum():
        raise DataError(
            f"{where} must be padded at the end in each utterance, or with zeros at the start in each; got padding at "
            f"the start in {at_start.sum()} of {short.sum()} utterances, and other values there in the rest"
        )
    return frames


def _moved(frames: Array, lengths: Array) -> Array:
    """A copy, float32, with the last ``lengths`` frames first, and zeros after them."""
    steps = frames.shape[1]
    moved = np.zeros(frames.shape, np.float32)
    with np.errstate(over="ignore"):
        for place, rows in chunks(frames):
            for row, length, target in zip(rows, lengths[place], moved[place], strict=True):
                target[:length] = row[steps - length :]
    return moved


def stacked(utterances: Sequence[Array], path: Path, what: str) -> tuple[Array, Array]:
    """Utterances of different length as one padded array.

    Args:
        utterances: each ``(T, D)``.
        path: their file, whose size limits the memory.
        what: a name for messages.

    Returns:
        Frames ``(N, T, D)``, float32, and the numbers of valid frames ``(N,)``.

    Raises:
        DataError: if numbers of columns differ, or padding takes more memory than the file may take.
    """
    columns = {array.shape[1:] for array in utterances}
    if len(columns) != 1 or len(next(iter(columns))) != 1:
        raise DataError(f"{path}: {what} must be (T, D) with the same D in each utterance; got {sorted(columns)[:3]}")
    lengths = np.array([len(array) for array in utterances], np.int64)
    shape = len(utterances), max(1, int(lengths.max())), *columns.pop()
    try:
        Budget(path.stat().st_size).charge(4 * int(np.prod([float(size) for size in shape])))
    except DataError as error:
        raise DataError(f"{path}: {what}, padded to {shape}, {error}") from None
    frames = np.zeros(shape, np.float32)
    with np.errstate(over="ignore"):
        for array, target in zip(utterances, frames, strict=True):
            target[: len(array)] = array
    return frames, lengths


def count_before(real: Array) -> Array:
    """The number of columns before the first True in each row; all, if there is none."""
    first: Array = np.concatenate([real, np.ones((len(real), 1), bool)], 1).argmax(1)
    return first.astype(np.int64)
