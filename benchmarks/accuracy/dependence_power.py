"""Power of the test of independence on time series, beside tigramite's tests with shuffled blocks, on the same draws.

    python -m benchmarks.accuracy.dependence_power            # 50 draws of each case; makes tigramite's environment
    python -m benchmarks.accuracy.dependence_power --report   # the table from the CSV alone

writes ``dependence_power.csv`` and ``dependence_power.md``. The environment needs Python 3.11. POSIX only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import results
from benchmarks.accuracy.default.runs import seed_of
from benchmarks.accuracy.dependence import Floats, autoregression, structure_of
from benchmarks.children import run_child
from benchmarks.peers.environments import FOLDER, SETTINGS, interpreter, make_environment
from benchmarks.report import machine, table, write_page
from infomax import interrupts
from infomax import statistics as samples

RUNNER = Path(__file__).parents[1] / "peers" / "block_shuffle.py"
#: The test of the default estimator, and tigramite's.
OURS, PEERS = "infomax", ("CMIknn", "ParCorr")
_LEVEL, _SHUFFLES = 0.05, 199

_NOTES = """\
Shares of p-values of at most 0.05, from 199 shuffles each. x and the noise are AR(1) series with φ = .9 and variance 1,
n = 400 steps; y is the noise plus an effect of x. In the last case both are white noise. "infomax" is the test of the
default estimator with `block_length="auto"`; "CMIknn" and "ParCorr" are tigramite 5.2 (Runge 2018, arXiv 1709.01447)
with `shuffle_test` and its own lengths of blocks. ParCorr tests for correlation only."""

Draw = Callable[[np.random.Generator], tuple[Floats, Floats]]


def _pair(effect: Callable[[Floats], Floats], rng: np.random.Generator, *, phi: float = 0.9) -> tuple[Floats, Floats]:
    """400 steps of a series, and of a series of noise with an effect of it."""
    x, noise = (autoregression(400, phi, rng) * np.sqrt(1 - phi**2) for _ in range(2))
    return x, noise + effect(x)


#: By name, how a pair of series is drawn.
CASES: dict[str, Draw] = {
    "nothing": partial(_pair, np.zeros_like),
    "0.3 x": partial(_pair, lambda x: 0.3 * x),
    "0.2 x²": partial(_pair, lambda x: 0.2 * x**2),
    "0.5 sin 3x": partial(_pair, lambda x: 0.5 * np.sin(3 * x)),
    "0.4 |x|, white noise": partial(_pair, lambda x: 0.4 * np.abs(x), phi=0.0),
}


def pvalues(case: str, draws: int, environments: Path) -> dict[str, list[float]]:
    """P-values of each test for the same draws."""
    pairs = [CASES[case](np.random.default_rng(seed_of(case, seed))) for seed in range(draws)]
    found: dict[str, list[float]] = {OURS: []}
    for seed, (x, y) in enumerate(pairs):
        structure = structure_of(x[:, None], y[:, None], {"block_length": "auto"})
        scores = [torch.from_numpy(samples.normal_scores(side[:, None])) for side in (x, y)]
        rng = np.random.default_rng(seed)
        found[OURS].append(samples.independence_pvalue(scores[0], scores[1], _SHUFFLES, rng, structure))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.npz"
        np.savez(path, x=np.array([x for x, _ in pairs]), y=np.array([y for _, y in pairs]))
        for name in PEERS:
            command = [str(interpreter(environments, "tigramite")), "-I", str(RUNNER), str(path), name, str(_SHUFFLES)]
            found[name] = json.loads(
                run_child(command, cwd=folder, env={**os.environ, **SETTINGS}).stdout.splitlines()[-1]
            )
    return found


def write_report(path: Path) -> str:
    """Write ``dependence_power.md`` beside the CSV, and return it."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for case in [case for case in CASES if any(row["case"] == case for row in rows)]:
        own = [row for row in rows if row["case"] == case]
        shares = [sum(float(row[name]) <= _LEVEL for row in own) / len(own) for name in (OURS, *PEERS)]
        lines.append((case, str(len(own)), *(f"{100 * share:.0f} %" for share in shares)))
    head = ("effect of x on y", "draws", OURS, *PEERS)
    text = ["# Power on time series, beside tigramite", _NOTES, rows[0]["machine"], table(head, lines)]
    return write_page(path.with_suffix(".md"), text)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="draws of each case (default: %(default)s)")
    parser.add_argument("--environments", type=Path, default=FOLDER, help="folder of the environments")
    parser.add_argument("--python", default=sys.executable, help="interpreter for a new one (default: this one)")
    parser.add_argument("--report", action="store_true", help="run nothing; write the report from the CSV")
    results.add_output(parser, "accuracy")
    arguments = parser.parse_args(argv)
    path = results.folder("accuracy", arguments.output) / "dependence_power.csv"
    if not arguments.report:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_environment("tigramite", arguments.environments, arguments.python)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "seed", OURS, *PEERS, "machine"])
            for case in CASES:
                found = pvalues(case, arguments.seeds, arguments.environments.absolute())
                columns = [found[name] for name in (OURS, *PEERS)]
                for seed, values in enumerate(zip(*columns, strict=True)):
                    writer.writerow([case, seed, *values, machine()])
                file.flush()
    print(write_report(path))


if __name__ == "__main__":
    interrupts.run(main)
