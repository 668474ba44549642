"""The pages on the MMIM example work as shown: their files are written, and their commands run."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from mmim_example.__main__ import main

DOCS = Path(__file__).parent.parent.parent / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def run_commands(text, *more):
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[:3] == ["python", "-m", "mmim_example"]
            assert main([*words[3:], *(more if words[3] in ("train", "ablate") else ())]) == 0, line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_your_own_videos(here):
    (code,) = blocks("your-own-videos.md", "python")
    exec(code, {})
    (settings,) = blocks("your-own-videos.md", "json")
    (here / "mine.json").write_text(settings, encoding="utf-8")
    run_commands(*blocks("your-own-videos.md", "bash"), "--no-progress")
    with (here / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["talk_0", "talk_1", "talk_2"]
    for row in rows:
        assert float(row["low_80"]) < float(row["prediction"]) < float(row["high_80"])
    assert json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))["epochs"] == 3
