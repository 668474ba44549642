"""InfoNCE and CPC with chosen pairs: negatives, masks, labels, positives, weights, hard and debiased negatives."""

import itertools
import math

import naive
import pytest
import torch
from torch.nn import functional as F

from infomax import CPC, InfoNCE

N, M = 12, 5


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    """Of rows, in counts of pairs and in values that are computed from whole rows."""
    monkeypatch.setattr("infomax.scores.pairs._COUNTED_ELEMENTS", 60)
    monkeypatch.setattr("infomax.bounds.comparisons._BLOCK_ELEMENTS", 60)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = normal(N, 3, seed=1), normal(N, 2, seed=2)
LABELS = torch.tensor([0, 1, 2, 0, 1, 5, 0, 2, 2, 1, 0, 7])
MASK = normal(N, N, seed=3) > 0.8
POSITIVES = (normal(N, N, seed=4) > 0.7) | torch.eye(N, dtype=torch.bool)
POSITIVES[3] = False  # a row without positives
WEIGHTS = normal(N, N, seed=5).abs() * (normal(N, N, seed=6) < 1.0)
ROW_WEIGHTS = normal(N, seed=7).abs()


def further(dim):
    return {"shared": normal(M, dim, seed=8), "each": normal(N, M, dim, seed=9)}


#: By name: options, in which "shared" and "each" stand for negatives of the bound's candidates.
CASES = {
    "nothing": {},
    "shared negatives": {"negatives": "shared"},
    "each row's negatives": {"negatives": "each"},
    "mask": {"mask": MASK},
    "mask of negatives": {"negatives": "shared", "mask": normal(N, M, seed=10) > 0.5},
    "mask of everything": {"negatives": "each", "mask": normal(N, N + M, seed=11) > 0.5},
    "labels": {"labels": LABELS},
    "labels and negatives": {"labels": LABELS, "negatives": "shared"},
    "labels of negatives": {"labels": torch.cat([LABELS, torch.tensor([1, 1, 9, 0, 3])]), "negatives": "shared"},
    "labels and a mask": {"labels": LABELS, "mask": MASK},
    "labels without itself": {"labels": LABELS, "exclude_self": True},
    "labels, mask and each": {"labels": LABELS, "mask": MASK, "negatives": "each"},
    "positives": {"positives": POSITIVES},
    "positives among negatives": {"positives": normal(N, N + M, seed=12) > 0.6, "negatives": "shared"},
    "positives without itself": {"positives": POSITIVES, "exclude_self": True},
    "positives, mask and weights": {"positives": POSITIVES, "mask": MASK, "weights": WEIGHTS},
    "weights": {"weights": WEIGHTS},
    "weights and labels": {"weights": WEIGHTS, "labels": LABELS},
    "weights of negatives": {"weights": normal(N, M, seed=13).abs(), "negatives": "shared"},
    "weights of rows": {"weights": ROW_WEIGHTS, "labels": LABELS},
}
RULES = {
    "plain": {},
    "in": {"placement": "in"},
    "hard": {"hardness": 0.7},
    "debiased": {"debias": 0.2},
    "hard, debiased, in": {"hardness": 0.5, "debias": 0.3, "placement": "in"},
}


def bound(cls, **options):
    torch.manual_seed(0)
    options = {"critic": "cosine"} | options if cls is InfoNCE else {"normalize": True, "temperature": 0.5} | options
    return cls(3, 2, **options).double()


def of_call(case, cls, dtype=torch.float64):
    """The options of a call, with tensors."""
    options = dict(CASES[case])
    if "negatives" in options:
        options["negatives"] = further(3 if cls is CPC else 2)[options["negatives"]].to(dtype)
    return options


def candidates(case):
    """Positives and weights of negatives of each row, over the batch and then the further negatives, by loops."""
    options = CASES[case]
    more = M if "negatives" in options else 0
    positives, weights = [], []
    for i in range(N):
        own, counts = [], []
        for j in range(N + more):
            labels = options.get("labels")
            if labels is not None:
                positive = j < len(labels) and bool(labels[i] == labels[j])
            elif "positives" in options:
                positive = j < options["positives"].shape[1] and bool(options["positives"][i, j])
            else:
                positive = i == j
            count = 1.0
            for name, default in (("mask", False), ("weights", 1.0)):
                matrix = options.get(name)
                if matrix is None or matrix.ndim == 1:
                    continue
                column = j - N if matrix.shape[1] == M else j
                value = float(matrix[i, column]) if 0 <= column < matrix.shape[1] else default
                count *= 1.0 - value if name == "mask" else value
            itself = options.get("exclude_self") and i == j
            if positive and not itself:
                own.append(j)
            counts.append(0.0 if itself else count)
        positives.append(own)
        weights.append(counts)
    return positives, weights


