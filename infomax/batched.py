"""Several bounds of one structure as one batched model: gradients of all their losses in one pass.

There are two ways. Bounds whose critic is a :class:`~infomax.critics.Separable`, alone or in an
:class:`~infomax.critics.Anchored`, have their perceptrons evaluated together by
:class:`~infomax.perceptrons.Passes`; what each bound makes of its scores is its own code. Other bounds are mapped as a
whole by :func:`torch.vmap`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from infomax.adam import Adam
from infomax.bounds import Bound
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.nce import CPC, InfoNCE
from infomax.critics import MLP, Anchored, Separable
from infomax.perceptrons import Passes

Pairs = tuple[Tensor, Tensor]

#: Scores that are mapped at a time. Beyond it temporaries leave the cache, and one bound after the other is faster.
_MAPPED_SCORES = 1 << 16


class Batch(Protocol):
    """Several bounds that are trained together."""

    optimiser: Adam

    def differentiate(self, rows: Tensor) -> None:
        """Put the gradients of all losses of batches, rows ``(bounds, N)`` of each one's own, where they are used."""

    def store(self) -> None:
        """Bring the bounds' buffers up to date; their parameters always are."""


class Given(nn.Module):
    """In a critic's place: scores that were computed before."""

    scores: Tensor | None = None

    def forward(self, _x: Tensor, _y: Tensor) -> Tensor | None:
        return self.scores


class Loss(nn.Module):
    """A bound's loss as a forward pass; of scores that are there already, if ``given``."""

    def __init__(self, bound: Bound, *, given: bool = False) -> None:
        super().__init__()
        self.given = Given() if given else None
        if given:
            parts = {**bound._modules, "critic": self.given}
            bound = copy.copy(bound)  # parameters and buffers stay those of the bound
            bound.__dict__["_modules"] = parts
        self.bound = bound

    def forward(self, x: Tensor, y: Tensor, *scores: Tensor) -> Tensor:
        if self.given is not None:
            (self.given.scores,) = scores
        return self.bound.loss(x, y)

    def learned(self) -> list[str]:
        """Names of the parameters that learn."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]


class Losses:
    """Losses of several bounds of one structure, and their gradients.

    Args:
        losses: one for each bound.
        blocks, gradients: of the parameters that learn, as :class:`~infomax.adam.Adam` keeps them.
        mapped: whether all are computed in one call, or in turn.
    """

    def __init__(
        self, losses: Sequence[Loss], blocks: Sequence[Tensor], gradients: Sequence[Tensor], *, mapped: bool
    ) -> None:
        first = losses[0]
        self._losses, self._gradients, self._mapped = losses, gradients, mapped
        self._parameters = [[loss.get_parameter(name) for name in first.learned()] for loss in losses]
        self._template = copy.deepcopy(first) if mapped else first
        leaves = [block.detach().requires_grad_() for block in blocks]
        self._learned = dict(zip(first.learned(), leaves, strict=True))
        frozen = [name for name, parameter in first.named_parameters() if mapped and not parameter.requires_grad]
        kept = [name for name, _ in first.named_buffers() if mapped]
        self._frozen = {name: torch.stack([loss.get_parameter(name) for loss in losses]) for name in frozen}
        self._buffers = {name: torch.stack([loss.get_buffer(name) for loss in losses]) for name in kept}

    def differentiate(self, x: Tensor, y: Tensor, scores: Tensor | None = None) -> Tensor | None:
        """Gradients by the parameters go to their places, those by the scores ``(bounds, N, N)`` are returned."""
        if self._mapped:
            return self._differentiate_mapped(x, y, scores)
        found = [self._differentiate_one(i, x[i], y[i], scores[i]) for i in range(len(x))] if scores is not None else []
        return torch.stack(found)

    def _differentiate_mapped(self, x: Tensor, y: Tensor, scores: Tensor | None) -> Tensor | None:
        given = [] if scores is None else [scores.detach().requires_grad_()]

        def one(learned: dict[str, Tensor], frozen: dict[str, Tensor], buffers: dict[str, Tensor], *pairs: Tensor):  # type: ignore[no-untyped-def]
            state = {**learned, **frozen, **buffers}
            loss = functional_call(self._template, state, pairs)
            return loss, {name: state[name] for name in buffers}

        with torch.enable_grad():
            losses, buffers = torch.vmap(one)(self._learned, self._frozen, self._buffers, x, y, *given)
            total = losses.sum()
        self._buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        leaves = [*self._learned.values(), *given]
        found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        for gradient, new in zip(self._gradients, found[: len(self._gradients)], strict=True):
            gradient.copy_(new)
        return found[-1] if given else None

    def _differentiate_one(self, i: int, x: Tensor, y: Tensor, scores: Tensor) -> Tensor:
        leaf, parameters = scores.detach().requires_grad_(), self._parameters[i]
        with torch.enable_grad():
            loss = self._losses[i](x, y, leaf)
        found = torch.autograd.grad(loss, [*parameters, leaf], allow_unused=True, materialize_grads=True)
        for gradient, new in zip(self._gradients, found[:-1], strict=True):
            gradient[i].copy_(new)
        return found[-1]

    def store(self) -> None:
        """Bring the bounds' buffers up to date."""
        for name, buffers in self._buffers.items():
            for loss, buffer in zip(self._losses, buffers, strict=True):
                loss.get_buffer(name).copy_(buffer)


