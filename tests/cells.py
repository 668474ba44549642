"""Cells for the tests of sweeps; workers import them from here."""

import os
import signal
from pathlib import Path


def square(cell):
    """What a cell measures: the square of its number."""
    return {"square": cell["number"] ** 2, "text": 'two\nlines, and a "quote"'}


def fail_on_three(cell):
    """An error for one cell, and squares for the others."""
    if cell["number"] == 3:
        raise ValueError("three is not\nallowed")
    return square(cell)


def die_on_three(cell):
    """The process is killed from outside, as for want of memory."""
    if cell["number"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(cell)


def with_own_time(cell):
    """A cell that measured time and memory itself."""
    return {**square(cell), "seconds": 99.0, "memory": 7}


def grow(cell):
    """Takes 300 MB for a moment if its number is 1."""
    return {"square": len(bytearray(300_000_000)) if cell["number"] == 1 else 0, "text": ""}


def sweep_again(cell):
    """Another sweep on the same file, from inside this one."""
    from benchmarks.sweep import sweep

    sweep(Path(cell["number"]), [cell], square, ("square", "text"))


def square_with(_, cell):
    """For a first argument that cannot be sent to a worker."""
    return square(cell)
