"""One file a state: tensors by safetensors, everything else as JSON in its header; replaced whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmim_example.config import Config
from mmim_example.reading import Dataset

#: Of how this example trains: goes up when a configuration and a seed come to give other weights, so that older runs
#: are neither resumed nor compared with newer ones. 2: stage 0 sees representations with dropout.
REVISION = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or is of another configuration."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able facts. If writing fails, what was at ``path`` is still there.

    Raises:
        OSError: if the disk is full, say; ``path`` is then as it was.
    """
    from safetensors.torch import save as serialise  # noqa: PLC0415 - an extra

    data = serialise({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"facts": json.dumps(facts)})
    beside = path.with_name(path.name + ".partial")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"could not save {path}: {error.strerror}; the file that was there is kept"
        ) from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint. Nothing in it is executed.

    Raises:
        CheckpointError: if it is not one of ours, or damaged.
        FileNotFoundError: if there is none.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an extra

    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        with safe_open(str(path), "pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 - not a dict
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} must be a checkpoint of this example; got: {error}") from None


def module_tensors(model: nn.Module) -> dict[str, Tensor]:
    """State of a module; what a frozen transformer holds is left out, since it is read from where it came."""
    frozen = [
        f"{name}."
        for name, part in model.named_modules()
        if getattr(part, "config", None) is not None and name and not any(p.requires_grad for p in part.parameters())
        and any(True for _ in part.parameters())
    ]  # fmt: skip
    return {k: v for k, v in model.state_dict().items() if not any(k.startswith(name) for name in frozen)}


def load_module(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set a module's state from :func:`module_tensors`.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    expected = {name: tuple(t.shape) for name, t in module_tensors(model).items()}
    came = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected != came:
        differing = sorted(name for name in expected | came if expected.get(name) != came.get(name))
        first = differing[0]
        raise CheckpointError(
            f"the checkpoint must be of this configuration; {len(differing)} tensors differ, the first {first!r}: "
            f"{came.get(first, 'absent')} for {expected.get(first, 'absent')}"
        )
    model.load_state_dict(dict(tensors), strict=False)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors and JSON-able facts."""
    state = optimizer.state_dict()
    tensors, scalars = {}, {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *facts["scalars"].items()):
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})


def check_resumable(facts: Mapping[str, Any], config: Config, path: Path) -> None:
    """Refuse to go on from a checkpoint of another configuration, or of another revision of this example.

    Raises:
        CheckpointError: names what differs.
    """
    if facts.get("revision", 1) != REVISION:
        raise CheckpointError(
            f"{path} must be of revision {REVISION} of this example's training; got {facts.get('revision', 1)}, which "
            "gives other weights: train anew"
        )
    check_config(facts, config, path)


def check_config(facts: Mapping[str, Any], config: Config, path: Path) -> None:
    """Refuse a checkpoint, or a model, of another configuration.

    Raises:
        CheckpointError: names the first setting that differs.
    """
    ours = json.loads(json.dumps(config.to_dict()))
    theirs = facts.get("config", {})
    for name in sorted(ours | theirs):
        if name not in _MAY_CHANGE and ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{path} is of another configuration: its {name} is {theirs.get(name)!r}, not {ours.get(name)!r}"
            )


#: Settings that a resumed run may change: how long to go on, and on how many threads.
_MAY_CHANGE = ("epochs", "patience", "threads")
#: Rows of each modality that :func:`fingerprint` reads, about.
_LOOKED_AT = 64


def fingerprint(dataset: Dataset) -> str:
    """A hash of ids, labels, dimensions and some rows of the features: a resumed run must find the same."""
    digest = hashlib.sha256()
    for part, split in dataset.splits().items():
        digest.update(json.dumps([part, split.ids, sorted(split.dims().items())]).encode())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        for name, array in sorted(split.features.items()):
            some = array[:: max(1, len(array) // _LOOKED_AT)]  # of a large file, not all of it
            digest.update(name.encode() + np.ascontiguousarray(some).tobytes())
    return digest.hexdigest()
