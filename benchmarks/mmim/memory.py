"""How much memory a data set of MOSEI's size needs: 22,856 utterances of 500 frames, read where they lie.

    python -m benchmarks.mmim.memory --folder DIR   # writes 5 GB there, trains an epoch, deletes them

prints the peak of resident memory of the process that trains (Linux and macOS), and what it was after the imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import machine
from mmim_example import reading as data
from mmim_example.config import Config, Modality
from mmim_example.reading import Dataset, Split

ROWS = {"train": 16326, "valid": 1871, "test": 4659}
FRAMES, DIMS = 500, {"audio": 74, "vision": 35}
TEXT = 768


def write(folder: Path) -> None:
    """A file of that size; all utterances have the same frames and lengths of their own."""
    rng = np.random.default_rng(0)
    frames = {name: rng.standard_normal((FRAMES, dim)).astype(np.float32) for name, dim in DIMS.items()}
    splits = {}
    for name, n in ROWS.items():
        features = {modality: np.broadcast_to(block, (n, *block.shape)) for modality, block in frames.items()}
        features["text"] = rng.standard_normal((n, TEXT)).astype(np.float32)
        lengths = {modality: rng.integers(50, FRAMES + 1, n) for modality in DIMS}
        labels = rng.uniform(-3, 3, n).astype(np.float32)
        splits[name] = Split(tuple(f"{name}_{i}" for i in range(n)), labels, features, lengths)
    data.save(Dataset(splits["train"], splits["valid"], splits["test"], source="made up"), folder)


def train(folder: Path) -> None:
    """Load and train an epoch with the shapes of the preset for MOSEI; print memory and time as JSON."""
    from mmim_example.trainer import train as train_model  # noqa: PLC0415 - counted as an import

    before = peak()
    frames = {"audio": 16, "vision": 64}
    modalities = {"text": Modality(out=0, standardize=False)} | {
        name: Modality("frames", hidden=hidden, standardize=False) for name, hidden in frames.items()
    }
    config = Config(modalities=modalities, batch_size=64, epochs=1, pair_share=0.5, threads=1)
    start = time.perf_counter()
    dataset = data.load(folder)
    loaded = time.perf_counter() - start
    train_model(config, dataset, folder / "run", device="cpu", progress=False)
    seconds = time.perf_counter() - start - loaded
    print(json.dumps({"imports": before, "peak": peak(), "load_s": loaded, "epoch_s": seconds}))


def peak() -> float:
    """Largest resident memory of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write the file (default: a temporary folder)")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.train:
        train(arguments.train)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write(Path(folder))
        size = (Path(folder) / "features.npz").stat().st_size / 1e9
        words = [sys.executable, "-m", "benchmarks.mmim.memory", "--train", folder]
        found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    print(f"{size:.1f} GB on disk, {sum(ROWS.values()):,} utterances of {FRAMES} frames")
    print(f"loaded in {found['load_s']:.0f} s, an epoch in {found['epoch_s']:.0f} s")
    print(f"peak {found['peak']:.2f} GB of memory, {found['imports']:.2f} GB of it after the imports")
    print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
