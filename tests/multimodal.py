"""Small configurations and data for the tests of mmim_example."""

import multiprocessing
import resource
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from infomax import distributed
from mmim_example.config import Config, Modality
from mmim_example.measurement import whole
from mmim_example.model import MMIM
from mmim_example.reading import Dataset, Split, batch
from mmim_example.runs import checkpoint
from mmim_example.synthetic import generate
from mmim_example.trainer import Trainer

#: Seconds that a process may take.
TIMEOUT = 600


def small_config(**changes):
    """Three modalities of vectors, quick to train, without dropout; threads set, so that runs are the same."""
    settings = {
        "modalities": {name: Modality(out=4, dropout=0.0) for name in ("text", "audio", "vision")},
        "fusion": 8,
        "dropout": 0.0,
        "batch_size": 16,
        "epochs": 3,
        "memory": 32,
        "threads": 1,
    }
    return Config(**(settings | changes))


def small_data(n=(96, 32, 32), seed=0) -> Dataset:
    return generate(n, seed=seed)[0]


def frames_data(n=(48, 16, 16), seed=0, steps=7) -> Dataset:
    """Text as vectors, audio and vision as frames of different lengths, some of them 0."""
    rng = np.random.default_rng(seed)
    splits = {}
    for name, rows in zip(("train", "valid", "test"), n, strict=True):
        lengths = {m: rng.integers(0, steps + 1, rows) for m in ("audio", "vision")}
        features = {
            "text": rng.standard_normal((rows, 6)).astype(np.float32),
            "audio": rng.standard_normal((rows, steps, 3)).astype(np.float32),
            "vision": rng.standard_normal((rows, steps, 4)).astype(np.float32),
        }
        labels = (features["text"][:, 0] + 0.1 * rng.standard_normal(rows)).astype(np.float32)
        ids = tuple(f"{name}{i // 4}_{i}" for i in range(rows))
        splits[name] = Split(ids, labels, features, {m: v.astype(np.int64) for m, v in lengths.items()})
    return Dataset(**splits, nonfinite={}, source="frames")


def frames_config(**changes):
    frames = Modality("frames", hidden=5, out=4, dropout=0.0, standardize=False)
    modalities = {"text": Modality(out=0, standardize=False), "audio": frames, "vision": frames}
    return small_config(modalities=modalities, **changes)


def tensors(run: Path, name="last.safetensors"):
    return load_file(run / name)


def assert_same(a: dict, b: dict):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def start(function, *arguments):
    """A process that runs a function. All are forked from one server, which imports PyTorch and the example once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch._dynamo", "matplotlib.figure", "mmim_example.__main__", "mmim_example.trainer"]
    )
    started = context.Process(target=function, args=arguments, daemon=True)
    started.start()
    return started


def finish(*started):
    """Wait for processes, and expect that all succeed."""
    for one in started:
        one.join(TIMEOUT)
    assert [one.exitcode for one in started] == [0] * len(started)


def two_batches(parts):
    """Gradients and memories after two batches; ``parts`` are this process's rows of each."""
    settings = frames_config(alpha=0.5, beta=0.5)
    dataset = frames_data()
    torch.manual_seed(0)
    model = MMIM(settings, dataset.dims()).double()
    for rows in parts:
        read = batch(dataset.train, rows, names=list(settings.modalities))
        inputs = {name: x.double() for name, x in read.inputs.items()}
        output, labels = whole(model(type(read)(inputs, read.lengths, read.present, read.labels)), read.labels.double())
        model.zero_grad()
        model.loss(model.terms(output, labels)).backward()
        distributed.average_gradients(model.parameters())
    state = {f"memory {name}": b.clone() for name, b in model.named_buffers() if "memory" in name}
    return state | {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def halves_of_batches(rank, world, store, results, cuts):
    """Save what :func:`two_batches` gives for this process's share of each batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    parts = [np.split(np.arange(start, start + 16), cuts)[rank] for start in (0, 16)]
    found = two_batches(parts)
    torch.save(found, f"{results}-{rank}")
    dist.destroy_process_group()


def stage_0(rank, world, store, results):
    """Save the pairs' bounds of this process after stage 0, with dropout and batches that do not split evenly."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    modalities = {name: Modality(out=4, dropout=0.5) for name in ("text", "audio", "vision")}
    settings = small_config(modalities=modalities, batch_size=15, noise=0.3, pair_start=True, correlated=True)
    made = Trainer(settings, small_data(), torch.device("cpu"))
    made.fit_pairs(1)
    torch.save(made.model.pair_bounds.state_dict(), f"{results}-{rank}")
    dist.destroy_process_group()


def save_on_a_full_disk(path):
    """Save a large checkpoint. A limit on file sizes stands for a full disk; the error becomes a file beside it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        checkpoint.save(path, {"a": torch.ones(100_000)}, {"epoch": 2})
    except OSError as error:
        path.with_name("error").write_text(str(error), encoding="utf-8")
