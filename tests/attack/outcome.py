"""What became of one hostile or odd input: a right answer, a refusal by name, or a fault."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Directories whose code raises errors for users.
OURS = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("infomax", "mmim_example", "benchmarks"))


@dataclass(frozen=True)
class Outcome:
    """``right``, ``refused`` by name, or ``wrong``: a wrong number, a raw traceback, a hang, a cost beyond limits."""

    case: str
    kind: Literal["right", "refused", "wrong"]
    detail: str = ""


def raised_by_us(error: BaseException) -> bool:
    """Whether our own code raised the error on purpose, or a library it called failed."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return frame.filename.startswith(OURS) and bool(frame.line) and frame.line.lstrip().startswith("raise")


def outcome(case: str, call: Callable[[], str | None], *, names: tuple[str, ...] = ()) -> Outcome:
    """Run ``call``, which returns what is wrong with its answer, or ``None``.

    Args:
        names: a refusal must mention one of them: the argument or the file that is at fault.
    """
    try:
        fault = call()
    except Exception as error:  # every kind of error is judged
        text = f"{type(error).__name__}: {error}"
        if not raised_by_us(error):
            return Outcome(case, "wrong", f"raw {text}")
        if names and not any(name in str(error) for name in names):
            return Outcome(case, "wrong", f"nameless {text}")
        return Outcome(case, "refused", text)
    return Outcome(case, "wrong", fault) if fault else Outcome(case, "right")


def command_outcome(case: str, status: int, stderr: str, *, names: tuple[str, ...] = ()) -> Outcome:
    """Judge a command that was refused or that succeeded; its output is judged elsewhere."""
    if "Traceback (most recent call last)" in stderr:
        return Outcome(case, "wrong", f"traceback {stderr[-300:]}")
    if status == 0:
        return Outcome(case, "right")
    if status not in (1, 2):
        return Outcome(case, "wrong", f"exit status {status}: {stderr[-300:]}")
    if names and not any(name in stderr for name in names):
        return Outcome(case, "wrong", f"nameless {stderr[-300:]}")
    return Outcome(case, "refused", stderr.strip())
