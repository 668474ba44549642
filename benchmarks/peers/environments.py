"""Environments of other packages, made from the pinned lists in ``requirements``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.children import run_child

PINS = Path(__file__).with_name("requirements")
#: Where commands without an option for it look for environments.
FOLDER = Path(".peers")
#: One thread and no accelerator, so that CPU seconds are comparable.
SETTINGS = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}


def interpreter(environments: Path, peer: str) -> Path:
    """The Python interpreter in the environment of a peer."""
    return environments / peer / "bin" / "python"


def seconds_beside(peer: str, module: str, *arguments: int) -> dict[str, float] | None:
    """What ``with_<peer>(*arguments)`` of a module of ours prints as JSON, run in the environment of the peer.

    None, with a line that says so, if there is no such environment.

    Raises:
        RuntimeError: if the run fails.
    """
    python = interpreter(FOLDER, peer)
    if not python.exists():
        print(f"{module}: {peer} has no environment; python -m benchmarks.peers --peers {peer} makes it")
        return None
    # Packages of the peer come first; missing ones (torch, infomax) are found in the current environment.
    paths = json.dumps([str(Path(__file__).parents[2]), *sys.path[1:]])
    program = f"import sys; sys.path += {paths}; from {module} import with_{peer}; with_{peer}{arguments}"
    done = run_child([str(python.absolute()), "-I", "-c", program], check=False, env=SETTINGS)
    if done.returncode:
        raise RuntimeError(f"the run with {peer} failed ({done.returncode}): {done.stderr[-2000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def make_environment(peer: str, environments: Path, python: str) -> None:
    """Make the environment of a peer, unless it exists and matches the current list of packages.

    Raises:
        subprocess.CalledProcessError: if venv or pip fails; they print the reason.
    """
    pins, stamp, folder = PINS / f"{peer}.txt", environments / f"{peer}.txt", environments / peer
    if folder.is_symlink() or (stamp.exists() and stamp.read_bytes() == pins.read_bytes()):
        return
    print(f"making the environment of {peer} ...", flush=True)
    stamp.unlink(missing_ok=True)
    run_child([python, "-m", "venv", "--clear", str(folder)], stdout=None, stderr=None)
    pip = [str(interpreter(environments, peer)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_child([*pip, "--requirement", str(pins)], stdout=None, stderr=None)
    stamp.write_bytes(pins.read_bytes())
