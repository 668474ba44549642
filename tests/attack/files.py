"""Files of every format that is read: odd but valid ones against their values, hostile ones against their refusal.

Most commands run in this process; some are real command lines. The memory of each is measured.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from attack.hostile_files import HOSTILE
from attack.outcome import Outcome, command_outcome, outcome
from attack.valid_files import VALID

import infomax
from infomax.command_line.main import main

TITLE = "Files: CSV, TSV, npy, npz, Parquet"
LARGE = 800
#: Bytes of memory that a file of under 10 MB may take.
MOST = 10**9
#: Every so many inputs, one is a process of its own, which takes seconds to start.
REAL = 40


def attack(count, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore", infomax.InfomaxWarning)
            if rng.random() < 0.35:
                yield _valid(VALID[rng.integers(len(VALID))](rng, Path(name)))
            else:
                make = HOSTILE[rng.integers(len(HOSTILE))]
                yield _hostile(rng, *make(rng, Path(name)), real=i % REAL == REAL - 1)


def _valid(made):
    """The command's number is that of the values, and the values that users read are in the file."""
    case, path, x, y, values = made
    pair = values[:, :1], values[:, 1:]

    def judge():
        status, out, err = _command("estimate", path, ",".join(x), ",".join(y), "--bound", "gaussian", "--json")
        if status or err:
            return f"status {status}: {err}"
        found, expected = json.loads(out)["mi"], infomax.estimate(*pair, bound="gaussian").mi
        if abs(found - expected) > 1e-9:
            return f"{found}, not {expected}"
        if any(word in case for word in ("from", "wide", "nanoseconds")):
            return None  # values that are shifted, which read_columns refuses
        same = all(map(np.array_equal, infomax.read_columns(path, x, y), pair))
        return None if same else "other values"

    found = outcome(case, judge)
    return found if found.kind == "right" else Outcome(case, "wrong", found.detail)


def _hostile(rng, case, path, refused, *, real):
    """One line that names the file, and status 2; ``refused`` is None for large files, which may be read in parts."""
    small = len(path.name) < 256 and path.is_file() and path.stat().st_size < 10**7
    command = "estimate" if refused is None or rng.random() < 0.6 else "pairwise"
    sides = ("0", "1") if path.suffix.lower() == ".npy" else ("a", "b")
    words = [command, path, *sides, "--json", *(["--bound", "gaussian"] if command == "estimate" else [])]
    case = f"{case}, {command}{', a process' if real else ''}"
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    try:
        status, out, err = _process(*words) if real else _command(*words)
    except (Exception, SystemExit) as error:
        return Outcome(case, "wrong", f"raw {type(error).__name__}: {error}")
    taken = _memory("VmHWM") - before
    found = command_outcome(
        case, status, err, names=(" ".join(str(path).splitlines()), "x must", "y must", "as many rows")
    )
    if small and taken > MOST:
        return Outcome(case, "wrong", f"took {taken // 10**6} MB")
    if refused and status == 0:
        return Outcome(case, "wrong", f"answered {out[:200]}")
    if found.kind == "refused" and (out or err.count("\n") != 1):
        return Outcome(case, "wrong", f"not one line: {out[:200]} {err[-300:]}")
    return found


def _words(command, path, x, y, *options):
    sides = ["--x", x, "--y", y] if command == "estimate" else ["--columns", x, "--with", y]
    return [command, str(path), *sides, "--no-progress", *options]


def _command(*words):
    """The command in this process: its status, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(_words(*words))
    return status, out.getvalue(), err.getvalue()


def _process(*words):
    """The same as a real command line; it may take no more memory than its limit, with everything it imports."""
    command = [sys.executable, "-m", "infomax", *_words(*words)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if usage.ru_maxrss * 1024 > MOST:
            raise MemoryError(f"{usage.ru_maxrss // 1000} MB")
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
        return process.returncode, *texts


def _memory(kind):
    """The memory of this process, or its peak, in bytes."""
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0]) * 1024
