"""Every public name has an example in its docstring. ``make doctest`` runs the examples."""

import inspect
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType

import pytest

import infomax


def public_modules():
    """The library, and its folders that list the names which users import."""
    folders = (module.name for module in walk_packages(infomax.__path__, "infomax.") if module.ispkg)
    return ["infomax", *(name for name in folders if hasattr(import_module(name), "__all__"))]


def documented(name):
    """The public classes and functions of a module: their names and docstrings."""
    module = import_module(name)
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: inspect.getdoc(member)
        for name, member in found.items()
        if not isinstance(member, ModuleType) and (inspect.isclass(member) or inspect.isroutine(member))
    }


def test_every_public_name_has_an_example():
    found = {f"{place}.{name}": text for place in public_modules() for name, text in documented(place).items()}
    assert {"infomax.CPC", "infomax.statistics.qvalues", "infomax.estimators.candidates.Candidate"} <= set(found)
    assert [name for name, text in found.items() if ">>> " not in text] == []


@pytest.mark.parametrize("result", [infomax.Estimate, infomax.Pairwise, infomax.Composition, infomax.Bracket])
def test_results_show_how_they_are_drawn_and_exported(result):
    for name in ("confidence_interval", "bits", "plot", "to_dict", "to_frame"):
        assert ">>> " in inspect.getdoc(getattr(result, name)), name
