"""Contrastive bounds of inner products: InfoNCE and its relatives at any N.

a and b hold N embeddings of 128 numbers each; work is a value and its gradients by both. The limit is what no way of
doing it avoids: the product of a and b, and one each for the two gradients, in float32, by the fastest library that
computes in float32, in the size of blocks that suits it best, with nothing between. "Naive" is a line or two of plain
torch with its defaults. Peak memory is what the work adds to its inputs, gradients included.

The steps of torch-mist 0.2.17 are measured in its own environment, in one process with ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.environments import SETTINGS, interpreter, make_environment
from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, Work, extra_mebibytes, in_turn
from infomax import NWJ, SMILE, DonskerVaradhan, InfoNCE, InnerProducts, JensenShannon, bounds, critics

ROOT = Path(__file__).parents[2]
DIM = 128


def embeddings(n: int) -> tuple[Tensor, Tensor]:
    """Unit vectors, times √10 each: cosines at a temperature of 0.1."""
    a, b = F.normalize(torch.randn(2, n, DIM, generator=torch.Generator().manual_seed(0)), dim=2) * 10**0.5
    return a.requires_grad_(), b.requires_grad_()


def limit(n: int, rows: int) -> Work:
    """The three products, by blocks of rows."""
    a, b = (side.detach() for side in embeddings(n))
    scores, of_a, of_b = torch.empty(rows, n), torch.empty_like(a), torch.zeros_like(b)

    def work() -> None:
        with fast_products():
            for block in range(0, n, rows):
                own = a[block : block + rows]
                torch.mm(own, b.T, out=scores[: len(own)])
                torch.mm(scores[: len(own)], b, out=of_a[block : block + rows])
                of_b.addmm_(scores[: len(own)].T, own)

    return work


def naive(n: int) -> Work:
    """Cross-entropy of all scores, with the pairs' own numbers as classes."""
    a, b = embeddings(n)
    return partial(_gradients, lambda: F.cross_entropy(a @ b.T, torch.arange(n)), a, b)


def naive_with_temperature(n: int) -> Work:
    """The same of scores that are divided by a temperature, as public code has it."""
    a, b = embeddings(n)
    return partial(_gradients, lambda: F.cross_entropy(a @ b.T / 1.5, torch.arange(n)), a, b)


def naive_both(n: int) -> Work:
    """Both directions, and a temperature that learns: the loss of CLIP (Radford et al. 2021, arXiv 2103.00020)."""
    a, b = embeddings(n)
    log_scale, own = torch.zeros((), requires_grad=True), torch.arange(n)

    def loss() -> Tensor:
        scores = log_scale.exp() * a @ b.T
        return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))

    return partial(_gradients, loss, a, b, log_scale)


def tiled(n: int, narrow: bool = False) -> Work:
    """InfoNCE in tiles; with ``narrow``, the products of the gradients in bfloat16."""
    a, b = embeddings(n)
    bound, dtype = InfoNCE(DIM, DIM, critic=Dot()), torch.bfloat16 if narrow else None
    return partial(_gradients, lambda: -bound.objective(InnerProducts(a, b, narrow=dtype)), a, b)


def tiled_with_temperature(n: int) -> Work:
    """As :func:`naive_with_temperature`."""
    a, b = embeddings(n)
    bound = InfoNCE(DIM, DIM, critic=Dot())
    return partial(_gradients, lambda: -bound.objective(InnerProducts(a, b) / 1.5), a, b)


def tiled_both(n: int) -> Work:
    """As :func:`naive_both`."""
    a, b = embeddings(n)
    log_scale = torch.zeros((), requires_grad=True)
    bound = InfoNCE(DIM, DIM, critic=Dot(), symmetric=True)

    def loss() -> Tensor:
        return -bound.objective(InnerProducts(log_scale.exp() * a, b))

    return partial(_gradients, loss, a, b, log_scale)


class Dot(nn.Module):
    """The critic whose embeddings are x and y themselves."""

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, y

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y.T


