"""Imports run one way: from a room to those below it, and never in a circle."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("infomax", "mmim_example", "benchmarks")
#: The rooms of the library from the ground up; those of one floor do not import each other.
FLOORS = (
    ("exceptions", "interrupts", "isolation", "progress", "seeds"),
    ("datasets", "io", "scores", "statistics"),
    ("critics", "tasks"),
    ("densities",),
    ("bounds",),
    ("distributed",),
    ("training",),
    ("estimators", "results"),
    ("estimation",),
    ("command_line", "sklearn"),
    ("__main__",),
)
#: What may import what within benchmarks and the example.
USERS = {"mmim_example": ("infomax", "mmim_example"), "benchmarks": ("infomax", "mmim_example", "benchmarks")}


@cache
def sources():
    """Files of the packages by module name."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(module):
    """Modules of the packages that a module names in an import, in functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(sources()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found.update(filter(None, (known(target) for target in targets)))
    return found - {module}


def known(target):
    """The module that a dotted name lies in, or ""."""
    while target and target not in sources():
        target = target.rpartition(".")[0]
    return target


def room(module):
    """The folder or file at the top of the library; "" for the library itself, whose names are loaded on first use."""
    return [*module.split("."), ""][1]


def test_every_room_has_a_floor():
    rooms = {room(module) for module in sources() if module.startswith("infomax.")}
    assert rooms == {name for floor in FLOORS for name in floor}


def test_imports_of_the_library_point_downwards():
    height = {name: i for i, floor in enumerate(FLOORS) for name in floor}
    upwards = [
        f"{module} imports {target}"
        for module in sources()
        if module.startswith("infomax.")
        for target in imports(module)
        if room(target) and room(target) != room(module) and height[room(target)] >= height[room(module)]
    ]
    assert not upwards


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_do_not_import_each_other_in_a_circle(package):
    modules = [module for module in sources() if module.startswith(f"{package}.")]
    # A folder hands on the names of its files, which do not import the folder itself.
    graph = {module: {name for name in imports(module) if name.startswith(f"{package}.")} for module in modules}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", ["benchmarks", "mmim_example"])
def test_folders_do_not_import_each_other_in_a_circle(package):
    graph = {}
    for module in sources():
        if module.startswith(f"{package}.") and sources()[module].parent != ROOT / package:
            inside = {name for name in imports(module) if name.startswith(f"{package}.")}
            graph.setdefault(room(module), set()).update(map(room, inside - {f"{package}.{room(module)}"}))
    for name, targets in graph.items():
        targets.discard(name)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_those_below(package):
    allowed = USERS.get(package, ("infomax",))
    for module in sources():
        if module.split(".")[0] == package:
            assert {target.split(".")[0] for target in imports(module)} <= set(allowed), module


def test_modules_of_the_library_do_not_load_names_lazily():
    """The first use of a lazy name waits for the thread that loads; an import that waits for it could block forever."""
    for module, file in sources().items():
        if module.startswith("infomax."):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                assert not (isinstance(node, ast.ImportFrom) and node.module == "infomax"), module


def test_no_folder_holds_a_single_file():
    for folder in {file.parent for file in sources().values()}:
        assert len({file.name for file in folder.iterdir()} - {"__init__.py", "__pycache__"}) > 1, folder


def test_files_are_short():
    long = {name: lines for name, file in sources().items() if (lines := len(file.read_text().splitlines())) > 400}
    assert not long
