"""Checkpoints: a safetensors file with everything else as JSON in its header, replaced only when it is complete."""

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
from mmim_example.encoders import TransformerEncoder
from mmim_example.reading import Dataset

#: Revision of the training procedure. It increases when the same configuration and seed give other weights, so that
#: older runs are neither resumed nor compared with newer ones. 2: stage 0 uses representations with dropout.
REVISION = 2
#: Settings that may change when a run is resumed.
_MAY_CHANGE = ("epochs", "patience", "threads")
#: Approximate number of rows of each modality that :func:`fingerprint` reads.
_ROWS = 64


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or belongs to another run."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and values that JSON can represent.

    Raises:
        OSError: if writing fails, for example on a full disk. The previous file at ``path`` is kept.
    """
    from safetensors.torch import save as serialise  # noqa: PLC0415 - an extra

    data = serialise({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"facts": json.dumps(facts)})
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, f"could not save {path}: {error.strerror}; the previous file is kept") from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save` wrote. Nothing in the file is executed.

    Raises:
        CheckpointError: if the file is damaged or not a checkpoint.
        FileNotFoundError: if there is no file.
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
    """The state of a module, without frozen transformers, which are loaded from their original files."""
    parts = model.named_modules()
    frozen = tuple(f"{name}.model." for name, part in parts if isinstance(part, TransformerEncoder) and part.frozen)
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(frozen)}


def load_module(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`module_tensors`.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    expected = {name: tuple(t.shape) for name, t in module_tensors(model).items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected != found:
        differing = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        first = differing[0]
        raise CheckpointError(
            f"the checkpoint must fit the configuration; {len(differing)} tensors differ, the first is {first!r}: "
            f"expected {expected.get(first, 'none')}, got {found.get(first, 'none')}"
        )
    model.load_state_dict(dict(tensors), strict=False)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of an optimiser: its tensors, and values that JSON can represent."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            part: dict[str, Any] = tensors if isinstance(value, Tensor) else scalars
            part[f"{index}.{key}"] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *facts["scalars"].items()):
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})


def check_resumable(facts: Mapping[str, Any], config: Config, dataset: Dataset, path: Path) -> None:
    """Refuse a checkpoint of another revision, configuration or data set.

    Raises:
        CheckpointError: names the first difference.
    """
    if facts.get("revision", 1) != REVISION:
        raise CheckpointError(
            f"{path} must be of revision {REVISION} of the training procedure; got {facts.get('revision', 1)}, which "
            "gives other weights: start a new run"
        )
    ours, theirs = json.loads(json.dumps(config.to_dict())), facts["config"]
    for name in sorted(ours | theirs):
        if name not in _MAY_CHANGE and ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{path} has another configuration: its {name} is {theirs.get(name)!r}, not {ours.get(name)!r}"
            )
    if facts["data"] != fingerprint(dataset):
        raise CheckpointError(f"{path} belongs to other data than {dataset.source}")


def fingerprint(dataset: Dataset) -> str:
    """A hash of ids, labels, dimensions and some rows of the features. A resumed run must have the same."""
    digest = hashlib.sha256()
    for part, split in dataset.splits().items():
        digest.update(json.dumps([part, split.ids, sorted(split.dims().items())]).encode())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
        for name, array in sorted(split.features.items()):
            some = array[:: max(1, len(array) // _ROWS)]
            digest.update(name.encode() + np.ascontiguousarray(some).tobytes())
    return digest.hexdigest()
