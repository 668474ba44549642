"""Losses of other packages and those of infomax on the same embeddings, in the environment of these packages.

    PYTHONPATH=. .peers/losses/bin/python -m benchmarks.speed.loss_peers 256 4096 32768

`benchmarks.speed.losses` runs this script and writes its report. Each line of the output is a JSON object: seconds and
mebibytes of infomax first, then those of the package. For 32,768 pairs each version is run once. A package is not run
if it needs more memory than `MOST_BYTES`, or would leave less than 2 GB, in proportion to its memory with fewer pairs;
the last mebibytes are then what it needs.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import memory
from benchmarks.speed.timing import added_mebibytes, in_turn
from infomax import InfoNCE, Queue, SigLIP, interrupts

DIM, TEMPERATURE, BIAS = 128, 0.1, -10.0
#: Rows in a memory bank, and further negatives, for each row of a batch.
FURTHER = 4
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A loss of a package and ours, as functions of two batches of embeddings.

    Attributes:
        make: makes both losses for N rows. constant: what the package's loss exceeds ours by, as a function of N.
        most: the largest N, but for `MANY_ROWS`, at which both are run.
        power: by which the memory of the package grows with N.
    """

    make: Callable[[int], tuple[Loss, Loss]]
    constant: Callable[[int], float]
    most: int = 4096
    power: int = 2


