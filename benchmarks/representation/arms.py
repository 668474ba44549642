"""The losses that are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.representation.digits import PROJECTION
from infomax import CPC, InfoNCE, Queue, SigLIP

#: Pairs of a batch.
BATCH = 150
#: Loss of the projections of two views, and the labels.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        title: what the table says. build: makes the bound, or ``None`` where nothing is trained.
        labels: whether the loss sees the labels.
        momentum: of a second encoder, which makes the candidates, and whose weights are a moving average of those of
            the encoder; ``None`` without a second encoder.
    """

    title: str
    build: Callable[[], nn.Module] | None
    labels: bool = False
    momentum: float | None = None

    def loss(self, bound: nn.Module) -> Loss:
        def of_views(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
            if self.momentum is not None:  # the candidates of CPC are xs
                first, second = second, first
            options = {"labels": labels} if self.labels else {}
            value: Tensor = bound.loss(first, second, **options)  # type: ignore[operator]
            return value

        return of_views


def _cpc(**options: float | str) -> CPC:
    """As SimCLR: cosine scores with a learned temperature, in both directions."""
    return CPC(PROJECTION, PROJECTION, normalize=True, temperature="learned", symmetric=True, **options)  # type: ignore[arg-type]


def _siglip(bias: float) -> SigLIP:
    return SigLIP(PROJECTION, PROJECTION, critic=_cpc().critic, bias=bias)


ARMS = {
    "pixels": Arm("pixels, no encoder", None),
    "untrained": Arm("encoder that is not trained", None),
    "cpc": Arm("CPC", _cpc),
    "siglip": Arm("SigLIP, initial bias −10 (paper)", lambda: _siglip(-10.0)),
    "siglip_batch": Arm("SigLIP, initial bias −log(N − 1)", lambda: _siglip(-math.log(BATCH - 1))),
    "debiased": Arm("CPC, debiased (τ = 0.1)", lambda: _cpc(debias=0.1)),
    "hard": Arm("CPC, hard negatives (β = 0.5)", lambda: _cpc(hardness=0.5)),
    "queue": Arm("CPC, queue of 600, no momentum encoder", lambda: Queue(_cpc(), 600)),
    "momentum": Arm("CPC, queue of 600, momentum encoder (0.99)", lambda: Queue(_cpc(), 600), momentum=0.99),
    "supcon": Arm("SupCon: CPC with labels", _cpc, labels=True),
}


def value_and_ceiling(bound: nn.Module, first: Tensor, second: Tensor) -> tuple[float, float]:
    """InfoNCE with the critic of a bound, in nats: a lower bound, whatever the loss was; and its ceiling."""
    critic = bound.bound.critic if isinstance(bound, Queue) else bound.critic
    infonce = InfoNCE(PROJECTION, PROJECTION, critic=critic, symmetric=True)  # type: ignore[arg-type]
    with torch.no_grad():
        return float(infonce(first, second)), float(infonce.ceiling(len(first)) or math.nan)
