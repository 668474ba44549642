"""The demonstration: real data, a known truth, and a bound as a training loss."""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.bounds.nce import CPC
from infomax.command_line.tables import format_table, interval, notes, registry_facts
from infomax.datasets import load_penguins
from infomax.estimation.estimate import estimate
from infomax.exceptions import InfomaxWarning
from infomax.io.writing import atomic_write
from infomax.results.estimate import Estimate
from infomax.results.plots import WIDTH, new_figure, plot_comparison, save_figure, style
from infomax.tasks import base as tasks

#: One estimator of each kind.
_SHOWN = ["default", "ba", "cpc", "dv", "infonce", "mine", "nwj", "gaussian", "ksg"]
_X, _Y = ["bill_length_mm", "bill_depth_mm"], ["flipper_length_mm", "body_mass_g"]


def run_demo(out: str, *, progress: bool) -> None:
    """Print the tables, write the figure to ``out``, and its numbers beside it, with the ending .csv."""
    start = time.perf_counter()
    print(f"{len(_SHOWN)} estimators on two samples: this takes about a minute.\n", flush=True)
    penguins, known = load_penguins(), tasks.get("normal-5d-1")
    bill, body = penguins.columns(*_X), penguins.columns(*_Y)
    real = _all_estimates(bill, body, progress)
    synthetic = _all_estimates(*known.sample(2000, seed=0), progress)

    _print_estimates(len(bill), real, synthetic, known.mi)
    with style():
        figure, axes = new_figure(WIDTH, 1.4 + 0.42 * len(_SHOWN), columns=2)
        plot_comparison(axes[0], real, f"{len(bill)} penguins: bill and body")
        plot_comparison(axes[1], synthetic, "2,000 Gaussian pairs, 5 + 5 columns", known.mi, [""] * len(_SHOWN))
        axes[0].set_ylim(axes[1].get_ylim())
        axes[1].tick_params(axis="y", length=0)
        save_figure(figure, out)
    numbers = Path(out).with_suffix(".csv")
    _write_numbers(numbers, {"penguins": real, "Gaussian": synthetic})
    _print_loss(bill)
    print(f"\nFigure: {out}, its numbers: {numbers}. {time.perf_counter() - start:.0f} s.")


def _print_estimates(n: int, real: Sequence[Estimate], synthetic: Sequence[Estimate], truth: float) -> None:
    header = ["estimator", "kind", "penguins, nats", "95 % interval", f"Gaussian, truth {truth:.3f}", "95 % interval"]
    rows = [header]
    for a, b in zip(real, synthetic, strict=True):
        rows.append([a.bound, a.kind, f"{a.mi:.3f}", interval(a), f"{b.mi:.3f}", interval(b)])
    print(
        f"Mutual information between the bills of {n} penguins ({' and '.join(_X)})\n"
        f"and their bodies ({' and '.join(_Y)}),\n"
        "and between Gaussian columns whose mutual information is known (5 + 5 columns, n = 2,000):\n"
    )
    print(format_table(rows))
    print(
        "\nHow to read the table: on the right the truth is known; default is the most accurate over many such tasks,\n"
        "not on each. A lower bound (infonce, nwj) does not exceed MI in expectation, so the larger is tighter.\n"
        "Estimates rest on assumptions: ba and gaussian on Gaussian shapes, which three species of penguin do not\n"
        "have; ksg on close neighbours, which ten columns do not have.\n"
        f"All {len(registry_facts())} estimators: infomax bounds\n"
        "Warnings of the estimates:"
    )
    for data, results in (("penguins", real), ("Gaussian", synthetic)):
        for note in notes(results):
            print(f"  {data}: {note}")


def _write_numbers(path: Path, samples: dict[str, list[Estimate]]) -> None:
    """One line for each estimate, in nats."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["sample", "estimator", "mi", "low", "high", "stderr"])
    for sample, results in samples.items():
        for result in results:
            numbers = (result.mi, *result.confidence_interval(), result.stderr)
            writer.writerow([sample, result.bound, *(f"{number:.4f}" for number in numbers)])
    with atomic_write(path) as file:
        file.write(table.getvalue().encode())


def _print_loss(bill: NDArray[np.float64]) -> None:
    print("\nAs a training loss, between a representation z and its input x:\n")
    print("    cpc = CPC(z_dim, x_dim, normalize=True, temperature='learned')  # the optimiser trains its parameters")
    print("    loss = task_loss - 0.1 * cpc(z, x)")
    x = torch.from_numpy(bill).float()
    z = torch.nn.Linear(2, 8)(x)
    cpc = CPC(8, 2, normalize=True, temperature="learned")
    value = float(cpc(z, x).detach())
    print(f"\n    For an untrained z of these penguins, cpc(z, x) is {value:.3f} nats.")


def _all_estimates(x: NDArray[np.float64], y: NDArray[np.float64], progress: bool) -> list[Estimate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)  # printed below the table
        return estimate(x, y, bound=_SHOWN, progress=progress)
