"""Every bound during training while the truth increases in steps, as in Poole et al. and in Song and Ermon.

    python -m benchmarks.accuracy.staircase                                # hours of CPU, most for the joint critic
    python -m benchmarks.accuracy.staircase --bounds ba cpc --cases cubed  # a part; other rows of the CSV stay
    python -m benchmarks.accuracy.staircase --quick --output DIR           # 200 steps per stair, as a check
    python -m benchmarks.accuracy.staircase --report                       # tables and figure from the CSV alone

writes ``staircase.csv`` (one row per curve), ``staircase.md`` and ``staircase.png``. An interrupted sweep resumes.
Sources: Poole et al. 2019, arXiv 1905.06922; Song and Ermon 2020, arXiv 1910.06222.
"""

from __future__ import annotations

import argparse
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.staircase_report import BATCH, Stairs, write_report
from infomax import interrupts

Floats = NDArray[np.float64]

DIM, RATE = 20, 5e-4
STEPS, QUICK_STEPS = 4_000, 200
#: A curve is stored as mean and standard deviation of blocks of this many steps.
BLOCK = 50
#: Number of batches drawn at a time.
_DRAWN = 200


@dataclass(frozen=True)
class Case(Stairs):
    """Title and truths of a staircase, whether y is cubed, and the critics to train."""

    cubed: bool = False
    critics: tuple[str, ...] = ("concat", "separable")


CASES = {
    "gaussian": Case("Gaussian", (2.0, 4.0, 6.0, 8.0, 10.0)),
    "cubed": Case("Gaussian, y cubed", (2.0, 4.0, 6.0, 8.0, 10.0), cubed=True),
    # The published runs use steps in bits; only this case can be compared with them.
    "gaussian-bits": Case(
        "Gaussian, steps of the published runs (2, 4, 6, 8, 10 bits)",
        tuple(bits * math.log(2) for bits in (2, 4, 6, 8, 10)),
        critics=("concat",),
    ),
}
STAIRS = 5

#: The critics of the papers: two hidden layers of 256, embeddings of 32.
CRITICS: dict[str, Callable[[], nn.Module]] = {
    "concat": partial(infomax.critics.Concat, DIM, DIM, hidden=(256, 256)),
    "separable": partial(infomax.critics.Separable, DIM, DIM, hidden=(256, 256), embed_dim=32),
}
COLUMNS = (*(f"{name}_{stair}" for stair in range(1, STAIRS + 1) for name in ("bias", "sd", "mse")), "means", "sds")


def critics_of(bound: str, wanted: Sequence[str]) -> Sequence[str]:
    """Critics to train with a bound: the wanted ones, its own kind of critic, or "–" for a bound without a critic."""
    parameter = inspect.signature(infomax.bounds.get(bound)).parameters.get("critic")
    if parameter is None:
        return ("–",)
    return wanted if parameter.default in CRITICS else (str(parameter.default),)


def build(bound: str, critic: str) -> infomax.Bound:
    """The bound for ``DIM`` and ``DIM`` columns, with a critic of `CRITICS` or with its default."""
    make: Callable[..., infomax.Bound] = infomax.bounds.get(bound)
    return make(DIM, DIM, critic=CRITICS[critic]()) if critic in CRITICS else make(DIM, DIM)


