import math

import pytest
import torch
from torch import nn

from infomax import CPC, MINE, NWJ, DonskerVaradhan, InfoNCE, critics

Z = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
X = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))


def test_cpc_scores_x_by_its_prediction_from_y_among_the_other_xs():
    cpc = CPC(6, 4).requires_grad_(False)
    predicted = cpc.critic.predict(X)
    total = 0.0
    for i in range(32):
        candidates = torch.stack([Z[j] @ predicted[i] for j in range(32)])
        total += float(candidates[i] - candidates.exp().mean().log())
    assert float(cpc(Z, X)) == pytest.approx(total / 32, rel=1e-4)


def test_normalised_cpc_is_mmims_score():
    cpc = CPC(6, 4, normalize=True)
    scores = cpc.scores(Z, X)
    expected = nn.functional.cosine_similarity(Z[:, None], cpc.critic.predict(X)[None], dim=2)
    torch.testing.assert_close(scores, expected)


def test_ceiling_of_cosine_scores_is_reached_by_the_best_of_them():
    assert CPC(2, 2, normalize=True).ceiling(32) == pytest.approx(1.82, abs=0.005)
    cpc = CPC(2, 2, normalize=True, temperature=0.5)
    best = 4 * torch.eye(32) - 2  # cosine +1 on the diagonal and -1 off it, divided by 0.5
    assert float(cpc.objective(best)) == pytest.approx(cpc.ceiling(32), rel=1e-5)
    assert CPC(2, 2).ceiling(32) == pytest.approx(math.log(32))


def test_learned_temperature_learns_and_a_fixed_one_does_not():
    learned, fixed = CPC(6, 4, normalize=True, temperature="learned"), CPC(6, 4, normalize=True, temperature=0.3)
    learned.loss(Z, X).backward()
    assert learned.ceiling(32) == pytest.approx(math.log(32), abs=1e-6)  # a temperature of 0.1 costs next to nothing
    assert learned.critic.temperature.log_temperature.grad.abs() > 0
    assert "critic.temperature.log_temperature" not in dict(fixed.named_parameters())
    assert float(fixed.critic.temperature(torch.tensor(0.3))) == pytest.approx(1.0)


def test_symmetric_averages_both_directions():
    critic = critics.Bilinear(6, 4)
    one, two = InfoNCE(6, 4, critic=critic), InfoNCE(6, 4, critic=critic, symmetric=True)
    other = CPC(6, 4, critic=critic)  # the other direction, of the same scores
    torch.testing.assert_close(two(Z, X), 0.5 * (one(Z, X) + other(Z, X)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive; got 0.0"),
        ({"temperature": "warm"}, "'learned'; got 'warm'"),
        ({"critic": "bilinear", "normalize": True}, "belong to the predictor"),
        ({"critic": "bilinea"}, "critic must be a module or one of .*; got 'bilinea'"),
    ],
)
def test_cpc_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        CPC(6, 4, **options)


def test_a_critic_of_a_wrong_shape_is_refused():
    class Wrong(nn.Module):
        def forward(self, x, y):
            return x @ x.T[:, :5]

    with pytest.raises(ValueError, match=r"critic must return scores of shape \(32, 32\); got \(32, 5\)"):
        NWJ(6, 4, critic=Wrong())(Z, X)
    with pytest.raises(TypeError, match=r"critic must be a name or a torch.nn.Module; got int"):
        NWJ(6, 4, critic=3)


def test_mine_keeps_a_moving_average_in_training_only():
    mine = MINE(6, 4, decay=0.9).requires_grad_(False)
    means = []
    for rows in torch.arange(32).chunk(4):
        scores = mine.scores(Z[rows], X[rows])
        off = scores[~torch.eye(8, dtype=torch.bool)]
        means.append(float(off.exp().mean()))
        mine(Z[rows], X[rows])
    expected = means[0]
    for mean in means[1:]:
        expected = 0.9 * expected + 0.1 * mean
    assert float(mine.log_average.exp()) == pytest.approx(expected, rel=1e-5)
    before = mine.log_average.clone()
    narrow = MINE(6, 4, critic="bilinear").bfloat16().requires_grad_(False)
    narrow.objective(3.0 + torch.zeros(8, 8))
    for _ in range(500):
        narrow.objective(1.0 + torch.zeros(8, 8))
    assert narrow.log_average.item() == pytest.approx(1.0, abs=0.05)
    mine.eval()
    torch.testing.assert_close(mine(Z, X), DonskerVaradhan(6, 4, critic=mine.critic)(Z, X))
    assert mine.log_average == before
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\); got 1"):
        MINE(6, 4, decay=1)


def test_training_a_representation_raises_what_it_tells_about_the_input():
    """The use as a loss: an encoder that is rewarded for MI finds the informative direction among noise."""
    torch.manual_seed(0)
    signal = torch.randn(2048, 1)
    observed = torch.cat([signal, 5 * torch.randn(2048, 9)], 1)
    encoder, cpc = nn.Linear(10, 1), CPC(1, 1, critic="separable")
    optimizer = torch.optim.Adam([*encoder.parameters(), *cpc.parameters()], lr=1e-2)
    for step in range(200):
        rows = torch.arange(step * 128, step * 128 + 128) % 2048
        loss = -cpc(encoder(observed[rows]), signal[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    code = encoder(observed)
    correlation = torch.corrcoef(torch.cat([code, signal], 1).T)[0, 1]
    assert abs(correlation) > 0.9
