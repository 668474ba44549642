"""Run many cells in parallel and store their results in one CSV; an interrupted sweep resumes.

A cell is a dictionary of the columns that identify it (task, estimator, n, seed, ...); ``run(cell)`` returns the
columns that it measures. Each finished cell is appended and flushed at once. A restarted sweep skips the cells in the
file. At the end the rows are sorted, so that the file does not depend on interruptions.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.report import machine
from benchmarks.results import add_output, replace
from infomax import interrupts

Cell = Mapping[str, str | int]
Row = dict[str, str]
Value = str | int | float | None
Run = Callable[[Cell], Mapping[str, Value]]

#: What the sweep adds to each row: CPU seconds, peak memory of the process in MB (2²⁰ bytes), date, machine, error.
MEASURED = ("seconds", "memory", "date", "machine", "error")


class SweepError(ValueError):
    """The file, the backend or the cells cannot be used for a sweep; the message says why."""


def add_arguments(parser: ArgumentParser, room: str, *, seeds: int) -> None:
    """The options of every sweep; ``room`` has the results by default, ``seeds`` is the default number of seeds."""
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds (default: %(default)s)")
    add_output(parser, room)
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help="parallel cells on this machine (default: %(default)s)")
    parser.add_argument("--backend", default="loky", help="joblib backend: loky (this machine), dask or ray")
    parser.add_argument("--address", help="address of the Dask scheduler or Ray head")
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--plugin", action="append", default=[], help="module that registers tasks; imported first")
    parser.add_argument("--report", action="store_true", help="run nothing; write the report from the CSV")


def options(arguments: Namespace) -> dict[str, Any]:
    """The arguments of `add_arguments`, as keywords of `sweep`; imports the plugins, which register their tasks.

    Raises:
        ValueError: for an unknown backend, an address with loky, a missing plugin, or fewer than one job or seed.
    """
    jobs, backend, address = arguments.jobs, arguments.backend, arguments.address
    if backend not in ("loky", "dask", "ray"):
        raise ValueError(f"backend must be loky, dask or ray; got {backend!r}")
    if backend == "loky" and address is not None:
        raise ValueError(f"address is for the backends dask and ray; got {address!r} with {backend!r}")
    for name in ("jobs", "seeds"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"{name} must be at least 1; got {getattr(arguments, name)}")
    for module in arguments.plugin:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ValueError(f"plugin must name a module that can be imported; got {module!r} ({error})") from None
    return {"jobs": jobs, "backend": backend, "address": address, "retry": arguments.retry, "plugin": arguments.plugin}


@contextmanager
def usage_errors(parser: ArgumentParser, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Inside, an error of this kind ends the program with a usage message, as argparse does."""
    try:
        yield
    except kind as error:
        parser.error(str(error))


def run_and_report(
    path: Path,
    cells: Sequence[Cell],
    run: Run,
    columns: Sequence[str],
    report: Callable[[Path], str],
    *,
    parser: ArgumentParser,
    arguments: Namespace,
    **options: Any,
) -> None:
    """Run the cells unless ``--report`` is given, and print the report; a `SweepError` is a usage error.

    Args:
        cells, run, columns, options: as `sweep`. report: writes the report of the CSV, and returns it.
    """
    with usage_errors(parser, SweepError):
        if not arguments.report:
            sweep(path, cells, run, columns, **options)
        print(report(path))


