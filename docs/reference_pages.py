"""Writes a reference page for each folder of the library.

``conf.py`` calls :func:`write` when the documentation is built. Each object has one entry, under its shortest public
path: ``infomax.CPC``, ``infomax.statistics.qvalues``, ``infomax.bounds.objectives.nwj``.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import infomax


def write(folder: Path) -> None:
    """A page for each folder of the library, named after it. Pages of folders that are gone are deleted."""
    folder.mkdir(exist_ok=True)
    pages = {f"{name}.rst": page(name) for name in folders()}
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def page(folder: str) -> str:
    """The docstring of a folder, and a section for each of its files."""
    parts = [heading(folder, "="), f".. automodule:: {folder}\n   :no-members:\n"]
    if folder == infomax.__name__:
        parts += [".. autosummary::\n   :nosignatures:\n\n" + "".join(f"   {name}\n" for name in public_names())]
    for file in files(folder):
        parts += [heading(file, "-"), f".. automodule:: {file}\n   :no-members:\n"]
        parts += [directive(entries()[name], member) for name, member in members(file)]
    return "\n".join(parts)


def heading(name: str, line: str) -> str:
    return f"{name}\n{line * len(name)}\n"


def directive(path: str, member: Any) -> str:
    """Documents a class or function from its docstring, and a constant from the comment above it."""
    if inspect.isclass(member):
        kind = "exception" if issubclass(member, BaseException) else "class"
        return f".. auto{kind}:: {path}\n"
    if inspect.isroutine(member):
        return f".. autofunction:: {path}\n"
    return f".. autodata:: {path}\n   :annotation:\n"


def public_names() -> list[str]:
    """The names that the library exports, without its folders."""
    return [name for name in infomax.__all__ if not isinstance(getattr(infomax, name), ModuleType)]


@cache
def folders() -> list[str]:
    """The library and its folders, as module names."""
    return [infomax.__name__, *(module.name for module in walk(infomax, depth=9) if module.ispkg)]


@cache
def files(folder: str) -> list[str]:
    """The files of a folder, as module names."""
    inside = walk(import_module(folder), depth=1)
    return [module.name for module in inside if not module.ispkg and not module.name.endswith("__main__")]


@cache
def all_files() -> list[str]:
    return [file for folder in folders() for file in files(folder)]


def walk(package: ModuleType, *, depth: int) -> Iterator[pkgutil.ModuleInfo]:
    for module in sorted(pkgutil.iter_modules(package.__path__, f"{package.__name__}.")):
        yield module
        if module.ispkg and depth > 1:
            yield from walk(import_module(module.name), depth=depth - 1)


@cache
def members(file: str) -> list[tuple[str, Any]]:
    """Public objects with documentation that a file defines, in its order: full name and object."""
    analyzer = ModuleAnalyzer.for_module(file)
    analyzer.analyze()
    found = []
    for name, member in vars(import_module(file)).items():
        if inspect.isclass(member) or inspect.isroutine(member):
            # An alias of a class is another name for it, not another object.
            documented = member.__module__ == file and member.__name__ == name and inspect.getdoc(member)
        else:
            documented = ("", name) in analyzer.attr_docs  # a comment that starts with "#:"
        if documented and not name.startswith("_"):
            found.append((f"{file}.{name}", member))
    return sorted(found, key=lambda item: analyzer.tagorder[item[0].removeprefix(f"{file}.")])


def public_path(home: str, name: str, member: Any) -> str:
    """Where users import an object of the file ``home`` from: the library, else a folder, else the file itself."""
    for i in range(1, home.count(".") + 1):
        place = ".".join(home.split(".")[:i])
        module = import_module(place)
        # A function that is called like its file keeps the longer path, as the shorter one is the file's.
        if name in getattr(module, "__all__", []) and getattr(module, name) is member and f"{place}.{name}" != home:
            return f"{place}.{name}"
    return f"{home}.{name}"


@cache
def entries() -> dict[str, str]:
    """The public path of each object that has an entry, by the file that defines it and its name there."""
    found = {}
    for file in all_files():
        for name, member in members(file):
            found[name] = public_path(file, name.rpartition(".")[2], member)
    return found
