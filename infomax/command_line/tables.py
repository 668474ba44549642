"""Tables of results and of the registry, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infomax.bounds import base as bounds
from infomax.estimators import base as estimators
from infomax.estimators import candidates
from infomax.results.composition import Composition
from infomax.results.estimate import Estimate
from infomax.results.pairwise import Pairwise
from infomax.results.tables import pvalue_text


def pairs_table(result: Pairwise, *, most: int) -> str:
    """One line for each pair, the largest values first, and the warnings below."""
    gaps = bool((result.rows != result.n).any())
    errors = [] if result.values_only else ["95 % interval", "p", "q"]
    rows = [["x", "y", result.unit, *errors, "correlation", *(["rows"] if gaps else [])]]
    for pair in result.pairs[:most]:
        numbers = [f"{pair['mi']:.3f}"]
        if errors:
            numbers += [f"[{pair['low']:.3f}, {pair['high']:.3f}]", f"{pair['pvalue']:.2g}", f"{pair['qvalue']:.2g}"]
        numbers += [f"{pair['correlation']:.2f}", *([str(pair["n"])] if gaps else [])]
        rows.append([pair["x"], pair["y"], *numbers])
    left = len(result.pairs) - most
    more = [f"… and {left} more pairs (--most {len(result.pairs)}, or --json)"] if left > 0 else []
    return "\n".join([format_table(rows), *more, *result.warnings])


def interval(result: Estimate | Composition) -> str:
    """The 95 % interval as text."""
    low, high = result.confidence_interval()
    return f"[{low:.3f}, {high:.3f}]"


def estimates_table(results: Sequence[Estimate | Composition]) -> str:
    """One line for each estimate, and the warnings below."""
    rows = [["estimator", "kind", results[0].unit, "95 % interval", "standard error", "p", "gap", "ceiling"]]
    for result in results:
        trained = ["", ""]
        if isinstance(result, Estimate) and (result.history or result.candidates):
            trained = [f"{result.gap:.3f}", "none" if result.ceiling is None else f"{result.ceiling:.2f}"]
        test = "" if result.pvalue is None else pvalue_text(result.pvalue, result.least_pvalue)
        numbers = [f"{result.mi:.3f}", interval(result), f"{result.stderr:.3f}", test.removeprefix("= ")]
        rows.append([result.bound, result.kind, *numbers, *trained])
    said = notes(results)
    return "\n".join([format_table(rows), *([""] if said else []), *said])


def notes(results: Sequence[Estimate | Composition]) -> list[str]:
    """The warnings of the estimates: a line for each text, with the names of the estimators."""
    names: dict[str, list[str]] = {}
    for result in results:
        for text in result.warnings:
            names.setdefault(text, []).append(result.bound)
    return [f"{', '.join(who)}: {text}" for text, who in names.items()]


def registry_facts() -> list[dict[str, str]]:
    """The facts that the classes of all estimators and bounds state: a dict for each."""
    others = [name for name in estimators.names() if name != "default"]
    known: list[Any] = [estimators.get("default"), *map(bounds.get, bounds.names()), *map(estimators.get, others)]
    facts = {"name": "name", "kind": "kind", "ceiling": "ceiling_formula"}
    facts |= {fact: fact for fact in ("cost", "use_when", "reference")}
    return [{fact: getattr(entry, attribute) for fact, attribute in facts.items()} for entry in known]


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
    cells = [list(fact.values()) for fact in registry_facts()]
    if markdown:
        cells = [[f"`{row[0]}`", *row[1:]] for row in cells]
    return format_table([header, *cells], markdown=markdown)


def candidates_table(*, markdown: bool = False) -> str:
    """The table of ``infomax bounds --candidates``: the models that the default compares, the simplest first."""
    rows = [["candidate", "assumes", "cost of N pairs", "source"]]
    for candidate in map(candidates.get, candidates.names()):
        name = f"`{candidate.name}`" if markdown else candidate.name
        rows.append([name, candidate.assumes, candidate.cost, candidate.reference])
    return format_table(rows, markdown=markdown)