class Cosine(nn.Module):
    """Cosines over a temperature, without parameters."""

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(x, dim=1) / TEMPERATURE, F.normalize(y, dim=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self.embed(x, y)
        return a @ b.T


def ours(**options: Any) -> InfoNCE:
    return InfoNCE(DIM, DIM, critic=Cosine(), **options)


def theirs(module: str, name: str, **options: Any) -> Callable[..., Tensor]:
    """A loss of a package, which is installed in the environment of this script alone."""
    loss: Callable[..., Tensor] = getattr(import_module(module), name)(**options)
    return loss


def views(u: Tensor, v: Tensor) -> Tensor:
    """N rows: half of the images, and another view of each."""
    half = len(u) // 2
    return torch.cat([u[:half], v[:half]])


def in_batch(_: int) -> tuple[Loss, Loss]:
    return theirs("info_nce", "InfoNCE", temperature=TEMPERATURE), ours().loss


def with_negatives(n: int) -> tuple[Loss, Loss]:
    """Compared with the further negatives alone, as the package does."""
    further = torch.randn(FURTHER * n, DIM, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(n, n, dtype=torch.bool)
    peer = theirs("info_nce", "InfoNCE", temperature=TEMPERATURE)
    return lambda u, v: peer(u, v, further), partial(ours().loss, negatives=further, mask=mask)


def of_views(n: int, peer: Callable[[Tensor, Tensor], Tensor], classes: int) -> tuple[Loss, Loss]:
    labels = torch.arange(n) % classes

    def mine(u: Tensor, v: Tensor) -> Tensor:
        z = views(u, v)
        return bound.loss(z, z, labels=labels, exclude_self=True)

    bound = ours()
    return lambda u, v: peer(views(u, v), labels), mine


def metric_learning(n: int, name: str, share: int) -> tuple[Loss, Loss]:
    return of_views(n, theirs("pytorch_metric_learning.losses", name, temperature=TEMPERATURE), n // share)


def lightly(n: int) -> tuple[Loss, Loss]:
    peer = theirs("lightly.loss", "NTXentLoss", temperature=TEMPERATURE)
    return of_views(n, lambda z, _: peer(*z.chunk(2)), n // 2)


def lightly_bank(n: int) -> tuple[Loss, Loss]:
    """The queue starts with the random rows of the memory bank; then both are filled by the same calls."""
    size = FURTHER * n
    peer = theirs("lightly.loss", "NTXentLoss", temperature=TEMPERATURE, memory_bank_size=(size, DIM))
    queue, mask = Queue(ours(), size), torch.ones(n, n, dtype=torch.bool)
    bank = peer.memory_bank.bank  # type: ignore[attr-defined]
    queue.load_state_dict(queue.state_dict() | {"memory": bank, "_extra_state": torch.tensor([size, 0, 0])})
    return peer, partial(queue.loss, mask=mask)


def clip(_: int) -> tuple[Loss, Loss]:
    peer = theirs("open_clip.loss", "ClipLoss")
    return lambda u, v: peer(*normalized(u, v), 1 / TEMPERATURE), ours(symmetric=True).loss


def siglip(_: int) -> tuple[Loss, Loss]:
    peer, bound = theirs("open_clip.loss", "SigLipLoss"), SigLIP(DIM, DIM, critic=Cosine(), bias=BIAS)
    return lambda u, v: peer(*normalized(u, v), 1 / TEMPERATURE, BIAS), bound.loss


def normalized(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return F.normalize(u, dim=1), F.normalize(v, dim=1)


def log_others(n: int) -> float:
    return math.log(n - 1)


def log_further(n: int) -> float:
    return math.log(FURTHER * n + 1)


#: NTXentLoss of pytorch-metric-learning compares each positive pair with each negative pair: N³ numbers.
CASES = {
    "info-nce-pytorch: InfoNCE": Case(in_batch, math.log),
    "info-nce-pytorch: InfoNCE, negative_keys": Case(with_negatives, log_further),
    "pytorch-metric-learning: NTXentLoss": Case(
        partial(metric_learning, name="NTXentLoss", share=2), log_others, most=256, power=3
    ),
    "pytorch-metric-learning: SupConLoss": Case(partial(metric_learning, name="SupConLoss", share=16), log_others),
    "lightly: NTXentLoss": Case(lightly, log_others),
    "lightly: NTXentLoss, memory bank": Case(lightly_bank, log_further),
    "open_clip: ClipLoss": Case(clip, math.log),
    "open_clip: SigLipLoss": Case(siglip, lambda _: 0.0),
}
#: Numbers of rows, and how often both versions are timed.
REPEATS = {256: 25, 4096: 5}
#: Rows with which each version is run once, and the most memory that it may take.
MANY_ROWS, MOST_BYTES = 32768, 20e9


def embeddings(n: int) -> tuple[Tensor, Tensor]:
    """Two correlated batches, which need gradients."""
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(n, DIM, generator=generator)
    v = u + torch.randn(n, DIM, generator=generator)
    return u.requires_grad_(), v.requires_grad_()


def with_gradients(loss: Loss, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the gradients of both sides."""
    value = loss(u, v)
    slopes = torch.autograd.grad(value, (u, v), allow_unused=True)
    return value.detach(), torch.cat([torch.zeros_like(u) if slope is None else slope for slope in slopes])


def difference(case: Case, n: int, calls: int) -> dict[str, float]:
    """Of several calls: the largest difference of the values, and of the gradients relative to their length."""
    u, v = embeddings(n)
    peer, mine = case.make(n)
    found = {"value": 0.0, "gradient": 0.0}
    for call in range(calls):
        sides = tuple(side.detach().roll(call, 0).requires_grad_() for side in (u, v))
        (value, slopes), (own, own_slopes) = (with_gradients(loss, *sides) for loss in (peer, mine))
        found["value"] = max(found["value"], abs(float(value) - float(own) - case.constant(n)))
        found["gradient"] = max(found["gradient"], float((slopes - own_slopes).norm() / slopes.norm()))
    return found


def once(loss: Loss, u: Tensor, v: Tensor) -> tuple[float, float]:
    """Peak memory of one call with gradients in addition to the inputs, in MiB, and its seconds; in a fork."""

    def measure(sender: Connection) -> None:
        start = time.process_time()
        sender.send((added_mebibytes(lambda: with_gradients(loss, u, v)), time.process_time() - start))

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(sender,))
    process.start()
    sender.close()
    found: tuple[float, float] = receiver.recv()
    process.join()
    return found


def import_torchvision() -> None:
    """Import what lightly and open_clip import, although their losses do not use it.

    Its operators do not load if it was built for another torch, as with that for CPUs alone. To import it then takes
    the declaration of two of them.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_module("torchvision")


def with_many(name: str) -> dict[str, Any]:
    """Both versions of a case, each run once with `MANY_ROWS`."""
    case, sides = CASES[name], embeddings(MANY_ROWS)
    small = min(case.most, max(REPEATS))
    peer, _ = case.make(small)
    needed = once(peer, *embeddings(small))[0] * (MANY_ROWS / small) ** case.power
    peer, mine = case.make(MANY_ROWS)
    found = [once(mine, *sides)]
    fits = needed * 2**20 < min(MOST_BYTES, memory.available() - 2e9)
    found.append(once(peer, *sides) if fits else (needed, math.nan))
    return {"seconds": [s for _, s in found], "mebibytes": [m for m, _ in found]}


def repeated(name: str, n: int, losses: tuple[Loss, Loss]) -> dict[str, Any]:
    """Both versions of a case in turn, and by how much they differ."""
    sides = embeddings(n)
    works = {side: partial(with_gradients, loss, *sides) for side, loss in zip("po", losses, strict=True)}
    seconds = in_turn(works, repeats=REPEATS[n])
    found = difference(CASES[name], n, 3 if n == min(REPEATS) else 1)
    return {"seconds": [seconds["o"], seconds["p"]], "difference": list(found.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", type=int, choices=[*REPEATS, MANY_ROWS])
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    import_torchvision()
    for case in CASES.values():  # what is imported by the first call is no memory of the loss
        difference(case, 16, 1)
    made = {(name, n): case.make(n) for name, case in CASES.items() for n in REPEATS if n in pairs and n <= case.most}
    # Before anything is timed, which would leave free memory in this process.
    mebibytes = {key: [once(loss, *embeddings(key[1]))[0] for loss in losses] for key, losses in made.items()}
    for name in CASES if MANY_ROWS in pairs else ():
        print(json.dumps({"case": name, "pairs": MANY_ROWS} | with_many(name)), flush=True)
    for (name, n), losses in made.items():
        found = repeated(name, n, losses) | {"mebibytes": mebibytes[name, n][::-1]}
        print(json.dumps({"case": name, "pairs": n} | found), flush=True)


if __name__ == "__main__":
    interrupts.run(main)
