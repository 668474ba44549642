"""Self-consistency of estimates on real images without a known truth: the tests of Song and Ermon.

    python -m benchmarks.accuracy.consistency            # about 15 minutes of CPU time
    python -m benchmarks.accuracy.consistency --quick --output DIR
    python -m benchmarks.accuracy.consistency --report   # tables and figure from the CSV alone

X is a digit (scikit-learn's `load_digits`: 1,797 images of 8 x 8 pixels with values 0 to 16, unscaled), Y_t its top t
rows. For every distribution of images,

- baseline:   I(X; Y_t) is 0 at t = 0 and rises with t;
- processing: I([X, X]; [Y_t, Y_{t-1}]) = I(X; Y_t), as the other parts add no information;
- additivity: I([X1, X2]; [Y1_t, Y2_t]) = I(X1; Y1_t) + I(X2; Y2_t) = 2 I(X1; Y1_t) for independent images: X1 is from
  one half of the images and X2 from the other, each image once ("half" is X1 alone).

Writes ``consistency.csv`` (one row per estimate), ``consistency.md`` and ``consistency.png``. An interrupted sweep
resumes. Source: Song and Ermon 2020, arXiv 1910.06222 (there with MNIST and CIFAR-10).
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray

import infomax
from benchmarks import results, sweep
from benchmarks.accuracy.consistency_report import write_report
from benchmarks.choices import CORE, chosen_estimators
from infomax import interrupts

Floats = NDArray[np.float64]

COLUMNS = ("mi", "stderr", "ceiling", "saturated", "warnings")
#: Values of t by test: "processing" is divided by "baseline" with the same t, and "additivity" by "half".
ROWS = {"baseline": (0, 1, 2, 4, 8), "processing": (2, 4, 8), "half": (1, 2, 4), "additivity": (1, 2, 4)}
QUICK_ROWS = {"baseline": (0, 1, 8), "processing": (8,), "half": (1,), "additivity": (1,)}


@lru_cache(maxsize=1)
def images() -> Floats:
    """The digits, ``(1797, 8, 8)``, values 0 to 16."""
    found: Floats = import_module("sklearn.datasets").load_digits().images  # an extra, without types
    return found


def top_rows(pictures: Floats, t: int) -> Floats:
    """The pictures ``(n, height, width)`` with all rows but the top ``t`` set to 0, as ``(n, height * width)``."""
    masked = pictures.copy()
    masked[:, t:] = 0
    return masked.reshape(len(masked), -1)


def samples(test: str, t: int, pictures: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """X and y of a test, one row per picture.

    Raises:
        ValueError: if the test is not one of `ROWS`.
    """
    x, y = top_rows(pictures, pictures.shape[1]), top_rows(pictures, t)
    if test == "baseline":
        return x, y
    if test == "processing":
        return np.hstack([x, x]), np.hstack([y, top_rows(pictures, t - 1)])
    if test in ("half", "additivity"):
        first, second = rng.permutation(len(pictures))[: len(pictures) // 2 * 2].reshape(2, -1)
        return (
            (x[first], y[first])
            if test == "half"
            else (np.hstack([x[first], x[second]]), np.hstack([y[first], y[second]]))
        )
    raise ValueError(f"test must be one of {', '.join(ROWS)}; got {test!r}")


def run(cell: sweep.Cell) -> Mapping[str, sweep.Value]:
    """One estimate, with default settings unless the mode of the cell is "quick", and all warnings."""
    torch.set_num_threads(1)
    seed = int(cell["seed"])
    x, y = samples(
        str(cell["test"]), int(cell["rows"]), images(), np.random.default_rng([seed, 1])
    )  # 1: other draws than those of `estimate`
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = infomax.estimate(
            x, y, bound=str(cell["bound"]), seed=seed, quick=cell["mode"] == "quick", progress=False
        )
    return {
        "mi": float(f"{result.mi:.6g}"),
        "stderr": float(f"{result.stderr:.6g}"),
        "ceiling": None if result.ceiling is None else round(result.ceiling, 4),
        "saturated": saturation(result),
        "warnings": " | ".join(str(warning.message) for warning in caught),
    }


def saturation(result: infomax.Estimate) -> str:
    """Why the sample is too small for a value: it is near its "ceiling", or exceeds "log n" without a ceiling."""
    if result.ceiling is None:
        return "log n" if result.mi > math.log(result.n) else ""
    return "ceiling" if result.near_ceiling else ""


def cells_of(bounds: Sequence[str], seeds: int, *, quick: bool) -> Iterator[sweep.Cell]:
    """The cells of the sweep."""
    mode = "quick" if quick else "default"
    for seed in range(seeds):
        for test, rows in (QUICK_ROWS if quick else ROWS).items():
            for t in rows:
                for bound in bounds:
                    yield {"test": test, "rows": t, "bound": bound, "mode": mode, "seed": seed}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bounds", nargs="+", help=f"names (default: {', '.join(CORE)})")
    parser.add_argument("--quick", action="store_true", help="two folds, short training, fewer values of t")
    sweep.add_arguments(parser, "accuracy", seeds=1)
    arguments = parser.parse_args(argv)
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        bounds = chosen_estimators(arguments.bounds)
    cells = list(cells_of(bounds, arguments.seeds, quick=arguments.quick))
    path = results.folder("accuracy", arguments.output) / "consistency.csv"
    mode = "quick" if arguments.quick else "default"
    sweep.run_and_report(
        path, cells, run, COLUMNS, partial(write_report, mode=mode), parser=parser, arguments=arguments, **options
    )


if __name__ == "__main__":
    interrupts.run(main)
