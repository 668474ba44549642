"""Negatives, masks and weights of bounds with a mean over independent samples, and all options of SigLIP."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from infomax import (
    CPC,
    FDIME,
    FLO,
    MINE,
    NWJ,
    SMILE,
    TUBA,
    DonskerVaradhan,
    GlobalBatch,
    InfoNCE,
    Interpolated,
    JensenShannon,
    JSDLowerBound,
    SigLIP,
)
from infomax.bounds.divergences import greatest_jsd, least_kl_slope

N, M = 7, 4


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr("infomax.bounds.comparisons._BLOCK_ELEMENTS", 30)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = normal(N, 3, seed=1), normal(N, 2, seed=2)
SHARED, EACH = normal(M, 2, seed=3), normal(N, M, 2, seed=4)
MASK = normal(N, N, seed=5) > 0.5
MASK[2] = True  # a row without pairs of independent samples in the batch
ROWS = normal(N, seed=6).abs()
OPTIONS = {
    "shared": {"negatives": SHARED},
    "each": {"negatives": EACH},
    "mask": {"mask": MASK},
    "mask of negatives": {"negatives": SHARED, "mask": normal(N, M, seed=7) > 0.5},
    "whole batch masked": {"negatives": SHARED, "mask": torch.ones(N, N, dtype=torch.bool)},
    "weights": {"weights": normal(N, N, seed=8).abs()},
    "weights of all, each": {"negatives": EACH, "weights": normal(N, N + M, seed=9).abs()},
    "weights of rows": {"weights": ROWS, "negatives": EACH, "mask": MASK},
}


def make(cls, **settings):
    torch.manual_seed(0)
    return cls(3, 2, **{"critic": "bilinear"} | settings).double()


@torch.no_grad()
def pairs_of(one, options):
    """Joint scores with their weights, and scores of independent samples with theirs, by loops."""
    negatives, mask, weights = (options.get(name) for name in ("negatives", "mask", "weights"))
    joint, product = [], []
    for i in range(N):
        own = [] if negatives is None else list(negatives if negatives.ndim == 2 else negatives[i])
        row = float(weights[i]) if weights is not None and weights.ndim == 1 else 1.0
        for j, y in enumerate([*Y, *own]):
            score = float(one.critic(X[i : i + 1], y[None]))
            if isinstance(one, TUBA):
                score -= float(one.baseline(y[None]))
            if isinstance(one, FLO):
                score += float(one.correction(torch.cat([X[i], Y[i]])[None]))
            if i == j:
                joint.append((score, row))
                continue
            count = row
            for matrix, default in ((mask, 0.0), (weights, 1.0)):
                if matrix is None or matrix.ndim == 1:
                    continue
                column = j - N if matrix.shape[1] == M else j
                value = float(matrix[i, column]) if 0 <= column < matrix.shape[1] else default
                count *= 1.0 - value if matrix is mask else value
            product.append((score, count))
    return joint, product


def mean(pairs, function):
    return sum(w * function(s) for s, w in pairs) / sum(w for _, w in pairs)


def softplus(s):
    return math.log1p(math.exp(s))


def nwj(p, q):
    return mean(p, lambda s: s) - mean(q, math.exp) + 1


def dv(p, q):
    return mean(p, lambda s: s) - math.log(mean(q, math.exp))


def jsd(p, q):
    return math.log(2) - 0.5 * mean(p, lambda s: softplus(-s)) - 0.5 * mean(q, softplus)


def hellinger(p, q):
    return 2 - mean(p, lambda s: math.exp(-s / 2)) - mean(q, lambda s: math.exp(s / 2))


def smile(p, q):
    return mean(p, lambda s: s) - math.log(mean(q, lambda s: min(max(math.exp(s), math.exp(-0.5)), math.exp(0.5))))


def smallest_mi(p, q):
    k = torch.tensor(0.3, dtype=torch.float64)
    return float(k + least_kl_slope(k) * (jsd(p, q) - greatest_jsd(k)))


#: Class, settings, and the value and the training objective by loops.
BOUNDS = {
    "nwj": (NWJ, {}, nwj, nwj),
    "tuba": (TUBA, {}, nwj, nwj),
    "flo": (FLO, {}, nwj, nwj),
    "dv": (DonskerVaradhan, {}, dv, dv),
    "mine": (MINE, {}, dv, dv),
    "js": (JensenShannon, {}, nwj, jsd),
    "smile": (SMILE, {"tau": 0.5}, smile, jsd),
    "fdime gan": (FDIME, {}, lambda p, q: mean(p, lambda s: s), jsd),
    "fdime hellinger": (FDIME, {"divergence": "hellinger"}, lambda p, q: mean(p, lambda s: s), hellinger),
    "jsd": (JSDLowerBound, {}, smallest_mi, smallest_mi),
    "concat": (NWJ, {"critic": "concat"}, nwj, nwj),
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("name", BOUNDS)
def test_values_and_losses_are_those_of_plain_loops(name, case):
    cls, settings, value, fitted = BOUNDS[name]
    one = make(cls, **settings)
    if name == "jsd":
        one.tangent.data.fill_(0.3)
    p, q = pairs_of(one, OPTIONS[case])
    slopes = []
    for tiled_from in (math.inf, 2):
        one.tiled_from, one.tile = tiled_from, (3, 4)
        one.train()
        x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
        loss = one.loss(x, y, **OPTIONS[case])
        assert loss.item() == pytest.approx(-fitted(p, q), rel=1e-9)
        slopes.append(torch.autograd.grad(loss, [x, y, *one.parameters()]))
        assert one(X, Y, **OPTIONS[case]).item() == pytest.approx(value(p, q), rel=1e-9)
        one.eval()
        assert one(X, Y, **OPTIONS[case]).item() == pytest.approx(value(p, q), rel=1e-9)
        assert one.pointwise(X, Y, **OPTIONS[case]).shape == (N,)
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["mask of negatives", "weights of rows"])
def test_first_and_second_derivatives(case):
    options = dict(OPTIONS[case])
    negatives = options.pop("negatives")[:, :2]
    options["mask"] = options["mask"][:, :4] if case == "weights of rows" else options["mask"]
    for cls, tiled_from in itertools.product((NWJ, SMILE, SigLIP), (math.inf, 2)):
        one = make(cls).requires_grad_(False)
        one.tiled_from, one.tile = tiled_from, (3, 4)
        options["mask"] = torch.zeros(N, N, dtype=torch.bool)
        inputs = [t.clone().requires_grad_() for t in (X, Y, negatives)]

        def loss(x, y, negatives, one=one):
            return one.loss(x, y, negatives=negatives, **options)

        assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


JOINT = torch.tensor([[0.4, 0.1], [0.15, 0.35]], dtype=torch.float64)
FIXED = torch.tensor([[0, 1, 0], [1, 0, 0], [1, 1, 0]]) == 1


@pytest.mark.parametrize(
    "options", [{"mask": FIXED}, {"weights": torch.tensor([[0.0, 3.0, 0.5]] * 3)}, {"weights": torch.rand(3)}, "more"]
)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_nwj_stays_a_lower_bound_in_exact_expectation(options, scale):
    """Over all batches of three pairs of two binary variables; with the log-ratio as the critic it is tight."""
    marginal = JOINT.sum(0)
    log_ratio = (JOINT / (JOINT.sum(1, keepdim=True) * marginal)).log()
    one = NWJ(2, 2, critic="bilinear").double().requires_grad_(False)
    one.critic.weight.copy_(log_ratio + scale * normal(2, 2, seed=0))
    total = 0.0
    for cells in itertools.product(range(4), repeat=3):
        i, j = torch.tensor(cells) // 2, torch.tensor(cells) % 2
        x, y = (F.one_hot(side, 2).double() for side in (i, j))
        for k in range(2) if options == "more" else (None,):
            given = {"negatives": F.one_hot(torch.tensor([k]), 2).double()} if options == "more" else options
            chance = JOINT[i, j].prod() * (1.0 if k is None else marginal[k])
            total += float(chance * one(x, y, **given))
    truth = float((JOINT * log_ratio).sum())
    assert total == pytest.approx(truth) if not scale else total < truth - 0.01


LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])
POSITIVES = normal(N, N, seed=10) > 0.6
POSITIVES[3] = False
SIGMOID = {name: options for name, options in OPTIONS.items() if "mask" not in options or "negatives" in options} | {
    "labels": {"labels": LABELS},
    "labels of negatives": {"labels": torch.cat([LABELS, torch.tensor([1, 1, 8, 0])]), "negatives": SHARED},
    "labels without itself": {"labels": LABELS, "exclude_self": True},
    "positives": {"positives": POSITIVES, "weights": normal(N, N, seed=8).abs()},
}


@pytest.mark.parametrize("case", SIGMOID)
@pytest.mark.parametrize("bias", [-2.0, None])
def test_siglip_with_options_classifies_the_chosen_pairs(case, bias):
    """The loss by loops, and the value of InfoNCE with the same options."""
    options = SIGMOID[case]
    one = make(SigLIP, bias=bias, temperature=0.7)
    reference = InfoNCE(3, 2, critic=one.critic).double()
    negatives, weights = options.get("negatives"), options.get("weights")
    labels, mask = options.get("labels"), options.get("mask")
    rows, counts, slopes = [], [0.0, 0.0], []
    for i in range(N):
        own = [] if negatives is None else list(negatives if negatives.ndim == 2 else negatives[i])
        row = float(weights[i]) if weights is not None and weights.ndim == 1 else 1.0
        losses = []
        for j, y in enumerate([*Y, *own]):
            if options.get("exclude_self") and i == j:
                continue
            positive = i == j
            if labels is not None:
                positive = j < len(labels) and bool(labels[i] == labels[j])
            elif "positives" in options:
                positive = bool(POSITIVES[i, j])
            count = 1.0
            for matrix, default in ((mask, 0.0), (weights, 1.0)):
                if matrix is not None and matrix.ndim == 2 and not positive:
                    column = j - N if matrix.shape[1] == M else j
                    value = float(matrix[i, column]) if 0 <= column < matrix.shape[1] else default
                    count *= 1.0 - value if matrix is mask else value
            losses.append((one.critic(X[i : i + 1], y[None]).item(), positive, count))
        if any(positive for _, positive, _ in losses):
            rows.append((losses, row))
            for _, positive, count in losses:
                counts[positive] += row * count
    shift = bias if bias is not None else -math.log(counts[0] / counts[1])
    total = sum(row * sum(c * softplus(-(s + shift) if p else s + shift) for s, p, c in losses) for losses, row in rows)
    for tiled_from in (math.inf, 2):
        one.tiled_from = reference.tiled_from = tiled_from
        one.tile = (3, 4)
        x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
        loss = one.loss(x, y, **options)
        assert loss.item() == pytest.approx(total / sum(row for _, row in rows), rel=1e-9)
        slopes.append(torch.autograd.grad(loss, [x, y, *one.parameters()]))
        torch.testing.assert_close(one(X, Y, **options), reference(X, Y, **options))
        torch.testing.assert_close(one.pointwise(X, Y, **options), reference.pointwise(X, Y, **options))
        assert one.ceiling(N, **options) == reference.ceiling(N, **options) == GlobalBatch(one).ceiling(N, **options)
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make(NWJ)(X, Y, labels=LABELS), TypeError, "NWJ takes no options but negatives.*got labels: InfoNCE"),
        (lambda: make(NWJ).loss(X, Y, positives=POSITIVES, mask=MASK), TypeError, "got positives: InfoNCE, CPC and"),
        (lambda: make(Interpolated)(X, Y, mask=MASK), TypeError, "takes no options; got mask.*such as NWJ"),
        (lambda: GlobalBatch(make(NWJ))(X, Y, labels=LABELS), TypeError, "NWJ takes no options but negatives"),
        (lambda: make(NWJ)(X, Y, mask=torch.ones(N, N) > 0), ValueError, "must leave a pair of independent samples"),
        (lambda: make(NWJ)(X, Y, weights=-ROWS), ValueError, "weights must be finite and not negative"),
        (lambda: make(SMILE)(X, Y, negatives=X), ValueError, r"negatives must have shape \(M, 2\)"),
        (lambda: make(SigLIP)(X, Y, mask=MASK), ValueError, "mask must leave every row a negative; row 2 has none"),
        (lambda: CPC(3, 2).double().objective(make(NWJ).scores(X, Y, mask=MASK)), TypeError, "chosen pairs"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_one_pair_with_negatives_and_masked_values_that_are_extreme():
    for cls in (NWJ, MINE, JensenShannon, SMILE, SigLIP):
        assert make(cls)(X[:1], Y[:1], negatives=SHARED).isfinite()
    far = torch.cat([Y[:-1], 1e4 * Y[-1:]])
    mask = torch.zeros(N, N, dtype=torch.bool)
    mask[:, -1] = mask[-1] = True
    weights = torch.ones(N, dtype=torch.float64)
    weights[-1] = 0.0
    for cls in (NWJ, DonskerVaradhan, JensenShannon, SMILE):
        one = make(cls)
        found = one.loss(X, far, mask=mask[:, :N] & (weights > 0)[:, None] | mask, weights=weights)
        torch.testing.assert_close(found, one.loss(X[:-1], Y[:-1]))
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(found, list(one.critic.parameters())))
