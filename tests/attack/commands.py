"""Commands of the example, each in a fork of one process that has imported it: status, errors and memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from attack.outcome import Outcome

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


class Commands:
    """A process that runs commands of the example; used in a ``with`` statement."""

    def __enter__(self) -> Commands:
        root = Path(__file__).resolve().parents[2]
        paths = os.pathsep.join([str(root), str(root / "tests")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "attack.commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(SECONDS)

    def run(self, *words: object, largest_file: int | None = None) -> Done:
        """Run ``python -m mmim_example`` with these words; files may not grow beyond ``largest_file`` bytes."""
        self.process.stdin.write(json.dumps([[str(word) for word in words], largest_file]) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))


def in_fork(words: list[str], largest_file: int | None) -> Done:
    """Run one command in a fork of this process."""
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(0, 1)
                os.dup2(errors.fileno(), 2)
                signal.alarm(SECONDS)
                virtual = 1024 * int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (virtual + (2 << 30),) * 2)
                if largest_file is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
                from mmim_example.__main__ import main

                status = main(words)
            except SystemExit as left:
                status = left.code if isinstance(left.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, ended, used = os.wait4(child, 0)
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    killed = os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0
    return Done(0 if killed else os.WEXITSTATUS(ended), killed, text, used.ru_maxrss // 1024)


def serve() -> None:
    """Read one command in each line, and print what became of it."""
    import joblib
    import matplotlib.figure
    import safetensors.torch
    import torch._dynamo

    import mmim_example.trainer

    assert all((joblib, matplotlib.figure, safetensors.torch, torch._dynamo, mmim_example.trainer))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(vars(in_fork(*json.loads(line)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
