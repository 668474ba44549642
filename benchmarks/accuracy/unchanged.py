"""Does a change of the code leave every number as it was? A table of 40 estimates, compared to the last digit.

    OMP_NUM_THREADS=1 python -m benchmarks.accuracy.unchanged --write before.csv    # before the change
    OMP_NUM_THREADS=1 python -m benchmarks.accuracy.unchanged --against before.csv  # after it

The table covers the library by its public names: the default estimator, every trained bound, the classical estimators,
compositions, brackets, columns in files, and the bounds as training losses. All samples and seeds are fixed. Floats are
written with all their digits. ``--against`` prints each number that differs, and a last line with the counts; the exit
status is 1 if any row differs. ``--only TEXT`` restricts both to the rows whose name contains TEXT.

``results/unchanged.csv`` has the numbers of version 0.1.0 on an AMD EPYC with AVX2.

Numbers are reproducible on one machine with one set of installed packages. Another processor, another version of torch
or another number of threads may change the last digits.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import infomax
from benchmarks.results import replace
from infomax import (
    BA,
    CPC,
    NWJ,
    SMILE,
    Bound,
    GaussianMixtureMemory,
    GlobalBatch,
    InfoNCE,
    InnerProducts,
    Schedule,
    interrupts,
)

Floats = NDArray[np.float64]
#: Four numbers of a row, in the order of :data:`COLUMNS`; None where there is none.
Numbers = tuple[float | None, float | None, float | None, float | None]
#: Numbers as they are written, by the name of the row.
Table = dict[str, tuple[str, ...]]

#: ``other`` is the p-value of an estimate, and a second number of what has no p-value.
COLUMNS = ("mi", "low", "high", "other")
SEED = 3
SHORT = Schedule(steps=60, batch_size=64, check_every=20, patience=2)
QUICK: dict[str, Any] = {"quick": True, "schedule": SHORT}
#: Registered bounds that are trained, each by its name.
TRAINED = (
    *("ba", "club", "cpc", "doe", "dv", "fdime", "flo", "infonce", "infonce_anchor", "interpolated", "js", "jsd_lb"),
    *("l1out", "mine", "nwj", "smile", "tuba"),
)
#: The default estimator: tasks, rows, whether quick.
DEFAULT = (
    ("normal-5d-1", 1000, False),
    ("1v1-additive-0.75", 2000, False),
    ("spiral-multinormal-sparse-5-5-2-2.0", 1000, True),
    ("student-5d-5df-2", 600, True),
    ("discrete-uniform-5-1d", 300, False),
    ("label-5-5d-1", 800, True),
)
CLASSICAL = (
    ("gaussian", "lognormal-5d-1", 1000),
    ("ksg", "wiggly-1v1-normal-0.75", 2000),
    ("plugin", "zero-inflated-poisson-0.15", 800),
)
PAIR = ("multinormal-dense-3-3-0.5", 500)


# --- samples ----------------------------------------------------------------------------------------------------------


def mixed_columns(n: int = 240) -> Floats:
    """Two discrete columns and three continuous ones that depend on them and on each other, ``(n, 5)``."""
    rng = np.random.default_rng(SEED)
    species = rng.integers(0, 3, n)
    island = np.where(rng.random(n) < 0.7, species, rng.integers(0, 3, n))
    mass = species + rng.normal(size=n)
    flipper = 0.8 * mass + 0.5 * rng.normal(size=n)
    return np.column_stack([species, island, mass, flipper, np.round(rng.normal(size=n), 1)])


def three_variables(n: int) -> tuple[Floats, Floats, Floats]:
    """Noisy copies of one variable, ``(n,)`` each; the second is bent."""
    common, *noise = np.random.default_rng(SEED).normal(size=(4, n))
    return common + noise[0], np.sin(common) + 0.5 * noise[1], common + 2 * noise[2]


def two_series(n: int) -> tuple[Floats, Floats]:
    """A source and a target that follows it by one step, ``(n,)`` each."""
    source, noise = np.random.default_rng(SEED).normal(size=(2, n))
    return source, np.roll(source, 1) + 0.5 * np.tanh(source) + noise


def paired_tensors(n: int, x_dim: int, y_dim: int) -> tuple[Tensor, Tensor]:
    """Dependent float32 samples, ``(n, x_dim)`` and ``(n, y_dim)``."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(n, x_dim))
    y = x @ rng.normal(size=(x_dim, y_dim)) / x_dim**0.5 + 0.5 * rng.normal(size=(n, y_dim))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