def all_scores(one, cls, options):
    """Scores of each row with all candidates, as lists."""
    negatives = options.get("negatives")
    rows = []
    for i in range(N):
        own = [] if negatives is None else [negatives if negatives.ndim == 2 else negatives[i]]
        columns = torch.cat([X if cls is CPC else Y, *own])
        scores = one.critic(columns, Y[i : i + 1])[:, 0] if cls is CPC else one.critic(X[i : i + 1], columns)[0]
        rows.append(scores.tolist())
    return rows


def expected(one, cls, case, rule):
    """The naive values of the rows, and their weighted mean."""
    least = -float(one.critic.largest_score())
    values = naive.compared(all_scores(one, cls, of_call(case, cls)), *candidates(case), **RULES[rule], least=least)
    weights = ROW_WEIGHTS.tolist() if case == "weights of rows" else [1.0] * N
    kept = [(w, v) for w, v in zip(weights, values, strict=True) if v is not None]
    return values, sum(w * v for w, v in kept) / sum(w for w, _ in kept)


#: Cases in which every rule is tried quickly; in all others only the plain one.
EVERY_RULE = ("each row's negatives", "labels and a mask", "weights of rows")
PRODUCT = [
    pytest.param(case, rule, marks=() if rule == "plain" or case in EVERY_RULE else pytest.mark.slow)
    for case, rule in itertools.product(CASES, RULES)
]


@pytest.mark.parametrize(("case", "rule"), PRODUCT)
def test_values_are_those_of_plain_loops(case, rule):
    """As a matrix and in tiles."""
    for cls in (InfoNCE, CPC):
        one = bound(cls, **RULES[rule]).requires_grad_(False)
        values, mean = expected(one, cls, case, rule)
        options = of_call(case, cls)
        for tiled_from in (math.inf, 2):
            one.tiled_from, one.tile = tiled_from, (8, 9)
            assert float(one(X, Y, **options)) == pytest.approx(mean, rel=1e-9)
            for came, wanted in zip(one.pointwise(X, Y, **options).tolist(), values, strict=True):
                assert came == pytest.approx(0.0 if wanted is None else wanted, rel=1e-9)
        assert float(one.loss(X, Y, **options)) == pytest.approx(-mean, rel=1e-9)
        assert one.ceiling(N, **options) >= mean


