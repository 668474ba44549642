import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import infomax
from infomax.command_line.tables import bounds_table

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


@pytest.mark.parametrize("user", ["mmim_example", "benchmarks"])
def test_others_use_the_library_through_its_front_door(user):
    """The names of ``infomax/__init__``, tasks among them, and nothing behind them."""
    allowed = re.compile(r"import infomax$|from infomax import |from infomax\.tasks(\.\w+)? import ")
    for file in (ROOT / user).rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.match(r"\s*(from|import) infomax\b", line):
                assert allowed.match(line.strip()), f"{file.name}: {line}"
