"""A file of finished tiles, by which an interrupted :func:`infomax.pairwise` resumes.

It is text: the first line says what was measured (data, options, version), each other line has the numbers of a tile,
as JSON that keeps every bit. A line that was not written completely is measured again, with all that follow it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import infomax
from infomax.estimation.pair_tiles import Found, Tile, Work
from infomax.io.files import check_writable

#: The first line of a file, and what begins it.
Facts = Mapping[str, Any]
_FORMAT = {"file": "checkpoint of infomax.pairwise", "format": 1}
#: Seconds between two flushes to the disk.
_PAUSE = 1.0


def facts_of(work: Work) -> Facts:
    """What the numbers depend on: the version, the data and the options."""
    digest = hashlib.sha256()
    for table in (work.left,) if work.left is work.right else (work.left, work.right):
        digest.update(repr((table.names, table.columns.samples.shape, table.columns.nominal.tolist())).encode())
        digest.update(np.ascontiguousarray(table.columns.samples).data)
    options = {"bound": work.bound, "seed": work.seed, "permutations": work.draws, **work.options}
    said = {name: _text(value) for name, value in options.items()}
    return {**_FORMAT, "version": infomax.__version__, "data": digest.hexdigest(), **said}


def _text(value: Any) -> str:
    """An option in a few letters."""
    text = repr(value)
    return text if len(text) <= 200 else f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


@contextmanager
def checkpoint_file(
    path: str | os.PathLike[str], facts: Facts, tiles: Sequence[Tile]
) -> Iterator[tuple[list[Found], Callable[[Found], None]]]:
    """The finished tiles of the file, and a function that adds one. The file is created if it does not exist.

    Raises:
        ValueError: if the file has other contents, was written for other data, options or by another version, cannot
            be written, or is in use.
        OSError: with the name of the file, if a line cannot be written, for example to a disk that is full.
    """
    target = check_writable(path)
    if target.exists() and not target.is_file():
        raise ValueError(f"checkpoint must be a file of its own; got {str(path)!r}, which is none")
    with target.open("a+b") as file:
        _lock(file, target)
        file.seek(0)
        done = _read(file, target, facts, {tile.number: tile for tile in tiles})
        synced = time.monotonic()

        def add(found: Found) -> None:
            nonlocal synced
            _append(file, target, {"tile": found.number, "values": found.values.tolist(), "warnings": found.texts})
            if time.monotonic() - synced > _PAUSE:
                os.fsync(file.fileno())
                synced = time.monotonic()

        yield done, add
        os.fsync(file.fileno())


def _line(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _append(file: BinaryIO, path: Path, content: Mapping[str, Any]) -> None:
    """Write a line, past the buffer, which would try a line that failed again and hide the error."""
    line = _line(content)
    try:
        while line:
            line = line[os.write(file.fileno(), line) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _read(file: BinaryIO, path: Path, facts: Facts, tiles: Mapping[int, Tile]) -> list[Found]:
    """The tiles of complete lines; whatever follows them is removed from the file."""
    first = file.readline()
    expected = _line(facts)
    if not first.endswith(b"\n") and expected.startswith(first):  # a new file, or one that was hardly begun
        file.truncate(0)
        _append(file, path, facts)
        return []
    _check(first, path, facts)
    found: dict[int, Found] = {}
    end = file.tell()
    for line in file:
        one = _tile(line, tiles)
        if one is None:
            break
        found[one.number] = one
        end += len(line)
    file.truncate(end)
    file.seek(0, os.SEEK_END)
    return list(found.values())


def _check(first: bytes, path: Path, facts: Facts) -> None:
    """Raise a ValueError unless the first line says the same."""
    try:
        held = json.loads(first)
    except ValueError:
        held = None
    if not isinstance(held, dict) or any(held.get(name) != value for name, value in _FORMAT.items()):
        raise ValueError(f"checkpoint must be a new file or one of infomax.pairwise; {path} is another file")
    advice = "name another file, or remove this one to start again"
    for name in {**facts, **held}:
        if held.get(name) != facts.get(name):
            if name == "data":
                raise ValueError(f"checkpoint {path} was written for other data; {advice}")
            raise ValueError(
                f"checkpoint {path} was written with {name} = {held.get(name)}; got {facts.get(name)}: {advice}"
            )


def _tile(line: bytes, tiles: Mapping[int, Tile]) -> Found | None:
    """The tile of a line, or None if the line is not complete."""
    try:
        held = json.loads(line) if line.endswith(b"\n") else None
        if not isinstance(held, dict):
            return None
        tile, values = tiles[held["tile"]], np.array(held["values"], dtype=float)
        texts = [(int(i), int(j), [str(text) for text in some]) for i, j, some in held["warnings"]]
    except (ValueError, KeyError, TypeError):
        return None
    return Found(tile.number, values, texts) if values.shape == (5, *tile.shape) else None


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes from writing to the file, where the system has file locks."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"checkpoint {path} is in use by another process; wait for it, or name another file") from None
