"""Tiles in this process or, by joblib, in several: threads, processes, or the machines of a cluster."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from infomax.estimation.pair_checkpoints import checkpoint_file, facts_of
from infomax.estimation.pair_tiles import Found, Task, Tile, Work, measure
from infomax.estimators import BoundLike
from infomax.interrupts import shielded


def check_run(n_jobs: int | None, checkpoint: str | os.PathLike[str] | None, bound: BoundLike | None) -> None:
    """Check how pairs are to be run.

    Raises:
        ValueError: unless ``n_jobs`` is a number of processes as joblib counts them.
        TypeError: for a file of a bound without a name, whose parameters the file cannot state.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or a whole number other than 0; got {n_jobs!r}")
    if checkpoint is not None and not (bound is None or isinstance(bound, str)):
        raise TypeError(f"with a checkpoint, bound must be a name; got {type(bound).__name__}")


def finished(
    work: Work,
    tiles: Sequence[Tile],
    advance: Callable[[int], None],
    *,
    n_jobs: int | None,
    checkpoint: str | os.PathLike[str] | None,
) -> Generator[Found, None, None]:
    """The results of all tiles, in any order.

    Args:
        advance: is called with numbers of finished pairs. n_jobs: processes, as joblib counts them; None: those of
            ``joblib.parallel_config``, or one. checkpoint: the file that has finished tiles, and to which they are
            added.
    """
    if checkpoint is None:
        yield from _run(work, tiles, set(), n_jobs, advance)
        return
    with checkpoint_file(checkpoint, facts_of(work), tiles) as (done, add):
        for found in done:
            advance(tiles[found.number].pairs)
            yield found
        held = {found.number for found in done}
        with closing(_run(work, tiles, held, n_jobs, advance)) as results:
            for found in results:
                add(found)
                yield found


def _run(
    work: Work, tiles: Sequence[Tile], held: set[int], n_jobs: int | None, advance: Callable[[int], None]
) -> Generator[Found, None, None]:
    """The results of tiles that are not held, as they are finished."""
    import joblib  # noqa: PLC0415 - only where pairs of columns are measured

    if len(tiles) - len(held) < 2 or joblib.effective_n_jobs(n_jobs) == 1:
        for task in work.tasks(tiles, held):
            yield measure(task, advance)
        return
    count = itertools.count()
    with TemporaryDirectory(prefix="infomax-pairs-", ignore_cleanup_errors=True) as folder:
        tasks = work.tasks(tiles, held, lambda: Path(folder, f"{next(count)}.npy"))
        with closing(_in_parallel(tasks, n_jobs)) as found:
            for one in found:
                advance(tiles[one.number].pairs)
                yield one


def _in_parallel(tasks: Iterator[Task], n_jobs: int | None) -> Generator[Found, None, None]:
    """The results of tasks by joblib; after an error, of those that had been handed out by then.

    To stop joblib at an error instead would lose these results, and with Dask it can wait for ever: two of its threads
    then empty the same queue.

    Raises:
        Exception: the first that measuring a tile raised.
        ChildProcessError: if a worker process dies.
    """
    failure: _Failure | None = None

    def until_failure() -> Iterator[Task]:
        for task in tasks:
            if failure:
                return
            yield task

    with closing(_outcomes(until_failure(), n_jobs)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Found):
                yield outcome
            else:
                failure = failure or outcome
    if failure:
        raise failure.error from RuntimeError(f"in a worker:\n{failure.where}")


@dataclass(frozen=True)
class _Failure:
    """An error in a worker, and the traceback as text, which an error loses on its way between processes."""

    error: Exception
    where: str


def _attempt(task: Task) -> Found | _Failure:
    try:
        return measure(task)
    except Exception as error:
        return _Failure(error, traceback.format_exc())


def _outcomes(tasks: Iterator[Task], n_jobs: int | None) -> Generator[Found | _Failure, None, None]:
    """What becomes of tasks, as they are finished or, with backends that cannot do that, in rounds."""
    import joblib  # noqa: PLC0415 - as above

    try:
        parallel = joblib.Parallel(n_jobs, return_as="generator_unordered")
    except ValueError:  # Ray, for example
        while some := list(itertools.islice(tasks, 4 * joblib.effective_n_jobs(n_jobs))):
            yield from joblib.Parallel(n_jobs)(joblib.delayed(_attempt)(task) for task in some)
        return
    with shielded():  # a Ctrl-C of the terminal is for this process alone, which ends the others
        found = parallel(joblib.delayed(_attempt)(task) for task in tasks)
    with closing(found):
        try:
            yield from found
        except BrokenExecutor as error:
            advice = "with a checkpoint, the same call resumes"
            raise ChildProcessError(f"a worker process died, perhaps for lack of memory; {advice}") from error
