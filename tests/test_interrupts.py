"""Ctrl-C and SIGTERM: one line and status 130 at every moment, in every command."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")

ROOT = Path(__file__).parent.parent
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
PROGRAM = """
import atexit, sys, time
from infomax import interrupts

def at(moment):
    print(moment, flush=True)
    if moment == sys.argv[1]:
        for _ in range(60_000 if moment in ("import", "main") else 30):
            time.sleep(0.01)  # one long sleep would miss a signal that comes just before it

def main():
    try:
        exec("at('main')")  # as dataclasses do
        raise KeyboardInterrupt if sys.argv[1] == "clean-up" else SystemExit(7)
    finally:
        at("clean-up")
        at("cleaned")

interrupts.arm("program: interrupted")
at("import")
atexit.register(at, "exit")
interrupts.run(main)
"""
#: In place of a package that takes seconds to load.
SLOW = "import time\nprint('loading', flush=True)\nfor _ in range(60_000):\n    time.sleep(0.01)\n"
SCRIPTS = {
    file: ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("infomax", "benchmarks", "mmim_example")
    for file in sorted((ROOT / package).rglob("*.py"))
    if (file.name == "__main__.py" or '\nif __name__ == "__main__":' in file.read_text(encoding="utf-8"))
    and file.name not in {"runner.py", "block_shuffle.py"}  # they run in environments without infomax, and are killed
}


@contextmanager
def started(*words, path=ROOT):
    """A Python process with this output, in which Ctrl-C is not ignored, as it is in a shell's background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        process = subprocess.Popen([sys.executable, *words], env=environment, cwd=ROOT, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        yield process
        process.kill()


def wait_for(process, line):
    for said in process.stdout:
        if said.strip() == line:
            return
    pytest.fail(f"{line!r} did not come; errors: {process.stderr.read()}")


@SIGNALS
@pytest.mark.parametrize(
    ("moment", "status", "rest"),
    [
        ("import", 130, []),
        ("main", 130, ["clean-up", "cleaned", "exit"]),
        ("clean-up", 130, ["cleaned", "exit"]),
        ("exit", 7, []),
    ],
)
def test_a_signal_at_each_moment_of_a_program(moment, status, rest, number):
    with started("-c", PROGRAM, moment) as process:
        wait_for(process, moment)
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
    assert process.returncode == status
    assert out.split() == rest
    assert err == ("program: interrupted\n" if status == 130 else "")


@pytest.mark.parametrize("name", SCRIPTS.values())
def test_a_signal_while_torch_is_imported(name, tmp_path):
    for slow in ("torch", "numpy"):  # whichever comes first
        (tmp_path / f"{slow}.py").write_text(SLOW)
    words = ["bounds"] if name.startswith("infomax") else []
    with started("-m", name, *words, path=tmp_path) as process:
        wait_for(process, "loading")
        process.send_signal((signal.SIGINT, signal.SIGTERM)[len(name) % 2])
        out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, "")
    program = name.partition(".")[0]
    assert re.fullmatch(f"{program}: interrupted(; .*)?\n", err)


def test_every_script_ends_as_the_others_do():
    for file in SCRIPTS:
        last = file.read_text(encoding="utf-8").splitlines()[-1].strip()
        assert last == "command()" or last.startswith("interrupts.run("), file


def test_a_signal_while_the_main_function_imports_something_waits_for_it(tmp_path):
    """An extension module would turn the exception into ``ImportError: initialization failed``."""
    (tmp_path / "slow.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(0.5)\nprint('loaded')\n")
    program = """
import time
from infomax import interrupts
def main():
    import slow
    for _ in range(60_000):
        time.sleep(0.01)
interrupts.run(main)
"""
    with started("-c", program, path=tmp_path) as process:
        wait_for(process, "loading")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (130, "loaded\n", "interrupted\n")


def test_an_ignored_signal_stays_ignored():
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    with started("-c", ignoring + PROGRAM, "clean-up") as process:
        wait_for(process, "import")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
    assert process.returncode == 130  # of the program's own interruption


def test_shielded_children_do_not_see_ctrl_c(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import multiprocessing, signal
from contextlib import nullcontext
from infomax import interrupts

def blocked():
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)

if __name__ == "__main__":
    for context in (interrupts.shielded(), nullcontext()):
        child = multiprocessing.get_context("spawn").Process(target=blocked)
        with context:
            child.start()
        child.join()
""")
    with started(str(program)) as process:
        out, err = process.communicate(timeout=600)
    assert (out.split(), err) == (["True", "False"], "")


def test_ctrl_c_ends_the_children_of_a_child(tmp_path):
    tree = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('up', flush=True); sys.stdin.read()"
    program = f"""
import sys
from benchmarks.children import run_child
from infomax import interrupts
interrupts.run(lambda: run_child([sys.executable, "-c", {tree!r}], stdout=None, stdin=-1) and 0)
"""
    with started("-c", program) as process:
        wait_for(process, "up")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)  # waits until every process with this output has ended
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
