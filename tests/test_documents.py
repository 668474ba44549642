"""What the documents show works as shown."""

import re
from pathlib import Path

import pytest
import torch

from infomax import bounds
from infomax.bounds import base

ROOT = Path(__file__).parent.parent


def blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("i", [0, 1])
def test_readme(i, capsys):
    exec(blocks("README.md")[i], {})
    if i == 0:
        assert "lower bound by infonce from 2000 pairs" in capsys.readouterr().out


def test_the_worked_example_of_a_bound_keeps_the_contract():
    (code,) = blocks("CONTRIBUTING.md")
    scope = {}
    try:
        exec(code, scope)
        cls = bounds.get("tuba")
        bound = cls(3, 2).double()
        with torch.no_grad():
            bound.log_baseline.fill_(0.4)
        scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        off = [float(scores[i, j]) for i in range(6) for j in range(6) if i != j]
        expected = scores.diagonal().mean() - torch.tensor(off).exp().mean() / torch.tensor(0.4).exp() - 0.4 + 1
        assert bound.objective(scores).item() == pytest.approx(expected.item(), rel=1e-6)
        # With the best baseline it is Donsker-Varadhan.
        with torch.no_grad():
            bound.log_baseline.fill_(torch.tensor(off, dtype=torch.float64).exp().mean().log())
        expected = bounds.get("dv")(3, 2).objective(scores)
        assert bound.objective(scores).item() == pytest.approx(expected.item(), rel=1e-9)
    finally:
        base._REGISTRY.pop("tuba", None)
