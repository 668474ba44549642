"""What each command does with its arguments."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from infomax.command_line.demo import run_demo
from infomax.command_line.tables import bounds_table, candidates_table, estimates_table, pairs_table
from infomax.distributed import ranks as distributed
from infomax.estimation.compositions import conditional
from infomax.estimation.estimate import estimate
from infomax.estimation.pairwise import pairwise
from infomax.estimators import chosen
from infomax.exceptions import ColumnWarning, InfomaxWarning
from infomax.io.columns import Columns
from infomax.io.csv_tables import TextFormat
from infomax.io.files import MAPPED, check_writable, is_numeric, open_columns, read_named
from infomax.io.samples import Floats
from infomax.io.stored import StoredColumns
from infomax.results.composition import Composition
from infomax.results.estimate import Estimate
from infomax.training.streaming import gather_drawn


def run(arguments: argparse.Namespace) -> int:
    """Run the command that was parsed; returns the exit status: 0, or 2 for bad input."""
    try:
        return _COMMANDS[arguments.command](arguments)
    except (ValueError, TypeError, OSError, ImportError, MemoryError, distributed.RankError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of a pipe has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        rank = f" (rank {os.environ['RANK']})" if distributed.launched() else ""
        text = " ".join(str(error).splitlines()) or "out of memory"
        print(f"infomax: error{rank}: {text}", file=sys.stderr)
        return 2


def _estimate(arguments: argparse.Namespace) -> int:
    with distributed.processes(timeout=arguments.rank_timeout):
        return _estimate_on_ranks(arguments)


def _estimate_on_ranks(arguments: argparse.Namespace) -> int:
    names = [name.strip() for name in arguments.bound.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--bound must name a bound; got {arguments.bound!r}")
    for name in names:
        chosen(name)  # raises before any work
    if arguments.plot:
        check_figure_path(arguments.plot)
    leads = distributed.rank() == 0
    options = {name: getattr(arguments, name) for name in ("seed", "device", "quick", "n_neighbors")}
    options |= {"progress": arguments.progress and leads, "shared": distributed.active()}
    selections = [part.split(",") for part in (arguments.x, arguments.y, arguments.given) if part is not None]
    if arguments.groups and "{rank}" in arguments.file:
        raise ValueError("--groups is not for files of several processes")
    grouped = [[arguments.groups]] if arguments.groups else []
    x, y, *z = _read(arguments.file, *selections, *grouped, seed=arguments.seed, text=_text_format(arguments))
    options |= _row_options(arguments, z.pop() if grouped else None)
    options["missing"] = arguments.missing
    results: Sequence[Estimate | Composition]  # of one of the two
    with _plain_warnings(show=leads):
        if z:
            results = [conditional(x, y, *z, bound=name, **options) for name in names]
        else:
            results = estimate(x, y, bound=names, **options)
    if not leads:
        return 0
    results = [result.bits if arguments.unit == "bits" else result for result in results]
    if arguments.plot:
        title = f"{arguments.x} and {arguments.y}" + (f" given {arguments.given}" if z else "")
        _write_figure(results, arguments.plot, title)
        print(f"infomax: wrote {arguments.plot}", file=sys.stderr)
    if arguments.json:
        output = [result.to_dict() for result in results]
        print(json.dumps(output if len(output) > 1 else output[0], indent=2))
    else:
        print(repr(results[0]) if len(results) == 1 else estimates_table(results))
    return 0


def _row_options(arguments: argparse.Namespace, groups: Columns | StoredColumns | Floats | None) -> dict[str, Any]:
    """Which rows depend on each other, as keywords of :func:`infomax.estimate`."""
    options: dict[str, Any] = {}
    if groups is not None:
        options["groups"] = groups.samples[:, 0] if isinstance(groups, Columns) else np.asarray(groups)[:, 0]
    if arguments.block_length is not None:
        text = arguments.block_length
        if text != "auto" and not text.isdecimal():
            raise ValueError(f"--block-length must be auto or a whole number of at least 1; got {text!r}")
        options["block_length"] = text if text == "auto" else int(text)
    return options


def _text_format(arguments: argparse.Namespace) -> TextFormat:
    """How the file is read."""
    named = f"{arguments.nominal or ''},{arguments.groups or ''}"  # groups are names, too
    nominal = tuple(name.strip() for name in named.split(",") if name.strip())
    sep = {"\\t": "\t", "tab": "\t"}.get(arguments.sep, arguments.sep)
    return TextFormat(sep=sep, encoding=arguments.encoding, nominal=nominal, missing=arguments.missing)


def _read(
    path: str, *selections: Sequence[str], seed: int, text: TextFormat
) -> Sequence[Columns | StoredColumns | Floats]:
    """Columns of the file, which may be larger than memory; with {rank} in its name, those of all ranks in one."""
    sharded = "{rank}" in path
    if sharded and not (distributed.active() or distributed.launched()):
        raise ValueError(
            f"{{rank}} in a file's name is for the processes that torchrun starts; got {path!r} without it"
        )
    path = path.replace("{rank}", str(distributed.rank()))
    mapped = Path(path).suffix.lower() in MAPPED
    if not sharded:
        plain = not text.nominal and text.missing == "raise"
        return (
            open_columns(path, *selections)
            if mapped and plain and is_numeric(path, *selections)
            else read_named(path, *selections, text=text)
        )
    if text.nominal or text.missing == "drop":
        raise ValueError("--nominal and --missing drop are not for files of several processes")
    columns: list[Columns | StoredColumns] = []  # if one rank cannot read its file, all stop
    # An offset of its own on each rank would change the values.
    numbers = replace(text, numbers=True)
    read = open_columns if mapped else partial(read_named, shift=False, text=numbers)
    distributed.together(lambda: columns.extend(read(path, *selections)))
    sides = [f"{side} of {path}" for side in ("x", "y", "z")[: len(columns)]]
    given = {side: c.samples if isinstance(c, Columns) else c for side, c in zip(sides, columns, strict=True)}
    gathered, rows = gather_drawn(given, seed=seed)
    parts = list(gathered.values())
    if rows > (used := len(parts[0])) and distributed.rank() == 0:
        said = f"{used} of {rows} rows of all ranks are used, drawn at random"
        print(f"infomax: warning: {said}", file=sys.stderr)
    return [Columns(c.names, part) if c.names else part for c, part in zip(columns, parts, strict=True)]


def _pairwise(arguments: argparse.Namespace) -> int:
    if arguments.most < 1:
        raise ValueError(f"--most must be at least 1; got {arguments.most}")
    if arguments.bound is not None:
        chosen(arguments.bound)
    if arguments.plot:
        check_figure_path(arguments.plot)
    selections = [part.split(",") for part in (arguments.columns, arguments.others) if part is not None]
    grouped = [[arguments.groups]] if arguments.groups else []
    sides = read_named(arguments.file, *selections, *grouped, text=_text_format(arguments))
    labels = sides.pop() if grouped else None
    wanted = ("bound", "correction", "seed", "progress", "missing", "values_only", "checkpoint")
    options = {name: getattr(arguments, name) for name in wanted}
    options |= _row_options(arguments, labels) | {"n_jobs": arguments.jobs}
    if arguments.n_neighbors is not None:
        options["n_neighbors"] = arguments.n_neighbors
    with _plain_warnings(show=True):
        result = pairwise(*sides, **options)
    result = result.bits if arguments.unit == "bits" else result
    if arguments.plot:
        from infomax.results.plots import save_figure  # noqa: PLC0415

        save_figure(result.plot(), arguments.plot)
        print(f"infomax: wrote {arguments.plot}", file=sys.stderr)
    print(json.dumps(result.to_dict(), indent=2) if arguments.json else pairs_table(result, most=arguments.most))
    return 0


def check_figure_path(path: str) -> None:
    """Raise before any work if the figure could not be written in the end."""
    from infomax.results.plots import new_figure  # noqa: PLC0415

    check_writable(path)
    figure, _ = new_figure(1, 1)
    ending = Path(path).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if ending not in known:
        raise ValueError(f"{path} cannot be written: its ending must be one of {', '.join(sorted(known))}")


def _write_figure(results: Sequence[Estimate | Composition], path: str, title: str) -> None:
    from infomax.results.plots import WIDTH, new_figure, plot_comparison, save_figure, style  # noqa: PLC0415

    if len(results) == 1:
        figure = results[0].plot()
    else:
        with style():
            figure, (ax,) = new_figure(WIDTH, 1.3 + 0.45 * len(results))
            plot_comparison(ax, results, title)
    save_figure(figure, path)


def _bounds(arguments: argparse.Namespace) -> int:
    table = candidates_table if arguments.candidates else bounds_table
    print(table(markdown=arguments.markdown))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    check_figure_path(arguments.out)
    run_demo(arguments.out, progress=arguments.progress)
    return 0


@contextmanager
def _plain_warnings(*, show: bool) -> Iterator[None]:
    """Print warnings about the data on one line each; warnings about an estimate are part of its output."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", InfomaxWarning)
        warnings.simplefilter("always", ColumnWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught if show):  # once for several bounds
        print(f"infomax: warning: {message}", file=sys.stderr)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "estimate": _estimate,
    "pairwise": _pairwise,
    "bounds": _bounds,
    "demo": _demo,
}
