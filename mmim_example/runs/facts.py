"""Values of a run's files, each checked by its rule when it is read, and the one error for what breaks a rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


class CheckpointError(ValueError):
    """A file of a run that cannot be read, breaks a rule, or belongs to another run; names file, entry, rule, value."""


class Facts:
    """An object of a JSON document with exactly these entries.

    Args:
        path: the file, for messages.
        plain: what was read.
        entries: the names that it must have.
        name: of the object itself, with a dot at its end; empty for the whole document.

    Raises:
        CheckpointError: if it is no object, or has other entries.
    """

    def __init__(self, path: Path, plain: Any, entries: Sequence[str], name: str = "") -> None:
        self.path, self.plain, self.name = path, plain, name
        whole = name.rstrip(".") or "facts"
        if not isinstance(plain, dict):
            raise CheckpointError(f"{path}: {whole} must be an object; got {shown(plain)}")
        if set(plain) != set(entries):
            got = ", ".join(plain)[:200] or "none"
            raise CheckpointError(f"{path}: {whole} must have the entries {', '.join(entries) or 'none'}; got {got}")

    def part(self, name: str, entries: Sequence[str]) -> Facts:
        """An object within this one."""
        return Facts(self.path, self.plain[name], entries, f"{self.name}{name}.")

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self.plain[name]
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"an integer from {least} to {most}")
        return int(value)

    def number(self, name: str, least: float, most: float) -> float:
        """A number from ``least`` to ``most``, which may be infinite."""
        value = self.plain[name]
        if type(value) not in (int, float) or not least <= value <= most:
            self.refuse(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def text(self, name: str) -> str:
        """A text."""
        if not isinstance(self.plain[name], str):
            self.refuse(name, "text")
        return str(self.plain[name])

    def values(self, name: str) -> list[Any]:
        """A list, whose items are checked by the caller."""
        if not isinstance(self.plain[name], list):
            self.refuse(name, "a list")
        return list(self.plain[name])

    def refuse(self, name: str, rule: str) -> NoReturn:
        """Raise the error for an entry that breaks a rule."""
        raise CheckpointError(f"{self.path}: {self.name}{name} must be {rule}; got {shown(self.plain[name])}")


def shown(value: Any) -> str:
    """A value as text for a message."""
    return repr(value)[:100] if value is None or isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