class Table:
    """Rows of several models, one model's after the other's, ``(rows, columns)``."""

    def __init__(self, each: Sequence[Tensor]) -> None:
        self._rows = torch.cat(list(each))
        starts = [sum(map(len, each[:i])) for i in range(len(each))]
        self._starts = torch.tensor(starts, device=self._rows.device)[:, None]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Of rows ``(models, N)`` of each model's own: ``(models, N, columns)``."""
        flat = self._rows.index_select(0, (rows + self._starts).view(-1))
        return flat.view(*rows.shape, -1)


class MappedBounds:
    """Bounds of any kind, whose losses :func:`torch.vmap` can map.

    Args:
        bounds: in training mode. pairs: what each one is trained on. batch: rows of a batch.
        before: the optimiser of these bounds and others, to go on from.
    """

    def __init__(
        self, bounds: Sequence[Bound], pairs: Sequence[Pairs], _batch: int, before: Adam | None = None
    ) -> None:
        losses = [Loss(bound) for bound in bounds]
        self.optimiser = Adam([[loss.get_parameter(name) for loss in losses] for name in losses[0].learned()], before)
        self._losses = Losses(losses, self.optimiser.blocks, self.optimiser.gradients, mapped=True)
        self._x_dim = bounds[0].x_dim
        self._table = Table([torch.cat(pair, 1) for pair in pairs])

    def differentiate(self, rows: Tensor) -> None:
        drawn = self._table[rows]
        self._losses.differentiate(drawn[..., : self._x_dim], drawn[..., self._x_dim :])

    def store(self) -> None:
        self._losses.store()


