"""The losses that are compared; each is registered if the library has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import infomax
from benchmarks.representation.digits import PROJECTION
from infomax import CPC, Bound, InfoNCE, SigLIP

#: Loss of the projections of two views, and the labels.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        title: what the table says. build: makes the bound, or ``None`` where nothing is trained.
        labels: whether the loss sees the labels.
    """

    title: str
    build: Callable[[], nn.Module] | None
    labels: bool = False

    def loss(self, bound: nn.Module) -> Loss:
        def of_views(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
            options = {"labels": labels} if self.labels else {}
            value: Tensor = bound.loss(first, second, **options)  # type: ignore[operator]
            return value

        return of_views


def _cpc(**options: float | str) -> CPC:
    """As SimCLR: cosine scores with a learned temperature, in both directions."""
    return CPC(PROJECTION, PROJECTION, normalize=True, temperature="learned", symmetric=True, **options)  # type: ignore[arg-type]


def _siglip(bias: float | None) -> SigLIP:
    return SigLIP(PROJECTION, PROJECTION, critic=_cpc().critic, bias=bias)


#: The class of queues, once the library has it.
_QUEUE = getattr(infomax, "Queue", None)
ARMS = {
    "pixels": Arm("pixels, no encoder", None),
    "untrained": Arm("encoder that is not trained", None),
    "cpc": Arm("CPC", _cpc),
    "siglip": Arm("SigLIP, initial bias −10 (paper)", lambda: _siglip(-10.0)),
    "siglip_batch": Arm("SigLIP, initial bias −log(N − 1)", lambda: _siglip(None)),
    "debiased": Arm("CPC, debiased (τ = 0.1)", lambda: _cpc(debias=0.1)),
    "hard": Arm("CPC, hard negatives (β = 0.5)", lambda: _cpc(hardness=0.5)),
    "supcon": Arm("SupCon: CPC with labels", _cpc, labels=True),
}
if _QUEUE is not None:
    ARMS["queue"] = Arm("CPC with a queue of 1,024 negatives", lambda: _QUEUE(_cpc(), 1024))


def value_and_ceiling(bound: nn.Module, first: Tensor, second: Tensor) -> tuple[float, float]:
    """InfoNCE with the critic of a bound, in nats: a lower bound, whatever the loss was; and its ceiling."""
    contrastive = bound if isinstance(bound, Bound) else bound.bound
    infonce = InfoNCE(PROJECTION, PROJECTION, critic=contrastive.critic, symmetric=True)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        return float(infonce(first, second)), float(infonce.ceiling(len(first)) or math.nan)
