"""P-values of independence by tigramite's tests with shuffled blocks, in its own environment.

    python -I block_shuffle.py series.npz CMIknn 199

where the file contains ``x`` and ``y``, ``(draws, steps)``. The last line of the output is a JSON list of p-values. The
lengths of blocks are tigramite's own. This file imports neither `infomax` nor `benchmarks`.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module

import numpy as np


def main() -> None:
    path, name, draws = sys.argv[1:]
    warnings.simplefilter("ignore")
    module = import_module(f"tigramite.independence_tests.{name.lower()}")  # installed in the environment of the peer
    series = np.load(path)
    found = []
    for seed, (x, y) in enumerate(zip(series["x"], series["y"], strict=True)):
        test = getattr(module, name)(significance="shuffle_test", sig_samples=int(draws), seed=seed)
        found.append(float(test.run_test_raw(x[:, None], y[:, None])[1]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
