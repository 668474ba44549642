"""The pages on the MMIM example work as shown: their files are written, and their commands run."""

import csv
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from multimodal import frames_config, frames_data, small_config, small_data

from infomax.bounds import base
from mmim_example import ablation, config, encoders, imports, preparation, reading
from mmim_example.__main__ import main
from mmim_example.results.evaluation import load_model
from mmim_example.runs.facts import CheckpointError

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


@pytest.mark.slow
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


@pytest.fixture
def registries(monkeypatch):
    """The registries are as before after a test."""
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    monkeypatch.setattr(encoders, "_KINDS", dict(encoders._KINDS))
    monkeypatch.setattr(config, "ENCODERS", dict(config.ENCODERS))
    monkeypatch.setattr(encoders, "ENCODERS", config.ENCODERS)
    monkeypatch.setattr(preparation, "ENCODERS", config.ENCODERS)
    monkeypatch.setattr(imports, "_EXECUTED", {})


@pytest.mark.slow
def test_plug_in_a_bound(here, registries, capsys):
    page = "plug-in-a-bound.md"
    bound, encoder = blocks(page, "python")
    (here / "my_bounds.py").write_text(bound, encoding="utf-8")
    (here / "my_encoders.py").write_text(encoder, encoding="utf-8")
    (arms,) = blocks(page, "json")
    (here / "arms.json").write_text(arms, encoding="utf-8")
    first, compare = blocks(page, "bash")
    run_commands(first, "--no-progress")
    assert config.read(here / "run" / "config.json").fusion_options == {}
    capsys.readouterr()
    run_commands(compare, "--no-progress")
    printed = capsys.readouterr()
    assert "failed" not in printed.err
    (line,) = [line for line in printed.out.splitlines() if line.startswith("| CLIP")]
    assert "–" not in line
    measured = json.loads((here / "runs" / "clip" / "seed-0" / "result.json").read_text(encoding="utf-8"))
    assert measured["test"]["I(text;Z)"] <= math.log(64)
    assert list(measured["files"]) == ["my_bounds.py"]


def test_the_pages_encoder(here, registries):
    _, code = blocks("plug-in-a-bound.md", "python")
    (here / "my_encoders.py").write_text(code, encoding="utf-8")
    reading.save(frames_data(), here / "data")
    imports.execute([Path("my_encoders.py")])
    settings = frames_config(epochs=1)
    settings = settings.replace(modalities={**settings.modalities, "audio": config.Modality("mean", out=4)})
    config.write(settings, here / "mine.json")
    words = ["--data", "data", "--config", "mine.json", "--no-progress", "--import", "my_encoders.py"]
    assert main(["train", "run", *words]) == 0
    model, _ = load_model(here / "run" / "best.safetensors")
    frames, lengths = torch.randn(2, 7, 3), torch.tensor([7, 2])
    audio = model.encoders["audio"]
    expected = audio.linear(audio.standardize(frames[1, :2]).mean(0))
    torch.testing.assert_close(audio(frames, lengths)[1], expected)
    train = frames_data().train
    inside = np.arange(7) < train.lengths["audio"][:, None]
    np.testing.assert_allclose(audio.standardize.mean, train.features["audio"][inside].mean(0), atol=1e-5)