class SeparableBounds:
    """Contrastive bounds with separable critics of equal widths, anchored or not.

    Args:
        bounds, pairs, batch, before: as :class:`MappedBounds`; neighbours of one class are taken together.

    Raises:
        TypeError: for other critics.
    """

    def __init__(
        self, bounds: Sequence[Bound], pairs: Sequence[Pairs], batch: int, before: Adam | None = None
    ) -> None:
        critics = [_separable(bound) for bound in bounds]
        self._models, self._dims = len(bounds), (bounds[0].x_dim, bounds[0].y_dim)
        # The perceptrons of x and those of y are one batch if they are of one shape.
        halves = [[_linear(critic.g) for critic in critics], [_linear(critic.h) for critic in critics]]
        parts = [halves[0] + halves[1]] if self._dims[0] == self._dims[1] else halves
        groups = [group for part in parts for layer in zip(*part, strict=True) for group in _parameters(layer)]
        runs = [[bounds[i] for i in run] for _, run in groupby(range(self._models), lambda i: type(bounds[i]))]
        heads = [[Loss(bound, given=True) for bound in run] for run in runs]
        groups += [[loss.get_parameter(name) for loss in head] for head in heads for name in head[0].learned()]
        self.optimiser = Adam(groups, before)
        taken = iter(zip(self.optimiser.blocks, self.optimiser.gradients, strict=True))
        self._passes = [_passes([next(taken) for _ in range(2 * len(part[0]))]) for part in parts]
        self._heads: list[tuple[slice, int | Losses]] = []
        start = 0
        for run, head in zip(runs, heads, strict=True):
            own = [next(taken) for _ in head[0].learned()]
            where, start = slice(start, start + len(run)), start + len(run)
            mapped = len(run) * batch**2 <= _MAPPED_SCORES
            losses = Losses(head, [block for block, _ in own], [gradient for _, gradient in own], mapped=mapped)
            self._heads.append((where, _softmax_dim(run) or losses))
        with torch.no_grad():
            fixed = [_fixed(bound, *pair) for bound, pair in zip(bounds, pairs, strict=True)]
            tables = [[torch.cat([pair[i], own[i]], 1) for pair, own in zip(pairs, fixed, strict=True)] for i in (0, 1)]
        self._tables = [Table(tables[0] + tables[1])] if len(parts) == 1 else [Table(table) for table in tables]
        first, width = pairs[0][0], halves[0][0][-1].out_features
        self._scores = first.new_empty(self._models, batch, batch)
        self._d_embedded = first.new_empty(2 * self._models, batch, width)

    @torch.no_grad()
    def differentiate(self, rows: Tensor) -> None:
        models, scores = self._models, self._scores
        if len(self._tables) == 1:
            drawn = self._tables[0][rows.repeat(2, 1)]
            embedded = self._passes[0].forward(drawn[..., : self._dims[0]])
            (x, y), (g, h) = drawn.split(models), embedded.split(models)
        else:
            x, y = (table[rows] for table in self._tables)
            each = zip(self._passes, (x, y), self._dims, strict=True)
            g, h = (passes.forward(side[..., :dim]) for passes, side, dim in each)
        (x, fixed_x), (y, fixed_y) = (
            (side[..., :dim], side[..., dim:]) for side, dim in zip((x, y), self._dims, strict=True)
        )
        torch.bmm(fixed_x, fixed_y.mT, out=scores)
        scores.baddbmm_(g, h.mT)
        for where, head in self._heads:
            if isinstance(head, Losses):
                scores[where] = head.differentiate(x[where], y[where], scores[where])
            else:
                infonce_gradient_(scores[where], head)
        d_g, d_h = self._d_embedded.split(models)
        torch.bmm(scores, h, out=d_g)
        torch.bmm(scores.mT, g, out=d_h)
        for passes, gradient in zip(self._passes, self._d_embedded.split(len(self._d_embedded) // len(self._passes))):
            passes.backward(gradient)

    def store(self) -> None:
        for _, head in self._heads:
            if isinstance(head, Losses):
                head.store()


def infonce_gradient_(scores: Tensor, dim: int) -> None:
    """Replace scores ``(models, N, N)`` by the gradients of :func:`~infomax.bounds.objectives.infonce`, negated.

    ``dim`` 2: the candidates are a row's, the ys; 1: a column's, the xs.
    """
    n = scores.shape[1]
    scores.sub_(scores.amax(dim, keepdim=True)).mul_(1 / math.log(2)).exp2_()  # exp2 is several times faster than exp
    scores.mul_((n * scores.sum(dim, keepdim=True)).reciprocal())
    scores.diagonal(dim1=1, dim2=2).sub_(1 / n)


def _separable(bound: Bound) -> Separable:
    critic = getattr(bound, "critic", None)
    if type(critic) is Anchored:
        critic = critic.residual
    if not isinstance(bound, Contrastive) or type(critic) is not Separable:
        raise TypeError(f"critic must be separable; got {type(critic).__name__}")
    return critic


def _linear(network: nn.Module) -> list[nn.Linear]:
    """The layers of a :class:`~infomax.critics.MLP`, which must be as it was built, and all learn."""
    linear, between = list(network)[::2], list(network)[1::2]  # type: ignore[call-overload]
    usual = type(network) is MLP and all(type(layer) is nn.SiLU for layer in between)
    if not usual or not all(type(layer) is nn.Linear and layer.bias is not None for layer in linear):
        raise TypeError(f"networks must be as MLP makes them; got {network}")
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise TypeError("parameters must all learn; got some that are frozen")
    return linear


def _parameters(layers: Sequence[nn.Linear]) -> list[list[nn.Parameter]]:
    """The weights of one layer of every model, and its biases."""
    return [[layer.weight for layer in layers], [layer.bias for layer in layers]]


def _passes(blocks: Sequence[tuple[Tensor, Tensor]]) -> Passes:
    """Of blocks of values and gradients, weights and biases of a layer in turn, as :class:`torch.nn.Linear` has them."""
    weights, biases = ([[block.mT for block in each] for each in blocks[::2]], [[block[:, None] for block in each] for each in blocks[1::2]])
    return Passes(
        [value for value, _ in weights],
        [value for value, _ in biases],
        [gradient for _, gradient in weights],
        [gradient for _, gradient in biases],
    )


def _softmax_dim(bounds: Sequence[Bound]) -> int | None:
    """Where the loss is InfoNCE's and nothing else: the dimension of the scores that the candidates are in."""
    kind = type(bounds[0])
    ours = (
        isinstance(bounds[0], InfoNCE)
        and kind.loss is Bound.loss
        and kind.forward is Contrastive.forward
        and kind.scores is Contrastive.scores
        and kind.objective is InfoNCE.objective
        and not any(bound.symmetric for bound in bounds)
    )
    return {InfoNCE.pointwise_objective: 2, CPC.pointwise_objective: 1}.get(kind.pointwise_objective) if ours else None


def _fixed(bound: Bound, x: Tensor, y: Tensor) -> Pairs:
    """What a critic has beside its perceptrons as an inner product: factors ``(N, K)`` of x and of y; K may be 0."""
    critic = bound.critic
    if not isinstance(critic, Anchored):
        return x[:, :0], y[:, :0]
    u, v = (x - critic.mean_x) @ critic.project_x, (y - critic.mean_y) @ critic.project_y
    rows, columns = (0.5 * side.square() @ critic.correlations for side in (u, v))
    one = torch.ones_like(rows)
    return torch.column_stack([u, -rows, one]), torch.column_stack([v, one, critic.offset - columns])
