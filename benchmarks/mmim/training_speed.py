"""Time per batch and peak memory of a training epoch, compared with the published code on the same batches.

    git clone https://github.com/declare-lab/Multimodal-Infomax CHECKOUT
    python -m benchmarks.mmim.training_speed --official CHECKOUT          # about 15 minutes on one core

writes ``training_speed.md``. The shapes are those of MOSI: batches of 32, text embeddings of 768 columns instead of
BERT (with ``--bert`` also a fine-tuned BERT of base size with random weights), 5 columns of audio and 20 of vision, and
the distribution of words and seconds of its utterances. The published training loop runs without its CUDA calls. Both
versions make each batch during the epoch, the published one with less work than its own data loader. Nothing is
evaluated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from benchmarks import memory, results
from benchmarks.mmim.published import BERT, OfficialBatch, Published, official_batch, official_model
from benchmarks.report import machine, number, table
from infomax import interrupts
from mmim_example.config import PRESETS, Config, Modality
from mmim_example.reading import Dataset, Split
from mmim_example.trainer import Trainer

Result = TypeVar("Result")
BATCH, TOKENS = 32, 50
DIMS = {"text": 768, "audio": 5, "vision": 20}
#: Mean and standard deviation of the log of words and of seconds of the utterances in MOSI.
WORDS, SECONDS = (2.33, 0.62), (1.22, 0.66)
SIDES = ("mmim_example", "mmim_example, legacy=True", "published, no anomaly detection", "published, unchanged")
BASE_BERT: dict[str, Any] = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
HEADER = ("", "stage 0", "stage 1", "both", "elapsed", "CPU ratio", "elapsed ratio", "memory")
NOTE = """\
Milliseconds per batch of 32: CPU time of each stage and of both, and elapsed time of both. Values are medians over
epochs, in which the versions alternate (anomaly detection in the first epoch only). Ratios are relative to the first
row: medians of ratios within the same repetition. Memory: additional peak memory of an epoch in a separate process, in
MB, without imports, data, weights and memory-mapped files such as libraries. The first row is the correct objective
with the defaults of the preset `mosi`. All versions make their batches during the epoch. If all utterances have the
same length, PyTorch runs the packed LSTM of the published code as fast as that of mmim_example."""


@dataclass(frozen=True)
class Case:
    """Shapes of the data: frames of audio and vision; whether all have full length; a BERT to fine-tune."""

    name: str
    audio: int
    vision: int
    full: bool = False
    bert: str = ""


CASES = (
    Case("aligned, 50 frames", 50, 50),
    Case("unaligned, up to 375 and 500 frames", 375, 500),
    Case("unaligned, all of 375 and 500 frames", 375, 500, full=True),
)


def utterances(case: Case, n: int, seed: int) -> Dataset:
    """Random data of these shapes, with n training utterances."""
    rng = np.random.default_rng(seed)
    words = np.exp(rng.normal(*WORDS, n))
    spread = words / 50 if case.audio == case.vision else np.exp(rng.normal(*SECONDS, n)) * 30 / 500
    frames = {"audio": case.audio, "vision": case.vision}
    features = {name: rng.standard_normal((n, most, DIMS[name]), np.float32) for name, most in frames.items()}
    lengths = {name: np.clip((spread * most).astype(int), 1, most) for name, most in frames.items()}
    if case.full:
        lengths = {name: np.full(n, most) for name, most in frames.items()}
    tokens = None
    if case.bert:
        real = np.arange(TOKENS) < np.clip(words + 2, 3, TOKENS)[:, None]
        tokens = np.stack([rng.integers(1000, 30000, (n, TOKENS)), real, np.zeros((n, TOKENS), int)], 1)
    else:
        features["text"] = rng.standard_normal((n, DIMS["text"]), np.float32)
    labels = np.clip(rng.normal(0.1, 1.6, n), -3, 3).astype(np.float32)
    train = Split(tuple(map(str, range(n))), labels, features, lengths, tokens=tokens)
    few = train.rows(np.arange(2))
    return Dataset(train, few, few, source=case.name)


# --- Both versions: an epoch is two functions, one per stage ---------------------------------------------------------

Stages = tuple[Callable[[], object], Callable[[], object]]


class Embeddings(nn.Module):
    """Replaces the published text encoder and returns the given embeddings."""

    def forward(self, sentences: Tensor, *_: object) -> Tensor:
        return sentences


class OfficialTraining:
    """The published training loop on a CPU, without evaluation: its optimisers, clipping and printed sums."""

    def __init__(self, checkout: Path, case: Case, dataset: Dataset) -> None:
        torch.manual_seed(0)
        model = official_model(checkout, DIMS, dropout=0.1, bert=BASE_BERT if case.bert else BERT)
        if not case.bert:
            model.text_enc = Embeddings()
        self.model, self.published = model, Published(model, alpha=CONFIG.alpha, beta=CONFIG.beta)
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        bert = [p for name, p in named if "bert" in name]
        pairs = [p for name, p in named if "bert" not in name and "mi" in name]
        rest = [p for name, p in named if "bert" not in name and "mi" not in name]
        for p in pairs + rest:
            if p.ndim > 1:
                nn.init.xavier_normal_(p)
        decay = CONFIG.weight_decay
        self.pairs = torch.optim.Adam(pairs, lr=CONFIG.lr_pairs, weight_decay=decay)
        self.main = torch.optim.Adam(
            [{"params": bert, "lr": CONFIG.lr_transformer}, {"params": rest, "lr": CONFIG.lr}], weight_decay=decay
        )
        self.train, self.order = dataset.train, np.random.default_rng(0)

    def stages(self) -> Stages:
        """The two stages of an epoch."""
        return lambda: self._fit(self.published.stage_0, self.pairs), lambda: self._fit(
            self.published.stage_1, self.main
        )

    def _fit(self, stage: Callable[[OfficialBatch], dict[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
        self.model.train()
        self.published.start_epoch()
        shown = epoch = nce = 0.0
        bound: Tensor | float = 0.0
        for rows in self.order.permutation(len(self.train)).reshape(-1, BATCH):
            given = official_batch(self.train, rows)
            self.model.zero_grad()
            values = stage(given)
            values["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CONFIG.clip)
            optimizer.step()
            size = len(given.labels)
            shown += values["loss"].item() * size
            epoch += values["loss"].item() * size
            nce += values["nce"].item() * size
            bound = (
                bound + (-values.get("entropy", 0.0) - values["likelihood"]) * size
            )  # a tensor, as in the published code


_FRAMES = Modality("frames", hidden=16, standardize=False)
CONFIG = PRESETS["mosi"].replace(
    modalities={"text": Modality(out=0, standardize=False), "audio": _FRAMES, "vision": _FRAMES}, batch_size=BATCH
)


def configuration(case: Case, *, legacy: bool) -> Config:
    """The configuration of mmim_example for a case."""
    text = Modality("transformer", out=0, pretrained=case.bert) if case.bert else CONFIG.modalities["text"]
    return CONFIG.replace(modalities={**CONFIG.modalities, "text": text}, legacy=legacy)


def stages_of(side: str, case: Case, checkout: Path, dataset: Dataset) -> Stages:
    """The two stages of an epoch of one version."""
    if side.startswith("published"):
        return OfficialTraining(checkout, case, dataset).stages()
    trainer = Trainer(configuration(case, legacy="legacy" in side), dataset, torch.device("cpu"))
    return lambda: trainer.fit_pairs(0), trainer.fit_main


# --- Measurements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """Milliseconds per batch in one epoch: CPU time of each stage, and elapsed time of both."""

    stage_0: float
    stage_1: float
    elapsed: float

    @property
    def cpu(self) -> float:
        """CPU time of both stages."""
        return self.stage_0 + self.stage_1


def timed(stages: Stages, batches: int, *, anomaly: bool) -> Times:
    """Run one epoch and measure it."""
    with torch.autograd.set_detect_anomaly(anomaly):
        start, marks = time.perf_counter(), [time.process_time()]
        for stage in stages:
            stage()
            marks.append(time.process_time())
        elapsed = time.perf_counter() - start
    return Times(*(1000 * value / batches for value in (*np.diff(marks).tolist(), elapsed)))


def times(case: Case, checkout: Path, batches: int, repeats: int) -> dict[str, list[Times]]:
    """Times by version, alternating after a short warm-up epoch (not for BERT); anomaly detection is run once."""
    data, short = utterances(case, batches * BATCH, 0), utterances(case, 2 * BATCH, 1)
    for side in () if case.bert else SIDES:
        timed(stages_of(side, case, checkout, short), 2, anomaly=side == SIDES[-1])
    made = {side: stages_of(side, case, checkout, data) for side in SIDES[:3]}
    made[SIDES[3]] = made[SIDES[2]]
    found: dict[str, list[Times]] = {side: [] for side in SIDES}
    for turn in range(repeats):
        for side in SIDES if turn == 0 else SIDES[:3]:
            found[side].append(timed(made[side], batches, anomaly=side == SIDES[-1]))
    return found


def alone(function: Callable[..., Result], *arguments: object) -> Result:
    """The result of a function that is called in a separate process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            with interrupts.shielded():
                result = pool.submit(function, *arguments)
            return result.result()
        except BaseException:  # leaving the pool would wait for the child
            for process in multiprocessing.active_children():
                process.kill()
            raise


