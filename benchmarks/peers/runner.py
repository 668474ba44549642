"""One estimate by another package, in its own environment.

    python -I runner.py "torch-mist: smile" samples.npz 0

where the file contains ``x`` and ``y``. The last line of the output is JSON: the estimate in nats, CPU seconds of the
call (without imports) and peak memory of the process in MB. Every package is called as in its documentation, with its
own defaults. This file imports neither `infomax` nor `benchmarks`, which are not installed in environments of peers.
"""

from __future__ import annotations

import json
import math
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Measure = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Estimator:
    """How to call one estimator of a peer.

    Attributes:
        load: imports the peer; returns a function of x and y, both ``(n, dimensions)``, with a value in nats.
        one_dimensional: whether it accepts one column of x and one of y only.
    """

    load: Callable[[], Measure]
    one_dimensional: bool = False


def torch_mist(name: str) -> Estimator:
    """Its ``estimate_mi``, which evaluates on its training samples."""

    def load() -> Measure:
        import torch  # noqa: PLC0415 - installed in the environment of the peer, as all imports below
        from torch_mist import estimate_mi  # noqa: PLC0415

        torch.manual_seed(random.getrandbits(32))  # it accepts no seed
        return lambda x, y: estimate_mi(data=(x, y), estimator=name)[0]

    return Estimator(load)


def benchmark_mi(name: str) -> Estimator:
    """A class of ``bmi.estimators``; the neural ones train on one half and evaluate on the other."""

    def load() -> Measure:
        from bmi import estimators  # noqa: PLC0415

        return lambda x, y: getattr(estimators, name)().estimate(x, y)

    return Estimator(load)


def scikit_learn() -> Measure:
    from sklearn.feature_selection import mutual_info_regression  # noqa: PLC0415

    return lambda x, y: mutual_info_regression(x, column(y))[0]


def ennemi() -> Measure:
    from ennemi import estimate_mi  # noqa: PLC0415

    return lambda x, y: estimate_mi(column(y), column(x)).item()


def infomeasure() -> Measure:
    from infomeasure import mutual_information  # noqa: PLC0415

    # The approach has no default; "metric" is its k-nearest-neighbour estimator for continuous columns.
    return lambda x, y: mutual_information(x, y, approach="metric")


def npeet_plus() -> Measure:
    from npeet_plus import mi  # noqa: PLC0415

    return lambda x, y: mi(x, y) * math.log(2)  # it returns bits


def column(values: Any) -> Any:
    """The only column of an array ``(n, 1)``."""
    if values.shape[1] != 1:
        raise ValueError(f"takes one column of x and one of y; got {values.shape[1]} columns")
    return values[:, 0]


#: Estimators by their names in the table: peer, colon, estimator.
ESTIMATORS = {
    **{f"torch-mist: {name}": torch_mist(name) for name in ("smile", "mine", "nwj", "infonce", "js", "doe")},
    "benchmark-mi: CCA": benchmark_mi("CCAMutualInformationEstimator"),
    "benchmark-mi: KSG": benchmark_mi("KSGEnsembleFirstEstimator"),
    "benchmark-mi: InfoNCE": benchmark_mi("InfoNCEEstimator"),
    "benchmark-mi: MINE": benchmark_mi("MINEEstimator"),
    "benchmark-mi: Donsker-Varadhan": benchmark_mi("DonskerVaradhanEstimator"),
    "benchmark-mi: NWJ": benchmark_mi("NWJEstimator"),
    "scikit-learn: mutual_info_regression": Estimator(scikit_learn, one_dimensional=True),
    "ennemi: estimate_mi": Estimator(ennemi, one_dimensional=True),
    "infomeasure: KSG": Estimator(infomeasure),
    "npeet-plus: mi": Estimator(npeet_plus),
}


def peer_of(name: str) -> str:
    """The package of an estimator."""
    return name.partition(": ")[0]


def peak_memory() -> int:
    """Peak resident memory of this process, in MB."""
    # On Linux, getrusage starts from the peak of the parent process.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024**2  # macOS counts in bytes


def estimate(name: str, x: Any, y: Any, seed: int) -> dict[str, float]:
    """The printed values. ``seed`` seeds the global generators, because half of the peers accept no seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    measure = ESTIMATORS[name].load()
    start = time.process_time()
    value = float(measure(x, y))
    seconds = time.process_time() - start
    return {"estimate": value, "seconds": round(seconds, 3), "memory": peak_memory()}


def main() -> int:
    name, path, seed = sys.argv[1:]
    with np.load(path) as samples:
        x, y = samples["x"], samples["y"]
    try:
        result = estimate(name, x, y, int(seed))
    except Exception as problem:  # every failure goes into the table
        traceback.print_exc()
        print(f"{type(problem).__name__}: {' '.join(str(problem).split())}", file=sys.stderr)  # the last line of stderr
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
