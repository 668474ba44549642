"""Resolves the names that docstrings refer to, as ``:class:`Contrastive```, to the entries of the reference.

A name is looked up in the class of the docstring, its file, its folder and the public names of the library, in this
order, and then as a full path. A name that is not found causes a warning, and the build fails.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Any, TypeVar, get_origin

from reference_pages import all_files, entries
from sphinx.util.logging import getLogger

import infomax

logger = getLogger(__name__)

ROLE = re.compile(r":(class|func|meth|attr|data|exc|mod):`(~?)([\w.]+)`")


def resolve(_app: Any, what: str, name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Replace each name in a docstring by its public path (a handler of ``autodoc-process-docstring``)."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "\\ ")  # an empty first line: in any other, napoleon takes what precedes a colon for a type
    where = obj.fget if isinstance(obj, property) else getattr(obj, "func", obj)
    home = where.__name__ if inspect.ismodule(where) else getattr(where, "__module__", None)
    if not home or not home.startswith("infomax"):
        home = next((full.rpartition(".")[0] for full, path in entries().items() if path == name), None)
    if home is None:
        return
    scope = getattr(where, "__qualname__", "").split(".")

    def resolved(match: re.Match[str]) -> str:
        role, short, target = match.groups()
        path = full_path(target, home, scope)
        if path is None:
            logger.warning("docstring of %s refers to %s, which does not exist", name, target)
        shown = target.rpartition(".")[2] if short else target
        return f":{role}:`{shown}{'()' if role in ('func', 'meth') else ''} <{path}>`"

    lines[:] = [ROLE.sub(resolved, line) for line in lines]


#: Where a package defines a name, and under which name it documents it.
MOVED = [(r"^nn\.|^torch\.nn\.modules\.\w+\.", "torch.nn."), (r"\._\w+\.", ".")]
#: Names that files import for type checkers only: signatures show them as they are written.
IMPORTED_FOR_TYPES = {
    "Axes": "matplotlib.axes.Axes",
    "DataFrame": "pandas.DataFrame",
    "Figure": "matplotlib.figure.Figure",
    "NDArray": "numpy.typing.NDArray",
    "ProcessGroup": "torch.distributed.ProcessGroup",
    "Tensor": "torch.Tensor",
}


def name_in_full(_app: Any, _env: Any, node: Any, _shown: Any) -> None:
    """Let inventories of other packages find a name by its public path (a handler of ``missing-reference``)."""
    if node.get("refdomain") == "py":
        target = IMPORTED_FOR_TYPES.get(node["reftarget"], node["reftarget"])
        for pattern, public in MOVED:
            target = re.sub(pattern, public, target)
        node["reftarget"] = target


def leave_plain(_app: Any, _env: Any, node: Any, shown: Any) -> Any:
    """Names in signatures that have no entry stay without a link (a handler of ``missing-reference``)."""
    return shown if node.get("refdomain") == "py" and node["reftarget"] in without_entry() else None


@cache
def without_entry() -> set[str]:
    """Type variables, aliases of types, and private classes."""
    found = set()
    for file in all_files():
        module = vars(import_module(file))
        written = {name for name, kind in module.get("__annotations__", {}).items() if kind == "TypeAlias"}
        for name, value in module.items():
            private = inspect.isclass(value) and name.startswith("_") and value.__module__ == file
            alias = isinstance(value, TypeVar | UnionType) or get_origin(value) is not None or name in written
            if private or (alias and f"{file}.{name}" not in entries()):
                found |= {name, f"{file}.{name}"}
    return found


def full_path(target: str, home: str, scope: Sequence[str] = ()) -> str | None:
    """The public path of a name as a docstring of the module ``home`` writes it; None if there is no such object."""
    module = import_module(home)
    starts = [vars(module)[scope[0]]] if scope and scope[0] in vars(module) else []
    starts += [module, import_module(home.rpartition(".")[0] or home), infomax]
    target = target.lstrip(".")
    for start in starts:
        found = look_up(start, target.split("."))
        if found is not None:
            return path_of(*found)
    try:
        found = look_up(import_module(target.split(".")[0]), target.split(".")[1:])
    except ImportError:
        return None
    return path_of(*found) if found is not None else None


def look_up(start: Any, names: Sequence[str]) -> tuple[Any, Any, str] | None:
    """The object of a dotted name, the object that it is an attribute of, and its last name."""
    owner, found, name = None, start, start.__name__
    for i, name in enumerate(names):
        owner = found
        if inspect.ismodule(owner):
            file = f"{owner.__name__}.{name}"
            # A folder may export a function that is called like its file: names that follow are in the file.
            if not hasattr(owner, name) or (file in all_files() and names[i + 1 :]):
                try:
                    found = import_module(file)
                except ImportError:
                    return None
                continue
        if not (holders(owner, name) if inspect.isclass(owner) else hasattr(owner, name)):
            return None
        found = getattr(owner, name, None)  # a field without a default is no attribute
    return found, owner, name


def holders(owner: type, name: str) -> list[type]:
    """The class and those of its bases that define an attribute or a field."""
    return [base for base in owner.__mro__ if name in {**vars(base), **vars(base).get("__annotations__", {})}]


def path_of(found: Any, owner: Any, name: str) -> str:
    """The public path of an object that :func:`look_up` has found."""
    if inspect.ismodule(found):
        return found.__name__
    if inspect.isclass(owner):
        # A method without a docstring has no entry: the one that it overrides has.
        bases = holders(owner, name)
        base = next((base for base in bases if getattr(vars(base).get(name, name), "__doc__", None)), bases[0])
        return f"{path_of(base, None, base.__name__)}.{name}"
    home = getattr(found, "__module__", None)
    full = f"{home}.{getattr(found, '__qualname__', name)}"
    if home in all_files():
        return entries().get(full, full)
    for path, public in entries().items():  # a constant has no name and no module
        file, _, last = path.rpartition(".")
        if last == name and vars(import_module(file))[name] is found:
            return public
    return full if home else f"{owner.__name__}.{name}"
