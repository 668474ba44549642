"""Checkpoints: a safetensors file with everything else as JSON in its header, replaced only when it is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infomax import atomic_write
from mmim_example import config as configuration
from mmim_example.config import Config
from mmim_example.encoders import TransformerEncoder
from mmim_example.model import MMIM
from mmim_example.reading import DataError, Dataset
from mmim_example.reading.files import parse_json
from mmim_example.runs.facts import CheckpointError, Facts, shown

#: Revision of the training procedure. It increases when the same configuration and seed give other weights, so that
#: older runs are neither resumed nor compared with newer ones. 2: stage 0 uses representations with dropout.
REVISION = 2
#: Settings that may change when a run is resumed.
_MAY_CHANGE = ("epochs", "patience", "threads")
#: Approximate number of rows of each modality that :func:`fingerprint` reads.
_ROWS = 64


#: Names of types in the header of a file.
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and values that JSON can represent.

    Raises:
        OSError: if writing fails, for example on a full disk. The previous file at ``path`` is kept.
    """
    from safetensors.torch import save as serialise  # noqa: PLC0415 - an extra

    data = serialise({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"facts": json.dumps(facts)})
    with atomic_write(path) as file:
        file.write(data)


@dataclass(frozen=True)
class Stored:
    """A checkpoint, of which nothing but its header is loaded.

    Attributes:
        path: the file.
        facts: what JSON represents; see :class:`~mmim_example.runs.facts.Facts`.
        kinds: type and shape of each tensor, as ``"F32 (3, 4)"``.
    """

    path: Path
    facts: Any
    kinds: dict[str, str]

    def check(self, expected: Mapping[str, Tensor], prefix: str = "") -> None:
        """Check names, types and shapes of the tensors under ``prefix``. Their values are not loaded.

        Raises:
            CheckpointError: names the first difference.
        """
        wanted = {prefix + name: _kind(tensor) for name, tensor in expected.items()}
        found = {name: kind for name, kind in self.kinds.items() if name.startswith(prefix)}
        differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        if differing:
            first = differing[0]
            raise CheckpointError(
                f"{self.path} must fit the configuration; {len(differing)} tensors differ, the first is "
                f"{first[:100]!r}: expected {wanted.get(first, 'none')}, got {found.get(first, 'none')[:100]}"
            )

    def load(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Load all tensors, after :meth:`check`."""
        from safetensors import safe_open  # noqa: PLC0415 - an extra

        self.check(expected)
        with safe_open(str(self.path), "pt") as file:
            return {name: file.get_tensor(name) for name in expected}

    def check_finite(self, tensors: Mapping[str, Tensor]) -> None:
        """Refuse values that are not finite.

        Raises:
            CheckpointError: names the first tensor with such a value.
        """
        for name, tensor in tensors.items():
            bad = tensor[~tensor.isfinite()]
            if len(bad.flatten()):
                raise CheckpointError(f"{self.path}: {name} must be finite; got {bad.flatten()[0].item()}")


def _kind(tensor: Tensor) -> str:
    return f"{_TYPES.get(tensor.dtype, str(tensor.dtype))} {tuple(tensor.shape)}"


def read(path: Path) -> Stored:
    """Read the header of what :func:`save` wrote. Nothing in the file is executed.

    Raises:
        CheckpointError: if the file is damaged or not a checkpoint.
        FileNotFoundError: if there is no file.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an extra

    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        with safe_open(str(path), "pt") as file:
            facts = parse_json((file.metadata() or {})["facts"], "facts")
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            kinds = {name: f"{part.get_dtype()} {tuple(part.get_shape())}" for name, part in slices.items()}
        with path.open("rb") as header:  # safetensors accepts a name that occurs twice
            parse_json(header.read(int.from_bytes(header.read(8), "little")), "its header")
    except (SafetensorError, KeyError, OSError, DataError) as error:
        raise CheckpointError(f"{path} must be a checkpoint of this example; got: {str(error)[:200]}") from None
    return Stored(path, facts, kinds)


def module_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of a module, without frozen transformers, which are loaded from their original files."""
    parts = model.named_modules()
    frozen = tuple(f"{name}.model." for name, part in parts if isinstance(part, TransformerEncoder) and part.frozen)
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(frozen)}


def check_model(stored: Stored, config: Config, dims: Mapping[str, int], prefix: str = "") -> None:
    """Check that tensors under ``prefix`` are those of a model, before it takes any memory.

    Transformers, whose sizes a checkpoint does not determine, are checked after they are loaded.

    Raises:
        CheckpointError: if they differ, or no model has this configuration.
    """
    if any(spec.kind == "transformer" for spec in config.modalities.values()):
        return
    try:
        with torch.device("meta"):
            model = MMIM(config, dims)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{stored.path}: config and dims must describe a model; got: {reason}") from None
    stored.check(module_tensors(model), prefix)


def stored_config(path: Path, plain: Any) -> Config:
    """The configuration in a checkpoint.

    Raises:
        CheckpointError: if it is not valid.
    """
    try:
        if not isinstance(plain, dict):
            raise ValueError(f"must be an object; got {shown(plain)}")
        return Config.from_dict(plain)
    except ValueError as error:
        raise CheckpointError(f"{path}: config: {error}") from None


def run_config(directory: Path) -> Config:
    """The configuration of a run, in ``config.json``.

    Raises:
        CheckpointError: if it is missing or not valid.
    """
    try:
        return configuration.read(directory / "config.json")
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def check_resumable(stored: Stored, config: Config, dataset: Dataset) -> Facts:
    """Refuse a checkpoint of another revision, configuration or data set. Returns its facts.

    Raises:
        CheckpointError: names the first difference.
    """
    path, plain = stored.path, stored.facts
    revision = plain.get("revision", 1) if isinstance(plain, dict) else 1
    if revision != REVISION or type(revision) is not int:
        raise CheckpointError(
            f"{path} must be of revision {REVISION} of the training procedure; got {shown(revision)}, which "
            "gives other weights: start a new run"
        )
    facts = Facts(path, plain, ("revision", "config", "data", "progress", "optimizers"))
    theirs = stored_config(path, plain["config"]).to_dict()
    ours, theirs = (json.loads(json.dumps(one)) for one in (config.to_dict(), theirs))
    for name in sorted(ours | theirs):
        if name not in _MAY_CHANGE and ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{path} has another configuration: its {name} is {str(theirs.get(name))[:100]}, not {ours.get(name)!r}"
            )
    if facts.text("data") != fingerprint(dataset):
        raise CheckpointError(f"{path} belongs to other data than {dataset.source}")
    return facts


def model_facts(stored: Stored) -> Facts:
    """The facts beside a model. Models of version 0.1 have no ``half_width``.

    Raises:
        CheckpointError: if the entries are not those of a model.
    """
    plain = {"half_width": None} | stored.facts if isinstance(stored.facts, dict) else stored.facts
    return Facts(stored.path, plain, ("config", "dims", "epoch", "valid", "half_width"))


def check_best(last: Path, model: MMIM, best_epoch: int, epoch: int) -> None:
    """Check the best model of a run beside its last checkpoint. One of the next epoch was saved just before a kill.

    Raises:
        CheckpointError, FileNotFoundError: if it is not there, or not of these epochs.
    """
    if best_epoch:
        best = read(last.with_name("best.safetensors"))
        facts = model_facts(best)
        facts.integer("epoch", best_epoch, epoch + 1)
        best.check(module_tensors(model))


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