class TestWhatDoesNotFit:
    """Files with a mistake: the error has the true reason."""

    GOOD = "import infomax\n@infomax.bounds.register('mine2')\nclass Mine2(infomax.Bound):\n    kind = 'lower'\n"

    def fails(self, here, capsys, text, *settings):
        reading.save(small_data(), here / "data")
        config.write(small_config(epochs=1), here / "small.json")
        (here / "mine.py").write_text(text, encoding="utf-8")
        words = ["train", "run", "--data", "data", "--config", "small.json", "--no-progress", "--import", "mine.py"]
        assert main([*words, "--set", "fusion_bound=mine2", *settings]) == 2
        return capsys.readouterr().err

    def test_a_file_that_raises(self, here, registries, capsys):
        said = self.fails(here, capsys, "import infomax\n\nraise KeyError('oh')\n")
        assert "--import mine.py: KeyError: 'oh'" in said
        assert "--import mine.py: SyntaxError: " in self.fails(here, capsys, "a = = 3")
        assert main(["train", "run", "--data", "data", "--import", "none.py"]) == 2
        assert "--import must be a Python file; got none.py" in capsys.readouterr().err

    def test_a_name_that_is_taken(self, here, registries, capsys):
        said = self.fails(here, capsys, "import infomax\ninfomax.bounds.register('cpc')(infomax.CPC)\n")
        assert "ValueError: a bound named 'cpc' is registered already" in said

    def test_a_bound_that_is_not_there(self, here, registries, capsys):
        said = self.fails(here, capsys, "")
        assert "one of your own needs --import FILE" in said

    def test_a_constructor_of_other_arguments(self, here, registries, capsys):
        rest = "    def forward(self, x, y):\n        return 0\n    pointwise = forward\n"
        said = self.fails(here, capsys, self.GOOD + "    def __init__(self, x_dim):\n        pass\n" + rest)
        assert "mine2 must accept x_dim=4, y_dim=8 and fusion_options none; got TypeError: " in said
        assert "positional argument" in said

    def test_a_defect_in_the_constructor(self, here, registries, capsys):
        body = "    def __init__(self, x_dim, y_dim):\n        super().__init__(x_dim, y_dim)\n        self.a.b = 1\n"
        rest = "    def pointwise(self, x, y):\n        return 0\n    def forward(self, x, y):\n        return 0\n"
        said = self.fails(here, capsys, self.GOOD + body + rest)
        assert "AttributeError: 'Mine2' object has no attribute 'a' (mine.py, line 7)" in said

    def test_an_abstract_method_that_is_missing(self, here, registries, capsys):
        said = self.fails(here, capsys, self.GOOD + "    def forward(self, x, y):\n        return 0\n")
        assert "got TypeError: Can't instantiate abstract class Mine2" in said

    def test_a_value_of_another_shape(self, here, registries, capsys):
        rest = "    def pointwise(self, x, y):\n        return x.sum(1)\n    forward = pointwise\n"
        assert "Mine2 must return a 0-d tensor; got shape (16,)" in self.fails(here, capsys, self.GOOD + rest)

    def test_a_class_that_is_no_bound(self, here, registries, capsys):
        text = "import infomax\n@infomax.bounds.register('mine2')\nclass Mine2:\n    pass\n"
        assert "fusion_bound must be a subclass of infomax.Bound; got Mine2" in self.fails(here, capsys, text)

    def test_an_arm_that_raises_fails_alone_and_is_tried_again(self, here, registries):
        rest = "    def pointwise(self, x, y):\n        return x.nothing\n    forward = pointwise\n"
        (here / "mine.py").write_text(self.GOOD + rest, encoding="utf-8")
        files = [here / "mine.py"]
        imports.execute(files)
        arms = {"task only": {"use_fusion": False, "use_pairs": False}, "mine": {"fusion_bound": "mine2"}}
        dataset, settings = small_data(), small_config(epochs=1)
        found = ablation.ablate(settings, dataset, here, arms=arms, seeds=[0], progress=False, files=files)
        assert np.isfinite(found["task only"]["mae"]).all()
        said = ablation.failed(here, arms, [0])["mine"]
        assert said == "AttributeError: 'Tensor' object has no attribute 'nothing' (mine.py, line 6)"
        base.get("mine2").forward = lambda _, x, y: x.sum() * y.sum()  # mended
        found = ablation.ablate(settings, dataset, here, arms=arms, seeds=[0], progress=False, files=files)
        assert np.isfinite(found["mine"]["mae"]).all()

    def test_runs_of_another_file_are_not_taken_for_these(self, here, registries):
        rest = "    def forward(self, x, y):\n        return x.sum()\n    pointwise = forward\n"
        (here / "mine.py").write_text(self.GOOD + rest, encoding="utf-8")
        files, arms = [here / "mine.py"], {"mine": {"fusion_bound": "mine2"}}
        imports.execute(files)
        options = {"arms": arms, "seeds": [0], "progress": False, "files": files}
        ablation.ablate(small_config(epochs=1), small_data(), here, **options)
        (here / "mine.py").write_text(self.GOOD + rest + "# changed", encoding="utf-8")
        with pytest.raises(CheckpointError, match="belongs to another files"):
            ablation.ablate(
                small_config(epochs=1), small_data(), here, arms=arms, seeds=[0], progress=False, files=files
            )
