"""Resident memory of this process, from the system (Linux; elsewhere only what ``getrusage`` reports)."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def status(field: str) -> int | None:
    """Bytes of a field such as VmRSS, VmHWM (peak) or RssFile; ``None`` if the system does not report it."""
    lines = _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def forget_peak() -> None:
    """Reset the peak that `status` reports, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak() -> int:
    """Largest resident memory of this process in bytes, on any POSIX system.

    On Linux since `forget_peak`, elsewhere since its start.
    """
    # On Linux, getrusage starts from the peak of the parent process.
    unit = 1 if sys.platform == "darwin" else 1024
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available() -> float:
    """Bytes that new work can use without swapping; infinite if the system does not report them."""
    info = Path("/proc/meminfo")
    lines = info.read_text(encoding="ascii").splitlines() if info.is_file() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), math.inf)
