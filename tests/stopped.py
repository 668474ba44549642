"""Ranks of which one is stopped, as by Ctrl-Z or a debugger, while the others wait for it."""

import contextlib
import io
import os
import signal
import time
from pathlib import Path
from unittest import mock

import torch

from infomax import RankError, distributed

#: Seconds of silence that end the ranks.
LIMIT = 2.0


def join(rank, world, port):
    """The environment that torchrun gives to a process."""
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})


def stop(*_, **__):
    """Stop this process; the test gives what is waited for without an end."""
    os.kill(os.getpid(), signal.SIGSTOP)


def compute_then_stop(rank, world, port, silent, folder):
    """The rank ``silent`` computes for longer than the limit, which nobody minds; then it stops."""
    join(rank, world, port)
    pids = []
    try:
        with distributed.processes(LIMIT):
            pids += distributed.together(os.getpid)
            if rank == silent:
                time.sleep(2 * LIMIT)
            distributed.barrier()
            with torch.inference_mode():
                (folder / f"gathered-{rank}").write_text(str(distributed.gather(torch.tensor([rank])).tolist()))
            if rank == silent:
                stop()
            distributed.gather(torch.ones(3))
    except RankError as error:
        (folder / f"error-{rank}").write_text(str(error))
    finally:
        if pids:
            os.kill(pids[silent], signal.SIGKILL)


def run_command(rank, world, port, folder, words, where):  # noqa: PLR0917
    """A command whose rank 1 stops in the function ``where``; its status and errors."""
    join(rank, world, port)
    if words[0] == "train":
        from mmim_example.__main__ import main
    else:
        from infomax.command_line.main import main
    pid = Path(folder, "pid")
    if rank == 1:
        pid.write_text(str(os.getpid()))
    errors = io.StringIO()
    stopping = mock.patch(where, stop) if rank == 1 else contextlib.nullcontext()
    with contextlib.redirect_stderr(errors), stopping:
        status = main([*words, "--rank-timeout", str(LIMIT), "--no-progress"])
    Path(folder, f"error-{rank}").write_text(f"{status} {errors.getvalue()}")
    os.kill(int(pid.read_text()), signal.SIGKILL)
