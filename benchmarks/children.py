"""Child processes that do not outlive this process if it is interrupted. POSIX only."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from infomax import interrupts


def run_child(
    command: Sequence[str], *, check: bool = True, limit: float | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` in a process group of its own, which is killed in the end with all that the child started.

    Args:
        settings: as for `subprocess.Popen`; by default, output and errors are captured as text.

    Raises:
        subprocess.TimeoutExpired: after ``limit`` seconds of wall time.
        subprocess.CalledProcessError: for another exit status than 0, with ``check``.
    """
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    with ExitStack() as stack:
        with interrupts.shielded():  # Ctrl-C waits until the child can be killed
            process = subprocess.Popen(command, text=True, start_new_session=True, **settings)  # noqa: S603 - our own
            stack.enter_context(process)
            stack.callback(_kill_group, process.pid)
        out, errors = process.communicate(timeout=limit)
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, errors)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
