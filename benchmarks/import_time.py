"""What ``import infomax`` costs over ``import torch``, in CPU time of whole processes.

    python -m benchmarks.import_time

writes ``results/import_time.md``. The two run in turn; the ratio is taken pair by pair.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

PAIRS = 15


def cpu_seconds(statement: str) -> float:
    """User and system time of a fresh interpreter that runs one statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603 - our own statements
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    for statement in ("import torch", "import infomax"):  # once, to fill the caches
        cpu_seconds(statement)
    pairs = [(cpu_seconds("import infomax"), cpu_seconds("import torch")) for _ in range(PAIRS)]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    text = (
        f"`import infomax` / `import torch`, CPU time, {PAIRS} pairs: median {statistics.median(ratios):.3f}, "
        f"from {ratios[0]:.3f} to {ratios[-1]:.3f} (limit of the project: 1.15). "
        f"{date.today()}; Python {platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}).\n"
    )
    (Path(__file__).parent / "results" / "import_time.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
