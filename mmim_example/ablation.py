"""Ablation: train every arm with the same seeds, so that differences between arms are paired."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from infomax import interrupts
from mmim_example import imports
from mmim_example.config import Config
from mmim_example.reading import DataError, Dataset
from mmim_example.reading.files import read_json, write_text
from mmim_example.results.evaluation import evaluate
from mmim_example.runs import checkpoint
from mmim_example.runs.facts import CheckpointError
from mmim_example.runs.log import progress_bar
from mmim_example.trainer import TrainingError, train

#: The default arms: what each changes in the configuration.
ARMS: dict[str, dict[str, Any]] = {
    "task only": {"use_fusion": False, "use_pairs": False},
    "+ CPC": {"use_pairs": False},
    "+ BA": {"use_fusion": False},
    "+ both (MMIM)": {},
    "legacy": {"legacy": True},
    "InfoNCE, learned T": {"fusion_options": {"normalize": True, "temperature": "learned"}},
    "NWJ for CPC": {"fusion_bound": "nwj"},
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
    files: Sequence[Path] = (),
) -> dict[str, dict[str, list[float]]]:
    """Train every arm with every seed, and evaluate each run's best model.

    Each run has its own folder in ``directory``. Finished runs are not repeated, and interrupted runs are resumed, so
    the same call continues after an interruption.

    Args:
        config: the configuration that arms modify.
        dataset: the data of all runs.
        directory: parent of the runs' folders.
        arms: name → settings that differ: "alpha", or "modalities.text.hidden".
        seeds: the seeds of every arm.
        jobs: number of parallel runs, each on one thread.
        split: the split to evaluate. Choose settings on "valid", and report "test".
        progress: show a progress bar.
        files: Python files with bounds and encoders of your own, which every worker executes.

    Returns:
        Arm → metric → one value for each seed, in order; MI in nats. A run fails if its loss is not finite, if model or
        data do not accept its settings, or if a bound or encoder of your own raises an error. Then all its values are
        NaN; see :func:`failed`.

    Raises:
        ValueError: if a configuration is invalid; names the arm.
        CheckpointError: if the directory contains runs of other settings, other data or another revision.
    """
    from joblib import Parallel, delayed  # noqa: PLC0415 - where arms are run

    named = {arm: _with(config, arm, changes) for arm, changes in arms.items()}
    places = {folder(directory, arm, 0) for arm in named}
    if len(places) < len(named):
        raise ValueError(f"arms must differ in letters or digits, which name their folders; got {', '.join(named)}")
    cells = [(arm, seed) for seed in seeds for arm in named]
    own = [file.resolve() for file in files]  # a worker keeps the folder in which it was started
    directory = directory.resolve()
    work = (
        delayed(_run)(named[arm].replace(seed=seed, threads=1), dataset, folder(directory, arm, seed), split, own)
        for arm, seed in cells
    )
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in named}
    with interrupts.shielded():
        found = Parallel(n_jobs=jobs, return_as="generator")(work)
    with closing(found), progress_bar(len(cells), "runs", shown=progress) as advance:
        for (arm, _), values in zip(cells, found, strict=True):
            runs[arm].append(values)
            advance()
    return {arm: _by_metric(values) for arm, values in runs.items()}


def _by_metric(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    metrics = dict.fromkeys(metric for values in runs for metric in values)
    return {metric: [values.get(metric, math.nan) for values in runs] for metric in metrics}


def folder(directory: Path, arm: str, seed: int) -> Path:
    """The folder of a run."""
    return directory / (re.sub(r"[^a-z0-9]+", "-", arm.lower()).strip("-") or "arm") / f"seed-{seed}"


def failed(directory: Path, arms: Iterable[str], seeds: Iterable[int]) -> dict[str, str]:
    """Arms with a failed run in this directory, and the error of the first such run."""
    errors: dict[str, str] = {}
    for arm, seed in itertools.product(arms, seeds):
        kept = _result(folder(directory, arm, seed) / "result.json")
        if kept and kept.get("error"):
            errors.setdefault(arm, kept["error"])
    return errors


def _result(done: Path) -> dict[str, Any] | None:
    """The content of ``result.json``, if there is one.

    Raises:
        CheckpointError: if it is not that of a run.
    """
    if not done.is_file():
        return None
    try:
        kept = read_json(done)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    parts = [kept.get(part) for part in ("valid", "test")] if isinstance(kept, dict) else [None]
    numbers = all(isinstance(p, dict) and all(type(v) in (int, float) for v in p.values()) for p in parts)
    if not numbers or not isinstance(kept.get("error", ""), str):
        raise CheckpointError(f"{done} must be a result, with numbers in valid and test; got other content")
    return dict(kept)


def _with(config: Config, arm: str, changes: Mapping[str, Any]) -> Config:
    try:
        return config.changed(changes)
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from None


def _run(config: Config, dataset: Dataset, directory: Path, split: str, files: Sequence[Path]) -> dict[str, float]:
    """The metrics of one run on a split. The run is trained unless it is finished."""
    imports.execute(files)
    done = directory / "result.json"
    facts = {"revision": checkpoint.REVISION, "configuration": config.to_dict()}
    if own := imports.digests(config):
        facts["files"] = own
    key = json.loads(json.dumps(facts | {"data": checkpoint.fingerprint(dataset)}))  # lists, as in the file
    kept = _result(done)
    if kept is None or kept.get("refused"):  # a rejected configuration costs nothing to try again
        kept = key | _trained(config, dataset, directory)
        done.parent.mkdir(parents=True, exist_ok=True)
        write_text(done, json.dumps(kept, indent=1))
        (directory / "last.safetensors").unlink(missing_ok=True)
    for name, value in key.items():
        if kept.get(name) != value and not (name == "configuration" and _same(kept.get(name), config)):
            other = "other data than " + dataset.source if name == "data" else f"another {name}"
            raise CheckpointError(f"{done} belongs to {other}; use another directory")
    return dict(kept[split])


def _same(plain: Any, config: Config) -> bool:
    """Whether a stored configuration, which may lack newer settings, means this one."""
    try:
        return isinstance(plain, dict) and Config.from_dict(plain) == config
    except (TypeError, ValueError):
        return False


def _trained(config: Config, dataset: Dataset, directory: Path) -> dict[str, Any]:
    """The content of ``result.json``. For a failed run: the error, and whether it was refused before training began."""
    last = directory / "last.safetensors"
    try:
        run = train(config, dataset, directory, resume=last.is_file(), device="cpu", progress=False)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        known = isinstance(error, (TrainingError, ValueError))
        if not known and not imports.digests(config):
            raise  # no code of the user: a defect of this example, or of the machine
        nothing = {"valid": math.nan}
        text = str(error) if known else imports.reason(error)
        return {"error": text, "refused": not (known and last.is_file()), "valid": nothing, "test": nothing}
    found: dict[str, Any] = {}
    for part in ("valid", "test"):
        at = evaluate(directory / "best.safetensors", dataset, split=part, intervals=False, device="cpu")
        found[part] = at.values | {"valid": run.best_valid, "epoch": run.best_epoch}
        found[part] |= {f"I({name})": nats for name, nats in at.terms["pairs"].items()}
        found[part] |= {f"I({name};Z)": nats for name, nats in at.terms["fusion"].items()}
    return found