def sweep(
    path: Path,
    cells: Sequence[Cell],
    run: Run,
    columns: Sequence[str],
    *,
    jobs: int = 1,
    backend: str = "loky",
    address: str | None = None,
    retry: bool = False,
    plugin: Sequence[str] = (),
) -> list[Row]:
    """Run the cells that are not in ``path`` yet; return the rows of all ``cells``, sorted.

    Args:
        path: the CSV. cells: all with the same keys. run: a module-level function (workers import it).
        columns: what ``run`` returns. jobs: parallel cells on this machine; 1 runs them in this process.
        backend, address: "loky", or "dask" or "ray" with the address of a cluster, whose workers are all used.
        retry: run the cells with an error again. plugin: modules that each worker imports first.

    Raises:
        SweepError: if the file has other columns, the cells differ in their keys, or another sweep writes to the file.
    """
    if not cells:
        return []
    keys = list(cells[0])
    if any(list(cell) != keys for cell in cells):
        raise SweepError(f"cells must all have the keys {keys}")
    header = [*keys, *columns, *MEASURED]
    wanted = {_key(cell, keys): cell for cell in cells}
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        rows = _read(path, header)
        if retry:
            rows = [row for row in rows if not (row["error"] and _key(row, keys) in wanted)]
            write(path, header, rows)
        held = {_key(row, keys) for row in rows}
        pending = [cell for key, cell in wanted.items() if key not in held]
        with (
            _workers(jobs, backend, address) as workers,
            path.open("a", newline="", encoding="utf-8") as file,
            _bar(len(wanted), len(wanted) - len(pending)) as advance,
            closing(_run_all(run, pending, list(plugin), workers, generates=backend != "ray")) as found,
        ):
            writer = csv.DictWriter(file, header, lineterminator="\n")
            if path.stat().st_size == 0:
                writer.writeheader()
            for cell, result in found:
                row = {name: _text(value) for name, value in {**cell, **result}.items()}
                writer.writerow({name: row.get(name, "") for name in header})
                file.flush()
                os.fsync(file.fileno())
                advance(" ".join(str(value) for value in cell.values()))
        rows = sorted(_read(path, header), key=lambda row: _order(row, keys))
        write(path, header, rows)
    return [row for row in rows if _key(row, keys) in wanted]


def measured(run: Run, cell: Cell, plugin: Sequence[str]) -> dict[str, Value]:
    """Run one cell in this process: its result or error, CPU time and peak memory."""
    start = time.process_time()
    memory.forget_peak()
    result: dict[str, Value] = {}
    error = ""
    try:
        for module in plugin:
            import_module(module)
        result.update(run(cell))
    except Exception as problem:  # a failed cell becomes a row and does not stop the others
        error = f"{type(problem).__name__}: {problem}"
    facts = {"date": str(date.today()), "machine": machine(), "error": error}
    peak = memory.status("VmHWM")
    megabytes = None if peak is None else peak // 2**20
    return {"seconds": round(time.process_time() - start, 3), "memory": megabytes, **facts} | result


def _run_all(
    run: Run, cells: Sequence[Cell], plugin: Sequence[str], workers: int, *, generates: bool
) -> Generator[tuple[Cell, Mapping[str, Value]], None, None]:
    """Cells and their results, as they finish. If a worker dies, the cells in progress are run again one by one.

    ``generates``: the backend yields results one by one; otherwise they come in blocks, one cell for each worker.
    """
    import joblib  # noqa: PLC0415 - where cells are run

    def several(some: Sequence[Cell], at_a_time: int) -> Iterator[tuple[int, Mapping[str, Value]]]:
        jobs = [joblib.delayed(_numbered)(i, run, cell, plugin) for i, cell in enumerate(some)]
        if generates:
            with interrupts.shielded():
                found = joblib.Parallel(at_a_time, return_as="generator_unordered", batch_size=1)(jobs)
            yield from found
            return
        block = joblib.effective_n_jobs(at_a_time)
        for start in range(0, len(jobs), block):
            yield from joblib.Parallel(at_a_time, batch_size=1)(jobs[start : start + block])

    left = list(cells)
    while left:
        done: set[int] = set()
        try:
            for i, result in several(left, workers):
                done.add(i)
                yield left[i], result
        except _deaths():
            left = [cell for i, cell in enumerate(left) if i not in done]
            many = 2 * joblib.effective_n_jobs(workers)
            suspects, left = left[:many], left[many:]
            for cell in suspects:
                try:
                    yield cell, next(several([cell], 2))[1]  # 1 would be this process
                except _deaths() as problem:
                    yield cell, {"error": f"the worker process died ({type(problem).__name__})"}
        else:
            return


