"""Training steps of InfoNCE by torch-mist and by infomax, alternating in one process in the environment of torch-mist.

    PYTHONPATH=. .peers/torch-mist/bin/python -m benchmarks.speed.torch_mist PAIRS REPEATS

The last line of the output is JSON: seconds per step and additional MiB. Both critics have perceptrons of x and y with
two layers of 256, and the same number of parameters. A step is forward, backward and Adam, with the defaults of PyTorch
for torch-mist and infomax ("plain"), and for infomax also with fused Adam and `fast_products` ("ours").
`benchmarks.speed.contrastive` runs this script. With 2,048 pairs, torch-mist needs 17 GB.
"""

from __future__ import annotations

import itertools
import json
import sys
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.speed.float32 import fast_products
from benchmarks.speed.timing import Work, extra_mebibytes, in_turn
from infomax import InfoNCE, critics, interrupts

DIM, HIDDEN = 20, 256


def ours(pairs: int) -> Work:
    """A step with this number of pairs."""
    step = plain(pairs, fused=True)

    def fast() -> None:
        with fast_products():
            step()

    return fast


def plain(pairs: int, *, fused: bool = False) -> Work:
    """The same with the defaults of PyTorch."""
    critic = critics.Separable(DIM, DIM, embed_dim=HIDDEN, hidden=(HIDDEN,))
    return _step(InfoNCE(DIM, DIM, critic=critic), pairs, fused=fused)


def mist(pairs: int) -> Work:
    """A step of torch-mist with all pairs as negatives, its default."""
    from torch_mist.estimators import infonce  # noqa: PLC0415 - only in its own environment

    return _step(infonce(x_dim=DIM, y_dim=DIM, hidden_dims=[HIDDEN, HIDDEN]), pairs, fused=False)


def _step(estimator: torch.nn.Module, pairs: int, *, fused: bool) -> Work:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, pairs, DIM, generator=generator)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=1e-4, fused=fused)
    steps = itertools.count()

    def step() -> None:
        y = x + noise.roll(next(steps), 0)  # new pairs, because torch-mist caches the last ones
        optimizer.zero_grad()
        estimator.loss(x, y).backward()  # type: ignore[operator]
        optimizer.step()

    return step


def main() -> None:
    pairs, repeats = map(int, sys.argv[1:])
    with suppress(OSError):  # if memory runs out, the system ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    seconds = in_turn({"ours": ours(pairs), "plain": plain(pairs), "mist": mist(pairs)}, repeats=repeats)
    memory = {name: extra_mebibytes(f"benchmarks.speed.torch_mist:{name}", pairs) for name in seconds}
    print(json.dumps({name: {"seconds": seconds[name], "mebibytes": memory[name]} for name in seconds}))


if __name__ == "__main__":
    interrupts.run(main)
