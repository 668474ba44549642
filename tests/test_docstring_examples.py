"""Every public name has an example in its docstring. ``make doctest`` runs the examples."""

import inspect
from importlib import import_module
from types import ModuleType

import pytest

import infomax

#: The library, and the folders whose names users import.
PUBLIC = ["infomax"]


def documented(module):
    """The public classes and functions of a module: their names and docstrings."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: inspect.getdoc(member)
        for name, member in found.items()
        if not isinstance(member, ModuleType) and (inspect.isclass(member) or inspect.isroutine(member))
    }


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_has_an_example(module):
    docstrings = documented(import_module(module))
    assert len(docstrings) > 0
    assert [name for name, text in docstrings.items() if ">>> " not in text] == []


def test_results_show_how_they_are_drawn_and_exported():
    for method in (infomax.Estimate.plot, infomax.Estimate.to_dict, infomax.Estimate.to_frame, infomax.Pairwise.plot):
        assert ">>> " in inspect.getdoc(method), method.__qualname__
