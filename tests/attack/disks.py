"""Disks that fill up during a command of the example: one line names the file, and the command can be repeated.

A disk is a small tmpfs where the system lets us mount one; elsewhere, a limit on the size of files.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attack import commands
from attack.outcome import Outcome
from multimodal import small_config, small_data

from mmim_example import config, reading

TITLE = "Full disks"
LARGE = 40

_COMMANDS = ("train", "resume", "evaluate", "convert", "generate", "ablate")
#: Files whose bytes the repeated command must give, by command.
_RESULTS = {
    "train": ("last.safetensors", "best.safetensors", "config.json"),
    "resume": ("last.safetensors", "best.safetensors", "config.json"),
    "evaluate": ("evaluation.json", "predictions.png"),
    "convert": ("features.npz", "utterances.csv"),
    "generate": ("features.npz", "utterances.csv", "truth.json"),
    "ablate": ("test.md",),
}
_PAGE = 4096


def words(command: str, out: Path, base: Path, *, again: bool = False) -> list[object]:
    """The command line; ``again``: after an attempt that failed."""
    given = ["--data", base / "data"]
    settings = ["--config", base / "config.json", "--no-progress"]
    if command in ("train", "resume"):
        resumes = command == "resume" or (again and (out / "last.safetensors").is_file())
        more = ["--resume", "--set", "epochs=4", "--no-progress"] if resumes else settings
        return ["train", out, *given, *more]
    if command == "generate":
        return ["generate", out, "--rows", 60, 20, 20]
    if command == "ablate":
        return ["ablate", out, *given, *settings, "--arms", base / "arms.json", "--seeds", 1, "--metrics", "mae"]
    return [command, out, *given]


def pages(folder: Path) -> int:
    """Pages that the files take on a disk, and one for each folder."""
    sizes = [path.stat().st_size if path.is_file() else 1 for path in folder.rglob("*")]
    return sum(-(-size // _PAGE) for size in sizes)


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 64 MB on the folder; yields whether that was possible."""
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", "size=64m", "none", folder)
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _mount(*arguments: object) -> bool:
    if shutil.which("mount") is None:
        return False
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    return done.returncode == 0


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Fill ``count`` disks at random moments, in each command in turn."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        reading.save(small_data((48, 16, 16)), base / "data")
        config.write(small_config(epochs=4), base / "config.json")
        (base / "arms.json").write_text('{"a": {}}', encoding="utf-8")
        assert commands.run(*words("train", base / "started", base), "--set", "epochs=1").status == 0
        assert commands.run(*words("train", base / "whole", base)).status == 0
        start = {"resume": base / "started", "evaluate": base / "whole"}
        for i in range(count):
            command = _COMMANDS[(i + seed) % len(_COMMANDS)]
            quiet = base / f"quiet {command}"
            if not quiet.exists():
                if command in start:
                    shutil.copytree(start[command], quiet)
                assert commands.run(*words(command, quiet, base)).status == 0
            with disk(base / "disk") as mounted:
                out = base / "disk" / "out"
                if command in start:
                    shutil.copytree(start[command], out)
                yield _filled(command, out, base, mounted=mounted, rng=rng)


def _filled(command: str, out: Path, base: Path, *, mounted: bool, rng: random.Random) -> Outcome:
    """Run a command on a disk that becomes full, and again when there is room."""
    quiet, before = base / f"quiet {command}", pages(out) if out.exists() else 0
    room = rng.randint(0, max(1, pages(quiet) - before))
    case = f"{command} with {room} pages of a disk" if mounted else f"{command} with files of {room + 1} pages"
    if mounted:
        assert _mount("-o", f"remount,size={(before + room + 2) * _PAGE}", out.parent)
    done = commands.run(*words(command, out, base), largest_file=None if mounted else (room + 1) * _PAGE)
    found = done.outcome(case, str(out))
    if mounted:
        assert _mount("-o", "remount,size=64m", out.parent)
    if found.kind == "refused":
        repeated = commands.run(*words(command, out, base, again=True))
        if repeated.status:
            return Outcome(case, "wrong", f"cannot be repeated after {found.detail}: {repeated.stderr}")
    if found.kind != "wrong":
        fault = _difference(out, quiet, _RESULTS[command])
        return Outcome(case, "wrong", fault) if fault else found
    return found


def _difference(out: Path, quiet: Path, names: Sequence[str]) -> str | None:
    for name in names:
        if (out / name).read_bytes() != (quiet / name).read_bytes():
            return f"another {name} than without a full disk"
    left = [path.name for path in out.rglob("*.partial")]
    return f"left {left}" if left else None
