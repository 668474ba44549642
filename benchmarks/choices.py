"""Tasks and estimators, selected by their names on the command line."""

from __future__ import annotations

from collections.abc import Sequence

import infomax

#: The name of the default estimator.
DEFAULT = "default"
#: Estimators other than the registered bounds: the default, and those without training.
OTHERS = (DEFAULT, "gaussian", "ksg")
#: What runs unless other estimators are named: the default, and the most common bounds.
CORE = (DEFAULT, "ba", "cpc", "dv", "infonce", "mine", "nwj", "gaussian", "ksg")


def chosen_tasks(wanted: Sequence[str]) -> list[str]:
    """Names of tasks, from names of tasks and families; "all" is every task.

    Raises:
        ValueError: for a name that is neither.
    """
    families = infomax.tasks.families()
    found: list[str] = []
    for name in wanted:
        if name == "all":
            found += infomax.tasks.names()
        else:
            found += infomax.tasks.names(name) if name in families else [infomax.tasks.get(name).name]
    return list(dict.fromkeys(found))


def chosen_estimators(wanted: Sequence[str] | None) -> list[str]:
    """Names of bounds and other estimators; `CORE` if none is named.

    Raises:
        ValueError: for an unknown name.
    """
    known = [*OTHERS, *infomax.bounds.names()]
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise ValueError(f"estimators must be among {', '.join(known)}; got {', '.join(unknown)}")
    return list(wanted or CORE)
