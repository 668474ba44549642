"""Entropy of a representation from a Gaussian mixture that remembers.

Value and gradient of :class:`infomax.GaussianMixtureMemory` with two components, from a batch and what is remembered:
n rows in all, a sixteenth of them the batch (32 at least). "Official" is the mathematics of the published MMIM code in
plain PyTorch, with its cost: a component's covariance is the mean of outer products, row by row, in float32, and the
value a quarter of the sum of log-determinants. Ours keeps its statistics in float64, shrinks, and gives nats: "closed
form" is `entropy="lower"`, "Monte Carlo" the default, which weighs every row of the batch by the mixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import infomax
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, in_turn


def official_entropy(y: Tensor, labels: Tensor, history: Tensor, remembered: Tensor) -> Tensor:
    """A quarter of the sum of the components' log-determinants; float32, 0-d."""
    total = y.new_zeros(())
    for label in (0, 1):
        rows = torch.cat([history[remembered == label], y[labels == label]])
        centred = rows - rows.mean(0)
        outer = torch.bmm(centred[:, :, None], centred[:, None, :])
        total = total + 0.25 * torch.logdet(outer.mean(0))
    return total


def step(way: str, dim: int, n: int) -> Work:
    """Entropy and its gradient in the batch: "official", or ours with the entropy of that name."""
    generator = torch.Generator().manual_seed(0)
    batch = max(32, n // 16)
    y = torch.randn(batch, dim, generator=generator).requires_grad_()
    history = torch.randn(n - batch, dim, generator=generator)
    labels, remembered = torch.arange(batch) % 2, torch.arange(n - batch) % 2
    if way == "official":
        return lambda: torch.autograd.grad(official_entropy(y, labels, history, remembered), y)
    memory = infomax.GaussianMixtureMemory(dim, 2, (n - batch) // 2, entropy=way)  # type: ignore[arg-type]
    memory.update(history, remembered)
    return lambda: torch.autograd.grad(memory(y, labels), y)


def ratios(quick: bool) -> Iterator[Ratio]:
    """Times over dimensions and rows, memory at the largest."""
    sizes = ((32, 64), (32, 512)) if quick else ((16, 64), (32, 64), (32, 512), (64, 1024), (128, 2048), (192, 4096))
    for dim, n in sizes:
        took = in_turn(
            {way: step(way, dim, n) for way in ("lower", "monte_carlo", "official")}, repeats=9 if n > 1024 else 41
        )
        for way, name in (("lower", "closed form"), ("monte_carlo", "Monte Carlo")):
            yield Ratio(
                f"d = {dim}, n = {n:,}, {name}",
                "times faster than the official form",
                took["official"] / took[way],
                "≥ 100" if (dim, n, way) == (192, 4096, "lower") else "",
                f"{1e3 * took[way]:.3g} ms",
                f"{1e3 * took['official']:.3g} ms",
                x=dim,
            )
    dim, n = sizes[-1]
    ours, official = (extra_mebibytes("benchmarks.speed.entropy:step", way, dim, n) for way in ("lower", "official"))
    case, figure = f"d = {dim}, n = {n:,}, closed form", "times less memory than the official form"
    yield Ratio(case, figure, official / ours, "", f"{ours:.0f} MiB", f"{official:.0f} MiB")
