"""Bounds whose critic is fitted by one objective and read by another."""

import math

import pytest
import torch

from infomax import FDIME, NWJ, SMILE, DonskerVaradhan, InfoNCEAnchor, JensenShannon, JSDLowerBound, bounds, tasks
from infomax.bounds import divergences, objectives
from infomax.bounds.contrastive import Discriminative

Z = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
X = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))


def gradients(value, bound):
    return torch.autograd.grad(value, list(bound.parameters()))


@pytest.mark.parametrize("name", [name for name in bounds.names() if issubclass(bounds.get(name), Discriminative)])
def test_value_is_read_and_gradient_is_of_what_fits(name):
    bound = bounds.get(name)(6, 4)
    value = bound.train()(Z, X)
    torch.testing.assert_close(value, bound.eval()(Z, X))
    torch.testing.assert_close(bound.loss(Z, X), -bound.fitted(bound.scores(Z, X)))
    bound.train()
    for by_value, by_loss in zip(gradients(value, bound), gradients(bound.loss(Z, X), bound), strict=True):
        torch.testing.assert_close(by_value, -by_loss)


def test_what_is_read():
    critic = NWJ(6, 4).critic
    torch.testing.assert_close(JensenShannon(6, 4, critic=critic)(Z, X), NWJ(6, 4, critic=critic)(Z, X))
    unclipped = DonskerVaradhan(6, 4, critic=critic)(Z, X)
    torch.testing.assert_close(SMILE(6, 4, critic=critic, tau=math.inf)(Z, X), unclipped)
    wide = critic(Z, X).abs().max().item()
    torch.testing.assert_close(SMILE(6, 4, critic=critic, tau=wide)(Z, X), unclipped)
    mean = critic(Z, X).diagonal().mean()
    for bound in (FDIME(6, 4, critic=critic), InfoNCEAnchor(6, 4, critic=critic)):
        torch.testing.assert_close(bound(Z, X), mean)


@pytest.mark.parametrize(
    ("bound", "objective"),
    [
        (FDIME(6, 4), objectives.jensen_shannon),
        (FDIME(6, 4, divergence="kl"), objectives.nwj),
        (FDIME(6, 4, divergence="hellinger"), objectives.squared_hellinger),
        (SMILE(6, 4), objectives.jensen_shannon),
        (JensenShannon(6, 4), objectives.jensen_shannon),
        (InfoNCEAnchor(6, 4, anchor=2.0), lambda scores: objectives.anchored_classification(scores, 2.0)),
        (InfoNCEAnchor(6, 4), lambda scores: objectives.anchored_classification(scores, 31.0)),
    ],
)
def test_what_fits(bound, objective):
    scores = bound.scores(Z, X)
    torch.testing.assert_close(bound.fitted(scores), objective(scores))


def test_jsd_lower_bound_is_a_tangent_to_the_exact_curve(pairs):
    x, y = pairs("normal-5d-1", 800)
    bound = JSDLowerBound(5, 5, critic="gaussian_residual").double().requires_grad_(False)
    bound.warm_start(x, y)
    jsd = objectives.jensen_shannon(bound.scores(x, y))
    torch.testing.assert_close(bound.eval()(x, y), divergences.least_kl(jsd))
    touching = bound.tangent.clone()
    for shift in (-0.5, 0.5):
        bound.tangent.copy_(touching + shift)
        assert bound(x, y) < divergences.least_kl(jsd)
    assert 0.6 < float(divergences.least_kl(jsd)) < tasks.get("normal-5d-1").mi


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SMILE(6, 4, tau=0.0), "tau must be positive; got 0.0"),
        (lambda: InfoNCEAnchor(6, 4, anchor=0.0), "anchor must be positive, or None; got 0.0"),
        (lambda: FDIME(6, 4, divergence="js"), "divergence must be one of gan, kl, hellinger; got 'js'"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