# --- rows of the table ------------------------------------------------------------------------------------------------


def of_estimate(result: infomax.Estimate | infomax.Composition) -> Numbers:
    return result.mi, *result.confidence_interval(), result.pvalue


def of_task(task: str, n: int, **options: Any) -> Numbers:
    x, y = infomax.tasks.get(task).sample(n, SEED)
    return of_estimate(infomax.estimate(x, y, seed=SEED, progress=False, **options))


def of_pairwise() -> Numbers:
    """Sums over all pairs of columns."""
    found = infomax.pairwise(mixed_columns(), seed=SEED, permutations=999, progress=False)
    low, high = found.confidence_interval()
    mi, low_sum, high_sum, tests = (float(np.nansum(part)) for part in (found.mi, low, high, found.pvalue))
    return mi, low_sum, high_sum, tests


def of_composition(quantity: Callable[..., infomax.Composition], *samples: Any, **options: Any) -> Numbers:
    return of_estimate(quantity(*samples, seed=SEED, progress=False, **options))


def of_critic(build: Callable[..., Bound], critic: str) -> Numbers:
    return of_task(*PAIR, bound=build(3, 3, critic=critic), **QUICK)


def of_bracket() -> Numbers:
    """The lower bound, the interval, and the upper bound."""
    x, y = infomax.tasks.get(PAIR[0]).sample(PAIR[1], SEED)
    lower = InfoNCE(3, 3, critic="concat")
    found = infomax.bracket(x, y, lower=lower, upper="l1out", seed=SEED, progress=False, **QUICK)
    return found.lower.mi, *found.confidence_interval(), found.upper.mi


