"""The folds of the default estimator: which rows are seen, and the scores of held-out rows."""

import math

import numpy as np
import pytest
import torch

from infomax.estimators.candidates.base import LogRatio, Side
from infomax.estimators.default.folds import Anchor, Fold, Networks, Normaliser, Scored, calibrated, score
from infomax.estimators.default.networks import KINDS
from infomax.statistics.row_structure import RowStructure


class Product(LogRatio):
    """A log-ratio that anyone can work out: x y."""

    def embed(self, x, y):
        return x.scores, y.scores

    def scores(self, x, y):
        return x @ y.T


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    return Side.of(x), Side.of(x + rng.normal(size=(300, 2)))


@pytest.fixture(scope="module")
def folds():
    rng = np.random.default_rng(0)
    return Fold.of(np.array_split(rng.permutation(300), 3), rng, 2, RowStructure.independent(300))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def networks(request, sides, folds):
    """Two networks for each of three folds, which are not as they started."""
    generator = torch.Generator().manual_seed(0)
    found = Networks.untrained(request.param, sides, folds, generator, torch.device("cpu"))
    with torch.no_grad():
        for parameter in found.critic.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return found


def test_no_network_learns_or_stops_on_rows_that_its_fold_holds_out(folds):
    assert sorted(np.concatenate([fold.held_out for fold in folds])) == list(range(300))
    for fold in folds:
        assert len(fold.train) == len(fold.validation) == 2
        assert set(fold.others.tolist()) == set(range(300)) - set(fold.held_out.tolist())
        for train, validation in zip(fold.train, fold.validation, strict=True):
            assert len(train) + len(validation) == len({*train.tolist(), *validation.tolist()}) == 200
            assert not {*train.tolist(), *validation.tolist()} & set(fold.held_out.tolist())
        assert set(fold.validation[0].tolist()) != set(fold.validation[1].tolist())


@torch.no_grad()
def test_networks_of_a_fold_share_its_anchor(networks, sides, folds):
    anchors = [Anchor.of(Product(), *(side[torch.arange(300).roll(shift)] for side in sides)) for shift in range(3)]
    rows = networks.validation[:, :20]
    scores = networks.anchored(anchors, 2)(rows)
    for m in range(6):
        torch.testing.assert_close(scores[m], anchors[m // 2].scores(rows[m]))


@torch.no_grad()
def test_scores_are_the_mean_of_a_folds_networks(networks, sides, folds):
    anchors = [Anchor.of(Product(), *sides) for _ in folds]
    scored = score(folds, anchors, networks.by_fold(2), np.random.default_rng(0))
    assert sorted(scored.rows.tolist()) == list(range(300))
    expected, gaps = torch.zeros(300), []
    for m in range(6):
        own, train = torch.from_numpy(folds[m // 2].held_out), torch.from_numpy(folds[m // 2].train[m % 2])
        values = networks.critic.one(m).pairs(networks.x[m][own][None], networks.y[m][own][None])[0]
        expected[own] += values / 2
        training = networks.critic.one(m).pairs(networks.x[m][train][None], networks.y[m][train][None])[0]
        gaps.append(training.mean() - values.mean())
    order = torch.from_numpy(scored.rows)
    torch.testing.assert_close(scored.pairs[:, 1], expected[order], rtol=1e-4, atol=1e-5)
    products = (sides[0].scores * sides[1].scores).sum(1)[order]
    torch.testing.assert_close(scored.pairs[:, 0].double(), products, rtol=1e-4, atol=1e-5)
    assert scored.overfitting == pytest.approx(float(torch.stack(gaps).mean()), abs=1e-4)  # folds of equally many rows


def test_the_normaliser_is_the_mean_over_all_shuffled_pairs():
    blocks = [torch.randn(n, n, generator=torch.Generator().manual_seed(n)) for n in (5, 7)]
    shuffled = [block[i, j].item() for block in blocks for i in range(len(block)) for j in range(len(block)) if i != j]
    normaliser = Normaliser()
    for block in blocks:
        normaliser.add(block.clone())
    assert normaliser.log_mean == pytest.approx(math.log(np.mean(np.exp(shuffled))), abs=1e-5)
    assert not normaliser.dominated
    blocks[0][0, 1] = 30.0
    dominated = Normaliser()
    dominated.add(blocks[0])
    assert dominated.dominated


def scored_normal(rho, claimed, n=1000):
    """The exact log-ratio of a normal pair with correlation ``claimed``, on samples with correlation ``rho``."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, generator=generator, dtype=torch.float64)

    def log_ratio(x, y):
        squares = claimed**2 * (x**2 + y**2) - 2 * claimed * x * y
        return -0.5 * math.log1p(-(claimed**2)) - 0.5 * squares / (1 - claimed**2)

    matrix = log_ratio(x[:, None], y[None])
    normaliser = Normaliser()
    normaliser.add(matrix.clone())
    pairs = torch.stack([matrix.diagonal(), torch.zeros(n)], 1).float()
    mixed = torch.cat([matrix.roll(-shift, 1).diagonal() for shift in range(1, 21)])
    return Scored(
        pairs, torch.stack([mixed, torch.zeros(20 * n)], 1).float(), np.arange(n), (normaliser, normaliser), 0.0
    )


@pytest.mark.parametrize(("rho", "claimed"), [(0.9, 0.9), (0.6, 0.9), (0.0, 0.8), (0.9, 0.5), (0.999, 0.999)])
def test_calibrated_values_do_not_exceed_the_information(rho, claimed):
    """Neither where the log-ratio is right, nor where it claims too much or too little; the raw mean does."""
    truth, n = -0.5 * math.log1p(-(rho**2)), 1000
    scored = scored_normal(rho, claimed)
    found = calibrated(scored, networks=False)
    error = float(found.local.std()) / math.sqrt(n)
    assert found.value < truth + 3 * error + 1 / n
    if rho == claimed:
        assert found.value == pytest.approx(truth, abs=4 * error)


def test_few_shuffled_pairs_do_not_decide_where_pairs_are_separable():
    """6.6 nats, which the regression on 20,000 shuffled pairs would extrapolate."""
    scored = scored_normal(0.999999, 0.999999)
    raw = float(scored.pairs[:, 0].double().mean())
    value = calibrated(scored, networks=False).value
    assert value == pytest.approx(raw, abs=0.1)
    assert value == pytest.approx(-0.5 * math.log1p(-(0.999999**2)), abs=0.1)