def draw(mi: float, *, cubed: bool, batches: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    r"""Batches of pairs with a mutual information of ``mi`` nats: x and y of shape ``(batches, BATCH, DIM)``, float32.

    The DIM pairs of standard normal coordinates have correlation :math:`\rho = \sqrt{1 - e^{-2I/d}}`. Cubing y is a
    bijection and does not change the truth. One batch equals a sample of "normal-20d-…" or "cubed-normal-20d-…".
    """
    rho = math.sqrt(-math.expm1(-2 * mi / DIM))
    x, y = rng.standard_normal((2, batches, BATCH, DIM))
    y = rho * x + math.sqrt(1 - rho**2) * y
    return torch.from_numpy(x).float(), torch.from_numpy(y**3 if cubed else y).float()


def climb(bound: infomax.Bound, case: Case, steps: int, rng: np.random.Generator) -> Floats:
    """Train on a new batch in each step, from stair to stair without resetting the parameters.

    Returns:
        the bound on each training batch before its step, ``(stairs, steps)``, nats; NaN after a non-finite value.
    """
    optimizer = torch.optim.Adam(bound.parameters(), lr=RATE, fused=True)
    # Where the loss is the negative value, one forward pass computes both.
    separate = type(bound).loss is not infomax.Bound.loss
    values = torch.full((len(case.truths), steps), torch.nan)
    for stair, mi in enumerate(case.truths):
        for start in range(0, steps, _DRAWN):
            xs, ys = draw(mi, cubed=case.cubed, batches=min(_DRAWN, steps - start), rng=rng)
            for step, (x, y) in enumerate(zip(xs, ys, strict=True), start):
                optimizer.zero_grad(set_to_none=True)
                if separate:
                    with torch.no_grad():
                        value = bound(x, y)
                    loss = bound.loss(x, y)
                else:
                    value = bound(x, y)
                    loss = -value
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                values[stair, step] = value.detach()
            if not values[stair, start : start + len(xs)].isfinite().all():
                return values.double().numpy()
    return values.double().numpy()


def stair_statistics(values: Floats, truth: float) -> tuple[float, float, float]:
    """Bias, standard deviation and mean squared error, nats (and nats²), over the last quarter of the steps of a stair.

    The variance divides by the number of steps, so that MSE = bias² + sd². NaN if a value is not finite.
    """
    last = values[-(len(values) // 4) :]
    if not np.isfinite(last).all():
        return math.nan, math.nan, math.nan
    errors = last - truth
    return float(errors.mean()), float(errors.std()), float((errors**2).mean())


def thinned(values: Floats) -> tuple[str, str]:
    """Means and standard deviations of a curve in blocks of ``BLOCK`` steps, as two texts; "nan" if not finite."""
    blocks = np.where(np.isfinite(values), values, np.nan).reshape(-1, BLOCK)
    return _numbers(blocks.mean(1)), _numbers(blocks.std(1))


def _numbers(values: Floats) -> str:
    return " ".join(f"{value:.5g}" for value in values)


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One curve: its statistics per stair, and its blocks. A seed draws the same batches for every bound."""
    torch.set_num_threads(1)  # more threads do not speed up networks this small
    case, seed = CASES[str(cell["case"])], int(cell["seed"])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        bound = build(str(cell["bound"]), str(cell["critic"]))
        values = climb(bound, case, int(cell["steps"]), np.random.default_rng(seed))
    row: dict[str, sweep.Value] = {}
    for stair, (stair_values, truth) in enumerate(zip(values, case.truths, strict=True), 1):
        for name, value in zip(("bias", "sd", "mse"), stair_statistics(stair_values, truth), strict=True):
            row[f"{name}_{stair}"] = float(f"{value:.6g}")
    row["means"], row["sds"] = thinned(values)
    return row


def cells_of(
    cases: Sequence[str], bounds: Sequence[str], critics: Sequence[str], seeds: int, steps: int
) -> Iterator[sweep.Cell]:
    """The cells of the sweep, all with the first seed first."""
    for seed in range(seeds):
        for case in cases:
            for bound in bounds:
                for critic in critics_of(bound, [name for name in CASES[case].critics if name in critics]):
                    yield {"case": case, "bound": bound, "critic": critic, "steps": steps, "seed": seed}


_NOTES = f"""\
Values in nats during training: d = {DIM}, new batches of {BATCH} in every step, Adam with learning rate {RATE:g}; the
critic is not reset between stairs. "concat" is the joint critic; both critics have two hidden layers of 256. As in the
literature (Poole et al. 2019, Song and Ermon 2020), a bound is evaluated on each training batch before the step.
Statistics are over the last quarter of each stair. The ceiling of InfoNCE and CPC is log {BATCH} =
{math.log(BATCH):.2f} nats."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--bounds", nargs="+", help="names (default: all registered bounds)")
    parser.add_argument("--critics", nargs="+", choices=CRITICS, default=list(CRITICS), help="default: all")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS} steps per stair instead of {STEPS:,}")
    sweep.add_arguments(parser, "accuracy", seeds=1)
    arguments = parser.parse_args(argv)
    steps = QUICK_STEPS if arguments.quick else STEPS
    path = results.folder("accuracy", arguments.output) / "staircase.csv"
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        bounds = [infomax.bounds.get(name).name for name in arguments.bounds or infomax.bounds.names()]
    cells = list(cells_of(arguments.cases, bounds, arguments.critics, arguments.seeds, steps))
    report = partial(write_report, steps=steps, cases=CASES, notes=_NOTES)
    sweep.run_and_report(path, cells, run, COLUMNS, report, parser=parser, arguments=arguments, **options)


if __name__ == "__main__":
    interrupts.run(main)
