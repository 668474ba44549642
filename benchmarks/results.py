"""Where results are kept: each room has a folder of its own; ``--output`` names one folder for everything."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

from infomax import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def folder(room: str, output: Path | None = None) -> Path:
    """``output`` if it is given, else the folder of the committed results of ``room``."""
    return output or Path(__file__).parent / room / "results"


def replace(path: Path, content: str | bytes) -> None:
    """Write the file in one step, so that an interruption never leaves an incomplete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write the image in one step."""
    with atomic_write(path) as file:
        figure.savefig(file, format=path.suffix.lstrip("."), dpi=dpi)


def add_output(parser: ArgumentParser, room: str) -> None:
    """The option ``--output``, for `folder`."""
    parser.add_argument("--output", type=Path, help=f"folder for the results (default: benchmarks/{room}/results)")
