"""Estimates by other packages on the same samples, each in its own environment and with its own defaults.

    python -m benchmarks.peers                                              # 40 tasks, all peers, n = 10,000
    python -m benchmarks.peers --tasks normal --peers ennemi "benchmark-mi: CCA" --n 2000
    python -m benchmarks.peers --report                                     # the table from the CSV alone

writes ``peers.csv`` (one row per run, including failed runs and time-outs) and ``peers.md``. The table also has the
estimators of infomax, if ``known_mi.csv`` has runs on the same samples. The first run makes the environments from the
pinned lists in ``requirements``; they need Python 3.11 and about 3 GB. Symbolic links in the folder of environments are
used unchanged. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results, sweep
from benchmarks.children import run_child
from benchmarks.choices import chosen_tasks
from benchmarks.peers.environments import FOLDER, PINS, SETTINGS, interpreter, make_environment
from benchmarks.peers.report import write_report
from benchmarks.peers.runner import ESTIMATORS, peer_of
from infomax import tasks

RUNNER = Path(__file__).with_name("runner.py")
COLUMNS = ("truth", "estimate", "bias")
PEERS = list(dict.fromkeys(map(peer_of, ESTIMATORS)))


class PeerError(Exception):
    """The process of a peer ended without an estimate."""


def run(cell: sweep.Cell, *, environments: Path, limit: int) -> Mapping[str, sweep.Value]:
    """One estimate by a peer, and the truth. Failures are returned as ``error``."""
    task, name, seed = tasks.get(str(cell["task"])), str(cell["estimator"]), int(cell["seed"])
    row: dict[str, sweep.Value] = {"truth": round(task.mi, 6), "seconds": None, "memory": None}
    before = _children_seconds()
    try:
        result = ask(name, task.sample(int(cell["n"]), seed), seed, environments, limit)
    except PeerError as problem:
        return row | {"error": str(problem)}
    except subprocess.TimeoutExpired as problem:
        return row | {"error": f"TimeoutExpired: {problem}", "seconds": round(_children_seconds() - before, 3)}
    value = float(result["estimate"])
    error = "" if math.isfinite(value) else f"the estimate is {value}"
    return row | result | {"estimate": round(value, 6), "bias": round(value - task.mi, 6), "error": error}


def ask(name: str, samples: tuple[Any, Any], seed: int, environments: Path, limit: int) -> dict[str, Any]:
    """The output of `runner` for an estimator, run in the environment of the peer and in an empty folder.

    Raises:
        subprocess.TimeoutExpired: after ``limit`` seconds of wall time. PeerError: with the last line of stderr.
    """
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "samples.npz")
        np.savez(path, x=samples[0], y=samples[1])
        command = [str(interpreter(environments, peer_of(name))), "-I", str(RUNNER), name, str(path), str(seed)]
        environment = os.environ | SETTINGS | {"TMPDIR": folder}
        settings = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL}
        try:
            done = run_child(command, check=False, limit=limit, **settings)
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(name, limit) from None  # without the paths in the command
    if done.returncode < 0:
        raise PeerError(f"killed by {signal.Signals(-done.returncode).name}")
    with suppress(ValueError, IndexError):  # no JSON, or no output
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
    last = (done.stderr.strip() or "no estimate and no error message").splitlines()[-1]
    raise PeerError(last.replace(folder, ".").replace(str(environments), "environments"))


def chosen_estimators(wanted: Iterable[str]) -> list[str]:
    """Names of estimators, from names of estimators and peers.

    Raises:
        ValueError: for an unknown name.
    """
    wanted = set(wanted)
    unknown = sorted(wanted - {*PEERS, *ESTIMATORS})
    if unknown:
        raise ValueError(f"peers must be among {', '.join([*PEERS, *ESTIMATORS])}; got {', '.join(unknown)}")
    return [name for name in ESTIMATORS if wanted & {name, peer_of(name)}]


def cells_of(task_names: Iterable[str], estimators: Sequence[str], n: int, seeds: int) -> list[sweep.Cell]:
    """The runs of a sweep; estimators for one column are not run on tasks with more."""
    return [
        {"task": task, "estimator": name, "n": n, "seed": seed}
        for seed in range(seeds)
        for task in task_names
        for name in estimators
        if not ESTIMATORS[name].one_dimensional or tasks.get(task).x_dim == tasks.get(task).y_dim == 1
    ]


def _children_seconds() -> float:
    """CPU time of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def arguments_of(argv: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["beyond-normal"], help="names, families, or all")
    parser.add_argument(
        "--peers", nargs="+", default=PEERS, help=f"peers or single estimators (default: all of {', '.join(PEERS)})"
    )
    parser.add_argument("--n", type=int, default=10_000, help="sample size (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=300, help="time limit of a run in seconds (default: %(default)s)")
    parser.add_argument(
        "--environments", type=Path, default=FOLDER, help="folder of the environments (default: %(default)s)"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter for new environments (default: this one)")
    parser.add_argument("--ours", type=Path, help="CSV of benchmarks.accuracy.known_mi (default: in its folder)")
    sweep.add_arguments(parser, "peers", seeds=1)
    return parser, parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    parser, arguments = arguments_of(argv)
    with sweep.usage_errors(parser):
        options = sweep.options(arguments)
        task_names, estimators = chosen_tasks(arguments.tasks), chosen_estimators(arguments.peers)
        if arguments.n < 1:
            raise ValueError(f"n must be at least 1; got {arguments.n}")
    path = results.folder("peers", arguments.output) / "peers.csv"
    ours = arguments.ours or results.folder("accuracy", arguments.output) / "known_mi.csv"
    try:
        if not arguments.report:
            environments = arguments.environments.resolve()
            environments.mkdir(parents=True, exist_ok=True)
            for peer in dict.fromkeys(map(peer_of, estimators)):
                make_environment(peer, environments, arguments.python)
            cells = cells_of(task_names, estimators, arguments.n, arguments.seeds)
            job = partial(run, environments=environments, limit=arguments.limit)
            sweep.sweep(path, cells, job, COLUMNS, **options)
        print(write_report(path, ours, PINS))
    except subprocess.CalledProcessError:
        parser.error("the environment could not be made; --peers excludes it, --python selects another interpreter")
    except sweep.SweepError as error:
        parser.error(str(error))
