"""Several bounds of one structure as one batched model: gradients of all their losses in one pass.

There are two ways. Bounds whose critic is a :class:`~infomax.critics.Separable`, alone or in a
:class:`~infomax.critics.GaussianResidual`, have their perceptrons evaluated together by
:class:`~infomax.training.perceptrons.Passes`; each bound then computes its value from its scores with its own code.
Other bounds are mapped as a whole by :func:`torch.vmap`.
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

from infomax.bounds import Bound
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.nce import CPC, InfoNCE
from infomax.critics.networks import MLP, Concat, GaussianResidual, Separable
from infomax.training.adam import Adam
from infomax.training.perceptrons import Passes

Pairs = tuple[Tensor, Tensor]
State = dict[str, Tensor]

#: Scores that are mapped at a time. Beyond it temporaries leave the cache, and one bound after the other is faster.
_MAPPED_SCORES = 1 << 16
#: Elements of one layer of all perceptrons of x and y that are trained together.
_LAYER_ELEMENTS = 1 << 20
#: Bounds that are mapped together; beyond it nothing is gained.
_MOST_MAPPED = 32


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
        blocks, gradients: of the parameters that learn, as :class:`~infomax.training.adam.Adam` keeps them.
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
        kept = []
        for name, buffer in first.named_buffers() if mapped else ():
            if all(loss.get_buffer(name).shape == buffer.shape for loss in losses):
                kept.append(name)
            else:  # whoever computes with it fails; BA's loss does not, and its memory has a row for each row
                parent, _, own = name.rpartition(".")
                setattr(self._template.get_submodule(parent), own, buffer.to("meta"))
        self._frozen = {name: torch.stack([loss.get_parameter(name) for loss in losses]) for name in frozen}
        self._buffers = {name: torch.stack([loss.get_buffer(name) for loss in losses]) for name in kept}

    def differentiate(self, x: Tensor, y: Tensor, *scores: Tensor) -> tuple[Tensor, ...]:
        """Gradients by the parameters go to their places, those by scores ``(bounds, N, N)``, if any, are returned."""
        if self._mapped:
            return self._differentiate_mapped(x, y, *scores)
        each = [self._differentiate_one(i, *own) for i, own in enumerate(zip(x, y, *scores, strict=True))]
        return tuple(torch.stack(found) for found in zip(*each, strict=True))

    def _differentiate_mapped(self, x: Tensor, y: Tensor, *scores: Tensor) -> tuple[Tensor, ...]:
        given = [each.detach().requires_grad_() for each in scores]

        def one(fixed: State, buffers: State, *pairs: Tensor) -> tuple[Tensor, State]:
            state = {**fixed, **buffers}
            loss: Tensor = functional_call(self._template, state, pairs)
            return loss, {name: state[name] for name in buffers}

        with torch.enable_grad():
            losses, buffers = torch.vmap(one)({**self._learned, **self._frozen}, self._buffers, x, y, *given)
            total = losses.sum()
        self._buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        leaves = [*self._learned.values(), *given]
        found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        for gradient, new in zip(self._gradients, found[: len(self._gradients)], strict=True):
            gradient.copy_(new)
        return found[len(self._gradients) :]

    def _differentiate_one(self, i: int, x: Tensor, y: Tensor, *scores: Tensor) -> tuple[Tensor, ...]:
        given = [each.detach().requires_grad_() for each in scores]
        with torch.enable_grad():
            loss = self._losses[i](x, y, *given)
        leaves = [*self._parameters[i], *given]
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        for gradient, new in zip(self._gradients, found[: len(self._gradients)], strict=True):
            gradient[i].copy_(new)
        return found[len(self._gradients) :]

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

    Raises:
        TypeError: for :class:`~infomax.critics.Concat`: networks of every pair fill the machine one bound at a time,
            and several at a time its memory.
    """

    @staticmethod
    def most(bound: Bound, batch: int) -> int:  # noqa: ARG004 - as the other one
        """How many such bounds should be trained together at most."""
        return _MOST_MAPPED

    def __init__(
        self, bounds: Sequence[Bound], pairs: Sequence[Pairs], _batch: int, before: Adam | None = None
    ) -> None:
        if any(isinstance(part, Concat) for part in bounds[0].modules()):
            raise TypeError("critic must not be a network of every pair")
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
        TypeError: for other bounds and critics.
    """

    @staticmethod
    def most(bound: Bound, batch: int) -> int:
        """How many such bounds should be trained together at most: more would drive each other out of the cache."""
        widest = max(layer.out_features for layer in _linear(_separable(_contrastive(bound).critic).g))
        return max(1, _LAYER_ELEMENTS // (2 * batch * max(batch // 2, widest)))

    def __init__(self, bounds: Sequence[Bound], pairs: Sequence[Pairs], batch: int, before: Adam | None = None) -> None:
        contrastive = [_contrastive(bound) for bound in bounds]
        critics = [_separable(bound.critic) for bound in contrastive]
        self._models, self._dims = len(bounds), (bounds[0].x_dim, bounds[0].y_dim)
        # The perceptrons of x and those of y are one batch if they are of one shape.
        halves = [[_linear(critic.g) for critic in critics], [_linear(critic.h) for critic in critics]]
        parts = [halves[0] + halves[1]] if self._dims[0] == self._dims[1] else halves
        groups = [group for part in parts for layer in zip(*part, strict=True) for group in _parameters(layer)]
        runs = [list(run) for _, run in groupby(contrastive, type)]
        losses = [[Loss(bound, given=True) for bound in run] for run in runs]
        groups += [[loss.get_parameter(name) for loss in run] for run in losses for name in run[0].learned()]
        self.optimiser = Adam(groups, before)
        taken = iter(zip(self.optimiser.blocks, self.optimiser.gradients, strict=True))
        self._passes = [_passes([next(taken) for _ in range(2 * len(part[0]))]) for part in parts]
        self._heads = []  # of each run of bounds: where it is, and what makes gradients of its scores
        start = 0
        for run, alike in zip(runs, losses, strict=True):
            own = [next(taken) for _ in alike[0].learned()]
            blocks, gradients = [block for block, _ in own], [gradient for _, gradient in own]
            mapped = len(run) * batch**2 <= _MAPPED_SCORES
            head = _softmax_dim(run) or Losses(alike, blocks, gradients, mapped=mapped)
            self._heads.append((slice(start, start + len(run)), head))
            start += len(run)
        sides = _sides(contrastive, pairs)
        self._tables = [Table(sides[0] + sides[1])] if len(parts) == 1 else [Table(side) for side in sides]
        first, width = pairs[0][0], halves[0][0][-1].out_features
        self._scores = first.new_empty(self._models, batch, batch)
        self._d_embedded = first.new_empty(2, self._models, batch, width)

    @torch.no_grad()
    def differentiate(self, rows: Tensor) -> None:
        scores, d_embedded = self._scores, self._d_embedded
        (x, fixed_x, g), (y, fixed_y, h) = self._embed(rows)
        torch.bmm(fixed_x, fixed_y.mT, out=scores)
        scores.baddbmm_(g, h.mT)
        for where, head in self._heads:
            if isinstance(head, Losses):
                scores[where] = head.differentiate(x[where], y[where], scores[where])[0]
            else:
                infonce_gradients_(scores[where], head)
        torch.bmm(scores, h, out=d_embedded[0])
        torch.bmm(scores.mT, g, out=d_embedded[1])
        if len(self._passes) == 1:
            self._passes[0].backward(d_embedded.flatten(0, 1))
        else:
            for passes, gradient in zip(self._passes, d_embedded, strict=True):
                passes.backward(gradient)

    def _embed(self, rows: Tensor) -> Sequence[Sequence[Tensor]]:
        """Of both sides: the samples of these rows, their fixed factors, and their embeddings."""
        if len(self._tables) == 1:
            drawn, dim = self._tables[0][rows.repeat(2, 1)], self._dims[0]
            embedded = self._passes[0].forward(drawn[..., :dim])
            parts = (torch.unflatten(part, 0, (2, -1)) for part in (drawn[..., :dim], drawn[..., dim:], embedded))
            return list(zip(*parts, strict=True))
        sides = []
        for table, passes, dim in zip(self._tables, self._passes, self._dims, strict=True):
            drawn = table[rows]
            sides.append((drawn[..., :dim], drawn[..., dim:], passes.forward(drawn[..., :dim])))
        return sides

    def store(self) -> None:
        for _, head in self._heads:
            if isinstance(head, Losses):
                head.store()


def infonce_gradients_(scores: Tensor, dim: int) -> None:
    """Replace scores ``(models, N, N)`` by the gradients of :func:`~infomax.bounds.objectives.infonce`, negated.

    ``dim`` 2: the candidates are a row's, the ys; 1: a column's, the xs.
    """
    n = scores.shape[1]
    scores.sub_(scores.amax(dim, keepdim=True)).mul_(1 / math.log(2)).exp2_()  # exp2 is several times faster than exp
    scores.mul_((n * scores.sum(dim, keepdim=True)).reciprocal())
    scores.diagonal(dim1=1, dim2=2).sub_(1 / n)


def _contrastive(bound: Bound) -> Contrastive:
    if not isinstance(bound, Contrastive):
        raise TypeError(f"bounds must be contrastive; got {type(bound).__name__}")
    return bound


def _separable(critic: nn.Module) -> Separable:
    inner = critic.residual if type(critic) is GaussianResidual else critic
    if type(inner) is not Separable:
        raise TypeError(f"critic must be separable; got {type(inner).__name__}")
    return inner


def _linear(network: MLP) -> list[nn.Linear]:
    """The layers of a perceptron, which must be as it was built, and all learn."""
    layers = list(network)
    linear = [layer for layer in layers[::2] if type(layer) is nn.Linear]
    usual = type(network) is MLP and len(linear) == len(layers[::2])
    if not usual or not all(type(layer) is nn.SiLU for layer in layers[1::2]):
        raise TypeError(f"networks must be as MLP makes them; got {network}")
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise TypeError("parameters must all learn; got some that are frozen")
    return linear


def _parameters(layers: Sequence[nn.Linear]) -> list[list[nn.Parameter]]:
    """The weights of one layer of every model, and its biases."""
    names = ("weight", "bias")
    return [[layer.get_parameter(name) for layer in layers] for name in names]


def _passes(blocks: Sequence[tuple[Tensor, Tensor]]) -> Passes:
    """Of values and gradients of each layer's weights and biases, shaped as :class:`torch.nn.Linear` has them."""
    weights, d_weights = zip(*((value.mT, gradient.mT) for value, gradient in blocks[::2]), strict=True)
    biases, d_biases = zip(*((value[:, None], gradient[:, None]) for value, gradient in blocks[1::2]), strict=True)
    return Passes(weights, biases, d_weights, d_biases)


