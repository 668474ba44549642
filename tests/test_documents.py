"""What the documents show works as shown."""

import importlib
import itertools
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import naive
import numpy as np
import pytest
import torch
from scipy import stats

import infomax
from benchmarks.accuracy import known_mi
from infomax import bounds, estimate, tasks
from infomax.bounds import base
from infomax.estimators.candidates import Side
from infomax.estimators.candidates import base as candidates_base
from infomax.tasks import base as tasks_base

ROOT = Path(__file__).parent.parent

#: Expressions that are not technical English, as patterns.
AVOIDED = [
    "holds? the truth",
    "train(s|ed) nothing",
    "asked too",
    "are asked since",
    "what .* is given back",
    "mixed pairs",
    "for granted",
    "tells? about",
    "goes on where",
    "no mutual information is",
    "(give|measure)s? much (more|less) than",
    "guess at",
    "(is|are|was) told",
    "knows? of",
]


def blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)


def texts():
    """Documents and source files, without generated results."""
    files = [file for folder in ("infomax", "mmim_example", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    files += [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "gallery").glob("*.md")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.mark.parametrize("phrase", AVOIDED)
def test_english_is_that_of_the_field(phrase):
    """CONTRIBUTING has the style, with these phrases as examples of what to avoid."""
    pattern = re.compile(phrase.replace(" ", r"\s+"), flags=re.IGNORECASE)
    examples = re.compile(r"\| before \| after \|.*?\n\n", flags=re.DOTALL)
    assert not [name for name, text in texts().items() if pattern.search(examples.sub("", text))]


def test_links_between_documents_lead_to_files():
    broken = []
    for name, text in texts().items():
        if name.endswith(".md"):
            targets = re.findall(r"\]\(([^)#:\s]+)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
            broken += [f"{name}: {target}" for target in targets if not ((ROOT / name).parent / target).exists()]
    assert not broken


def block(document, text):
    """The one block of code that contains the text."""
    (found,) = [code for code in blocks(document) if text in code]
    return found


@pytest.mark.parametrize(
    "quick",
    [
        pytest.param(True, marks=pytest.mark.filterwarnings("ignore:default. overfitting")),
        pytest.param(False, marks=pytest.mark.slow),
    ],
)
def test_the_estimate_of_the_readme(quick, capsys, monkeypatch):
    monkeypatch.setattr(infomax, "estimate", partial(estimate, quick=quick))
    exec(blocks("README.md")[0], {})
    assert "estimate by default from 2000 pairs" in capsys.readouterr().out


def test_the_loss_of_the_readme():
    exec(blocks("README.md")[1], {})


def test_compose(capsys):
    scope = {}
    exec(blocks("docs/compose.md")[0], scope)
    printed = capsys.readouterr().out
    assert "estimate of I(x; y | z) by gaussian from 2000 rows" in printed
    low, high = scope["conditional"](scope["x"], scope["y"], scope["z"], bound="gaussian").confidence_interval()
    assert low < 0.5 * np.log(2) < high


@pytest.mark.slow
@pytest.mark.parametrize("text", ["shared=True", "DistributedDataParallel"])
def test_programs_for_many_machines_run_in_two_processes(text, tmp_path):
    data = "import numpy as np\nx, y = np.random.default_rng(0).normal(size=(2, 400))\n"
    program = tmp_path / "program.py"
    program.write_text(data + block("docs/many-machines.md", text) + "\nprint('finished')\n", encoding="utf-8")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(start, check=False, capture_output=True, text=True, timeout=600, env=environment)
    assert done.stdout.count("finished") == 2, done.stderr


def test_the_worked_example_of_a_bound_keeps_the_contract():
    code = block("CONTRIBUTING.md", '@register("remine")')
    scope = {}
    try:
        exec(code, scope)
        bound = bounds.get("remine")(3, 2, weight=0.5).double()
        x, y = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        scores = bound.critic(x, y[:, :2]).tolist()
        value = naive.donsker_varadhan(scores)
        drift = naive.joint_mean(scores) - value  # log E_q e^f
        assert bound(x, y[:, :2]).item() == pytest.approx(value, rel=1e-9)
        assert bound.loss(x, y[:, :2]).item() == pytest.approx(0.5 * drift**2 - value, rel=1e-9)
        assert bound.pointwise(x, y[:, :2]).mean().item() == pytest.approx(value, rel=1e-9)
    finally:
        base._REGISTRY.pop("remine", None)


@pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")
def test_the_worked_example_of_a_candidate_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates_base, "_REGISTRY", dict(candidates_base._REGISTRY))
    (tmp_path / "either_sign.py").write_text(block("docs/add-a-candidate.md", '@register("either-sign")'))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("either_sign")
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 350, 3))
    y = 0.9 * x * rng.choice([-1.0, 1.0], (350, 1)) + math.sqrt(1 - 0.9**2) * noise
    ratio = module.EitherSign().fit(Side.of(x), Side.of(y), torch.Generator())
    assert ratio.r == pytest.approx(0.9, abs=0.03)
    every = np.concatenate([x, y], 1)
    eye, r = np.eye(3), ratio.r * np.eye(3)
    joint = [stats.multivariate_normal(cov=np.block([[eye, s * r], [s * r, eye]])).logpdf for s in (-1, 1)]
    alone = stats.multivariate_normal(cov=eye).logpdf
    x_few, y_few = Side.of(x)[torch.arange(7)], Side.of(y)[torch.arange(5)]
    found = ratio.scores(*ratio.embed(x_few, y_few))
    for i, j in itertools.product(range(7), range(5)):
        a, b = x_few.scores[i].numpy(), y_few.scores[j].numpy()
        both = np.logaddexp(*(density(np.concatenate([a, b])) for density in joint)) - math.log(2)
        assert found[i, j].item() == pytest.approx(both - alone(a) - alone(b), abs=1e-9)
    result = estimate(np.exp(x), y, schedule=infomax.Schedule(steps=0), quick=True, progress=False)
    assert [trial.name for trial in result.candidates if trial.chosen] == ["either-sign"]
    truth = np.logaddexp(*(density(every) for density in joint)) - math.log(2) - alone(x) - alone(y)
    assert result.mi == pytest.approx(truth.mean(), abs=0.1)


def test_the_worked_example_of_a_task_is_found_by_the_benchmark(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(block("CONTRIBUTING.md", "register(noisy_angle(0.2))"))
    monkeypatch.syspath_prepend(tmp_path)
    tasks.names()  # loads the library's own, into the registry that stays
    monkeypatch.setattr(tasks_base, "_REGISTRY", dict(tasks_base._REGISTRY))
    options = ["--plugin", "my_tasks", "--tasks", "circle", "--estimators", "ksg", "--n", "3000", "--seeds", "1"]
    known_mi.main([*options, "--jobs", "1", "--output", str(tmp_path)])
    rows = (tmp_path / "known_mi.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["angle-0.2", "bent-angle-0.2"]
    x, y = tasks.get("angle-0.2").sample(3000, 0)
    # The truth a second way: the angles in 50 classes, of which y covers ten and the parts of two.
    turn = np.arctan2(x[:, [1]], x[:, [0]]) / (2 * np.pi) % 1
    assert estimate(turn, y, bound="ksg").mi == pytest.approx(np.log(5), abs=0.15)
    behind = (y - turn) % 1
    assert behind.max() < 0.2
    assert tasks.get("bent-angle-0.2").mi == pytest.approx(np.log(5))
