import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import FastICA

from infomax.estimators.candidates.components import SmoothScores, independent_components


def mixed(n=4000, seed=0):
    """Uniform, Laplace and exponential sources of variance 1, their mixing matrix, and the mixtures."""
    rng = np.random.default_rng(seed)
    sources = np.stack([rng.uniform(-(3**0.5), 3**0.5, n), rng.laplace(0, 0.5**0.5, n), rng.exponential(1, n) - 1], 1)
    mixing = np.array([[1.0, 0.5, -0.3], [-0.4, 1.0, 0.6], [0.2, -0.7, 1.0]])
    return sources, mixing, torch.from_numpy(sources @ mixing + 5.0)


def gain(mixing, unmixing):
    """The mixing and the unmixing in turn: the identity up to order and signs if they are inverse."""
    product = np.abs(mixing @ unmixing)
    return product[:, product.argmax(1)]


def test_components_are_the_sources_up_to_order_and_sign():
    _, mixing, values = mixed()
    mean, unmixing = independent_components(values, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(mean, 5.0, atol=0.1)
    np.testing.assert_allclose(gain(mixing, unmixing.numpy()), np.eye(3), atol=0.06)
    found = ((values - mean) @ unmixing).numpy()
    np.testing.assert_allclose(np.cov(found.T), np.eye(3), atol=1e-3)


def test_components_are_those_of_scikit_learn():
    _, _, values = mixed()
    _, unmixing = independent_components(values, torch.Generator().manual_seed(0))
    peer = FastICA(fun="logcosh", whiten="unit-variance", random_state=0, tol=1e-8, max_iter=500).fit(values.numpy())
    np.testing.assert_allclose(gain(np.linalg.inv(peer.components_.T), unmixing.numpy()), np.eye(3), atol=5e-3)


def test_collinear_columns_have_fewer_components():
    _, _, values = mixed(1000)
    twice = torch.cat([values, values[:, :1] - values[:, 1:2]], 1)
    _, unmixing = independent_components(twice, torch.Generator().manual_seed(0))
    assert unmixing.shape == (4, 3)


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_smooth_scores_increase_and_are_about_normal(draw):
    values = torch.from_numpy(getattr(np.random.default_rng(1), draw)((2000, 1)))
    scores = SmoothScores.of(values)(values)[:, 0]
    order = values[:, 0].argsort()
    steps = scores[order].diff()
    assert (steps[scores[order][1:].abs() < 8] > 0).all()
    ranks = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    inner = slice(20, -20)  # a long tail is a straight line between the last knots
    difference = scores[order].numpy()[inner] - ranks[inner]
    assert np.sqrt(np.mean(difference**2)) < 0.05
    assert stats.kstest(scores.numpy(), "norm").statistic < 0.02


def test_smooth_scores_keep_differences():
    """Of normal values they are the identity, up to noise of the quantiles; ranks move neighbours."""
    values = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    margins = SmoothScores.of(values)
    grid = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)[:, None]
    scores = margins(grid)
    assert (scores - grid).abs().max() < 0.05
    steps = scores.diff(dim=0) / 0.01
    assert 0.8 < float(steps.min()) < float(steps.max()) < 1.25


def test_smooth_scores_of_columns_are_those_of_each():
    values = torch.randn(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    together = SmoothScores.of(values)
    new = torch.tensor([[0.0, 1.0, 50.0]], dtype=torch.float64)
    for j in range(3):
        alone = SmoothScores.of(values[:, [j]])
        torch.testing.assert_close(alone(values[:, [j]])[:, 0], together(values)[:, j])
        torch.testing.assert_close(alone(new[:, [j]])[:, 0], together(new)[:, j])
    assert together(new).abs().max() <= 8
