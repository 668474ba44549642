"""Names that a user gives: suggestions for unknown ones, and selection of columns by name or pattern."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from pathlib import Path


def unknown(what: str, came: str, known: list[str]) -> str:
    """Error message for an unknown name. It suggests close matches, ignoring case and punctuation.

    >>> unknown("bound", "Info-NCE", ["cpc", "infonce", "infonce_anchor"])
    "bound 'Info-NCE' is not known; did you mean 'infonce'?"
    >>> unknown("bound", "infonse", ["cpc", "infonce"])
    "bound 'infonse' is not known; did you mean 'infonce'?"
    """
    folded = {name: _folded(name) for name in known}
    close = [name for name in known if folded[name] == _folded(came)]
    if not close:
        matches = difflib.get_close_matches(_folded(came), folded.values(), n=3, cutoff=0.5)
        close = [name for match in dict.fromkeys(matches) for name in known if folded[name] == match]
    hint = f"did you mean {' or '.join(repr(match) for match in close)}?" if close else f"known: {listed(known)}"
    return f"{what} {came!r} is not known; {hint}"


def listed(names: Sequence[str], most: int = 30) -> str:
    """The names in one line; the first of them if there are many."""
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def select_columns(
    path: Path, known: list[str], selections: Sequence[Sequence[str]], hint: str = ""
) -> list[list[str]]:
    """For each selection, the matching names in ``known``, in the order of the selection and without repetition.

    A pattern does not match a column that another selection calls by its full name.

    Args:
        path: the file, for error messages. selections: names or shell patterns. Spaces around a name are ignored,
            unless they belong to it.
        hint: appended to the message about an unknown name.

    Raises:
        ValueError: for a selection without names, an unknown name, and a column in two selections.
    """
    selected: list[list[str]] = []
    present, taken = set(known), set[str]()
    wanted = [[name if name in present else name.strip() for name in one if name.strip()] for one in selections]
    for names in wanted:
        if not names:
            raise ValueError(f"{path}: name at least one column; known: {listed(known)}")
        matched: dict[str, None] = {}
        called = {other for others in wanted if others is not names for other in others if other in present}
        for name in names:
            hits = [name] if name in present else [hit for hit in fnmatch.filter(known, name) if hit not in called]
            if not hits:
                raise ValueError(f"{path}: {unknown('column', name, known)}{hint}")
            matched.update(dict.fromkeys(hits))
        twice = [name for name in matched if name in taken]
        if twice:
            raise ValueError(f"{path}: a column must be on one side only; got {', '.join(twice)} on both")
        taken.update(matched)
        selected.append(list(matched))
    return selected
