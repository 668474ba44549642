"""What to say of a name that is not known."""

from __future__ import annotations

import difflib


def unknown(what: str, came: str, known: list[str]) -> str:
    """Error text for a name that is not known, with close matches first."""
    close = difflib.get_close_matches(came, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(match) for match in close)}?" if close else f"known: {', '.join(known)}"
    return f"{what} {came!r} is not known; {hint}"
