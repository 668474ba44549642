"""Sums over tiles against the matrix itself, in float64."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from infomax.scores import tiles

SIZES = [(20, 26, 3), (16, 16, 0), (2, 2, 0), (1, 5, 4)]


def sides(n, m, scale=1.0, dtype=torch.float64, dim=8):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(rows, dim, generator=generator, dtype=torch.float64) for rows in (n, m))
    return (scale * a).to(dtype), (scale * b).to(dtype)


def leave_out(values, without, filler):
    own = torch.zeros_like(values, dtype=torch.bool)
    rows = torch.arange(len(values))
    own[rows, rows + without] = True
    return values.masked_fill(own, filler)


def expected(a, b, value_of):
    a, b = (side.detach().double().requires_grad_() for side in (a, b))
    rows, total = value_of(a @ b.T)
    total.backward()
    return rows.detach(), a.grad, b.grad


@pytest.mark.parametrize("tile", [None, (7, 5), (1, 1), (64, 64)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("over", ["rows", "all"])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_log_sums_and_their_gradients(tile, sizes, over, scale):
    """At the larger scale exponentials must be shifted, at the smaller one not."""
    n, m, without = sizes
    for out, limit in itertools.product((None, without), (math.inf, 2.0)):

        def value_of(scores, out=out, limit=limit):
            scores = scores.clamp(-limit, limit)
            rows = (scores if out is None else leave_out(scores, out, -math.inf)).logsumexp(1)
            return rows, rows.sum() if over == "rows" else rows.logsumexp(0)

        a, b = sides(n, m, scale)
        sums = tiles.log_sums(a, b, over=over, without=out, limit=limit, tile=tile)
        wanted = expected(a, b, value_of)
        for mine, theirs in zip((sums.rows, sums.of_a, sums.of_b), wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tile", [None, (7, 5)])
@pytest.mark.parametrize(("n", "m", "without"), SIZES)
def test_softplus_sums_and_their_gradients(tile, n, m, without):
    def value_of(scores):
        rows = leave_out(F.softplus(scores), without, 0.0).sum(1)
        return rows, rows.sum()

    a, b = sides(n, m)
    sums = tiles.softplus_sums(a, b, without=without, tile=tile)
    for mine, theirs in zip((sums.rows, sums.of_a, sums.of_b), expected(a, b, value_of), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
