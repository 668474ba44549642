"""Run many cells, in parallel, into one CSV that survives being killed.

A cell is a dictionary of the columns that identify it (task, estimator, n, seed, ...); ``run(cell)`` returns the
columns that it measures. Each finished cell is appended and flushed at once. Started again, a sweep skips what the file
holds. At the end the file is put in order, so that it does not depend on how often the sweep was interrupted.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from benchmarks.results import add_output

Cell = Mapping[str, str | int]
Row = dict[str, str]
Value = str | int | float | None
Run = Callable[[Cell], Mapping[str, Value]]

#: What the sweep itself adds to each row: CPU seconds, the process's peak memory in MB, day, versions and machine, and
#: what went wrong.
MEASURED = ("seconds", "memory", "date", "machine", "error")


class SweepError(ValueError):
    """The file, the backend or the cells are not what a sweep needs; the message says why."""


def add_arguments(parser: ArgumentParser, room: str, *, seeds: int) -> None:
    """The options that every sweep has; results go to the ``room``; ``seeds`` is how many there are by default."""
    parser.add_argument("--seeds", type=int, default=seeds, help="how many (default: %(default)s)")
    add_output(parser, room)
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, help="cells at a time on this machine (default: %(default)s)")
    parser.add_argument("--backend", default="loky", help="of joblib: loky (this machine), dask or ray")
    parser.add_argument("--address", help="of the Dask scheduler or Ray head, for these backends")
    parser.add_argument("--retry", action="store_true", help="run again the cells that failed")
    parser.add_argument("--plugin", action="append", default=[], help="module to import first, to register tasks")
    parser.add_argument("--report", action="store_true", help="run nothing, write the reports anew from the CSV")


def options(arguments: Namespace) -> dict[str, Any]:
    """The arguments of `add_arguments`, for `sweep`; the plugins are imported, so that what they register is known.

    Raises:
        ValueError: for an unknown backend, an address with loky, a plugin that is not found, and no jobs or seeds.
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
    """Run the cells that ``path`` does not hold yet; return the rows of all ``cells``, in order.

    Args:
        path: the CSV. cells: each with the same keys. run: a function of a module (workers import it).
        columns: what ``run`` returns. jobs: cells at a time on this machine; with 1 they run in this process.
        backend, address: "loky", or "dask" or "ray" at an address, with all the workers that there are.
        retry: run again the cells whose row has an error. plugin: modules that each worker imports first.

    Raises:
        SweepError: if the file has other columns, the cells differ in their keys, or another sweep is writing to the
            file.
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
            _write(path, header, rows)
        held = {_key(row, keys) for row in rows}
        pending = [cell for key, cell in wanted.items() if key not in held]
        with (
            _workers(jobs, backend, address) as workers,
            path.open("a", newline="", encoding="utf-8") as file,
            _bar(len(wanted), len(wanted) - len(pending)) as advance,
        ):
            writer = csv.DictWriter(file, header, lineterminator="\n")
            if path.stat().st_size == 0:
                writer.writeheader()
            for cell, result in _run_all(run, pending, list(plugin), workers, generates=backend != "ray"):
                row = {name: _text(value) for name, value in {**cell, **result}.items()}
                writer.writerow({name: row.get(name, "") for name in header})
                file.flush()
                os.fsync(file.fileno())
                advance(" ".join(str(value) for value in cell.values()))
        rows = sorted(_read(path, header), key=lambda row: _order(row, keys))
        _write(path, header, rows)
    return [row for row in rows if _key(row, keys) in wanted]


def measured(run: Run, cell: Cell, plugin: Sequence[str]) -> dict[str, Value]:
    """One cell in this process: its result, or its error, with CPU time and peak memory."""
    start = time.process_time()
    _forget_peak()
    result: dict[str, Value] = {}
    error = ""
    try:
        for module in plugin:
            import_module(module)
        result.update(run(cell))
    except Exception as problem:  # a failing cell is a row, and must not stop the others
        error = f"{type(problem).__name__}: {problem}"
    facts = {"date": str(date.today()), "machine": machine(), "error": error}
    return {"seconds": round(time.process_time() - start, 3), "memory": _peak(), **facts} | result


def _run_all(
    run: Run, cells: Sequence[Cell], plugin: Sequence[str], workers: int, *, generates: bool
) -> Iterator[tuple[Cell, Mapping[str, Value]]]:
    """Cells with what they measured, as they finish. If a worker dies, the cells in work are tried one by one.

    ``generates``: the backend can hand over results one by one; else they come in blocks of a cell for each worker.
    """
    import joblib  # noqa: PLC0415 - an extra

    def several(some: Sequence[Cell], at_a_time: int) -> Iterator[tuple[int, Mapping[str, Value]]]:
        jobs = [joblib.delayed(_numbered)(i, run, cell, plugin) for i, cell in enumerate(some)]
        if generates:
            yield from joblib.Parallel(at_a_time, return_as="generator_unordered", batch_size=1)(jobs)
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
                    yield cell, next(several([cell], 2))[1]  # 2, for 1 would be this process
                except _deaths() as problem:
                    yield cell, {"error": f"the worker process died ({type(problem).__name__})"}
        else:
            return


def _deaths() -> tuple[type[BaseException], ...]:
    """What is raised when a worker is killed by a signal, or for want of memory."""
    killed = getattr(sys.modules.get("distributed"), "KilledWorker", None)
    return (BrokenExecutor, killed) if killed else (BrokenExecutor,)


def _numbered(i: int, run: Run, cell: Cell, plugin: Sequence[str]) -> tuple[int, Mapping[str, Value]]:
    return i, measured(run, cell, plugin)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else writes to this CSV meanwhile (where the system has file locks).

    Raises:
        SweepError: if another sweep does.
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
    """Inside, joblib runs on the backend; gives how many cells to run at a time, -1 for all workers of a cluster."""
    import joblib  # noqa: PLC0415 - an extra

    with ExitStack() as stack:
        if backend == "dask":
            from dask.distributed import Client  # noqa: PLC0415 - an extra

            client = stack.enter_context(Client(address))  # type: ignore[no-untyped-call]
            if max(client.nthreads().values(), default=1) > 1:
                raise SweepError("Dask workers must have one thread each, for torch's generator is the process's own")
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
    """Numbers by value, texts by letter."""
    return [(float(value), "") if value.isdecimal() else (-1.0, value) for value in _key(row, keys)]


def _text(value: Value) -> str:
    """One line; the shortest text that gives the number back."""
    return "" if value is None else " ".join(str(value).split())


def read(path: Path) -> list[Row]:
    """The rows of a finished sweep.

    Raises:
        SweepError: if there is no such file, or nothing in it.
    """
    rows = _read(path, None)
    if not rows:
        raise SweepError(f"{path} must hold the rows of a sweep; it {'is empty' if path.exists() else 'is not there'}")
    return rows


def _read(path: Path, header: Sequence[str] | None) -> list[Row]:
    """Rows of the file; a last line that was cut off is taken away from it."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        _replace(path, whole)
    reader = csv.DictReader(whole.decode().splitlines())
    header = list(reader.fieldnames or []) if header is None else header
    if list(reader.fieldnames or header) != list(header):
        raise SweepError(f"{path} must have the columns {header}; got {reader.fieldnames}: move it away to begin anew")
    rows = list(reader)
    odd = next((i for i, row in enumerate(rows) if None in row or None in row.values()), None)
    if odd is not None:
        raise SweepError(f"{path} must have {len(header)} columns in every row; row {odd + 1} has not: {rows[odd]}")
    return rows


def _write(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _replace(path, text.getvalue().encode())


def _replace(path: Path, content: bytes) -> None:
    """At no moment is there half a file."""
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(content)
    aside.replace(path)


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A function that tells of one more cell: a progress bar with the time left, or lines without tqdm."""
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


def _forget_peak() -> None:
    """Begin to measure the process's peak memory anew (on Linux; elsewhere nothing is measured)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> int | None:
    """Peak resident memory of this process since `_forget_peak`, in MB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
