"""The progress bar loads tqdm only where it shows one, and does not warn in notebooks."""

import subprocess
import sys

import pytest

from infomax.progress import no_progress, progress_bar

CODE = """
import sys
from infomax.progress import progress_bar
with progress_bar({}, 2) as advance:
    advance(1)
print("tqdm" in sys.modules)
"""


@pytest.mark.parametrize("show", [True, False])
def test_tqdm_is_loaded_where_a_bar_is_shown(show):
    code = [sys.executable, "-c", CODE.format(show)]
    done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == str(show)
    assert ("estimating" in done.stderr) == show


def test_without_tqdm_there_is_no_bar(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress_bar(True, 2) as advance:
        assert advance is no_progress
