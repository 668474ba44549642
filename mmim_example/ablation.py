"""Arms × seeds: which term brings what, on the same seeds, with paired tests."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmim_example.config import Config
from mmim_example.reading import Dataset
from mmim_example.results.evaluation import evaluate
from mmim_example.runs import checkpoint
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
        arms: name → settings that differ, by name: "alpha", or "modalities.text.hidden".
        seeds: of each arm; the same for all, so that differences are paired.
        jobs: runs at a time, each on one thread.
        split: that the numbers are of. Choose settings on "valid", report "test".

    Returns:
        Arm → metric → values in the order of the seeds; metrics of MI are in nats. A run that failed, because its loss
        was not finite, or the model or the data do not take its settings, has NaN for all of them: see :func:`failed`.

    Raises:
        ValueError: for settings that a configuration refuses; the arm is named.
        CheckpointError: if the directory holds runs of other settings, other data, or another revision of this example.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 - an extra

    named = {arm: _with(config, arm, changes) for arm, changes in arms.items()}
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


def failed(directory: Path, arms: Iterable[str], seeds: Iterable[int]) -> dict[str, str]:
    """Of arms that :func:`ablate` ran in this directory and that failed with a seed of these: why, the first time."""
    errors: dict[str, str] = {}
    for arm, seed in itertools.product(arms, seeds):
        done = folder(directory, arm, seed) / "result.json"
        error = json.loads(done.read_text(encoding="utf-8")).get("error") if done.is_file() else None
        if error:
            errors.setdefault(arm, error)
    return errors


def _with(config: Config, arm: str, changes: Mapping[str, Any]) -> Config:
    try:
        return config.changed(changes)
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from None


def _run(config: Config, dataset: Dataset, directory: Path, split: str) -> dict[str, float]:
    """One run's metrics on a split; trained unless it was before."""
    done = directory / "result.json"
    # As JSON gives it back.
    facts = {"revision": checkpoint.REVISION, "configuration": config.to_dict()}
    key = json.loads(json.dumps(facts | {"data": checkpoint.fingerprint(dataset)}))
    kept = json.loads(done.read_text(encoding="utf-8")) if done.is_file() else None
    if kept is None or kept.get("refused"):  # what a model refuses costs nothing to try again
        kept = key | _trained(config, dataset, directory)
        beside = done.with_suffix(".partial")
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        beside.replace(done)
        (directory / "last.safetensors").unlink(missing_ok=True)
    for name, value in key.items():
        if kept.get(name) != value:
            other = "other data than " + dataset.source if name == "data" else f"another {name}"
            raise checkpoint.CheckpointError(f"{done} is of {other}; name another directory")
    return dict(kept[split])


def _trained(config: Config, dataset: Dataset, directory: Path) -> dict[str, Any]:
    """What ``result.json`` has of a run; of one that failed, why, and whether it was refused before it began."""
    last = directory / "last.safetensors"
    found: dict[str, Any] = {}
    try:
        run = train(config, dataset, directory, resume=last.is_file(), device="cpu", progress=False)
    except checkpoint.CheckpointError:
        raise
    except (TrainingError, ValueError) as error:
        nothing = {"valid": math.nan}
        return {"error": str(error), "refused": not last.is_file(), "valid": nothing, "test": nothing}
    for part in ("valid", "test"):
        at = evaluate(directory / "best.safetensors", dataset, split=part, intervals=False, device="cpu")
        found[part] = at.values | {"valid": run.best_valid, "epoch": run.best_epoch}
        found[part] |= {f"I({name})": nats for name, nats in at.terms["pairs"].items()}
        found[part] |= {f"I({name};Z)": nats for name, nats in at.terms["fusion"].items()}
    return found


def _shown(runs: Iterator[dict[str, float]], total: int, *, progress: bool) -> Iterator[dict[str, float]]:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ImportError:
        return runs
    shown: Iterator[dict[str, float]] = iter(tqdm(runs, total=total, desc="runs", disable=not progress))
    return shown
