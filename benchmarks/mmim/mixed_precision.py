"""Mixed precision (``--amp bf16``) compared with float32: MMIM on MOSI by utterance, official split, with paired seeds.

    python -m benchmarks.mmim.mixed_precision --mosi DIR

Settings are those of the arm "+ both (MMIM)" of the study. Writes ``mixed_precision.csv``, the value of every metric of
every run, and ``mixed_precision.md``. Runs are stored in ``--runs``; an interrupted command resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks import results
from benchmarks.mmim import data, study
from benchmarks.mmim import study_plan as plan
from benchmarks.report import machine
from infomax import interrupts
from mmim_example.ablation import ablate, folder
from mmim_example.results.comparison import rows, table
from mmim_example.runs.checkpoint import REVISION
from mmim_example.runs.log import records

SEEDS = plan.FINAL[:10]
ARMS = {"float32": {}, "bfloat16": {"amp": "bf16"}}
METRICS = ("mae", "corr", "acc7", "acc2", "f1")


def seconds(runs: Path, arm: str, seeds: Sequence[int]) -> float:
    """Median time of an epoch."""
    epochs = [record for seed in seeds for record in records(folder(runs, arm, seed)) if record["event"] == "epoch"]
    return float(np.median([record["seconds"] for record in epochs]))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosi", type=Path, required=True, help="folder with utterances.csv and features.npz of MOSI")
    parser.add_argument("--runs", type=Path, default=Path(f"build/mmim_amp-{REVISION}"), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs (default: %(default)s)")
    results.add_output(parser, "mmim")
    arguments = parser.parse_args(argv)
    dataset = data.mosi(arguments.mosi, "official")
    config = study.with_base(study.config_of(dataset), 5e-4, 0.5).changed({"alpha": 0.3, "beta": 0.1})
    found = ablate(config, dataset, arguments.runs, arms=ARMS, seeds=SEEDS, jobs=arguments.jobs)
    page = results.folder("mmim", arguments.output) / "mixed_precision.md"
    float32, bfloat16 = (seconds(arguments.runs, arm, SEEDS) for arm in ARMS)
    notes = (
        f"{len(SEEDS)} seeds, the same in both arms ({date.today():%Y-%m-%d}; {machine()}). On this processor, an "
        f"epoch in bfloat16 took {bfloat16 / float32:.1f} times as long as in float32 (medians)."
    )
    results.replace(page, "\n\n".join([table(found, "float32", METRICS), notes]) + "\n")
    results.replace(page.with_suffix(".csv"), rows(found, SEEDS))
    print(page)
    return 0


if __name__ == "__main__":
    interrupts.run(main)
