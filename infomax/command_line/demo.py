"""What ``infomax demo`` runs: real data, a known truth, and the use as a training loss."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from infomax import CPC, tasks
from infomax.command_line.tables import format_table, interval, notes, registry_facts
from infomax.datasets import load_penguins
from infomax.estimation.estimate import estimate
from infomax.exceptions import InfomaxWarning
from infomax.results.estimate import Estimate
from infomax.results.plots import new_figure, plot_comparison

#: One of each kind: what the figure has room for, and a minute time.
_SHOWN = ["default", "ba", "cpc", "dv", "infonce", "mine", "nwj", "gaussian", "ksg"]
_X, _Y = ["bill_length_mm", "bill_depth_mm"], ["flipper_length_mm", "body_mass_g"]


def run_demo(out: str, *, progress: bool) -> None:
    """Print the table and write the figure to ``out``."""
    start = time.perf_counter()
    penguins = load_penguins()
    bill, body = penguins.columns(*_X), penguins.columns(*_Y)
    known = tasks.get("normal-5d-1")
    real = _all_estimates(bill, body, progress)
    synthetic = _all_estimates(*known.sample(2000, seed=0), progress)

    header = [
        "estimator",
        "kind",
        "penguins, nats",
        "95 % interval",
        f"Gaussian, truth {known.mi:.3f}",
        "95 % interval",
    ]
    rows = [header]
    for a, b in zip(real, synthetic, strict=True):
        rows.append([a.bound, a.kind, f"{a.mi:.3f}", interval(a), f"{b.mi:.3f}", interval(b)])
    print(
        f"How much do the bills of {len(bill)} penguins ({' and '.join(_X)}) tell about their bodies\n"
        f"({' and '.join(_Y)})? And is the answer right where it is known (5 + 5 Gaussian columns, n = 2,000)?\n"
    )
    print(format_table(rows))
    print(
        "\nHow to read the table: the estimator named default is the most accurate where the truth is known. A lower\n"
        "bound (infonce, nwj) does not exceed MI in expectation, so the larger of the two is the tighter. Estimates\n"
        "rest on assumptions: ba and gaussian on Gaussian shapes, which three species of penguin do not have; ksg on\n"
        "close neighbours, which ten columns do not have.\n"
        f"All {len(registry_facts())} estimators: infomax bounds\n"
        "Warnings of the estimates:"
    )
    for data, results in (("penguins", real), ("Gaussian", synthetic)):
        for note in notes(results):
            print(f"  {data}: {note}")

    figure, axes = new_figure(11, 4.6, columns=2)
    plot_comparison(axes[0], real, f"Bill and body of {len(bill)} penguins")
    plot_comparison(axes[1], synthetic, "Gaussian pairs, 5 + 5 columns, n = 2,000", truth=known.mi)
    figure.savefig(out, dpi=150)

    print("\nAs a training loss, between a representation z and its input x:\n")
    print("    cpc = CPC(z_dim, x_dim, normalize=True, temperature='learned')  # its parameters join your optimiser")
    print("    loss = task_loss - 0.1 * cpc(z, x)")
    x = torch.from_numpy(bill).float()
    z = torch.nn.Linear(2, 8)(x)
    cpc = CPC(8, 2, normalize=True, temperature="learned")
    value = float(cpc(z, x).detach())
    print(f"\n    On an untrained z of these penguins cpc(z, x) is {value:.3f} nats.")
    print(f"\nFigure: {out}. {time.perf_counter() - start:.0f} s.")


def _all_estimates(x: NDArray[np.float64], y: NDArray[np.float64], progress: bool) -> list[Estimate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfomaxWarning)  # printed below the table
        return estimate(x, y, bound=_SHOWN, progress=progress)
