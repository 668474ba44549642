"""Environments of other packages, made from the pinned lists in ``requirements``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.children import run_child

PINS = Path(__file__).with_name("requirements")
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