def of_file() -> Numbers:
    """InfoNCE of columns that stay in a file: 2²¹ rows of 9 columns, too many to be copied."""
    rng = np.random.default_rng(SEED)
    values = rng.integers(-100, 100, size=(2**21, 9), dtype=np.int16)
    values[:, 8] += values[:, 0] + values[:, 1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "columns.npy"
        np.save(path, values)
        x, y = infomax.open_columns(path, [str(column) for column in range(8)], ["8"])
        return of_estimate(infomax.estimate(x, y, bound="infonce", seed=SEED, progress=False, **QUICK))


def of_memory() -> Numbers:
    """Entropies of two classes with a long history: Monte Carlo, its lower and upper bounds; a norm of the gradient."""
    y = paired_tensors(9_000, 32, 32)[1]
    classes = (y[:, 0] > 0).long()
    values, norm = [], 0.0
    for memory in (
        GaussianMixtureMemory(32, components=2, capacity=4096, entropy="monte_carlo"),
        GaussianMixtureMemory(32, components=2, capacity=4096, entropy="lower"),
        GaussianMixtureMemory(32, components=2, capacity=4096, entropy="upper"),
    ):
        memory.update(y[:8_600], classes[:8_600])
        batch = y[8_600:].clone().requires_grad_()
        value = memory(batch, classes[8_600:])
        norm += torch.autograd.grad(value, batch)[0].norm().item()
        values.append(value.item())
    return values[0], values[1], values[2], norm


def of_training(build: Callable[[int, int], Bound]) -> Numbers:
    """Twenty steps of Adam: the last loss and the first, then the held-out value and the sum of all parameters."""
    x, y = paired_tensors(20 * 64 + 200, 8, 5)
    bound = build(8, 5)
    optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
    losses = []
    for step in range(20):
        rows = slice(64 * step, 64 * (step + 1))
        optimizer.zero_grad()
        bound(x[rows], y[rows])  # what a memory remembers
        loss = bound.loss(x[rows], y[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        held_out = bound.eval()(x[-200:], y[-200:]).item()
    return losses[-1], losses[0], held_out, sum(parameter.double().sum().item() for parameter in bound.parameters())


def of_large_batch() -> Numbers:
    """1,024 pairs: CPC, the same in a global batch of one process, by inner products, and a norm of the gradient."""
    x, y = paired_tensors(1024, 16, 12)
    bound = CPC(16, 12)
    value = bound(x, y)
    gradients = torch.autograd.grad(value, [*bound.parameters()])
    together = GlobalBatch(bound)(x, y).item()
    a, b = torch.nn.functional.normalize(x), torch.nn.functional.normalize(x + 0.5 * torch.sin(9 * x))
    log_sum = InnerProducts(a, b).mean_log_sum().item()
    return value.item(), together, log_sum, sum(gradient.norm().item() for gradient in gradients)


def rows() -> dict[str, Callable[[], Numbers]]:
    """What computes each of the 40 rows, by name."""
    x, y, z = three_variables(500)
    source, target = two_series(500)
    return {
        **{
            f"default, {task}, n = {n}{', quick' if quick else ''}": partial(of_task, task, n, quick=quick)
            for task, n, quick in DEFAULT
        },
        **{f"bound {name}": partial(of_task, *PAIR, bound=name, **QUICK) for name in TRAINED},
        "nwj, bilinear critic": partial(of_critic, NWJ, "bilinear"),
        "smile, cosine critic": partial(of_critic, SMILE, "cosine"),
        **{name: partial(of_task, task, n, bound=name) for name, task, n in CLASSICAL},
        "pairwise, 5 columns": of_pairwise,
        "conditional, default, quick": partial(of_composition, infomax.conditional, x, y, z, quick=True),
        "total correlation, js": partial(of_composition, infomax.total_correlation, [x, y, z], bound="js", **QUICK),
        "interaction information, ksg": partial(of_composition, infomax.interaction_information, x, y, z, bound="ksg"),
        "transfer entropy, gaussian": partial(
            of_composition, infomax.transfer_entropy, source, target, lags=2, bound="gaussian"
        ),
        "directed information, default, quick": partial(
            of_composition, infomax.directed_information, source, target, quick=True
        ),
        "bracket, infonce with concat critic and l1out": of_bracket,
        "large columns in a file, infonce": of_file,
        "entropy memory": of_memory,
        "training cpc": partial(of_training, partial(CPC, normalize=True, temperature="learned", hidden=(16,))),
        "training ba": partial(of_training, partial(BA, capacity=256)),
        "cpc of 1,024 pairs": of_large_batch,
    }


# --- comparison -------------------------------------------------------------------------------------------------------


def compute(only: str = "") -> Table:
    """The rows whose name contains ``only``; times go to standard error."""
    found: Table = {}
    for name, row in rows().items():
        if only not in name:
            continue
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", infomax.InfomaxWarning)
            torch.manual_seed(SEED)
            numbers = row()
        found[name] = tuple("" if number is None else repr(float(number)) for number in numbers)
        print(f"{time.perf_counter() - start:6.1f} s  {name}", file=sys.stderr, flush=True)
    return found


def write(path: Path, table: Table) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("name", *COLUMNS))
    writer.writerows((name, *numbers) for name, numbers in table.items())
    replace(path, text.getvalue())


def read(path: Path) -> Table:
    """A table that :func:`write` wrote.

    Raises:
        ValueError: for a file with other columns.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if header != ["name", *COLUMNS]:
        raise ValueError(f"{path} must have the columns name, {', '.join(COLUMNS)}; got {', '.join(header)}")
    return {name: tuple(numbers) for name, *numbers in lines}


def differences(old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """What to print for each row that differs or is in one table only.

    >>> differences({"a": ("1.0", "2.0"), "b": ("", "")}, {"a": ("1.5", "2.0"), "b": ("", "")})
    {'a': 'a: mi 1.0 → 1.5 (+0.5)'}
    """
    found = {}
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            found[name] = f"{name}: only {'after' if name in new else 'before'}"
        elif old[name] != new[name]:
            changes = [
                f"{column} {before or 'none'} → {after or 'none'}"
                + (f" ({float(after) - float(before):+.3g})" if before and after else "")
                for column, before, after in zip(COLUMNS, old[name], new[name], strict=False)
                if before != after
            ]
            found[name] = f"{name}: {', '.join(changes)}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this CSV file")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare the table with this CSV file")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains this text")
    arguments = parser.parse_args()
    if arguments.write is None and arguments.against is None:
        parser.error("give --write FILE, --against FILE, or both")
    old = {} if arguments.against is None else read(arguments.against)
    torch.set_num_threads(1)
    new = compute(arguments.only)
    if arguments.write is not None:
        write(arguments.write, new)
    if arguments.against is None:
        print(f"{len(new)} rows written to {arguments.write}")
        return 0
    compared = {name: numbers for name, numbers in old.items() if arguments.only in name}
    found = differences(compared, new)
    for line in found.values():
        print(line)
    print(f"{len(new)} rows computed, {len(compared)} compared with {arguments.against}: {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    interrupts.run(main)
