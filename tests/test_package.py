import ast
import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest

import infomax
from infomax.command_line.tables import bounds_table, candidates_table

ROOT = Path(__file__).parent.parent


#: Packages that take long to import, or that few calls need.
HEAVY = {"torch._dynamo", "torch._inductor", "scipy.stats", "pandas", "matplotlib", "sklearn", "pyarrow"}


@pytest.fixture(scope="module")
def loaded():
    """Names of the modules that a fresh process has loaded after each of three steps."""
    code = """
    import contextlib, io, json, sys
    import infomax
    steps = {"import": list(sys.modules)}
    from infomax.command_line.main import main
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(["--help"])
    steps["help"] = list(sys.modules)
    for name in dir(infomax):
        getattr(infomax, name)
    steps["public names"] = list(sys.modules)
    print(json.dumps(steps))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return {step: set(names) for step, names in json.loads(done.stdout).items()}


@pytest.mark.parametrize("step", ["import", "help"])
def test_torch_is_not_loaded_before_it_is_used(loaded, step):
    assert not loaded[step] & {"torch", "numpy", "scipy", *HEAVY}


def test_public_names_load_neither_the_compiler_nor_other_heavy_packages(loaded):
    assert not loaded["public names"] & HEAVY
    assert {"torch", "infomax.estimation.estimate"} <= loaded["public names"]


def test_public_names_exist_and_are_documented():
    for name in infomax.__all__:
        assert getattr(infomax, name).__doc__, name
    assert infomax.__version__ == version("infomax")


def test_the_stub_lists_the_public_names():
    """What type checkers see, what ``dir`` and ``import *`` give, and what is imported, are the same names."""
    stub = ast.parse(Path(infomax.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = [alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(infomax.__all__) == sorted(dir(infomax))


@pytest.mark.parametrize("document", ["README.md", "docs/choose-a-bound.md"])
def test_tables_of_bounds_are_those_of_the_registry(document):
    """`infomax bounds --markdown` makes them."""
    assert bounds_table(markdown=True) in (ROOT / document).read_text(encoding="utf-8")


def test_the_table_of_candidates_is_that_of_the_registry():
    """`infomax bounds --candidates --markdown` makes it."""
    assert candidates_table(markdown=True) in (ROOT / "docs" / "how-the-default-works.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("user", ["mmim_example", "benchmarks"])
def test_others_use_the_library_through_its_front_door(user):
    """The names of ``infomax/__init__``, tasks among them, those of ``infomax.sklearn``, and nothing behind them."""
    allowed = re.compile(r"import infomax$|from infomax import |from infomax\.(sklearn|tasks(\.\w+)?) import ")
    for file in (ROOT / user).rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.match(r"\s*(from|import) infomax\b", line):
                assert allowed.match(line.strip()), f"{file.name}: {line}"


def test_names_are_loaded_by_several_threads_at_once():
    code = """
import threading, infomax
names = "estimate pairwise conditional bracket CPC GlobalBatch BA bounds".split()
barrier, failed = threading.Barrier(len(names)), []
def load(name):
    barrier.wait()
    try:
        getattr(infomax, name)
    except BaseException as error:
        failed.append((name, repr(error)))
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"


def test_the_lowest_versions_are_those_of_the_ranges():
    """`make lowest` tests what pyproject.toml promises."""
    text = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[0]
    floors = dict(re.findall(r'"([a-z-]+)>=([\d.]+)"', text))
    lines = [line for line in (ROOT / "lowest.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    needed = set(floors) - {"hatchling", "mypy", "ruff", "furo", "myst-nb", "sphinx"}
    needed -= {name for name in floors if name.startswith("sphinx")}
    assert set(pinned) == needed
    for name, version_ in pinned.items():
        assert f"{version_}.".startswith(f"{floors[name]}."), name


def test_the_package_index_gets_addresses_of_the_repository_that_builds(monkeypatch):
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    hatch_build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hatch_build)
    text = "[a](docs/a.md#b) ![c](d.png) [e](https://f.org) [g](#h) [i](j.md)"
    links = "[a](R/blob/v1/docs/a.md#b) ![c](R/raw/v1/d.png) [e](https://f.org) [g](#h) [i](R/blob/v1/j.md)"
    assert hatch_build.with_absolute_links(text, "R", "v1") == links
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://host")
    monkeypatch.setenv("GITHUB_REPOSITORY", "some/infomax")
    metadata = {"version": "0.2"}
    hatch_build.RepositoryHook(str(ROOT), {}).update(metadata)
    assert metadata["urls"]["Changelog"] == "https://host/some/infomax/blob/v0.2/CHANGELOG.md"
    readme = metadata["readme"]["text"]
    assert "(https://host/some/infomax/blob/v0.2/docs/compose.md)" in readme
    assert all(target.startswith(("https:", "#")) for target in re.findall(r"\]\(([^)\s]+)\)", readme))
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name)
    hatch_build.RepositoryHook(str(ROOT), {}).update(metadata)
    assert metadata["urls"] == {}
    assert metadata["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
