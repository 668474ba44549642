"""Readings of a trained MMIM compared with known mutual information, during training.

    python -m benchmarks.mmim.known_truth --seeds 3 --rows 2000 1000 2000   # the committed results
    python -m benchmarks.mmim.known_truth --report                          # page and figure from the CSV alone

A reading is the value that a trained bound of MMIM reports. Three modalities are generated so that text and vision have
a known mutual information (`known_truth_plan.LEVELS`). By the data-processing inequality, their representations cannot
have more. A reading of the input level above the truth is therefore wrong, for all encoders. The mutual information of
the representations of the test split is estimated separately, with an InfoNCE fitted to them after training. For the
fusion level the truth is infinite, because Z is a function of the representations. So Z is also computed without one
modality; its mutual information with that modality is then at most that of the other modalities, which is known.

All runs are stored in ``--runs``; an interrupted run resumes. Writes ``known_truth.csv`` (one row per quantity and
run), ``known_truth.md`` and ``known_truth.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import infomax
from benchmarks import results, sweep
from benchmarks.mmim import known_truth_plan as plan
from benchmarks.mmim.known_truth_report import write_report
from benchmarks.report import machine
from infomax import interrupts, tasks
from mmim_example.ablation import ablate, folder
from mmim_example.config import preset
from mmim_example.measurement import batch_of
from mmim_example.model import MMIM, Output
from mmim_example.reading import Dataset, Split, batches, without
from mmim_example.results.evaluation import load_model
from mmim_example.runs import log as logs
from mmim_example.runs.checkpoint import REVISION
from mmim_example.synthetic import generate

Array = np.ndarray[Any, np.dtype[Any]]
Row = dict[str, Any]
Rows = tuple[int, int, int]

CONFIG = preset("generated")
#: The modality that is left out of Z.
LEFT_OUT = "text"
FIELDS = (
    "level", "variant", "seed", "rows", "split", "quantity", "of", "value", "low", "high", "limit", "epochs",
    "warnings", "date", "machine",
)  # fmt: skip


def about_target(level: float) -> dict[str, Any]:
    """Information of each modality about the target, in nats, so that text and vision share ``level`` nats.

    Text and vision correlate with the target by r, so with each other by r², and −½ log(1 − r⁴) is ``level``. The
    information of audio about the target is half of theirs.
    """
    alone = -0.5 * math.log1p(-math.sqrt(-math.expm1(-2 * level)))
    return {"text": alone, "audio": alone / 2, "vision": alone}


def generated(level: float, rows: Rows, seed: int) -> tuple[Dataset, dict[str, float]]:
    """The data, and the true mutual information of each pair, and of each modality with all others."""
    dataset, truths = generate(rows, **about_target(level), seed=seed)
    speech = tasks.tri_modal(**about_target(level), seed=seed)
    others = {m: speech.mi((m,), tuple(o for o in speech.modalities if o != m)) for m in speech.modalities}
    return dataset, truths | others


def run(level: float, variant: str, seed: int, rows: Rows, runs: Path) -> list[Row]:
    """Rows of the CSV for one model, which is trained and evaluated unless its results are stored."""
    torch.set_num_threads(1)
    where = runs / "-".join(map(str, rows)) / f"level-{level:g}"
    dataset, limits = generated(level, rows, seed)
    start = time.process_time()
    found = ablate(CONFIG, dataset, where, arms={variant: plan.VARIANTS[variant]}, seeds=[seed], progress=False)[
        variant
    ]
    directory = folder(where, variant, seed)
    kept = directory / "known.json"
    if not kept.is_file():
        key = {"level": f"{level:g}", "variant": variant, "seed": seed, "rows": " ".join(map(str, rows))}
        facts = {"date": f"{date.today():%Y-%m-%d}", "machine": machine()}
        if math.isfinite(found["valid"][0]):
            made = [*readings(directory, found, limits), *measured(directory, dataset, limits, seed)]
        else:
            made = [{"quantity": "failed", "value": math.nan}]
        made.append({"quantity": "CPU seconds", "value": time.process_time() - start})
        results.replace(kept, json.dumps([{**key, **_short(row), **facts} for row in made], indent=1))
    loaded: list[Row] = json.loads(kept.read_text(encoding="utf-8"))
    return loaded


def readings(directory: Path, found: Mapping[str, Sequence[float]], limits: Mapping[str, float]) -> Iterator[Row]:
    """Readings of the model: by epoch on training batches and validation rows; at the selected epoch, on test rows.

    Args:
        directory: of the run. found: test metrics from :func:`~mmim_example.ablation.ablate`.
        limits: true values by pair. The limit of a single modality is the ceiling of its bound.
    """
    epochs = [record for record in logs.records(directory) if record["event"] == "epoch"]
    epoch = int(found["epoch"][0])
    yield {"quantity": "kept epoch", "value": epoch}
    yield {"quantity": "task loss", "split": "test", "value": found["mae"][0]}
    for level, shown in (("pairs", "I({})"), ("fusion", "I({};Z)")):
        for name in epochs[0]["valid"][level]:
            limit = limits[name] if level == "pairs" else epochs[epoch - 1]["ceilings"]["fusion"][name]
            row = {"quantity": "reading", "of": name, "limit": limit}
            for split in ("train", "valid"):
                series = [record[split][level][name] for record in epochs]
                yield row | {"split": split, "value": series[epoch - 1], "epochs": series}
            yield row | {"split": "test", "value": found[shown.format(name)][0]}


def measured(directory: Path, dataset: Dataset, limits: Mapping[str, float], seed: int) -> Iterator[Row]:
    """Mutual information of the test representations of the selected epoch, by estimators fitted after training."""
    model, _ = load_model(directory / "best.safetensors")
    output = forward(model, dataset.test)
    h = {name: values.numpy() for name, values in output.representations.items()}
    pair = {"split": "test", "of": "text-vision", "limit": limits["text-vision"]}
    for bound in ("infonce", "gaussian"):
        yield {**pair, "quantity": bound, **_estimate(h["text"], h["vision"], bound, seed)}
    if model.config.noise and not model.config.legacy:
        noisy = _estimate(h["text"], with_noise(h["vision"], model.config.noise, seed), "infonce", seed)
        yield {**pair, "quantity": "infonce, noisy copy", **noisy}
    part = {"split": "test", "of": LEFT_OUT, "limit": limits[LEFT_OUT]}
    fused = forward(model, without(dataset.test, LEFT_OUT, np.arange(len(dataset.test)))).fused
    yield {**part, "quantity": "without: infonce", **_estimate(h[LEFT_OUT], fused.numpy(), "infonce", seed)}
    if model.fusion_bounds and not model.config.legacy:
        yield {**part, "quantity": "without: own critic", "value": own_critic(model, output.representations, fused)}
    if model.config.pair_bound == "ba" and not model.config.legacy:
        yield {"split": "test", "of": "text-vision", "quantity": "entropy too large by",
               "value": entropy_excess(model, dataset, seed)}  # fmt: skip


@torch.no_grad()
def forward(model: MMIM, split: Split) -> Output:
    """The output of the model for a whole split."""
    output: Output = model.eval()(batch_of(model, split, np.arange(len(split))))
    return output


def with_noise(h: Array, noise: float, seed: int) -> Array:
    """A representation with noise, the target of q in BA."""
    noisy: Array = h + noise * h.std(0) * np.random.default_rng(seed).standard_normal(h.shape)
    return noisy


@torch.no_grad()
def entropy_excess(model: MMIM, dataset: Dataset, seed: int) -> float:
    """A lower limit for the error of the memory's H(Y) of vision on test rows, in nats.

    The value of the memory is a cross-entropy, which is at least H(Y) in expectation. So is the value of a Gaussian
    mixture with 1, 3 or 10 components, fitted to training rows and selected on validation rows. The memory exceeds H(Y)
    by at least the difference of the two.
    """
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415 - an extra

    y = [
        with_noise(forward(model, split).representations["vision"].numpy(), model.config.noise, seed + 1000 * i)
        for i, split in enumerate(dataset.splits().values())
    ]
    scale = y[0].std(0)
    train, valid, test = (part / scale for part in y)
    mixtures = [GaussianMixture(n, reg_covar=1e-5, random_state=seed).fit(train) for n in (1, 3, 10)]
    mixture = max(mixtures, key=lambda fitted: fitted.score(valid))
    memory: Any = model.pair_bounds["text-vision"].memory
    signs = torch.from_numpy(np.sign(dataset.test.labels) + 1).long() if memory.components > 1 else None
    remembered = float(memory(torch.from_numpy(y[2]).float(), signs))
    return remembered - float(np.log(scale).sum() - mixture.score(test))


@torch.no_grad()
def own_critic(model: MMIM, representations: Mapping[str, torch.Tensor], fused: torch.Tensor) -> float:
    """Value of the trained bound of `LEFT_OUT` and Z, as a mean over batches of the training size."""
    h = representations[LEFT_OUT]
    parts = list(batches(len(h), model.config.batch_size))
    values = [float(model.fusion_bounds[LEFT_OUT](h[rows], fused[rows])) for rows in parts]
    return float(np.average(values, weights=[len(rows) for rows in parts]))


def _estimate(x: Any, y: Any, bound: str, seed: int) -> Row:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)  # the result contains them
        result = infomax.estimate(x, y, bound=bound, seed=seed, quick=True, progress=False)
    low, high = result.confidence_interval()
    return {"value": result.mi, "low": low, "high": high, "warnings": " | ".join(result.warnings)}


def _short(row: Row) -> Row:
    """Numbers with five digits, a series as one text."""
    numbers = {key: f"{value:.5g}" for key, value in row.items() if isinstance(value, float | int)}
    series = {"epochs": " ".join(f"{value:.4g}" for value in row["epochs"])} if "epochs" in row else {}
    return row | numbers | series


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, default=5, help="number of seeds, for data and model (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, nargs=3, default=[4000, 1000, 2000], metavar=("TRAIN", "VALID", "TEST"),
                        help="rows of each split (default: %(default)s)")  # fmt: skip
    results.add_output(parser, "mmim")
    parser.add_argument(
        "--runs", type=Path, default=Path(f"build/mmim_known_truth-{REVISION}"), help="default: %(default)s"
    )
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="run nothing; write the page from the CSV")
    arguments = parser.parse_args(argv)
    for name in ("seeds", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1; got {getattr(arguments, name)}")
    path = results.folder("mmim", arguments.output) / "known_truth.csv"
    if not arguments.report:
        made = everything(arguments.seeds, tuple(arguments.rows), arguments.runs, arguments.jobs)
        sweep.write(path, FIELDS, made)
    print(write_report(path))
    return 0


def everything(seeds: int, rows: Rows, runs: Path, jobs: int) -> list[Row]:
    """All rows, ordered by level and variant."""
    from joblib import Parallel, delayed  # noqa: PLC0415 - an extra

    cells = [(level, variant, seed) for level in plan.LEVELS for variant in plan.VARIANTS for seed in range(seeds)]
    with interrupts.shielded():
        found = Parallel(n_jobs=jobs, return_as="generator")(delayed(run)(*cell, rows, runs) for cell in cells)
    made: list[Row] = []
    with closing(found):
        for i, (cell, of_run) in enumerate(zip(cells, found, strict=True), 1):
            print(f"{i}/{len(cells)}", *cell, flush=True)
            made += of_run
    return made


if __name__ == "__main__":
    interrupts.run(main)
