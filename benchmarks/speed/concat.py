"""A critic that scores every pair by a network of its own.

The joint critic, two hidden layers, on all N × N pairs: scores, the cross-entropy of their rows, and its gradient in
the parameters. "Naive" is plain PyTorch as it is commonly written: N² concatenated pairs through `torch.nn.Sequential`.

Four products of all pairs with a hidden layer's weights cannot be avoided here: the scores, the hidden layer once more,
and two gradients; the naive form makes three and keeps all that they need. "Limit" is those four at the machine's
fastest product of float32 matrices, without anything else.

At N = 1,024 a step of the naive form asks the system for two million pages of fresh memory, and what these cost differs
from run to run: d = 20 was 2.9 times slower than ours in one and 4.8 in another, 1.9 of it arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, in_turn
from infomax import critics


def naive_scores(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """``(N, N)``: the network's outputs for all concatenated pairs."""
    n = len(x)
    pairs = torch.cat([x.repeat_interleave(n, 0), y.repeat(n, 1)], 1)
    scores: Tensor = network(pairs).view(n, n)
    return scores


def step(way: str, n: int, dim: int, hidden: int) -> Work:
    """Scores, cross-entropy and gradient, by "ours" or "naive"."""
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
    """The four products of all pairs, in tiles that stay in the cache."""
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
    """Times and memory at several N, against the naive form and the limit."""
    naive_sizes = (64, 128) if quick else (64, 256, 1024)
    repeats = {64: 41, 128: 11, 256: 11}
    for dim, hidden in ((20, 256), (128, 256), (20, 64)):
        for n in naive_sizes:
            aim = "≥ 4" if (n, dim, hidden) == (1024, 20, 256) else ""
            took = in_turn({way: step(way, n, dim, hidden) for way in ("ours", "naive")}, repeats=repeats.get(n, 3))
            ours, naive = took["ours"], took["naive"]
            case = f"N = {n:,}, d = {dim}, hidden ({hidden}, {hidden}), float32"
            faster = "times faster than naive"
            yield Ratio(case, faster, naive / ours, aim, f"{1e3 * ours:.3g} ms", f"{1e3 * naive:.3g} ms", x=n)
    for n in (128, 256) if quick else (256, 512, 1024):
        ours, naive = (extra_mebibytes("benchmarks.speed.concat:step", way, n, 20, 256) for way in ("ours", "naive"))
        case, aim = f"N = {n:,}, d = 20, hidden (256, 256), float32", "≥ 80" if n == 1024 else ""
        yield Ratio(case, "times less memory than naive", naive / ours, aim, f"{ours:.0f} MiB", f"{naive:.0f} MiB", x=n)
    for n in (256,) if quick else (256, 512, 1024, 2048):
        works = {"ours": step("ours", n, 20, 256), "limit": products(n * n, 256)}
        took = in_turn(works, repeats=repeats.get(n, 3))
        ours, limit = took["ours"], took["limit"]
        case = f"N = {n:,}, d = 20, hidden (256, 256), float32"
        yield Ratio(case, "times the limit", ours / limit, "", f"{ours:.3g} s", f"{limit:.3g} s", x=n)
