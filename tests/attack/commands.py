"""Commands of the example, each in a fork of one process that has imported it: status, errors and memory."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from attack.outcome import Outcome
from multimodal import start

from mmim_example.__main__ import main

#: Seconds that a command may take, and the memory in MB that it may take with everything that it imports.
SECONDS, MEGABYTES = 60, 1000


@dataclass(frozen=True)
class Done:
    """A command that ended. ``signal``: the number of the signal that killed it, or 0."""

    status: int
    signal: int
    stderr: str
    megabytes: int

    def outcome(self, case: str, *names: str) -> Outcome:
        """Right, or refused in one line that contains one of ``names``, or wrong."""
        said = [line for line in self.stderr.splitlines() if line.strip()]
        fault = ""
        if self.signal:
            fault = f"killed by signal {self.signal}"
        elif self.megabytes > MEGABYTES:
            fault = f"{self.megabytes} MB"
        elif "Traceback" in self.stderr or self.status not in (0, 2):
            fault = f"status {self.status}"
        elif self.status == 2 and len([line for line in said if line.startswith("mmim_example: error: ")]) != 1:
            fault = "not one line"
        elif self.status == 2 and not said[-1].startswith("mmim_example: error: "):
            fault = "more than one line"
        elif self.status == 2 and not any(name in said[-1] for name in names):
            fault = "nameless"
        if fault:
            return Outcome(case, "wrong", f"{fault}: {self.stderr[-400:]}")
        return Outcome(case, "refused" if self.status else "right", said[-1] if self.status else "")


def run(*words: object, largest_file: int | None = None) -> Done:
    """Run ``python -m mmim_example`` with these words; files may not grow beyond ``largest_file`` bytes."""
    with tempfile.TemporaryDirectory() as folder:
        errors, memory = Path(folder) / "errors", Path(folder) / "memory"
        process = start(_run, [str(word) for word in words], errors, memory, largest_file)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        code = process.exitcode
        megabytes = int(memory.read_text()) if memory.is_file() else 0
        return Done(max(code, 0), max(-code, 0), errors.read_text(errors="replace"), megabytes)


def _run(words: list[str], errors: Path, memory: Path, largest_file: int | None) -> None:
    """Run one command in this process, which is a fork, and end it."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY), 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    virtual = 1024 * int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (virtual + (2 << 30),) * 2)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    status = 1
    try:
        status = main(words)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        memory.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
        sys.stderr.flush()
        os._exit(status)