def five_bounds(n: int) -> Work:
    """Values of five bounds of one critic, and gradients of their sum as in training."""
    a, b = embeddings(n)
    critic = Dot()
    five = [cls(DIM, DIM, critic=critic) for cls in (InfoNCE, DonskerVaradhan, NWJ, JensenShannon, SMILE)]
    return partial(_gradients, lambda: bounds.several(five, a, b).sum(), a, b)


def _gradients(value: Callable[[], Tensor], *inputs: Tensor) -> None:
    torch.autograd.grad(value(), inputs)


def ratios(quick: bool) -> Iterator[Ratio]:
    """The section's rows."""
    sizes = (512, 1024) if quick else (1024, 4096, 8192, 16384, 32768)
    for n in sizes:
        yield from against_the_limit(n, repeats=3 if quick or n > 16384 else 7)
    for n in (512, 1024) if quick else (1024, 4096, 16384):
        yield from against_naive(n, repeats=3 if quick or n > 4096 else 7)
    yield from memory(2048 if quick else 65536, 1024 if quick else 16384)
    for n in (512,) if quick else (4096, 16384):
        yield on_two_threads(n, repeats=3 if quick else 5)
    for n in (256,) if quick else (256, 2048):
        yield from compiled_or_narrow(n, repeats=3 if quick else 11)
    for pairs, repeats, faster, smaller in (
        ((256, 3, "", ""),) if quick else ((256, 21, "≥ 40", ""), (2048, 2, "≥ 300", "≥ 100"))
    ):
        yield from against_torch_mist(pairs, repeats, faster, smaller)


def against_the_limit(n: int, repeats: int) -> Iterator[Ratio]:
    """Time over that of three products."""
    blocks = {f"blocks of {rows}": limit(n, rows) for rows in (256, 512, 1024) if rows <= n}
    seconds = in_turn({"ours": tiled(n), **blocks}, repeats=repeats)
    least = min(seconds[name] for name in blocks)
    yield Ratio(
        f"InfoNCE, N = {n:,}",
        "times the three products it cannot avoid",
        seconds["ours"] / least,
        "≤ 1.2" if n >= 4096 else "",
        milliseconds(seconds["ours"]),
        milliseconds(least),
        x=n,
    )


def against_naive(n: int, repeats: int) -> Iterator[Ratio]:
    """How much faster than plain torch."""
    seconds = in_turn(
        {
            "naive": naive(n),
            "tiled": tiled(n),
            "narrow": tiled(n, narrow=True),
            "with temperature": tiled_with_temperature(n),
            "five": five_bounds(n),
            "naive with temperature": naive_with_temperature(n),
            "naive both": naive_both(n),
            "both": tiled_both(n),
        },
        repeats=repeats,
    )
    large = n >= 4096
    for name, other, case, target in (
        ("tiled", "naive", "InfoNCE", "≥ 4.5"),
        ("narrow", "naive", "InfoNCE, gradients by bfloat16 products", "≥ 6.5"),
        ("with temperature", "naive with temperature", "InfoNCE, scores divided by a temperature", "≥ 4.5"),
        ("both", "naive both", "InfoNCE in both directions, learned temperature", ""),
    ):
        ratio = seconds[other] / seconds[name]
        figure = "times faster than cross-entropy of all scores"
        ours, theirs = milliseconds(seconds[name]), milliseconds(seconds[other])
        yield Ratio(f"{case}, N = {n:,}", figure, ratio, target if large else "", ours, theirs)
    yield Ratio(
        f"InfoNCE, DV, NWJ, JS and SMILE together, N = {n:,}",
        "times one naive InfoNCE",
        seconds["five"] / seconds["naive"],
        "≤ 1.5" if large else "",
        milliseconds(seconds["five"]),
        milliseconds(seconds["naive"]),
    )


