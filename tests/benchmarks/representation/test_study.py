import math

import pytest
import torch
from torch import nn

from benchmarks.representation import digits, study
from benchmarks.representation.arms import ARMS
from benchmarks.representation.migration import N, infonce, lines, ours_of_views


def test_views_are_shifts_with_contrast_and_noise():
    image = torch.zeros(1, 8, 8)
    image[0, 3, 4] = 1.0
    views = digits.view(image.flatten(1).expand(4000, 64), torch.Generator().manual_seed(0)).view(-1, 8, 8)
    mean = views.mean(0)
    shifted = torch.zeros(8, 8)
    shifted[2:5, 3:6] = 1 / 9
    assert float((mean - shifted).abs().max()) < 0.03
    assert views[:, 0, 0].std().item() == pytest.approx(0.15, abs=0.01)


def test_a_split_has_every_image_once():
    training, test = digits.split(3)
    assert (len(training), len(test)) == (1200, 597)
    both = torch.cat([training.labels, test.labels])
    assert both.bincount().tolist() == torch.as_tensor(digits.datasets.load_digits().target).bincount().tolist()
    assert not torch.equal(training.labels, digits.split(4)[0].labels)
    assert digits.probe(training, test, nn.Identity()) > 0.9


@pytest.mark.parametrize("arm", [name for name in ARMS if ARMS[name].build])
def test_every_arm_trains(arm, monkeypatch):
    monkeypatch.setattr(study, "EPOCHS", 2)
    monkeypatch.setattr(digits, "probe", lambda *_, each=None: 0.5)
    found = study.run({"arm": arm, "seed": 0})
    assert found == study.run({"arm": arm, "seed": 0})
    assert 0 < found["ceiling"] <= round(math.log(study.BATCH), 4)
    assert found["value"] < found["ceiling"]


def test_a_report_has_means_and_differences(tmp_path):
    rows = ["arm,seed,all_labels,few_labels,value,ceiling,seconds,memory,date,machine,error"]
    for seed, cpc, siglip in ((0, 0.90, 0.91), (1, 0.92, 0.95)):
        rows += [f"cpc,{seed},0.97,{cpc},2.0,5.0,60,1,2026-11-30,here,", f"siglip,{seed},0.96,{siglip},1.0,5.7,60,1,,,"]
    path = tmp_path / "digits.csv"
    path.write_text("\n".join(rows) + "\n")
    page = study.write_report(path)
    # Student's t with one degree of freedom: 12.706 times half the difference of two.
    assert "| CPC | 97.0 ± 0.0 | 91.0 ± 12.7 |  | 2.00 | 5.00 |" in page
    assert "| SigLIP, initial bias −10 (paper) | 96.0 ± 0.0 | 93.0 ± 25.4 | +2.0 ± 12.7 | 1.00 | 5.70 |" in page
    assert "4.0 minutes of CPU time" in page


def test_our_side_of_the_migration_is_the_loss_of_simclr():
    a, b = torch.randn(2, N, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    views = nn.functional.normalize(torch.cat([a, b]), dim=1)
    scores = (views @ views.T / 0.2).fill_diagonal_(-math.inf)
    cross_entropy = nn.functional.cross_entropy(scores, torch.arange(2 * N).roll(N))
    ours = ours_of_views(torch.cat([a, b]), torch.arange(N).repeat(2))
    assert ours.item() + math.log(2 * N - 1) == pytest.approx(cross_entropy.item(), abs=1e-6)
    cosines = nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
    cross_entropy = nn.functional.cross_entropy(cosines / 0.2, torch.arange(N))
    assert infonce().loss(a, b).item() + math.log(N) == pytest.approx(cross_entropy.item(), abs=1e-6)
    assert [library for library, _ in lines()] == [
        "info-nce-pytorch",
        "pytorch-metric-learning",
        "lightly",
        "open_clip",
    ]