def _softmax_dim(bounds: Sequence[Contrastive]) -> int | None:
    """Where the loss is InfoNCE's and nothing else: the dimension of the scores that the candidates are in."""
    kind = type(bounds[0])
    plain = kind.loss is Bound.loss and kind.forward is Contrastive.forward and kind.scores is Contrastive.scores
    one_way = not any(getattr(bound, "symmetric", True) for bound in bounds)
    if not plain or not one_way or kind.objective is not InfoNCE.objective:
        return None
    return {InfoNCE.pointwise_objective: 2, CPC.pointwise_objective: 1}.get(kind.pointwise_objective)


@torch.no_grad()
def _sides(bounds: Sequence[Contrastive], pairs: Sequence[Pairs]) -> tuple[list[Tensor], list[Tensor]]:
    """Each bound's xs and ys, with what its critic has beside its perceptrons as factors of an inner product."""
    each = []
    for bound, (x, y) in zip(bounds, pairs, strict=True):
        critic = bound.critic
        if not isinstance(critic, GaussianResidual):
            each.append((x, y))
            continue
        u, v = (x - critic.mean_x) @ critic.project_x, (y - critic.mean_y) @ critic.project_y
        rows, columns = (0.5 * side.square() @ critic.correlations for side in (u, v))
        one = torch.ones_like(rows)
        factors = torch.column_stack([u, -rows, one]), torch.column_stack([v, one, critic.offset - columns])
        each.append((torch.cat([x, factors[0]], 1), torch.cat([y, factors[1]], 1)))
    return [x for x, _ in each], [y for _, y in each]
