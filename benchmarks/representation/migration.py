"""The losses of other libraries beside ours on the same embeddings, where these libraries are installed.

    pip install info-nce-pytorch pytorch-metric-learning lightly open_clip_torch
    python -m benchmarks.representation.migration

The page "Train a representation" has a table of these calls. Each line says by how much loss and gradient differ, after
the constant between a cross-entropy and a value in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.report import table
from infomax import InfoNCE, SigLIP, interrupts

N, M, DIM, T = 64, 40, 16, 0.2
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
#: Library and call, the two losses of a, b and further negatives, and the constant.
Line = tuple[str, Loss, Loss, float]


class Cosine(nn.Module):
    """Cosines of the embeddings themselves."""

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(x, dim=1), F.normalize(y, dim=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = self.embed(x, y)
        return x @ y.T


def infonce(**options: Any) -> InfoNCE:
    return InfoNCE(DIM, DIM, critic=Cosine(), temperature=T, **options).double()


def both(loss: Callable[..., Tensor], labels: Tensor) -> Loss:
    """A loss of all views and their labels, as one of two views."""
    return lambda a, b, _: loss(torch.cat([a, b]), labels)


def ours_of_views(views: Tensor, labels: Tensor) -> Tensor:
    return infonce().loss(views, views, labels=labels, exclude_self=True)


def lines() -> Iterator[tuple[str, Callable[[], list[Line]]]]:
    """The calls of each library; those of a library that is not installed raise ``ImportError``."""
    ids, classes = torch.arange(N).repeat(2), (torch.arange(N) % 5).repeat(2)
    own, of_views = ~torch.eye(N, dtype=torch.bool), math.log(2 * N - 1)

    def info_nce() -> list[Line]:
        library = import_module("info_nce")

        def chosen(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return infonce().loss(a, b, negatives=c, mask=own)

        def each(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return chosen(a, b, c.expand(N, M, DIM))

        peer = [library.InfoNCE(temperature=T, negative_mode=mode) for mode in ("unpaired", "paired")]
        return [
            ("InfoNCE", lambda a, b, _: peer[0](a, b), lambda a, b, _: infonce().loss(a, b), math.log(N)),
            ("InfoNCE, unpaired", peer[0], chosen, math.log(1 + M)),
            ("InfoNCE, paired", lambda a, b, c: peer[1](a, b, c.expand(N, M, DIM)), each, math.log(1 + M)),
        ]

    def pytorch_metric_learning() -> list[Line]:
        losses = import_module("pytorch_metric_learning.losses")
        ntxent, supcon = losses.NTXentLoss(temperature=T), losses.SupConLoss(temperature=T)
        selfsupervised = losses.SelfSupervisedLoss(ntxent)
        return [
            (
                "SelfSupervisedLoss(NTXentLoss)",
                lambda a, b, _: selfsupervised(a, b),
                both(ours_of_views, ids),
                of_views,
            ),
            ("SupConLoss", both(supcon, classes), both(ours_of_views, classes), of_views),
        ]

    def lightly() -> list[Line]:
        peer = import_module("lightly.loss.ntx_ent_loss").NTXentLoss(temperature=T)
        return [("NTXentLoss", lambda a, b, _: peer(a, b), both(ours_of_views, ids), of_views)]

    def open_clip() -> list[Line]:
        library = import_module("open_clip.loss")
        clip, siglip = library.ClipLoss(), library.SigLipLoss()
        scale, bias = torch.tensor(1 / T, dtype=torch.float64), torch.tensor(-10.0, dtype=torch.float64)
        ours = SigLIP(DIM, DIM, critic=Cosine(), temperature=T, bias=-10.0).double()

        def normalised(function: Callable[..., Tensor]) -> Loss:
            return lambda a, b, _: function(F.normalize(a, dim=1), F.normalize(b, dim=1))

        symmetric = infonce(symmetric=True)
        return [
            ("ClipLoss", normalised(lambda a, b: clip(a, b, scale)), lambda a, b, _: symmetric.loss(a, b), math.log(N)),
            ("SigLipLoss", normalised(lambda a, b: siglip(a, b, scale, bias)), lambda a, b, _: ours.loss(a, b), 0.0),
        ]

    yield "info-nce-pytorch", info_nce
    yield "pytorch-metric-learning", pytorch_metric_learning
    yield "lightly", lightly
    yield "open_clip", open_clip


def compared(line: Line) -> list[str]:
    """The call, and by how much losses and gradients differ."""
    call, theirs, ours, constant = line
    generator = torch.Generator().manual_seed(0)
    shapes = (N, DIM), (N, DIM), (M, DIM)
    found = []
    for loss in (theirs, ours):
        inputs = [
            torch.randn(*s, generator=generator.manual_seed(i), dtype=torch.float64) for i, s in enumerate(shapes)
        ]
        value = loss(*(each.requires_grad_() for each in inputs))
        value.backward()  # type: ignore[no-untyped-call]
        found.append((float(value.detach()), [each.grad for each in inputs if each.grad is not None]))
    (one, slopes), (other, of_ours) = found
    largest = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(slopes, of_ours, strict=True))
    return [call, f"{one:.6f}", f"{other + constant:.6f}", f"{abs(one - other - constant):.0e}", f"{largest:.0e}"]


def main() -> None:
    rows, missing = [], []
    for library, calls in lines():
        try:
            found = calls()
        except ImportError as error:
            missing.append(f"{library} cannot be imported ({error}).")
            continue
        rows += [[library, *compared(line)] for line in found]
    if rows:
        print(table(["library", "call", "theirs", "ours + constant", "difference", "of gradients"], rows))
    print(*missing, sep="\n")


if __name__ == "__main__":
    interrupts.run(main)
