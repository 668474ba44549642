"""Bounds on mutual information. All modules of this folder are imported, so that a new file registers its bounds."""

from importlib import import_module
from pkgutil import iter_modules

from infomax.bounds.base import Bound, get, names, register
from infomax.bounds.contrastive import several
from infomax.bounds.variational import barber_agakov

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Bound", "barber_agakov", "get", "names", "register", "several"]
