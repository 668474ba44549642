"""The published code of MMIM (github.com/declare-lab/Multimodal-Infomax), loaded from a checkout: model and batches.

The code of the checkout is run, not copied. Nothing is downloaded: its BERT has random weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from mmim_example.reading import Split

Array = np.ndarray[Any, np.dtype[Any]]
Numbers = dict[str, Tensor]

#: Configuration of a small BERT.
BERT = {
    "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


@contextmanager
def official_class(checkout: Path) -> Iterator[type[nn.Module]]:
    """The class of the published model, from ``checkout/src``; its module names are released afterwards.

    Raises:
        FileNotFoundError: if the checkout has no ``src/model.py``.
    """
    source = (checkout / "src").resolve()
    if not (source / "model.py").is_file():
        raise FileNotFoundError(f"the checkout must have src/model.py; got {checkout}")
    names = ("model", "modules", "modules.encoders")
    held = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    with mock.patch.object(sys, "path", [str(source), *sys.path]), mock.patch.object(sys, "dont_write_bytecode", True):
        try:
            yield import_module("model").MMIM
        finally:
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(held)


def official_model(
    checkout: Path, dims: Mapping[str, int], *, dropout: float, bert: Mapping[str, Any], **sizes: int
) -> nn.Module:
    """The published model with its default sizes, and a BERT of this configuration with random weights.

    Args:
        sizes: options of the published code that differ from their defaults, as ``cpc_layers=2``.

    Raises:
        FileNotFoundError: as :func:`official_class`.
    """
    from transformers import BertConfig, BertModel  # noqa: PLC0415 - slow to import

    defaults = {
        "add_va": False, "n_class": 1, "n_layer": 1, "cpc_layers": 1, "bidirectional": False, "cpc_activation": "Tanh",
        "mmilb_mid_activation": "ReLU", "mmilb_last_activation": "Tanh", "d_tin": dims["text"], "d_ain": dims["audio"],
        "d_vin": dims["vision"], "d_ah": 16, "d_vh": 16, "d_aout": 16, "d_vout": 16, "d_prjh": 128,
        "dropout_a": dropout, "dropout_v": dropout, "dropout_prj": dropout,
    }  # fmt: skip
    given = SimpleNamespace(**{**defaults, **sizes})
    with (
        official_class(checkout) as cls,
        mock.patch.object(BertConfig, "from_pretrained", lambda _, **changes: BertConfig(**bert, **changes)),
        mock.patch.object(BertModel, "from_pretrained", lambda _, config: BertModel(config)),
    ):
        return cls(given)


@dataclass(frozen=True)
class OfficialBatch:
    """The input of the published model: positional ``arguments``, frames time-major; labels ``(B, 1)``."""

    arguments: tuple[Tensor | None, ...]
    labels: Tensor


def official_batch(split: Split, rows: Array) -> OfficialBatch:
    """A batch as from the published data loader; without tokens, text embeddings have shape ``(B, 1, D)``.

    As there, frames are not cut to the longest utterance of the batch.
    """
    frames = {name: torch.from_numpy(split.features[name][rows]).transpose(0, 1).contiguous() for name in split.lengths}
    lengths = {name: torch.from_numpy(split.lengths[name][rows]) for name in split.lengths}
    text = None if split.tokens is not None else torch.from_numpy(split.features["text"][rows])[:, None]
    ids, mask, types = (None,) * 3 if split.tokens is None else torch.from_numpy(split.tokens[rows]).unbind(1)
    return OfficialBatch(
        (text, frames["vision"], frames["audio"], lengths["vision"], lengths["audio"], ids, types, mask),
        torch.from_numpy(split.labels[rows])[:, None],
    )


class Published:
    """The published model with the state of its training loop: the projections of the last batch."""

    def __init__(self, model: nn.Module, *, alpha: float, beta: float) -> None:
        self.model, self.alpha, self.beta = model, alpha, beta
        self.start_epoch()

    def start_epoch(self) -> None:
        """Clear the memory, as at the start of each epoch."""
        self._batches = 0
        self._memory: dict[str, Any] = {"tv": None, "ta": None, "va": None}

    def stage_0(self, given: OfficialBatch) -> Numbers:
        """Prediction and terms; ``loss`` is the loss of the likelihood stage."""
        likelihood, nce, prediction, _, _ = self.model(*given.arguments)
        return {"prediction": prediction[:, 0], "likelihood": likelihood, "nce": nce, "loss": -likelihood}

    def stage_1(self, given: OfficialBatch) -> Numbers:
        """Prediction and terms; ``loss`` is the loss of the main stage, with the entropy from the third batch on."""
        likelihood, nce, prediction, classes, entropy = self.model(*given.arguments, given.labels, self._memory)
        entropy = entropy if self._batches > 1 else likelihood.new_zeros(())
        self._batches += 1
        for pair in ("tv", "ta"):
            self._memory[pair] = {sign: [classes[pair][sign].detach()] for sign in ("pos", "neg")}
        task = nn.functional.l1_loss(prediction, given.labels)
        loss = task + self.alpha * nce - self.beta * likelihood - self.beta * entropy
        return {
            "prediction": prediction[:, 0], "likelihood": likelihood, "nce": nce, "entropy": entropy, "loss": loss
        }  # fmt: skip
