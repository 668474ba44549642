"""One estimate by another package, in that package's own environment.

    python -I runner.py "torch-mist: smile" samples.npz 0

where the file holds ``x`` and ``y``. The last line that it prints is JSON: the estimate in nats, the CPU seconds of
the call (without imports) and the peak memory of the process in MB. Every package is called as its documentation does
and keeps its own defaults. This file stands alone: a peer's environment holds neither `infomax` nor `benchmarks`.
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
    """How to get at one estimator of a peer.

    Attributes:
        load: imports the peer; returns a function of x and y, both ``(n, dimensions)``, that gives nats.
        one_dimensional: it takes one column of x and one of y.
    """

    load: Callable[[], Measure]
    one_dimensional: bool = False


def torch_mist(name: str) -> Estimator:
    """Its ``estimate_mi``, which measures on the samples that it trained on."""

    def load() -> Measure:
        import torch  # noqa: PLC0415 - in the peer's environment only, as all imports below
        from torch_mist import estimate_mi  # noqa: PLC0415

        torch.manual_seed(random.getrandbits(32))  # it takes no seed of its own
        return lambda x, y: estimate_mi(data=(x, y), estimator=name)[0]

    return Estimator(load)


def benchmark_mi(name: str) -> Estimator:
    """A class of ``bmi.estimators``; the neural ones train on one half and measure on the other."""

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

    # Its approach has no default; "metric" is its nearest-neighbour one, for continuous columns.
    return lambda x, y: mutual_information(x, y, approach="metric")


def npeet_plus() -> Measure:
    from npeet_plus import mi  # noqa: PLC0415

    return lambda x, y: mi(x, y) * math.log(2)  # it gives bits


def column(values: Any) -> Any:
    """The only column of an array ``(n, 1)``."""
    if values.shape[1] != 1:
        raise ValueError(f"takes one column of x and one of y; got {values.shape[1]} columns")
    return values[:, 0]


#: By their names in the table: the peer, a colon, its estimator.
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
    """The package that an estimator is of."""
    return name.partition(": ")[0]


def peak_memory() -> int:
    """Peak resident memory of this process, in MB."""
    # On Linux the count of getrusage begins with that of the process that started this one.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024**2  # macOS counts in bytes


def estimate(name: str, x: Any, y: Any, seed: int) -> dict[str, float]:
    """What is printed. ``seed`` is for what draws from the global generators: half of the peers can be given none."""
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
    except Exception as problem:  # whatever it is, it goes into the table
        traceback.print_exc()
        print(f"{type(problem).__name__}: {' '.join(str(problem).split())}", file=sys.stderr)  # surely the last line
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
