"""Distributions whose mutual information is known exactly. Every module of this folder registers its own."""

from importlib import import_module
from pkgutil import iter_modules

from infomax.tasks.base import Task, get, names, register

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Task", "get", "names", "register"]