def _deaths() -> tuple[type[BaseException], ...]:
    """Exceptions raised when a worker is killed by a signal or for lack of memory."""
    killed = getattr(sys.modules.get("distributed"), "KilledWorker", None)
    return (BrokenExecutor, killed) if killed else (BrokenExecutor,)


def _numbered(i: int, run: Run, cell: Cell, plugin: Sequence[str]) -> tuple[int, Mapping[str, Value]]:
    return i, measured(run, cell, plugin)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock the CSV against other sweeps, where the system has file locks.

    Raises:
        SweepError: if another sweep has the lock.
    """
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        yield
        return
    with path.with_name(path.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SweepError(
                f"{path} is being written by another sweep; wait for it, or choose another folder"
            ) from None
        yield


@contextmanager
def _workers(jobs: int, backend: str, address: str | None) -> Iterator[int]:
    """Inside, joblib uses the backend; yields the number of parallel cells, -1 for all workers of a cluster."""
    import joblib  # noqa: PLC0415 - where cells are run

    with ExitStack() as stack:
        if backend == "dask":
            from dask.distributed import Client  # noqa: PLC0415 - an extra

            client = stack.enter_context(Client(address))  # type: ignore[no-untyped-call]
            if max(client.nthreads().values(), default=1) > 1:
                raise SweepError("Dask workers must have one thread each, because all threads share torch's generator")
        elif backend == "ray":
            import ray  # noqa: PLC0415 - an extra
            from ray.util.joblib import register_ray  # noqa: PLC0415

            ray.init(address=address)
            stack.callback(ray.shutdown)
            register_ray()  # type: ignore[no-untyped-call, unused-ignore]
        stack.enter_context(joblib.parallel_config(backend=backend))
        yield jobs if backend == "loky" else -1


def _key(row: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(_text(row[name]) for name in keys)


def _order(row: Row, keys: Iterable[str]) -> list[tuple[float, str]]:
    """Sort numbers by value and texts alphabetically."""
    return [(float(value), "") if value.isdecimal() else (-1.0, value) for value in _key(row, keys)]


def _text(value: Value) -> str:
    """One line of text; the shortest one that keeps a number exact."""
    return "" if value is None else " ".join(str(value).split())


def read(path: Path) -> list[Row]:
    """The rows of a finished sweep.

    Raises:
        SweepError: if the file is missing or empty.
    """
    rows = _read(path, None)
    if not rows:
        state = "is empty" if path.exists() else "does not exist"
        raise SweepError(f"{path} must contain the rows of a sweep; it {state}")
    return rows


def _read(path: Path, header: Sequence[str] | None) -> list[Row]:
    """Rows of the file; an incomplete last line is removed from the file."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        replace(path, whole)
    reader = csv.DictReader(whole.decode().splitlines())
    header = list(reader.fieldnames or []) if header is None else header
    if list(reader.fieldnames or header) != list(header):
        found = reader.fieldnames
        raise SweepError(f"{path} must have the columns {header}; got {found}: move the file away to start again")
    rows = list(reader)
    odd = next((i for i, row in enumerate(rows) if None in row or None in row.values()), None)
    if odd is not None:
        raise SweepError(f"{path} must have {len(header)} columns in every row; row {odd + 1} differs: {rows[odd]}")
    return rows


def write(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace the CSV by these rows, in one step; missing values are empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(path, text.getvalue())


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A function that reports a finished cell: in a progress bar, or line by line without tqdm."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra
    except ImportError:
        count = iter(range(done + 1, total + 1))
        yield lambda cell: print(f"{next(count)}/{total} {cell}", flush=True)
        return
    with tqdm(total=total, initial=done, unit="cell", smoothing=0.1) as bar:

        def advance(cell: str) -> None:
            bar.set_postfix_str(cell, refresh=False)
            bar.update()

        yield advance
