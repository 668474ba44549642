"""Entropy of a representation from a Gaussian mixture memory.

Value and gradient of `infomax.GaussianMixtureMemory` with two components, from a batch and stored rows: n rows in
total, of which one sixteenth (at least 32) is the batch. "Official" is the algorithm of the published MMIM code in
plain PyTorch: the covariance of a component is the mean of outer products in float32, and the value is a quarter of the
sum of log-determinants. infomax has its statistics in float64, shrinks covariances, and returns nats. "Closed form" is
`entropy="lower"`. "Monte Carlo" is the default, which evaluates the mixture density for every row of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import infomax
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, faster, in_turn, smaller


def official_entropy(y: Tensor, labels: Tensor, history: Tensor, remembered: Tensor) -> Tensor:
    """A quarter of the sum of the log-determinants of the components; float32, 0-d."""
    total = y.new_zeros(())
    for label in (0, 1):
        rows = torch.cat([history[remembered == label], y[labels == label]])
        centred = rows - rows.mean(0)
        outer = torch.bmm(centred[:, :, None], centred[:, None, :])
        total = total + 0.25 * torch.logdet(outer.mean(0))
    return total


def step(way: str, dim: int, n: int) -> Work:
    """Entropy and its gradient with respect to the batch: "official", or the value of ``entropy=`` of infomax."""
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
    """Time for several dimensions and rows; memory for the largest."""
    sizes = ((32, 64), (32, 512)) if quick else ((16, 64), (32, 64), (32, 512), (64, 1024), (128, 2048), (192, 4096))
    for dim, n in sizes:
        took = in_turn(
            {way: step(way, dim, n) for way in ("lower", "monte_carlo", "official")}, repeats=9 if n > 1024 else 41
        )
        for way, name in (("lower", "closed form"), ("monte_carlo", "Monte Carlo")):
            case, target = f"d = {dim}, n = {n:,}, {name}", "≥ 100" if (dim, n, way) == (192, 4096, "lower") else ""
            yield faster(case, "times faster than the official form", took[way], took["official"], target, x=dim)
    dim, n = sizes[-1]
    ours, official = (extra_mebibytes("benchmarks.speed.entropy:step", way, dim, n) for way in ("lower", "official"))
    yield smaller(f"d = {dim}, n = {n:,}, closed form", "times less memory than the official form", ours, official)
