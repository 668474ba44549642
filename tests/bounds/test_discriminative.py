"""Bounds whose critic is fitted by one objective and read by another."""

import math

import pytest
import torch
from exact import ExactLogRatio
from torch import nn

from infomax import (
    FDIME,
    NWJ,
    SMILE,
    DonskerVaradhan,
    InfoNCE,
    InfoNCEAnchor,
    JensenShannon,
    JSDLowerBound,
    SigLIP,
    bounds,
    tasks,
)
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
    torch.testing.assert_close(SigLIP(6, 4, critic=critic)(Z, X), InfoNCE(6, 4, critic=critic)(Z, X))
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
        (SigLIP(6, 4), lambda scores: objectives.pairwise_sigmoid(scores - 10)),
        (SigLIP(6, 4, temperature=0.5), lambda scores: objectives.pairwise_sigmoid(scores - 2)),
        (SigLIP(6, 4, critic="bilinear"), lambda scores: objectives.pairwise_sigmoid(scores - math.log(31))),
        (SigLIP(6, 4, bias=-10.0), lambda scores: objectives.pairwise_sigmoid(scores - 10)),
        (InfoNCEAnchor(6, 4, anchor=2.0), lambda scores: objectives.anchored_classification(scores, 2.0)),
        (InfoNCEAnchor(6, 4), lambda scores: objectives.anchored_classification(scores, 31.0)),
    ],
)
def test_what_fits(bound, objective):
    scores = bound.scores(Z, X)
    torch.testing.assert_close(bound.fitted(scores), objective(scores))


def test_the_published_sigmoid_loss():
    """Zhai et al., Algorithm 1, from normalised embeddings with t = 10 and b = −10."""
    bound = SigLIP(6, 4, bias=-10.0)
    x, y = (nn.functional.normalize(side, dim=1) for side in (bound.critic.project_x(Z), bound.critic.project_y(X)))
    logits = 10 * x @ y.T - 10
    published = -nn.functional.logsigmoid((2 * torch.eye(32) - 1) * logits).sum() / 32
    for tiled_from in (math.inf, 2):
        bound.tiled_from = tiled_from
        torch.testing.assert_close(bound.loss(Z, X), published)


def test_the_sigmoid_loss_is_least_for_the_log_ratio_whatever_the_number_of_pairs(pairs):
    """With the bias that depends on it: any factor and any shift costs."""
    task = tasks.get("normal-5d-1")
    for n in (16, 256):
        bound = SigLIP(5, 5, critic=ExactLogRatio(task)).double().requires_grad_(False)
        losses = {}
        for factor, shift in ((1.0, 0.0), (0.8, 0.0), (1.25, 0.0), (1.0, 0.4), (1.0, -0.4)):
            scores = [factor * bound.scores(*pairs(task.name, n, seed)) + shift for seed in range(6400 // n)]
            losses[factor, shift] = torch.stack([-bound.fitted(each) for each in scores]).mean().item()
        assert min(losses, key=losses.get) == (1.0, 0.0)


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
        (lambda: SigLIP(6, 4, bias=math.inf), "bias must be a finite number or None; got inf"),
        (lambda: InfoNCEAnchor(6, 4, anchor=0.0), "anchor must be positive, or None; got 0.0"),
        (lambda: FDIME(6, 4, divergence="js"), "divergence must be one of gan, kl, hellinger; got 'js'"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
