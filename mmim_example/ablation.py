"""Arms × seeds: which term brings what, on the same seeds, with paired tests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmim_example import checkpoint
from mmim_example.config import Config
from mmim_example.data import Dataset
from mmim_example.evaluation import evaluate
from mmim_example.preparation import fingerprint
from mmim_example.trainer import TrainingError, train

#: The efficacy study: what each arm changes in the configuration.
ARMS: dict[str, dict[str, Any]] = {
    "task only": {"use_fusion": False, "use_pairs": False},
    "+ CPC": {"use_pairs": False},
    "+ BA": {"use_fusion": False},
    "+ both (MMIM)": {},
    "legacy": {"legacy": True},
    "InfoNCE, learned T": {"fusion_options": {"normalize": True, "temperature": "learned"}},
    "NWJ for CPC": {"fusion_bound": "nwj", "fusion_options": {}},
}


def ablate(
    config: Config,
    dataset: Dataset,
    directory: Path,
    *,
    arms: Mapping[str, Mapping[str, Any]] = ARMS,
    seeds: Sequence[int] = range(5),
    jobs: int = 1,
    split: str = "test",
    progress: bool = True,
) -> dict[str, dict[str, list[float]]]:
    """Train every arm with every seed, and evaluate each run's best model.

    Each run leaves its folder under ``directory``; a run that is finished is not repeated, one that was killed is
    resumed, so that the same call goes on where it was.

    Args:
        config: what the arms change.
        dataset: of all runs.
        directory: of the runs' folders.
        arms: name → settings that differ.
        seeds: of each arm; the same for all, so that differences are paired.
        jobs: runs at a time, each on one thread.
        split: that the numbers are of. Choose settings on "valid", report "test".

    Returns:
        Arm → metric → values in the order of the seeds; metrics of MI are in nats. A run whose loss was not finite has
        NaN for all of them; its ``result.json`` says what happened.

    Raises:
        ValueError: for settings that a configuration refuses.
        CheckpointError: if the directory holds runs of other settings.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 - an extra

    named = {arm: _with(config, changes) for arm, changes in arms.items()}
    places = {folder(directory, arm, 0) for arm in named}
    if len(places) < len(named):
        raise ValueError(f"arms must differ in their letters and digits, which name folders; got {', '.join(named)}")
    cells = [(arm, seed) for seed in seeds for arm in named]
    work = (
        delayed(_run)(named[arm].replace(seed=seed, threads=1), dataset, folder(directory, arm, seed), split)
        for arm, seed in cells
    )
    found = Parallel(n_jobs=jobs, return_as="generator")(work)
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in named}
    for (arm, _), values in zip(cells, _shown(found, len(cells), progress=progress), strict=True):
        runs[arm].append(values)
    return {arm: _by_metric(values) for arm, values in runs.items()}


def _by_metric(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    metrics = dict.fromkeys(metric for values in runs for metric in values)
    return {metric: [values.get(metric, math.nan) for values in runs] for metric in metrics}


def folder(directory: Path, arm: str, seed: int) -> Path:
    """Where a run is kept."""
    return directory / (re.sub(r"[^a-z0-9]+", "-", arm.lower()).strip("-") or "arm") / f"seed-{seed}"


def _with(config: Config, changes: Mapping[str, Any]) -> Config:
    return Config.from_dict(config.to_dict() | dict(changes))


def _run(config: Config, dataset: Dataset, directory: Path, split: str) -> dict[str, float]:
    """One run's metrics on a split; trained unless it was before."""
    done = directory / "result.json"
    data = fingerprint(dataset)
    if not done.is_file():
        resume = (directory / "last.safetensors").is_file()
        found: dict[str, Any] = {"config": config.to_dict(), "data": data, "valid": {}, "test": {}}
        try:
            run = train(config, dataset, directory, resume=resume, device="cpu", progress=False)
        except TrainingError as error:
            found |= {"error": str(error), "valid": {"valid": math.nan}, "test": {"valid": math.nan}}
        else:
            for part in ("valid", "test"):
                at = evaluate(directory / "best.safetensors", dataset, split=part, intervals=False, device="cpu")
                found[part] = at.values | {"valid": run.best_valid, "epoch": run.best_epoch}
                found[part] |= {f"I({name})": nats for name, nats in at.terms["pairs"].items()}
                found[part] |= {f"I({name};Z)": nats for name, nats in at.terms["fusion"].items()}
        beside = done.with_suffix(".partial")
        beside.write_text(json.dumps(found, indent=1), encoding="utf-8")
        beside.replace(done)
        (directory / "last.safetensors").unlink()
    kept = json.loads(done.read_text(encoding="utf-8"))
    if kept["config"] != json.loads(json.dumps(config.to_dict())):
        raise checkpoint.CheckpointError(f"{done} is of another configuration; name another directory")
    if kept["data"] != data:
        raise checkpoint.CheckpointError(f"{done} is of other data than {dataset.source}; name another directory")
    return dict(kept[split])


def _shown(runs: Iterator[dict[str, float]], total: int, *, progress: bool) -> Iterator[dict[str, float]]:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ImportError:
        return runs
    shown: Iterator[dict[str, float]] = iter(tqdm(runs, total=total, desc="runs", disable=not progress))
    return shown
