"""Does the information that a trained MMIM reports mean anything? Its readings against a known truth, over training.

    python -m benchmarks.mmim.known_truth --seeds 3 --rows 2000 1000 2000   # what is committed
    python -m benchmarks.mmim.known_truth --report                          # page and figure anew, from the CSV

Three modalities are generated so that text and vision share a known number of nats (`known_truth_plan.LEVELS`). No
representation of theirs can share more, by data processing: a reading of the input level above that is wrong, whatever
the encoders are. What the representations of the test split do share is estimated afterwards, by an InfoNCE that is
fitted to them anew. Of the fusion level the truth is infinite, since Z is a function of the representations; so Z is
also computed without one modality, and then shares with it at most what the others do, which is known again.

All runs are kept under ``--runs``: killed at any point and started again, it goes on where it was. Writes
``known_truth.csv`` (one row a quantity of a run), ``known_truth.md`` and ``known_truth.png``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

import infomax
from benchmarks import results
from benchmarks.mmim import known_truth_plan as plan
from benchmarks.mmim.known_truth_report import write_report
from benchmarks.report import machine
from infomax import tasks
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
#: The modality that Z is computed without.
LEFT_OUT = "text"
FIELDS = (
    "level", "variant", "seed", "rows", "split", "quantity", "of", "value", "low", "high", "limit", "epochs",
    "warnings", "date", "machine",
)  # fmt: skip


def about_target(level: float) -> dict[str, Any]:
    """Nats that each modality tells about the target for text and vision to share ``level`` nats; audio tells half.

    Each correlates with the target by r, so text and vision with each other by r², and −½ log(1 − r⁴) is ``level``.
    """
    alone = -0.5 * math.log1p(-math.sqrt(-math.expm1(-2 * level)))
    return {"text": alone, "audio": alone / 2, "vision": alone}


def generated(level: float, rows: Rows, seed: int) -> tuple[Dataset, dict[str, float]]:
    """The data, and the largest MI that is true: of each pair, and of each modality with all others."""
    dataset, truths = generate(rows, **about_target(level), seed=seed)
    speech = tasks.tri_modal(**about_target(level), seed=seed)
    others = {m: speech.mi((m,), tuple(o for o in speech.modalities if o != m)) for m in speech.modalities}
    return dataset, truths | others


def run(level: float, variant: str, seed: int, rows: Rows, runs: Path) -> list[Row]:
    """Train one model, unless it was before, and measure it: the rows of the CSV."""
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
        text = json.dumps([{**key, **_short(row), **facts} for row in made], indent=1)
        beside = kept.with_suffix(".partial")
        beside.write_text(text, encoding="utf-8")
        beside.replace(kept)
    loaded: list[Row] = json.loads(kept.read_text(encoding="utf-8"))
    return loaded


def readings(directory: Path, found: Mapping[str, Sequence[float]], limits: Mapping[str, float]) -> Iterator[Row]:
    """What the model itself reported: by epoch on training batches and on validation; at the kept epoch, on the test.

    Args:
        directory: of the run. found: its metrics on the test, as :func:`~mmim_example.ablation.ablate` gives them.
        limits: truths, by pair. A modality's limit is the ceiling of its bound.
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
    """What the representations of the kept epoch share on the test split, by estimators fitted to them afterwards."""
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
    """The model's output on a whole split."""
    output: Output = model.eval()(batch_of(model, split, np.arange(len(split))))
    return output


def with_noise(h: Array, noise: float, seed: int) -> Array:
    """A noisy copy of a representation, as BA's q predicts it."""
    noisy: Array = h + noise * h.std(0) * np.random.default_rng(seed).standard_normal(h.shape)
    return noisy


@torch.no_grad()
def entropy_excess(model: MMIM, dataset: Dataset, seed: int) -> float:
    """By how many nats, at least, the memory's H(Y) of vision exceeds the truth on the test.

    The memory's value is a cross-entropy, at least H(Y) in expectation; so is that of a Gaussian mixture of 1, 3 or 10
    components, fitted to training rows and chosen on validation. What the mixture saves, the memory has too much.
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
    """The trained bound of `LEFT_OUT` and Z as it stands: the mean over batches of the training's size."""
    h = representations[LEFT_OUT]
    parts = list(batches(len(h), model.config.batch_size))
    values = [float(model.fusion_bounds[LEFT_OUT](h[rows], fused[rows])) for rows in parts]
    return float(np.average(values, weights=[len(rows) for rows in parts]))


def _estimate(x: Any, y: Any, bound: str, seed: int) -> Row:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", infomax.InfomaxWarning)  # the result has them too
        result = infomax.estimate(x, y, bound=bound, seed=seed, quick=True, progress=False)
    low, high = result.confidence_interval()
    return {"value": result.mi, "low": low, "high": high, "warnings": " | ".join(result.warnings)}


def _short(row: Row) -> Row:
    """Numbers with as many digits as they deserve, a series as one text."""
    numbers = {key: f"{value:.5g}" for key, value in row.items() if isinstance(value, float | int)}
    series = {"epochs": " ".join(f"{value:.4g}" for value in row["epochs"])} if "epochs" in row else {}
    return row | numbers | series


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, of data and model (default: %(default)s)")
    parser.add_argument("--rows", type=int, nargs=3, default=[4000, 1000, 2000], metavar=("TRAIN", "VALID", "TEST"),
                        help="of each split (default: %(default)s)")  # fmt: skip
    results.add_output(parser, "mmim")
    parser.add_argument(
        "--runs", type=Path, default=Path(f"build/mmim_known_truth-{REVISION}"), help="default: %(default)s"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="run nothing, write the page anew from the CSV")
    arguments = parser.parse_args(argv)
    for name in ("seeds", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1; got {getattr(arguments, name)}")
    path = results.folder("mmim", arguments.output) / "known_truth.csv"
    if not arguments.report:
        write(everything(arguments.seeds, tuple(arguments.rows), arguments.runs, arguments.jobs), path)
    print(write_report(path))
    return 0


def everything(seeds: int, rows: Rows, runs: Path, jobs: int) -> list[Row]:
    """All rows, in the order of levels and variants."""
    from joblib import Parallel, delayed  # noqa: PLC0415 - an extra

    cells = [(level, variant, seed) for level in plan.LEVELS for variant in plan.VARIANTS for seed in range(seeds)]
    found = Parallel(n_jobs=jobs, return_as="generator")(delayed(run)(*cell, rows, runs) for cell in cells)
    made: list[Row] = []
    for i, (cell, of_run) in enumerate(zip(cells, found, strict=True), 1):
        print(f"{i}/{len(cells)}", *cell, flush=True)
        made += of_run
    return made


def write(rows: Sequence[Row], path: Path) -> None:
    """Replace the file by these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
