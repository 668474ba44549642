"""Training losses on two views of each of 1,200 digits, without or with their labels, by a linear probe.

    python -m benchmarks.representation.study [--arms cpc siglip] [--seeds 10] [--report]

All arms of a seed have the same split, the same initial encoder, the same views in the same order, the same optimiser
and the same number of steps, 480. Test images are used only for the evaluation. These settings were chosen after a
look at results, those of seeds 100 to 103 and of two earlier tables: an encoder with two convolutions, because a
multi-layer perceptron was no better than the pixels; and SigLIP with the initial bias of its paper as well. SigLIP is
still improving at the last step; the number of steps is limited by the time that the study may take.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import report, results, sweep
from benchmarks.representation import digits
from benchmarks.representation.arms import ARMS, BATCH, Loss, value_and_ceiling
from infomax import interrupts

EPOCHS, RATE = 60, 2e-3
COLUMNS = ("all_labels", "few_labels", "value", "ceiling")
#: The arm that the others are compared with, seed by seed.
REFERENCE = "cpc"


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """Train one arm with one seed; accuracies of the probe, and the value on views of the test images."""
    arm, seed = ARMS[str(cell["arm"])], int(cell["seed"])
    training, test = digits.split(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = digits.Encoder()
        bound = None if arm.build is None else arm.build()
    value = ceiling = None
    if bound is not None:
        value, ceiling = trained(encoder, bound, arm.loss(bound), (training, test), seed, momentum=arm.momentum)
    evaluated: nn.Module = nn.Identity() if cell["arm"] == "pixels" else encoder.eval()
    return {
        "all_labels": round(digits.probe(training, test, evaluated), 5),
        "few_labels": round(digits.probe(training, test, evaluated, each=digits.FEW), 5),
        "value": None if value is None else round(value, 4),
        "ceiling": None if ceiling is None or math.isnan(ceiling) else round(ceiling, 4),
    }


def trained(
    encoder: digits.Encoder,
    bound: nn.Module,
    loss: Loss,
    images: tuple[digits.Digits, digits.Digits],
    seed: int,
    *,
    momentum: float | None = None,
) -> tuple[float, float]:
    """Train the encoder and the bound; the value on views of test images and its ceiling.

    Args:
        images: those for training, and those for testing.
        momentum: that of the encoder of the second views; ``None`` for the encoder itself.
    """
    training, test = images
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*encoder.parameters(), *bound.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * math.ceil(len(training) / BATCH))

    other = encoder if momentum is None else copy.deepcopy(encoder).requires_grad_(False)

    def projections(images: torch.Tensor, *, of: digits.Encoder = encoder) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = (each.project(each(digits.view(images, generator))) for each in (encoder, of))
        return first, second

    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(training), generator=generator), BATCH):
            optimizer.zero_grad()
            views = projections(training.images[rows], of=other)
            loss(*views, training.labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if momentum is not None:
                with torch.no_grad():
                    for slow, fast in zip(other.parameters(), encoder.parameters(), strict=True):
                        slow.lerp_(fast, 1 - momentum)
            schedule.step()
    with torch.no_grad():
        return value_and_ceiling(bound.eval(), *projections(test.images[:BATCH]))


def write_report(path: Path) -> str:
    """The table of a finished study, beside its CSV."""
    rows = sweep.read(path)
    found = {arm: {row["seed"]: row for row in rows if row["arm"] == arm and not row["error"]} for arm in ARMS}
    header = ["training", f"all {digits.TRAINING:,} labels", f"{10 * digits.FEW} labels", "− CPC", "value", "ceiling"]
    lines = []
    for arm, of_seeds in found.items():
        if of_seeds:
            lines.append([ARMS[arm].title, *_cells(arm, of_seeds, found[REFERENCE])])
    seeds = len({row["seed"] for row in rows})
    seconds = sum(float(row["seconds"]) for row in rows)
    note = (
        f"Accuracy in % of a linear probe on {1797 - digits.TRAINING} test images, with 95 % intervals over {seeds} "
        f"seeds (Student's t). `− CPC`: difference to CPC of the accuracy with {10 * digits.FEW} labels, seed by seed. "
        f"Value: InfoNCE of the trained scores on {BATCH} pairs of views of test images, in nats, a lower bound. Only "
        f"SupCon sees labels while it trains. {EPOCHS} epochs of batches of {BATCH}; {seconds / 60:.1f} minutes of CPU "
        f"time in total."
    )
    return report.write_page(
        path, [note, report.table(header, lines), *report.failures(rows, "arm", "seed"), report.provenance(rows)]
    )


def _cells(arm: str, of_seeds: Mapping[str, sweep.Row], reference: Mapping[str, sweep.Row]) -> list[str]:
    values = {name: [float(row[name]) for row in of_seeds.values() if row[name]] for name in COLUMNS}
    cells = [interval([100 * value for value in values[name]]) for name in ("all_labels", "few_labels")]
    both = [seed for seed in of_seeds if seed in reference]
    differences = [100 * (float(of_seeds[s]["few_labels"]) - float(reference[s]["few_labels"])) for s in both]
    cells.append("" if arm == REFERENCE or not both else interval(differences, signed=True))
    return [*cells, *(f"{np.mean(values[name]):.2f}" if values[name] else "" for name in ("value", "ceiling"))]


def interval(values: Sequence[float], *, signed: bool = False) -> str:
    """The mean and half the width of its 95 % interval."""
    from scipy.stats import t  # noqa: PLC0415 - slow to import

    n = len(values)
    half = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return f"{np.mean(values):{'+' if signed else ''}.1f} ± {half:.1f}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="default: all")
    sweep.add_arguments(parser, "representation", seeds=10)
    arguments = parser.parse_args(argv)
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
    cells: list[sweep.Cell] = [{"arm": arm, "seed": seed} for arm in arguments.arms for seed in range(arguments.seeds)]
    path = results.folder("representation", arguments.output) / "digits.csv"
    sweep.run_and_report(path, cells, run, COLUMNS, write_report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
