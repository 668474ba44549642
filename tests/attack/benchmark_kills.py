"""A benchmark that is killed at random moments: its command then completes it, with the rows of a quiet run."""

import contextlib
import csv
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attack.outcome import Outcome

from benchmarks.accuracy import known_mi

ROOT = Path(__file__).parents[2]
WORDS = ("--tasks", "normal-1d-0.5", "--estimators", "gaussian", "ksg", "nwj", "--quick", "--n", "40", "--seeds", "2")
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
#: Seconds that it lasts, about.
LASTS = 9.0
#: Columns that differ from run to run.
MEASURED = ("seconds", "memory", "date")
_LINE = "benchmarks: interrupted; run the same command again to continue"


def start(folder: Path, jobs: int) -> "subprocess.Popen[str]":
    """The benchmark, with results in this folder, in a process group of its own in which Ctrl-C is not ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "benchmarks.accuracy.known_mi", *WORDS, "--jobs", str(jobs)]
    try:
        return subprocess.Popen(
            [*command, "--output", str(folder)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def finish(folder: Path) -> list[dict[str, str]]:
    """Run the command to its end, in this process; the rows without their times."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        known_mi.main([*WORDS, "--jobs", "1", "--output", str(folder)])
    with (folder / "known_mi.csv").open(newline="", encoding="utf-8") as file:
        return [{name: text for name, text in row.items() if name not in MEASURED} for row in csv.DictReader(file)]


def kill(process: "subprocess.Popen[str]", number: signal.Signals, *, group: bool) -> str | None:
    """Send the signal, to the whole group as a terminal does or to the process alone; what is wrong with its end."""
    (os.killpg if group else os.kill)(process.pid, number)
    try:
        _, errors = process.communicate(timeout=600)  # ends when the last child has ended, which shares the output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "hangs, or leaves children"
    if "Traceback (most recent call last)" in errors:
        return f"traceback {errors[-300:]}"
    if process.returncode == 0 or number is signal.SIGKILL:
        return None  # it was done already, or could not say anything
    if process.returncode != 130 or not errors.endswith(f"{_LINE}\n"):
        return f"status {process.returncode}: {errors[-300:]}"
    return None


def benchmark_kills(count: int, seed: int) -> Iterator[Outcome]:
    """Kill it ``count`` times, at moments from its first imports to its report, with one or two workers."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        expected = finish(Path(place, "quiet"))
        for i in range(count):
            number, jobs, moment = SIGNALS[(i + seed) % 3], rng.choice((1, 2)), rng.uniform(0.1, LASTS)
            # SIGKILL to one process alone would leave workers, which wait five minutes for more work.
            group = number is signal.SIGKILL or rng.random() < 0.5
            folder = Path(place, str(i))
            case = f"{number.name} to {'all' if group else 'one'} after {moment:.2f} s, {jobs} jobs"
            with start(folder, jobs) as process:
                time.sleep(moment)
                fault = kill(process, number, group=group)
            try:
                rows = finish(folder)
            except (Exception, SystemExit) as error:  # every kind of error is judged
                yield Outcome(case, "wrong", f"cannot be continued: {error}")
                continue
            if fault is None and rows != expected:
                fault = f"other rows than those of a quiet run: {len(rows)} and {len(expected)}"
            yield Outcome(case, "wrong", fault) if fault else Outcome(case, "right")