@pytest.mark.parametrize(("case", "rule"), PRODUCT)
def test_gradients_in_tiles_are_those_of_the_matrix(case, rule):
    cls = CPC if len(case) % 2 else InfoNCE
    found = []
    for tiled_from in (math.inf, 2):
        one = bound(cls, **RULES[rule], symmetric=cls is CPC)
        one.tiled_from, one.tile = tiled_from, (8, 9)
        options = of_call(case, cls)
        inputs = [X.clone().requires_grad_(), Y.clone().requires_grad_(), *one.parameters()]
        if "negatives" in options:
            options["negatives"] = options["negatives"].clone().requires_grad_()
            inputs.append(options["negatives"])
        value = one(*inputs[:2], **options)
        terms = one.pointwise(*inputs[:2], **options) @ ROW_WEIGHTS
        found.append([value, *torch.autograd.grad(value, inputs), *torch.autograd.grad(terms, inputs)])
    for dense, tiled in zip(*found, strict=True):
        torch.testing.assert_close(tiled, dense, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rule", RULES)
def test_gradcheck(rule):
    one = bound(InfoNCE, **RULES[rule]).requires_grad_(False)
    x, y, negatives = (t.clone().requires_grad_() for t in (X[:4], Y[:4], further(2)["each"][:4, :2]))

    def value(x, y, negatives):
        return one(x, y, negatives=negatives, labels=LABELS[:4], mask=MASK[:4, :4], weights=WEIGHTS[:4, :6])

    assert torch.autograd.gradcheck(value, (x, y, negatives), fast_mode=True)


@pytest.mark.parametrize("case", [case for case in CASES if case != "positives among negatives"])
def test_symmetric_is_the_mean_of_both_directions(case):
    """The other direction has the transposed matrices, and the batch alone."""
    options = of_call(case, InfoNCE)
    others = {name: value for name, value in options.items() if name != "negatives"}
    for name, value in others.items():
        if name in ("mask", "positives", "weights") and value.ndim == 2:
            # about the batch, or about the negatives alone
            filling = torch.ones(N, N) if name == "weights" else torch.zeros(N, N, dtype=torch.bool)
            others[name] = (value[:, :N] if value.shape[1] >= N else filling).T
    if "labels" in others:
        others["labels"] = LABELS
    one, both = bound(InfoNCE), bound(InfoNCE, symmetric=True)
    other = CPC(3, 2, critic=one.critic).double()
    for tiled_from in (math.inf, 2):
        for each in (one, both, other):
            each.tiled_from, each.tile = tiled_from, (8, 9)
        expected = (one(X, Y, **options) + other(X, Y, **others)) / 2
        torch.testing.assert_close(both(X, Y, **options), expected)
        torch.testing.assert_close(
            both.pointwise(X, Y, **options), (one.pointwise(X, Y, **options) + other.pointwise(X, Y, **others)) / 2
        )


def test_a_row_that_has_negatives_outside_its_batch_alone_has_gradients():
    mask = torch.zeros(N, N, dtype=torch.bool)
    mask[2] = mask[:, 5] = True
    mask[3, 5] = False
    found = []
    for tiled_from, symmetric in itertools.product((math.inf, 2), (False, True)):
        one = bound(InfoNCE, symmetric=symmetric)
        one.tiled_from, one.tile = tiled_from, (8, 9)
        x = X.clone().requires_grad_()
        found.append(torch.autograd.grad(one(x, Y, mask=mask, negatives=further(2)["shared"]), x)[0])
    torch.testing.assert_close(found[2:], found[:2])


def test_masks_in_tiles_whatever_the_default_dtype():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        bound, x, y = InfoNCE(3, 2), torch.randn(600, 3), torch.randn(600, 2)
        mask = torch.rand(600, 600) < 0.2
        tiled = bound(x, y, mask=mask)
        scores = bound.critic(x, y).masked_fill(mask & ~torch.eye(600, dtype=torch.bool), -torch.inf)
        kept = (~mask | torch.eye(600, dtype=torch.bool)).sum(1)
        expected = (scores.diagonal() - scores.logsumexp(1) + kept.log()).mean()
        torch.testing.assert_close(tiled, expected)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("tiled_from", [math.inf, 2, N + 1])
def test_negatives_without_gradients_and_a_batch_that_is_masked_as_a_whole(tiled_from):
    """As cross-entropies of [batch, negatives] and of [partner, negatives], where tiles and parts do not align.

    As a matrix of all candidates, in tiles, and as a matrix from embeddings.
    """
    negatives = further(2)["shared"]
    for cls, mask in itertools.product((InfoNCE, CPC), (None, torch.ones(N, N, dtype=torch.bool))):
        one = bound(cls)
        one.tiled_from, one.tile = tiled_from, (8, 5)
        rows, columns = (Y, X) if cls is CPC else (X, Y)
        more = further(3)["shared"] if cls is CPC else negatives
        inputs = [rows.clone().requires_grad_(), columns.clone().requires_grad_()]
        parameters = [p for p in one.parameters() if p.requires_grad]
        for fixed in (False, True):  # networks that need gradients of the negatives, or not
            one.requires_grad_(not fixed)
            wanted = inputs if fixed else [*inputs, *parameters]
            x, y = inputs[::-1] if cls is CPC else inputs
            value = one(x, y, negatives=more, mask=mask)
            scores = one.critic(torch.cat([x, more]), y).T if cls is CPC else one.critic(x, torch.cat([y, more]))
            if mask is None:
                expected = math.log(N + M) - F.cross_entropy(scores, torch.arange(N))
            else:
                scores = torch.cat([scores.diagonal()[:, None], scores[:, N:]], 1)
                expected = math.log(1 + M) - F.cross_entropy(scores, torch.zeros(N, dtype=torch.long))
            found, right = (torch.autograd.grad(each, wanted) for each in (value, expected))
            torch.testing.assert_close([value, *found], [expected, *right])
            assert one.ceiling(N, negatives=more, mask=mask) >= value
