"""The parser of the ``infomax`` command; what needs torch is imported when a command runs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import infomax
import infomax.interrupts

#: As :data:`infomax.statistics.Correction`, which is not imported here since it loads torch.
CORRECTIONS = ("benjamini-hochberg", "benjamini-yekutieli")


def command() -> NoReturn:
    """Run the command as a program, which ends with its exit status: 0, 2 for bad input, 130 when interrupted."""
    infomax.interrupts.arm("infomax: interrupted")
    infomax.interrupts.run(_work(None))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command inside another program; returns the exit status: 0, or 2 for bad input."""
    return _work(argv)()


def _work(argv: Sequence[str] | None) -> Callable[[], int]:
    """What the arguments ask for; loading it takes seconds."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 still shows the table
    arguments = _parser().parse_args(argv)
    from infomax.command_line.commands import run  # noqa: PLC0415 - loads torch, which --help must not wait for

    return partial(run, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infomax", description="Estimate mutual information between columns.")
    parser.add_argument("--version", action="version", version=f"infomax {infomax.__version__}")
    commands = parser.add_subparsers(
        title="commands", required=True, dest="command", metavar="{estimate,pairwise,bounds,demo}"
    )

    one = commands.add_parser("estimate", help="mutual information of columns of a file")
    one.add_argument(
        "file",
        help=".csv, .tsv (also .gz, .bz2, .xz; - is standard input), .npz, .npy (columns 0, 1, …) or .parquet; "
        "under torchrun, {rank} in the name stands for the "
        "number of the process, and each process reads its own rows",
    )
    one.add_argument("--x", required=True, metavar="a,b", help="columns (or arrays of an .npz); * and ? match")
    one.add_argument("--y", required=True, metavar="c", help="columns on the other side")
    one.add_argument("--given", metavar="z", help="conditioning columns: estimate conditional mutual information")
    one.add_argument(
        "--bound",
        default="default",
        help="a name, or several with commas (see infomax bounds); default: %(default)s",
    )
    one.add_argument("--unit", choices=("nats", "bits"), default="nats", help="default: %(default)s")
    one.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    one.add_argument("--n-neighbors", type=int, metavar="K", help="number of nearest neighbours of ksg; default: 3")
    one.add_argument("--quick", action="store_true", help="two folds, short training")
    one.add_argument("--device", help="where to compute, for example cuda")
    one.add_argument(
        "--rank-timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="under torchrun, end with an error if a process gives no sign of life for so long; default: %(default)g",
    )
    one.add_argument("--json", action="store_true", help="print JSON (a list, if there are several bounds)")
    one.add_argument("--plot", metavar="out.png", help="write a figure")
    one.add_argument("--no-progress", dest="progress", action="store_false")

    many = commands.add_parser("pairwise", help="mutual information of every pair of columns of a file")
    many.add_argument(
        "file",
        help=".csv, .tsv (also .gz, .bz2, .xz; - is standard input), .npz, .npy (columns 0, 1, …) or .parquet",
    )
    many.add_argument("--columns", default="*", metavar="a,b", help="columns; * and ? match; default: all")
    many.add_argument(
        "--with", dest="others", metavar="c", help="a second set of columns, for pairs of one of each set"
    )
    many.add_argument("--bound", help="the estimator of each pair; default: KSG, and counts of discrete columns")
    many.add_argument(
        "--n-neighbors", type=int, metavar="K", help="number of nearest neighbours of --bound ksg; default: 3"
    )
    many.add_argument("--correction", choices=CORRECTIONS, default=CORRECTIONS[0])
    many.add_argument("--unit", choices=("nats", "bits"), default="nats", help="default: %(default)s")
    many.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    many.add_argument("--most", type=int, default=30, help="number of lines in the table; default: %(default)s")
    many.add_argument("--values-only", action="store_true", help="no intervals and no tests: twice as fast")
    many.add_argument("--jobs", type=int, metavar="N", help="processes; -1: all processors; default: 1")
    many.add_argument(
        "--checkpoint", metavar="pairs.jsonl", help="keep finished pairs there; the same command resumes after a stop"
    )
    many.add_argument("--json", action="store_true", help="print the matrices as JSON")
    many.add_argument("--plot", metavar="out.png", help="write a figure")
    many.add_argument("--no-progress", dest="progress", action="store_false")

    for parser_of_file in (one, many):
        parser_of_file.add_argument(
            "--nominal", metavar="a,b", help="columns of numbers that are names without an order; text is so anyway"
        )
        parser_of_file.add_argument(
            "--missing", choices=("raise", "drop"), default="raise", help="drop: leave out rows with missing values"
        )
        parser_of_file.add_argument(
            "--groups",
            metavar="column",
            help="rows with equal values there belong together, such as those of a subject",
        )
        parser_of_file.add_argument(
            "--block-length",
            metavar="N",
            help="rows are in the order of time and depend on those less than N rows away; auto: chosen from the "
            "data; 1: the order means nothing",
        )
        parser_of_file.add_argument("--sep", help="what separates the fields of a text file, such as ';' or tab")
        parser_of_file.add_argument("--encoding", help="of a text file, such as latin-1; default: utf-8")

    listing = commands.add_parser("bounds", help="list the bounds")
    listing.add_argument("--candidates", action="store_true", help="list the candidates of the default instead")
    listing.add_argument("--markdown", action="store_true", help="as a Markdown table")

    demo = commands.add_parser("demo", help="a demonstration on real data and on a known truth, in about a minute")
    demo.add_argument("--out", default="infomax-demo.png", metavar="out.png", help="the figure to write")
    demo.add_argument("--no-progress", dest="progress", action="store_false")
    return parser


if __name__ == "__main__":
    command()
