"""Python files of the user that register bounds and encoders: ``--import my_bounds.py``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import infomax
from mmim_example import encoders
from mmim_example.config import Config

#: The files that this process has executed, by the names that it gave their modules.
_EXECUTED: dict[str, Path] = {}


def execute(files: Sequence[Path]) -> None:
    """Execute files, each once in a process.

    Raises:
        ValueError: if a file does not exist or raises an error; names its line.
    """
    for file in files:
        path = file.resolve()
        name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in _EXECUTED:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ValueError(f"--import must be a Python file; got {file}")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise ValueError(f"--import {file}: {reason(error)}") from error
        _EXECUTED[name] = path


def digests(config: Config) -> dict[str, str]:
    """The files of the user that define parts of a configuration, and hashes of their content."""
    known = {config.pair_bound, config.fusion_bound} & set(infomax.bounds.names())
    parts = [infomax.bounds.get(name) for name in known]
    used = {part.__module__ for part in (*parts, *(encoders.kind(spec.kind) for spec in config.modalities.values()))}
    files = [path for name, path in _EXECUTED.items() if name in used]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}


def reason(error: BaseException) -> str:
    """The type of an error, its message, and the last line of a user's file that took part in it."""
    mine = {str(path) for path in _EXECUTED.values()}
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f" ({Path(f.filename).name}, line {f.lineno})" for f in reversed(frames) if f.filename in mine), "")
    if isinstance(error, SyntaxError):
        line = f" (line {error.lineno})"
    return f"{type(error).__name__}: {error}{line}"
