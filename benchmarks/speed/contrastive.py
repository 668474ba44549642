"""Contrastive bounds of inner products: InfoNCE and related bounds.

The inputs are N embeddings a and N embeddings b of dimension 128. The work is the value of a bound and its gradients
with respect to both. The limit is the time of the products that cannot be avoided: a times b, and one product for each
gradient, in float32, with the fastest library and the best block size, and nothing else. "Naive" is one or two lines of
plain PyTorch with default settings. Memory is the peak in addition to the inputs, including the gradients.

Training steps of torch-mist 0.2.17 run in its own environment, in one process with those of infomax.
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

from benchmarks.children import run_child
from benchmarks.peers.environments import SETTINGS, interpreter, make_environment
from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Ratio, Work, duration, extra_mebibytes, faster, in_turn, slower, smaller
from infomax import NWJ, SMILE, DonskerVaradhan, InfoNCE, InnerProducts, JensenShannon, bounds, critics

ROOT = Path(__file__).parents[2]
DIM = 128


def embeddings(n: int) -> tuple[Tensor, Tensor]:
    """Unit vectors times √10, so that scores are cosines with a temperature of 0.1."""
    a, b = F.normalize(torch.randn(2, n, DIM, generator=torch.Generator().manual_seed(0)), dim=2) * 10**0.5
    return a.requires_grad_(), b.requires_grad_()


def limit(n: int, rows: int) -> Work:
    """The three products, in blocks of rows."""
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


def naive(n: int, temperature: float = 1.0) -> Work:
    """Cross-entropy of all scores, with the indices of the pairs as classes; scores are divided by a temperature."""
    a, b = embeddings(n)

    def loss() -> Tensor:
        scores = a @ b.T
        return F.cross_entropy(scores if temperature == 1 else scores / temperature, torch.arange(n))

    return partial(_gradients, loss, a, b)


def naive_both(n: int) -> Work:
    """Both directions with a learned temperature: the loss of CLIP (Radford et al. 2021, arXiv 2103.00020)."""
    a, b = embeddings(n)
    log_scale, own = torch.zeros((), requires_grad=True), torch.arange(n)

    def loss() -> Tensor:
        scores = log_scale.exp() * a @ b.T
        return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))

    return partial(_gradients, loss, a, b, log_scale)


def tiled(n: int, narrow: bool = False, temperature: float = 1.0) -> Work:
    """InfoNCE in tiles; with ``narrow``, gradients use bfloat16 products."""
    a, b = embeddings(n)
    bound, dtype = InfoNCE(DIM, DIM, critic=Dot()), torch.bfloat16 if narrow else None

    def loss() -> Tensor:
        scores = InnerProducts(a, b, narrow=dtype)
        return -bound.objective(scores if temperature == 1 else scores / temperature)

    return partial(_gradients, loss, a, b)


def tiled_both(n: int) -> Work:
    """As :func:`naive_both`."""
    a, b = embeddings(n)
    log_scale = torch.zeros((), requires_grad=True)
    bound = InfoNCE(DIM, DIM, critic=Dot(), symmetric=True)

    def loss() -> Tensor:
        return -bound.objective(InnerProducts(log_scale.exp() * a, b))

    return partial(_gradients, loss, a, b, log_scale)


class Dot(nn.Module):
    """The critic with x and y as embeddings."""

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, y

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y.T


def five_bounds(n: int) -> Work:
    """Values of five bounds with one critic, and gradients of their sum."""
    a, b = embeddings(n)
    critic = Dot()
    five = [cls(DIM, DIM, critic=critic) for cls in (InfoNCE, DonskerVaradhan, NWJ, JensenShannon, SMILE)]
    return partial(_gradients, lambda: bounds.several(five, a, b).sum(), a, b)


def _gradients(value: Callable[[], Tensor], *inputs: Tensor) -> None:
    torch.autograd.grad(value(), inputs)


def ratios(quick: bool) -> Iterator[Ratio]:
    """The rows of the section."""
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
    for pairs, repeats, *targets in (
        ((256, 3, "", ""),) if quick else ((256, 21, "≥ 40", ""), (2048, 2, "≥ 300", "≥ 100"))
    ):
        yield from against_torch_mist(pairs, repeats, *targets)


def against_the_limit(n: int, repeats: int) -> Iterator[Ratio]:
    """Time relative to three products."""
    blocks = {f"blocks of {rows}": limit(n, rows) for rows in (256, 512, 1024) if rows <= n}
    seconds = in_turn({"ours": tiled(n), **blocks}, repeats=repeats)
    least = min(seconds[name] for name in blocks)
    target = "≤ 1.2" if n >= 4096 else ""
    yield slower(f"InfoNCE, N = {n:,}", "times the cost of three products", seconds["ours"], least, target, x=n)


def against_naive(n: int, repeats: int) -> Iterator[Ratio]:
    """Speed-up over plain PyTorch."""
    seconds = in_turn(
        {
            "naive": naive(n),
            "tiled": tiled(n),
            "narrow": tiled(n, narrow=True),
            "with temperature": tiled(n, temperature=1.5),
            "five": five_bounds(n),
            "naive with temperature": naive(n, temperature=1.5),
            "naive both": naive_both(n),
            "both": tiled_both(n),
        },
        repeats=repeats,
    )
    large = n >= 4096
    for name, other, case, target in (
        ("tiled", "naive", "InfoNCE", "≥ 4.5"),
        ("narrow", "naive", "InfoNCE, gradients with bfloat16 products", "≥ 6.5"),
        ("with temperature", "naive with temperature", "InfoNCE, scores divided by a temperature", "≥ 4.5"),
        ("both", "naive both", "InfoNCE in both directions, learned temperature", ""),
    ):
        figure = "times faster than cross-entropy of all scores"
        yield faster(f"{case}, N = {n:,}", figure, seconds[name], seconds[other], target if large else "")
    case, figure = f"InfoNCE, DV, NWJ, JS and SMILE together, N = {n:,}", "times the cost of one naive InfoNCE"
    yield slower(case, figure, seconds["five"], seconds["naive"], "≤ 1.5" if large else "")


def memory(large: int, small: int) -> Iterator[Ratio]:
    """Peak memory without the inputs: for an N too large for the naive form, and compared with it for a smaller N."""
    ours = extra_mebibytes(f"{__name__}:tiled", large)
    matrix = 4 * large**2 / 2**20
    both = f"{ours:.0f} MiB", f"score matrix: {matrix:,.0f} MiB"
    yield Ratio(f"InfoNCE, N = {large:,}", "MiB in addition to the inputs", ours, "≤ 180", *both)
    ours, other = (extra_mebibytes(f"{__name__}:{name}", small) for name in ("tiled", "naive"))
    yield smaller(f"InfoNCE, N = {small:,}", "times less memory than cross-entropy of all scores", ours, other)


def on_two_threads(n: int, repeats: int) -> Ratio:
    """Wall time on one thread relative to two, on an idle machine."""
    one, two = (in_turn({"ours": tiled(n)}, repeats=repeats, threads=k, wall=True)["ours"] for k in (1, 2))
    figure = "times faster on two threads than on one (wall time)"
    return Ratio(f"InfoNCE, N = {n:,}", figure, one / two, "≥ 1.8", duration(two), duration(one), threads=2)


def compiled_or_narrow(n: int, repeats: int) -> Iterator[Ratio]:
    """Forward and backward with a separable critic, compared with ``torch.compile`` and with autocast."""
    x, y = torch.randn(2, n, 20, generator=torch.Generator().manual_seed(0))

    def step(function: Callable[[Tensor, Tensor], Tensor], *, narrow: bool = False) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            value = function(x, y)
        value.backward()  # type: ignore[no-untyped-call]

    bound = InfoNCE(20, 20, critic=critics.Separable(20, 20, embed_dim=256, hidden=(256,)))
    works = {
        "eager": partial(step, bound),
        "torch.compile": partial(step, torch.compile(bound)),
        "bfloat16 autocast": partial(step, bound, narrow=True),
    }
    try:
        seconds = in_turn(works, repeats=repeats)
    except torch._dynamo.exc.BackendCompilerFailed as problem:
        print(f"not measured with torch.compile: {problem}", file=sys.stderr)
        return
    plain = seconds.pop("eager")
    for name, taken in seconds.items():
        case = f"InfoNCE, separable critic with two layers of 256, N = {n:,}"
        yield faster(case, f"times faster with {name}", taken, plain)


def against_torch_mist(pairs: int, repeats: int, time_target: str, memory_target: str) -> Iterator[Ratio]:
    """A training step and its memory; nothing if torch-mist cannot be installed or fails."""
    environments = ROOT / ".peers"
    try:
        environments.mkdir(exist_ok=True)
        make_environment("torch-mist", environments, sys.executable)
        python = str(interpreter(environments, "torch-mist"))
        done = run_child(
            [python, "-m", "benchmarks.speed.torch_mist", str(pairs), str(repeats)],
            cwd=ROOT,
            env=os.environ | SETTINGS | {"PYTHONPATH": str(ROOT)},
            stderr=None,
            limit=1800,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError) as problem:
        print(f"not compared with torch-mist for {pairs} pairs: {problem}", file=sys.stderr)
        return
    case = f"training step of InfoNCE, separable critic with two layers of 256, d = 20, N = {pairs:,}"
    ours, plain, other = (found[name] for name in ("ours", "plain", "mist"))
    for name, mine, target in (("", ours, time_target), (", default products and Adam of PyTorch", plain, "")):
        yield faster(case + name, "times faster than torch-mist 0.2.17", mine["seconds"], other["seconds"], target)
    figure = "times less memory than torch-mist 0.2.17"
    yield smaller(case, figure, ours["mebibytes"], other["mebibytes"], memory_target)
