"""The joint critic.

The work is one training step of the joint critic, a network with two hidden layers, on all N × N pairs: scores,
cross-entropy of their rows, and gradients of the parameters. "Naive" is common PyTorch code: N² concatenated pairs
through `torch.nn.Sequential`.

The step needs at least four matrix products of all pairs with the weights of a hidden layer: the scores, the hidden
layer again, and two gradients. The naive form needs three and stores all activations. "Limit" is the time of the four
products alone, with the fastest float32 matrix product of the machine.

At N = 1,024, a step of the naive form allocates two million new memory pages, and their cost varies between runs. For
d = 20 the naive form was 2.9 times slower than infomax in one run and 4.8 times in another; arithmetic accounts for a
factor of 1.9.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, faster, in_turn, slower, smaller
from infomax import critics


def naive_scores(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Outputs of the network for all concatenated pairs, ``(N, N)``."""
    n = len(x)
    pairs = torch.cat([x.repeat_interleave(n, 0), y.repeat(n, 1)], 1)
    scores: Tensor = network(pairs).view(n, n)
    return scores


def step(way: str, n: int, dim: int, hidden: int) -> Work:
    """Scores, cross-entropy and gradients, "ours" or "naive"."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, n, dim, generator=generator)
    target = torch.arange(n)
    critic = critics.Concat(dim, dim, hidden=(hidden, hidden))
    network = critics.MLP(2 * dim, (hidden, hidden), 1)
    module: nn.Module = critic if way == "ours" else network

    def work() -> None:
        module.zero_grad()
        scores = critic(x, y) if way == "ours" else naive_scores(network, x, y)
        F.cross_entropy(scores, target).backward()  # type: ignore[no-untyped-call]

    return work


def products(pairs: int, hidden: int) -> Work:
    """The four products of all pairs, in tiles that fit into the cache."""
    tile = 1 << 10
    z, weight = torch.randn(tile, hidden), torch.randn(hidden, hidden)
    out, gradient = torch.empty_like(z), torch.zeros_like(weight)

    def work() -> None:
        with fast_products():
            for _ in range(pairs // tile):
                torch.mm(z, weight.T, out=out)
                torch.mm(z, weight.T, out=out)
                torch.mm(z, weight, out=out)
                torch.addmm(gradient, out.T, z, out=gradient)

    return work


def ratios(quick: bool) -> Iterator[Ratio]:
    """Time and memory for several N, compared with the naive form and the limit."""
    naive_sizes = (64, 128) if quick else (64, 256, 1024)
    repeats = {64: 41, 128: 11, 256: 11}
    for dim, hidden in ((20, 256), (128, 256), (20, 64)):
        for n in naive_sizes:
            aim = "≥ 4" if (n, dim, hidden) == (1024, 20, 256) else ""
            took = in_turn({way: step(way, n, dim, hidden) for way in ("ours", "naive")}, repeats=repeats.get(n, 3))
            case = f"N = {n:,}, d = {dim}, hidden ({hidden}, {hidden}), float32"
            yield faster(case, "times faster than naive", took["ours"], took["naive"], aim, x=n)
    for n in (128, 256) if quick else (256, 512, 1024):
        ours, naive = (extra_mebibytes("benchmarks.speed.concat:step", way, n, 20, 256) for way in ("ours", "naive"))
        case, aim = f"N = {n:,}, d = 20, hidden (256, 256), float32", "≥ 80" if n == 1024 else ""
        yield smaller(case, "times less memory than naive", ours, naive, aim, x=n)
    for n in (256,) if quick else (256, 512, 1024, 2048):
        works = {"ours": step("ours", n, 20, 256), "limit": products(n * n, 256)}
        took = in_turn(works, repeats=repeats.get(n, 3))
        case = f"N = {n:,}, d = 20, hidden (256, 256), float32"
        yield slower(case, "times the limit", took["ours"], took["limit"], x=n)
