import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import infomax
from infomax.cli import bounds_table

ROOT = Path(__file__).parent.parent


def test_public_names_exist_and_are_documented():
    for name in infomax.__all__:
        assert getattr(infomax, name).__doc__, name
    assert infomax.__version__ == version("infomax")


def test_import_is_light():
    heavy = ["scipy.stats", "matplotlib", "pandas", "sklearn"]
    code = f"import sys, infomax; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("document", ["README.md", "docs/choose-a-bound.md"])
def test_tables_of_bounds_are_those_of_the_registry(document):
    """`infomax bounds --markdown` makes them."""
    assert bounds_table(markdown=True) in (ROOT / document).read_text(encoding="utf-8")


def test_arrows_point_one_way():
    """cli → estimation → fitting → bounds → critics, densities, entropy; tasks and classical know nothing of bounds."""
    order = ["products", "tiling", "tiles", "tiled_statistics", "tiled_gradients"]
    order += ["gaussian", "critics", "densities", "entropy", "bounds", "fitting", "batched", "replicas", "crossfit"]
    order += [
        "copulas",
        "residual",
        "stacking",
        "independence",
        "anchored",
        "estimation",
        "compositions",
        "columns",
        "cli",
    ]
    package = ROOT / "infomax"
    for i, name in enumerate(order):
        files = [package / f"{name}.py"] if (package / f"{name}.py").exists() else (package / name).glob("*.py")
        text = "\n".join(file.read_text() for file in files)
        for later in order[i + 1 :]:
            assert f"infomax.{later}" not in text, f"{name} must not import {later}"
            assert f"from infomax import {later}" not in text
    for file in [*(package / "tasks").glob("*.py"), package / "classical.py"]:
        assert not re.search(r"^\s*(from|import) infomax\b.*\bbounds\b", file.read_text(), flags=re.MULTILINE), file


@pytest.mark.parametrize("user", ["mmim_example", "benchmarks"])
def test_others_use_the_library_through_its_front_door(user):
    """The names of ``infomax/__init__``, tasks among them, and nothing behind them."""
    allowed = re.compile(r"import infomax$|from infomax import |from infomax\.tasks(\.\w+)? import ")
    for file in (ROOT / user).glob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.match(r"\s*(from|import) infomax\b", line):
                assert allowed.match(line.strip()), f"{file.name}: {line}"
