"""Tampered files of a run, read by ``train --resume``, ``evaluate`` and ``ablate``: each is refused in one line.

A change is composed of a file, what is changed in it (facts, names, types, shapes and values of tensors, the header,
the bytes), and a hostile value. A few changes leave a valid file, which is read.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from attack import commands
from attack.outcome import Outcome
from multimodal import frames_config, frames_data, small_config, small_data
from safetensors.torch import load_file, save_file

from mmim_example import ablation, config, reading
from mmim_example.trainer import train

TITLE = "Tampered files of MMIM runs"
LARGE = 160

#: Files that are tampered with; some are listed more often.
FILES = ["last.safetensors"] * 3 + ["best.safetensors"] * 2 + ["config.json", "log.jsonl", "result.json"]
#: Values in the place of another.
VALUES: tuple[Any, ...] = (
    None, True, [], [[]], {}, {"a": 1}, "", "x", "1", -1, 0, 1.5, 7, 10**6, 10**30, -(10**400), 1e308, float("nan"),
    float("inf"), [0] * 5, [None], "\U0001f600" * 50, {"": {"": {}}},
)  # fmt: skip


def entries(value: Any) -> list[tuple[Any, ...]]:
    """The places in a document, as names and indexes that lead to them."""
    if isinstance(value, dict):
        found = [(name, *rest) for name, part in value.items() for rest in ((), *entries(part))]
    elif isinstance(value, list):
        found = [(i, *rest) for i, part in enumerate(value[:3]) for rest in ((), *entries(part))]
    else:
        found = []
    return found


def changed(document: Any, rng: random.Random) -> tuple[str, Any]:
    """A document with an entry that is replaced, removed, added or moved."""
    document = copy.deepcopy(document)
    places = entries(document)
    *path, last = rng.choice(places)
    parent = document
    for step in path:
        parent = parent[step]
    how = rng.choice(["value", "value", "value", "remove", "add", "move"])
    if how == "remove":
        del parent[last]
    elif how == "add" and isinstance(parent, dict):
        parent[rng.choice(["unknown", "", "epoch", "model"])] = rng.choice(VALUES)
    elif how == "move":
        parent[last] = copy.deepcopy(document)
    else:
        parent[last] = rng.choice(VALUES)
    return f"{how} at {'.'.join(map(str, (*path, last)))}", document


def tensor_change(tensors: dict[str, torch.Tensor], rng: random.Random) -> str:  # noqa: PLR0912
    """Change a tensor in place; returns how."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    how = rng.choice(
        ["shape", "type", "delete", "rename", "add", "nan", "inf", "flat", "swap", "step", "moments", "huge", "empty"]
    )
    if how == "shape":
        tensors[name] = torch.zeros(*tensor.shape, 2)
    elif how == "type":
        tensors[name] = tensor.to(rng.choice([torch.float64, torch.float16, torch.int64, torch.bool, torch.uint8]))
    elif how == "delete":
        del tensors[name]
    elif how == "rename":
        tensors[rng.choice(["", "/", "a/b/c", "main/x.exp_avg", "main/-1.step", "model", "x" * 500])] = tensors.pop(
            name
        )
    elif how == "add":
        tensors[rng.choice(["main/99.exp_avg", "pairs/0", "model/extra", "other/0.step", "main/0.x"])] = tensor.clone()
    elif how in ("nan", "inf") and tensor.is_floating_point():
        tensors[name] = torch.full_like(tensor, float(how))
    elif how == "flat":
        tensors[name] = tensor.reshape(-1)[:1].clone()
    elif how == "swap":
        other = rng.choice(sorted(tensors))
        tensors[name], tensors[other] = tensors[other], tensors[name]
    elif how == "step":
        for key in [key for key in tensors if key.endswith(".step")] or [name]:
            tensors[key] = torch.full_like(tensors[key], rng.choice([-1.0, 0.5, 0.0]))
    elif how == "moments":
        for key in [key for key in tensors if key.startswith("main/0.")]:
            del tensors[key]
    elif how == "empty":
        tensors.clear()
    else:
        tensors[name] = torch.zeros(1000, 1000)
    return f"{how} {name}"


