"""Training that is killed at random moments, up to three times, goes on to the bits of a run that was not.

Kills of a benchmark are in ``benchmark_kills``; half of a large attack are of it.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from attack.benchmark_kills import benchmark_kills
from attack.outcome import Outcome
from multimodal import frames_config, frames_data, start
from safetensors.torch import load_file

from mmim_example import config, reading
from mmim_example.__main__ import main
from mmim_example.runs import log

TITLE = "Kills of MMIM training and of a benchmark"
LARGE = 44


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Kill ``count`` times."""
    yield from training_kills(count - count // 2, seed)
    if count // 2:
        yield from benchmark_kills(count // 2, seed)


def training_kills(count: int, seed: int) -> Iterator[Outcome]:
    """Kill ``count`` runs, each up to three times, between their start and their end."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        reading.save(frames_data((96, 24, 24)), base / "data")
        config.write(frames_config(epochs=8, accumulate=2, dropout=0.2, noise=0.2), base / "config.json")
        _finish(base / "first", base)  # starts the server that processes are forked from
        began = time.monotonic()
        _finish(base / "quiet", base)
        lasts = time.monotonic() - began
        for i in range(count):
            moments = [rng.uniform(0, lasts) for _ in range(rng.choice([1, 1, 2, 3]))]
            case = f"killed after {', '.join(f'{moment:.2f}' for moment in moments)} s"
            run = base / str(i)
            for moment in moments:
                process = start(_train, _words(run, base))
                process.join(moment)
                process.kill()
                process.join()
            try:
                _finish(run, base)
                fault = _difference(run, base / "quiet")
            except (RuntimeError, OSError) as error:
                fault = f"cannot be continued: {error}"
            yield Outcome(case, "wrong", fault) if fault else Outcome(case, "right")


def _train(words: list[str]) -> None:
    with contextlib.redirect_stdout(None):
        sys.exit(main(words))


def _words(run: Path, base: Path) -> list[str]:
    resumes = (run / "last.safetensors").is_file()
    settings = ["--resume"] if resumes else ["--config", str(base / "config.json")]
    return ["train", str(run), "--data", str(base / "data"), "--no-progress", *settings]


def _finish(run: Path, base: Path) -> None:
    process = start(_train, _words(run, base))
    process.join()
    if process.exitcode:
        raise RuntimeError(f"exit status {process.exitcode}")


def _difference(run: Path, quiet: Path) -> str | None:
    for name in ("last.safetensors", "best.safetensors"):
        ours, theirs = load_file(run / name), load_file(quiet / name)
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            return f"another {name} than without a kill"
    logs = [[{**record, "seconds": 0} for record in log.records(folder)] for folder in (run, quiet)]
    return None if logs[0] == logs[1] else "another log than without a kill"
