"""Values and gradients of ``Config(legacy=True)`` and of the published MMIM, from the same weights and batches.

    git clone https://github.com/declare-lab/Multimodal-Infomax CHECKOUT
    python -m benchmarks.mmim.legacy --official CHECKOUT

The code of the checkout is run, not copied. Nothing is downloaded: its BERT is small, with random weights. Both models
process consecutive batches with different sizes and lengths, without dropout. Each number is the largest difference
relative to the largest value of the same kind. The exit status is 1 if a number exceeds the tolerance. With two layers
and both directions, the published code uses the states of the first layer, so the model of mmim_example has one.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.mmim.published import BERT, Numbers, OfficialBatch, Published, official_batch, official_model
from benchmarks.report import table
from infomax import interrupts
from mmim_example.config import Config, Modality
from mmim_example.model import MMIM
from mmim_example.published_weights import load_official, official_name
from mmim_example.reading import Split, batch

Array = np.ndarray[Any, np.dtype[Any]]

#: Rows of the consecutive batches; the entropy is included from the third on.
SIZES = (32, 17, 48, 24)
TOKENS, FRAMES = 20, {"audio": (30, 5), "vision": (40, 20)}
ALPHA, BETA = 0.3, 0.1
#: Sizes of the published model, by its options.
VARIANTS: dict[str, dict[str, int]] = {
    "default": {},
    "bidirectional, cpc_layers 2": {"bidirectional": True, "cpc_layers": 2},
    "bidirectional, n_layer 2": {"bidirectional": True, "n_layer": 2},
}
COLUMNS = ("prediction", "likelihood", "entropy", "nce", "loss 0", "loss 1", "gradients 0", "gradients 1")


# --- Ours ------------------------------------------------------------------------------------------------------------


class Ours:
    """The model of mmim_example in legacy mode, with the same terms as :class:`Published`."""

    def __init__(self, model: MMIM, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype

    def _batch(self, split: Split, rows: Array) -> Any:
        made = batch(split, rows, names=list(self.model.config.modalities))
        for name in ("audio", "vision"):
            made.inputs[name] = made.inputs[name].to(self.dtype)
        return made

    def _terms(self, h: Mapping[str, Tensor], fused: Tensor) -> tuple[Tensor, Tensor]:
        pairs = zip(self.model.config.pairs, self.model.pair_bounds.values(), strict=True)
        likelihood = sum((bound.likelihood(h[x], h[y]) for (x, y), bound in pairs), fused.new_zeros(()))  # type: ignore[operator]
        cpc = sum((bound(h[name], fused) for name, bound in self.model.fusion_bounds.items()), fused.new_zeros(()))
        return likelihood, -cpc

    def stage_0(self, split: Split, rows: Array) -> Numbers:
        output = self.model(self._batch(split, rows))
        likelihood, nce = self._terms(output.representations, output.fused)
        loss = self.model.pair_loss(output.representations, output.present)
        assert loss is not None  # noqa: S101 - for the type checker
        return {"prediction": output.prediction, "likelihood": likelihood, "nce": nce, "loss": loss}

    def stage_1(self, split: Split, rows: Array) -> Numbers:
        given = self._batch(split, rows)
        output = self.model(given)
        terms = self.model.terms(output, given.labels.to(self.dtype))
        likelihood, nce = self._terms(output.representations, output.fused)
        entropy = torch.stack(list(terms.pairs.values())).sum() - likelihood
        return {
            "prediction": output.prediction, "likelihood": likelihood, "nce": nce, "entropy": entropy,
            "loss": self.model.loss(terms),
        }  # fmt: skip


def our_model(official: nn.Module, dims: Mapping[str, int], sizes: Mapping[str, int]) -> MMIM:
    """The legacy model of mmim_example with the weights of the published model."""
    both = bool(sizes.get("bidirectional", False))
    frames = Modality("frames", hidden=16, dropout=0.0, standardize=False, bidirectional=both)
    options = {"layers": sizes.get("cpc_layers", 1)}
    with tempfile.TemporaryDirectory() as bert:
        official.text_enc.bertmodel.save_pretrained(bert)  # type: ignore[union-attr, operator]
        text = Modality("transformer", out=0, pretrained=bert)
        modalities = {"text": text, "audio": frames, "vision": frames}
        settings: dict[str, Any] = {
            "legacy": True,
            "dropout": 0.0,
            "alpha": ALPHA,
            "beta": BETA,
            "fusion_options": options,
        }
        model = MMIM(Config(modalities=modalities, **settings), dims)
    load_official(model, official.state_dict())
    return model


# --- The comparison --------------------------------------------------------------------------------------------------


def utterances(n: int, seed: int) -> Split:
    """Random utterances of all lengths, some with label 0; values beyond the lengths must be ignored."""
    rng = np.random.default_rng(seed)
    tokens = np.stack([rng.integers(5, 100, (n, TOKENS)), np.ones((n, TOKENS), int), np.zeros((n, TOKENS), int)], 1)
    tokens[:, 1] = np.arange(TOKENS) < rng.integers(1, TOKENS + 1, n)[:, None]
    return Split(
        tuple(map(str, range(n))),
        (rng.integers(-9, 10, n) / 3).astype(np.float32),
        {name: rng.normal(size=(n, *shape)).astype(np.float32) for name, shape in FRAMES.items()},
        {name: rng.integers(1, shape[0] + 1, n) for name, shape in FRAMES.items()},
        tokens=tokens,
    )


def to(given: OfficialBatch, dtype: torch.dtype) -> OfficialBatch:
    """Convert features and labels to this type."""
    arguments = tuple(a.to(dtype) if a is not None and a.is_floating_point() else a for a in given.arguments)
    return OfficialBatch(arguments, given.labels.to(dtype))


def gradients(model: nn.Module, loss: Tensor) -> Numbers:
    """Gradient of every parameter by name; zero if the loss does not depend on it."""
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def difference(ours: Tensor, theirs: Tensor, least: float = 0.0) -> float:
    """Largest difference relative to the largest value, or to ``least`` if that is larger; infinite for NaN."""
    largest = (ours - theirs).abs().max().item()
    if math.isnan(largest):
        return math.inf
    return largest and largest / max(theirs.abs().max().item(), least, sys.float_info.min)


def gradient_difference(ours: Numbers, theirs: Numbers) -> float:
    """Largest difference over all parameters, each relative to its own largest gradient.

    The divisor is at least a thousandth of the largest gradient of the model, because some gradients are zero except
    for rounding, such as those of the key biases of attention.
    """
    least = max(g.abs().max().item() for g in theirs.values()) / 1000
    return max(difference(g, theirs[official_name(name)], least) for name, g in ours.items())


def compare(checkout: Path, dtype: torch.dtype, sizes: Mapping[str, int]) -> Iterator[tuple[str, dict[str, float]]]:
    """Each batch by name, with its relative differences by column."""
    torch.manual_seed(0)
    dims = {"text": int(BERT["hidden_size"]), **{name: columns for name, (_, columns) in FRAMES.items()}}
    official = official_model(checkout, dims, dropout=0.0, bert=BERT, **sizes)
    model = our_model(official, dims, sizes).to(dtype)
    theirs, ours = Published(official.to(dtype), alpha=ALPHA, beta=BETA), Ours(model, dtype)
    split = utterances(sum(SIZES), seed=1)
    parts = np.split(np.arange(len(split)), np.cumsum(SIZES)[:-1])
    runs = [("evaluation", False, parts[:2]), ("epoch 1", True, parts), ("epoch 2", True, parts[::-1])]
    for run, training, order in runs:
        for one in (model, official):
            one.train(training)
        model.start_epoch()
        theirs.start_epoch()
        for number, rows in enumerate(order):
            given = to(official_batch(split, rows), dtype)
            found = _differences(ours.stage_0(split, rows), theirs.stage_0(given), model, official, 0)
            if training:
                found |= _differences(ours.stage_1(split, rows), theirs.stage_1(given), model, official, 1)
            yield f"{run}, batch {number}, {len(rows)} rows", found


def _differences(ours: Numbers, theirs: Numbers, model: nn.Module, official: nn.Module, stage: int) -> dict[str, float]:
    found = {name: difference(ours[name], value) for name, value in theirs.items() if name != "loss"}
    found[f"loss {stage}"] = difference(ours["loss"], theirs["loss"])
    found[f"gradients {stage}"] = gradient_difference(
        gradients(model, ours["loss"]), gradients(official, theirs["loss"])
    )
    return found


def lines(name: str, rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """The table of one floating-point type."""
    cells = [[row, *(f"{found[c]:.1e}" if c in found else "–" for c in COLUMNS)] for row, found in rows]
    return table([name, *COLUMNS], cells)


def main() -> None:
    from transformers.utils import logging  # noqa: PLC0415 - slow to import

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--official", type=Path, required=True, metavar="CHECKOUT", help="a checkout of the published code"
    )
    parser.add_argument("--tolerance", type=float, default=1e-5, help="largest relative difference (default: 1e-5)")
    arguments = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    worst = 0.0
    try:
        for (name, sizes), dtype in itertools.product(VARIANTS.items(), (torch.float64, torch.float32)):
            rows = list(compare(arguments.official, dtype, sizes))
            worst = max(worst, *(value for _, found in rows for value in found.values()))
            print(lines(f"{name}, {str(dtype).removeprefix('torch.')}", rows), end="\n\n")
    except FileNotFoundError as error:
        parser.error(str(error))
    agree = worst <= arguments.tolerance
    print(f"Largest relative difference: {worst:.1e}; {'within' if agree else 'ABOVE'} {arguments.tolerance:g}.")
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    interrupts.run(main)