def rewritten(path: Path, rng: random.Random) -> str:
    """Change one file; returns how."""
    if path.suffix != ".safetensors":
        text = path.read_text(encoding="utf-8")
        how = rng.choice(["entry"] * 5 + ["cut", "deep", "bytes", "empty", "twice", "digits"])
        if how == "entry":
            lines = text.splitlines() if path.suffix == ".jsonl" else [text]
            i = rng.randrange(len(lines))
            how, document = changed(json.loads(lines[i]), rng)
            lines[i] = json.dumps(document)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        else:
            bad = {
                "cut": text[: rng.randrange(1, len(text) - 2)] + "\n",
                "deep": "[" * 100_000 + "\n",
                "bytes": "\x00\udcff{\n",
                "empty": "",
                "twice": '{"event": "start", "event": "epoch", "alpha": 1, "alpha": 2}\n',
                "digits": '{"epoch": ' + "9" * 5000 + "}\n",
            }[how]
            path.write_bytes(bad.encode("utf-8", "surrogateescape"))
        return how
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    facts, tensors = json.loads(header["__metadata__"]["facts"]), load_file(path)
    how = rng.choice(["facts"] * 4 + ["tensors"] * 4 + ["header", "cut", "flip", "text", "twice", "no facts", "long"])
    if how == "facts":
        how, facts = changed(facts, rng)
        save_file(tensors, path, {"facts": json.dumps(facts)})
    elif how == "tensors":
        how = tensor_change(tensors, rng)
        save_file(
            {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, {"facts": json.dumps(facts)}
        )
    elif how == "header":
        how, header = changed(header, rng)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    elif how == "cut":
        path.write_bytes(data[: rng.randrange(len(data))])
    elif how == "flip":
        at = rng.randrange(8 + size)
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :])
    elif how == "text":
        bad = rng.choice(["[" * 100_000, "[]", "null", "3", '"x"', "{", '{"epoch": 1, "epoch": 2}', "{}"])
        save_file(tensors, path, {"facts": bad})
    elif how == "twice":
        text = json.dumps(header).encode()
        first = next(name for name in header if name != "__metadata__")
        text = text[:-1] + b", " + json.dumps({first: header[first]}).encode()[1:]
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    elif how == "no facts":
        save_file(tensors, path, rng.choice([None, {}, {"fact": "{}"}]))
    else:
        path.write_bytes(struct.pack("<Q", rng.choice([2**63, 2**40, size + 1, 0])) + data[8:])
    return how


def swapped(folder: Path, rng: random.Random) -> str:
    """Put one file of the run in the place of another."""
    a, b = rng.sample(["last.safetensors", "best.safetensors", "config.json", "log.jsonl"], 2)
    shutil.copy(folder / a, folder / b)
    return f"{a} in the place of {b}"


def runs(folder: Path) -> list[tuple[Path, Path]]:
    """Two finished runs, of vectors and of frames, each with its data; and the files of an ablation."""
    made = []
    for name, settings, dataset in (
        ("vectors", small_config(epochs=2), small_data((48, 16, 16))),
        ("frames", frames_config(epochs=2, fusion_bound="nwj", fusion_options={}), frames_data()),
    ):
        data, run = folder / f"{name}-data", folder / name
        reading.save(dataset, data)
        train(settings, reading.load(data), run, progress=False)
        made.append((run, data))
    settings = small_config(epochs=1)
    ablation.ablate(settings, reading.load(made[0][1]), folder / "arms", arms={"a": {}}, seeds=[0], progress=False)
    config.write(settings, folder / "arms.json")
    (folder / "arms-of-one.json").write_text('{"a": {}}', encoding="utf-8")
    return made


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Tamper with ``count`` files, and run the command that reads each."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder, broken = Path(name), Path(name) / "broken"
        made = runs(folder)
        for i in range(count):
            run, data = rng.choice(made)
            file = rng.choice(
                ["last.safetensors"] * 3 + ["best.safetensors"] * 2 + ["config.json", "log.jsonl", "result.json"]
            )
            shutil.rmtree(broken, ignore_errors=True)
            if file == "result.json":
                shutil.copytree(folder / "arms", broken)
                how = rewritten(broken / "a" / "seed-0" / file, rng)
                words = ["ablate", broken, "--data", made[0][1], "--config", folder / "arms.json", "--seeds", 1]
                words += ["--arms", folder / "arms-of-one.json", "--metrics", "mae", "--no-progress"]
            else:
                shutil.copytree(run, broken)
                how = swapped(broken, rng) if rng.random() < 0.06 else rewritten(broken / file, rng)
                evaluates = file == "best.safetensors" or (file == "log.jsonl" and rng.random() < 0.5)
                words = ["evaluate" if evaluates else "train", broken, "--data", data]
                words += [] if evaluates else ["--resume", "--no-progress"]
            yield commands.run(*words).outcome(f"{i} {run.name} {words[0]} {file}: {how}", str(broken))
