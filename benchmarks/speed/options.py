"""Options of a call of InfoNCE beside InfoNCE without them.

The inputs are N pairs of float32 embeddings of dimension 128, divided by their length in the loss, at temperature 0.1.
The work is a loss and its gradients. The mask leaves out a tenth of the pairs, labels have 16 rows each, and there are
4 N further negatives, given in the call or in a full queue. With negatives a call compares five times as many pairs:
its time is divided by five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.loss_peers import DIM, FURTHER, embeddings, ours, with_gradients
from benchmarks.speed.timing import Ratio, Work, duration, in_turn
from infomax import Queue


def ratios(quick: bool) -> Iterator[Ratio]:
    for n, repeats in ((256, 25), (4096, 1 if quick else 5)):
        works, compared = _works(n)
        seconds = in_turn(works, repeats=repeats)
        for name in works:
            if name.endswith("plain"):
                continue
            base = seconds["symmetric, plain" if name.startswith("symmetric") else "plain"]
            each = seconds[name] / compared.get(name, 1)
            target = "≤ 1.2" if "exclude_self" not in name and "weights" not in name else ""
            figure = "times InfoNCE without options, by pair"
            yield Ratio(f"{name}, N = {n:,}", figure, each / base, target, duration(each), duration(base))


def _works(n: int) -> tuple[dict[str, Work], dict[str, float]]:
    """The calls by name, and how many times N² pairs they compare."""
    generator = torch.Generator().manual_seed(2)
    uniform = torch.rand(n, n, generator=generator)
    negatives = torch.randn(FURTHER * n, DIM, generator=generator)
    labels, mask = torch.arange(n) % (n // 16), uniform > 0.9
    plain, symmetric = ours(), ours(symmetric=True)
    queue = Queue(ours(), FURTHER * n)
    queue(negatives, negatives)  # fills it
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "plain": plain.loss,
        "mask": partial(plain.loss, mask=mask),
        "labels": partial(plain.loss, labels=labels),
        "labels with exclude_self": partial(plain.loss, labels=labels, exclude_self=True),
        "weights": partial(plain.loss, weights=uniform),
        "negatives": partial(plain.loss, negatives=negatives),
        "queue": queue.loss,
        "symmetric, plain": symmetric.loss,
        "symmetric, mask": partial(symmetric.loss, mask=mask),
        "symmetric, weights": partial(symmetric.loss, weights=uniform),
    }
    sides = embeddings(n)
    works: dict[str, Work] = {name: partial(with_gradients, loss, *sides) for name, loss in losses.items()}
    return works, {"negatives": 1 + FURTHER, "queue": 1 + FURTHER}