def growth(side: str, case: Case, checkout: Path, batches: int, threads: int) -> float:
    """Increase of the peak memory in an epoch, in MB, without imports, data, weights and mapped files."""
    torch.set_num_threads(threads)
    import transformers.models.bert.modeling_bert  # noqa: F401, PLC0415 - not counted

    stages = stages_of(side, case, checkout, utterances(case, batches * BATCH, 0))
    before = memory.peak() - _mapped()
    timed(stages, batches, anomaly=side == SIDES[-1])
    return (memory.peak() - _mapped() - before) / 1e6


def _mapped() -> int:
    """Bytes in memory of mapped files, mainly libraries; 0 if the system does not report it."""
    return memory.status("RssFile") or 0


def save_bert(directory: Path) -> None:
    """Save a BERT of base size with random weights."""
    from transformers import BertConfig, BertModel  # noqa: PLC0415 - slow to import

    BertModel(BertConfig(**BASE_BERT)).save_pretrained(directory)


# --- The report ------------------------------------------------------------------------------------------------------


def lines(found: dict[str, list[Times]], peaks: dict[str, float]) -> str:
    """The table of one case: medians over epochs, and median ratios to mmim_example within the same repetition."""
    rows = []
    for side, epochs in found.items():
        cells = [
            statistics.median(getattr(t, name) for t in epochs) for name in ("stage_0", "stage_1", "cpu", "elapsed")
        ]
        ratios = [
            statistics.median(
                getattr(t, name) / getattr(ours, name) for t, ours in zip(epochs, found[SIDES[0]], strict=False)
            )
            for name in ("cpu", "elapsed")
        ]
        rows.append([side, *map(number, cells), *(f"{r:.2f}" for r in ratios), number(peaks[side])])
    return table(HEADER, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--official", type=Path, required=True, metavar="CHECKOUT", help="a checkout of the published code"
    )
    parser.add_argument("--batches", type=int, default=20, help="batches of 32 utterances per epoch (default: 20)")
    parser.add_argument("--repeats", type=int, default=3, help="epochs per version (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default: 1)")
    parser.add_argument(
        "--bert", type=int, default=0, metavar="BATCHES", help="also fine-tune BERT on this number of batches"
    )
    results.add_output(parser, "mmim")
    given = parser.parse_args()
    if not (given.official / "src" / "model.py").is_file():
        parser.error(f"--official must be a checkout with src/model.py; got {given.official}")
    torch.set_num_threads(given.threads)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as bert:
        cases = [(case, given.batches, given.repeats) for case in CASES]
        if given.bert:
            alone(save_bert, Path(bert))
            cases.append(
                (Case("aligned, 50 frames, BERT-base fine-tuned on 50 tokens", 50, 50, bert=bert), given.bert, 1)
            )
        # Memory first: on some systems a process inherits the peak of its parent.
        peaks = [{s: alone(growth, s, case, given.official, n, given.threads) for s in SIDES} for case, n, _ in cases]
        parts = []
        for (case, n, repeats), grown in zip(cases, peaks, strict=True):
            found = times(case, given.official, n, repeats)
            heading = f"{case.name[0].upper()}{case.name[1:]}; {n} batches, {repeats} epoch{'s' * (repeats > 1)}:"
            parts.append(f"{heading}\n\n{lines(found, grown)}")
            print(parts[-1], end="\n\n", flush=True)
    sizes = f"--batches {given.batches} --repeats {given.repeats} --threads {given.threads}"
    bert = f" --bert {given.bert}" if given.bert else ""
    command = f"python -m benchmarks.mmim.training_speed --official CHECKOUT {sizes}{bert}"
    threads = f"{given.threads} thread{'s' * (given.threads > 1)}"
    head = f"{date.today()}: {machine()}, transformers {transformers.__version__}, {threads}. `{command}`"
    path = results.folder("mmim", given.output) / "training_speed.md"
    results.replace(path, "\n\n".join([head, NOTE, *parts]) + "\n")
    print(path)


if __name__ == "__main__":
    interrupts.run(main)
