"""Memory for a data set of the size of MOSEI: 22,856 utterances of 500 frames, read from a memory map.

    python -m benchmarks.mmim.memory --folder DIR   # writes 5 GB, trains one epoch, deletes the files

prints the peak resident memory of the training process (Linux and macOS), and its memory after the imports.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import memory
from benchmarks.children import run_child
from benchmarks.report import machine
from infomax import interrupts
from mmim_example import reading as data
from mmim_example.config import Config, Modality
from mmim_example.reading import Dataset, Split

ROWS = {"train": 16326, "valid": 1871, "test": 4659}
FRAMES, DIMS = 500, {"audio": 74, "vision": 35}
TEXT = 768


def write(folder: Path) -> None:
    """Write the data set; all utterances share their frames and differ in length."""
    rng = np.random.default_rng(0)
    frames = {name: rng.standard_normal((FRAMES, dim)).astype(np.float32) for name, dim in DIMS.items()}
    splits = {}
    for name, n in ROWS.items():
        features = {modality: np.broadcast_to(block, (n, *block.shape)) for modality, block in frames.items()}
        features["text"] = rng.standard_normal((n, TEXT)).astype(np.float32)
        lengths = {modality: rng.integers(50, FRAMES + 1, n) for modality in DIMS}
        labels = rng.uniform(-3, 3, n).astype(np.float32)
        splits[name] = Split(tuple(f"{name}_{i}" for i in range(n)), labels, features, lengths)
    data.save(Dataset(splits["train"], splits["valid"], splits["test"], source="random"), folder)


def train(folder: Path) -> None:
    """Load the data and train one epoch with the shapes of the preset for MOSEI; print memory and time as JSON."""
    from mmim_example.trainer import train as train_model  # noqa: PLC0415 - counted as an import

    before = memory.peak() / 1e9
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
    print(json.dumps({"imports": before, "peak": memory.peak() / 1e9, "load_s": loaded, "epoch_s": seconds}))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder for the file (default: a temporary folder)")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.train:
        train(arguments.train)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write(Path(folder))
        size = (Path(folder) / "features.npz").stat().st_size / 1e9
        words = [sys.executable, "-m", "benchmarks.mmim.memory", "--train", folder]
        found = json.loads(run_child(words).stdout)
    print(f"{size:.1f} GB on disk, {sum(ROWS.values()):,} utterances of {FRAMES} frames")
    print(f"loading: {found['load_s']:.0f} s; one epoch: {found['epoch_s']:.0f} s")
    print(f"peak memory: {found['peak']:.2f} GB, of which {found['imports']:.2f} GB after the imports")
    print(machine())
    return 0


if __name__ == "__main__":
    interrupts.run(main)