def memory(large: int, small: int) -> Iterator[Ratio]:
    """Peak above the inputs: where the naive form does not fit any more, and against it where it does."""
    ours = extra_mebibytes(f"{__name__}:tiled", large)
    matrix = 4 * large**2 / 2**20
    yield Ratio(
        f"InfoNCE, N = {large:,}",
        "MiB above its inputs",
        ours,
        "≤ 180",
        f"{ours:.0f} MiB",
        f"one matrix: {matrix:,.0f} MiB",
    )
    ours, other = (extra_mebibytes(f"{__name__}:{name}", small) for name in ("tiled", "naive"))
    figure = "times less memory than cross-entropy of all scores"
    yield Ratio(f"InfoNCE, N = {small:,}", figure, other / ours, "", f"{ours:.0f} MiB", f"{other:,.0f} MiB")


def on_two_threads(n: int, repeats: int) -> Ratio:
    """Wall time on one thread over that on two; for a machine that does nothing else."""
    one, two = (in_turn({"ours": tiled(n)}, repeats=repeats, threads=k, wall=True)["ours"] for k in (1, 2))
    figure = "times faster on two threads than on one (wall time)"
    return Ratio(f"InfoNCE, N = {n:,}", figure, one / two, "≥ 1.8", milliseconds(two), milliseconds(one), threads=2)


def compiled_or_narrow(n: int, repeats: int) -> Iterator[Ratio]:
    """Forward and backward with a separable critic, against itself under ``torch.compile`` and under autocast."""
    x, y = torch.randn(2, n, 20, generator=torch.Generator().manual_seed(0))

    def step(function: Callable[[Tensor, Tensor], Tensor], *, narrow: bool = False) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            value = function(x, y)
        value.backward()  # type: ignore[no-untyped-call]

    bound = InfoNCE(20, 20, critic=critics.Separable(20, 20, embed_dim=256, hidden=(256,)))
    works = {
        "as it is": partial(step, bound),
        "torch.compile": partial(step, torch.compile(bound)),
        "bfloat16 autocast": partial(step, bound, narrow=True),
    }
    try:
        seconds = in_turn(works, repeats=repeats)
    except torch._dynamo.exc.BackendCompilerFailed as problem:
        print(f"not measured with torch.compile: {problem}", file=sys.stderr)
        return
    plain = seconds.pop("as it is")
    for name, taken in seconds.items():
        case = f"InfoNCE with a separable critic of two layers of 256, N = {n:,}"
        yield Ratio(case, f"times faster under {name}", plain / taken, "", milliseconds(taken), milliseconds(plain))


def against_torch_mist(pairs: int, repeats: int, faster: str, smaller: str) -> Iterator[Ratio]:
    """A step of training, and its memory; nothing if that package cannot be had or fails."""
    environments = ROOT / ".peers"
    try:
        environments.mkdir(exist_ok=True)
        make_environment("torch-mist", environments, sys.executable)
        python = str(interpreter(environments, "torch-mist"))
        done = subprocess.run(  # noqa: S603 - our own script
            [python, "-m", "benchmarks.speed.torch_mist", str(pairs), str(repeats)],
            cwd=ROOT,
            env=os.environ | SETTINGS | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=1800,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError) as problem:
        print(f"not measured against torch-mist with {pairs} pairs: {problem}", file=sys.stderr)
        return
    case = f"step of InfoNCE with a separable critic of two layers of 256, d = 20, N = {pairs:,}"
    ours, plain, other = (found[name] for name in ("ours", "plain", "mist"))
    for name, mine, target in (("", ours, faster), (", torch's default products and Adam", plain, "")):
        yield Ratio(
            case + name,
            "times faster than torch-mist 0.2.17",
            other["seconds"] / mine["seconds"],
            target,
            milliseconds(mine["seconds"]),
            milliseconds(other["seconds"]),
        )
    yield Ratio(
        case,
        "times less memory than torch-mist 0.2.17",
        other["mebibytes"] / ours["mebibytes"],
        smaller,
        f"{ours['mebibytes']:.0f} MiB",
        f"{other['mebibytes']:,.0f} MiB",
    )


def milliseconds(seconds: float) -> str:
    """For a table."""
    return f"{1e3 * seconds:,.1f} ms"
