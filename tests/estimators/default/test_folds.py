"""What is fixed for each fold of the default estimator, and for its networks."""

import numpy as np
import pytest
import torch

from infomax.estimators.default.folds import Folds, Side


@pytest.fixture(scope="module", params=[(2, 1), (12, 3)], ids=["narrow", "wide"])
def prepared(request):
    """Three folds of 300 rows with two networks each, which are not as they started; and the samples."""
    rng = np.random.default_rng(0)
    dim_x, dim_y = request.param
    x, y = rng.normal(size=(300, dim_x)), rng.normal(size=(300, dim_y))
    y[:, 0] += x[:, 0]
    parts = np.array_split(rng.permutation(300), 3)
    folds = Folds.prepare((Side.of(x), Side.of(y)), parts, rng, torch.device("cpu"), 2)
    critic = folds.critic(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return folds, critic, parts


def test_no_network_learns_or_stops_on_rows_that_its_fold_holds_out(prepared):
    folds, _, parts = prepared
    assert len(folds.train) == len(folds.validation) == 6
    for m in range(6):
        seen = set(folds.train[m].tolist()) | set(folds.validation[m].tolist())
        assert len(seen) == folds.train.shape[1] + folds.validation.shape[1] == 200
        assert not seen & set(parts[m % 3].tolist())


def test_networks_of_a_fold_stop_on_rows_of_their_own_and_share_its_copula(prepared):
    folds, _, _ = prepared
    assert len(folds.copulas) == 3
    rows = folds.validation[:, :20]
    scores = folds.anchors(rows)
    for m in range(3):
        assert set(folds.validation[m].tolist()) != set(folds.validation[m + 3].tolist())
        for network in (m, m + 3):
            expected = folds.copulas[m][0].scores(folds.embedded[m][0][rows[network]])
            torch.testing.assert_close(scores[network], expected)


@torch.no_grad()
def test_scores_are_the_mean_of_a_folds_networks(prepared):
    folds, critic, parts = prepared
    scored = folds.score(critic, np.random.default_rng(0))
    expected, gaps = {}, []
    for m in range(6):
        own = torch.from_numpy(parts[m % 3])
        network = critic.one(m)
        values = network(folds.features_x[m][own][None], folds.features_y[m][own][None])[0].diagonal()
        training = network(folds.features_x[m][folds.train[m]][None], folds.features_y[m][folds.train[m]][None])[0]
        gaps.append(training.diagonal().mean() - values.mean())
        for row, value in zip(own.tolist(), values.tolist(), strict=True):
            expected.setdefault(row, []).append(value)
    seen = scored.rows.tolist()
    assert sorted(seen) == list(range(300))
    means = torch.tensor([np.mean(expected[row]) for row in seen]).float()
    torch.testing.assert_close(scored.pairs[:, 2], means, rtol=1e-4, atol=1e-5)
    assert scored.gap == pytest.approx(float(torch.stack(gaps).mean()), abs=1e-4)  # folds of equally many rows
