"""The ``infomax`` command."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict, get_args

import infomax
from infomax import anchored, bounds, classical, distributed
from infomax.columns import pairwise
from infomax.combining import Composition
from infomax.compositions import conditional
from infomax.discovery import Correction
from infomax.estimation import estimate
from infomax.files import check_writable, read_named
from infomax.frames import Columns
from infomax.io import ConstantColumnWarning, Floats, InfomaxWarning
from infomax.matrix import Pairwise
from infomax.problems import DEFAULT, check_bound
from infomax.result import Estimate, pvalue_text
from infomax.stored import MAPPED, StoredColumns, open_columns
from infomax.streaming import gather_drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 2 for bad input, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 still shows the table
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        return status
    except (ValueError, TypeError, OSError, ImportError, distributed.RankError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of a pipe has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        rank = f" (rank {os.environ['RANK']})" if distributed.launched() else ""
        print(f"infomax: error{rank}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("infomax: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infomax", description="How much do columns tell about each other?")
    parser.add_argument("--version", action="version", version=f"infomax {infomax.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="{estimate,pairwise,bounds,demo}")

    one = commands.add_parser("estimate", help="mutual information of columns of a file")
    one.add_argument(
        "file",
        help=".csv, .tsv, .npz, .npy (columns 0, 1, …) or .parquet; under torchrun, {rank} in the name stands for the "
        "number of the process, each of which then reads rows of its own",
    )
    one.add_argument("--x", required=True, metavar="a,b", help="columns (or arrays of an .npz); * and ? match")
    one.add_argument("--y", required=True, metavar="c", help="columns on the other side")
    one.add_argument("--given", metavar="z", help="columns that are known: conditional mutual information")
    one.add_argument("--bound", default=DEFAULT, help="one or several with commas (infomax bounds); %(default)s")
    one.add_argument("--unit", choices=("nats", "bits"), default="nats", help="default: %(default)s")
    one.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    one.add_argument("--quick", action="store_true", help="two folds, short training")
    one.add_argument("--device", help="where to compute, for example cuda")
    one.add_argument("--json", action="store_true", help="print JSON (a list, if there are several bounds)")
    one.add_argument("--plot", metavar="out.png", help="write a figure")
    one.add_argument("--no-progress", dest="progress", action="store_false")
    one.set_defaults(run=_estimate)

    many = commands.add_parser("pairwise", help="mutual information of every pair of columns of a file")
    many.add_argument("file", help=".csv, .tsv, .npz, .npy (columns 0, 1, …) or .parquet")
    many.add_argument("--columns", default="*", metavar="a,b", help="columns; * and ? match; default: all")
    many.add_argument("--with", dest="others", metavar="c", help="other columns: pairs of one of each")
    many.add_argument("--bound", help="what estimates each pair; default: neighbours, and counts of discrete columns")
    many.add_argument("--correction", choices=get_args(Correction), default=get_args(Correction)[0])
    many.add_argument("--unit", choices=("nats", "bits"), default="nats", help="default: %(default)s")
    many.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    many.add_argument("--most", type=int, default=30, help="lines of the table; default: %(default)s")
    many.add_argument("--json", action="store_true", help="print the matrices as JSON")
    many.add_argument("--plot", metavar="out.png", help="write a figure")
    many.add_argument("--no-progress", dest="progress", action="store_false")
    many.set_defaults(run=_pairwise)

    listing = commands.add_parser("bounds", help="list the bounds")
    listing.add_argument("--markdown", action="store_true", help="as a Markdown table")
    listing.set_defaults(run=_bounds)

    demo = commands.add_parser("demo", help="real data, known truth, and the training use, in a minute")
    demo.add_argument("--out", default="infomax-demo.png", metavar="out.png", help="the figure to write")
    demo.add_argument("--no-progress", dest="progress", action="store_false")
    demo.set_defaults(run=_demo)
    return parser


def _estimate(arguments: argparse.Namespace) -> int:
    # A rank that has done its share waits for the others, however long; one that dies is noticed at once.
    with distributed.processes(timeout=timedelta(days=30)):
        return _estimate_on_ranks(arguments)


def _estimate_on_ranks(arguments: argparse.Namespace) -> int:
    names = [name.strip() for name in arguments.bound.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--bound must name a bound; got {arguments.bound!r}")
    for name in names:
        check_bound(name)  # raises before any work
    if arguments.plot:
        check_figure_path(arguments.plot)
    leads = distributed.rank() == 0
    options = {name: getattr(arguments, name) for name in ("seed", "device", "quick")}
    options |= {"progress": arguments.progress and leads, "shared": distributed.active()}
    selections = [part.split(",") for part in (arguments.x, arguments.y, arguments.given) if part is not None]
    x, y, *z = _read(arguments.file, *selections, seed=arguments.seed)
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


def _read(path: str, *selections: Sequence[str], seed: int) -> Sequence[Columns | StoredColumns | Floats]:
    """Columns of the file, which may be larger than memory; of one for each rank, if its name says so, in one."""
    sharded = "{rank}" in path
    if sharded and not (distributed.active() or distributed.launched()):
        raise ValueError(
            f"{{rank}} in a file's name is for the processes that torchrun starts; got {path!r} without it"
        )
    path = path.replace("{rank}", str(distributed.rank()))
    mapped = Path(path).suffix.lower() in MAPPED
    if mapped and not sharded:
        return open_columns(path, *selections)
    columns: list[Columns | StoredColumns] = []  # if one rank cannot read, all stop
    distributed.together(lambda: columns.extend((open_columns if mapped else read_named)(path, *selections)))
    if not sharded:
        return columns
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
        check_bound(arguments.bound)
    if arguments.plot:
        check_figure_path(arguments.plot)
    selections = [part.split(",") for part in (arguments.columns, arguments.others) if part is not None]
    sides = read_named(arguments.file, *selections)
    options = {name: getattr(arguments, name) for name in ("bound", "correction", "seed", "progress")}
    with _plain_warnings(show=True):
        result = pairwise(*sides, **options)
    result = result.bits if arguments.unit == "bits" else result
    if arguments.plot:
        result.plot().savefig(arguments.plot, dpi=150)
        print(f"infomax: wrote {arguments.plot}", file=sys.stderr)
    print(json.dumps(result.to_dict(), indent=2) if arguments.json else pairs_table(result, most=arguments.most))
    return 0


def pairs_table(result: Pairwise, *, most: int) -> str:
    """One line for each pair, the largest values first, and what is said of them below."""
    rows = [["x", "y", result.unit, "95 % interval", "p", "q"]]
    for pair in result.pairs[:most]:
        numbers = [f"{pair['mi']:.3f}", f"[{pair['low']:.3f}, {pair['high']:.3f}]"]
        rows.append([pair["x"], pair["y"], *numbers, f"{pair['pvalue']:.2g}", f"{pair['qvalue']:.2g}"])
    left = len(result.pairs) - most
    more = [f"… and {left} pairs more (--most {len(result.pairs)}, or --json)"] if left > 0 else []
    return "\n".join([format_table(rows), *more, *result.warnings])


def check_figure_path(path: str) -> None:
    """Raise before any work if the figure could not be written in the end."""
    from infomax.plots import new_figure  # noqa: PLC0415

    check_writable(path)
    figure, _ = new_figure(1, 1)
    ending = Path(path).suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if ending not in known:
        raise ValueError(f"{path} cannot be written: its ending must be one of {', '.join(sorted(known))}")


def _write_figure(results: Sequence[Estimate | Composition], path: str, title: str) -> None:
    from infomax.plots import new_figure, plot_comparison  # noqa: PLC0415

    if len(results) == 1:
        figure = results[0].plot()
    else:
        figure, (ax,) = new_figure(7, 1 + 0.5 * len(results))
        plot_comparison(ax, results, title)
    figure.savefig(path, dpi=150)


def interval(result: Estimate | Composition) -> str:
    """The 95 % interval as text."""
    low, high = result.confidence_interval()
    return f"[{low:.3f}, {high:.3f}]"


def estimates_table(results: Sequence[Estimate | Composition]) -> str:
    """One line for each estimate, and what they say of themselves below."""
    rows = [["estimator", "kind", results[0].unit, "95 % interval", "standard error", "p", "gap", "ceiling"]]
    for result in results:
        trained = ["", ""]
        if isinstance(result, Estimate) and result.history:
            trained = [f"{result.gap:.3f}", "none" if result.ceiling is None else f"{result.ceiling:.2f}"]
        test = "" if result.pvalue is None else pvalue_text(result.pvalue, result.least_pvalue)
        numbers = [f"{result.mi:.3f}", interval(result), f"{result.stderr:.3f}", test.removeprefix("= ")]
        rows.append([result.bound, result.kind, *numbers, *trained])
    said = notes(results)
    return "\n".join([format_table(rows), *([""] if said else []), *said])


def notes(results: Sequence[Estimate | Composition]) -> list[str]:
    """What the estimates say of themselves: a line for each text, with the names of those that say it."""
    names: dict[str, list[str]] = {}
    for result in results:
        for text in result.warnings:
            names.setdefault(text, []).append(result.bound)
    return [f"{', '.join(who)}: {text}" for text, who in names.items()]


class _Fact(TypedDict):
    name: str
    kind: str
    ceiling: str
    cost: str
    use_when: str
    reference: str


def registry_facts() -> list[_Fact]:
    """What is said of every bound and classical estimator, from their classes: a dict for each."""
    known: list[Any] = [anchored.ESTIMATOR, *map(bounds.get, bounds.names())]
    known += classical.ESTIMATORS.values()
    return [
        _Fact(
            name=entry.name,
            kind=entry.kind,
            ceiling=entry.ceiling_formula,
            cost=entry.cost,
            use_when=entry.use_when,
            reference=entry.reference,
        )
        for entry in known
    ]


def format_table(rows: list[list[str]], *, markdown: bool = False) -> str:
    """Rows of cells, the first one the header, as aligned text or as Markdown."""
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def bounds_table(*, markdown: bool = False) -> str:
    """The table of ``infomax bounds`` and of the README."""
    header = ["name", "kind", "ceiling", "cost of N pairs", "use it for", "source"]
    cells = [[str(value) for value in fact.values()] for fact in registry_facts()]
    if markdown:
        cells = [[f"`{row[0]}`", *row[1:]] for row in cells]
    return format_table([header, *cells], markdown=markdown)


def _bounds(arguments: argparse.Namespace) -> int:
    print(bounds_table(markdown=arguments.markdown))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from infomax.demo import run_demo  # noqa: PLC0415

    check_figure_path(arguments.out)
    run_demo(arguments.out, progress=arguments.progress)
    return 0


@contextmanager
def _plain_warnings(*, show: bool) -> Iterator[None]:
    """What is wrong with the data on one line each, if wanted; what is said of an estimate stands in the estimate."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", InfomaxWarning)
        warnings.simplefilter("always", ConstantColumnWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught if show):  # once for several bounds
        print(f"infomax: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
