"""What to say of a name that is not known."""

from __future__ import annotations

import difflib


def unknown(what: str, came: str, known: list[str]) -> str:
    """Error text for a name that is not known, with close matches first; capitals and separators are no difference.

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
    hint = f"did you mean {' or '.join(repr(match) for match in close)}?" if close else f"known: {', '.join(known)}"
    return f"{what} {came!r} is not known; {hint}"


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
