"""Critics: score functions of pairs. A critic maps ``x (N, Dx)`` and ``y (M, Dy)`` to scores ``(N, M)``.

Entry [i, j] scores the pair (x_i, y_j). Any :class:`torch.nn.Module` with this signature can be passed as ``critic=``;
the classes of this module can also be given by name.

A critic whose scores are inner products defines ``embed(x, y)``, which returns ``a (N, D)`` and ``b (M, D)``; its
scores are ``a @ b.T``. Bounds then need no N × M memory for large batches (:class:`infomax.InnerProducts`).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from infomax.critics.joint import score_pairs
from infomax.critics.temperature import TEMPERATURES, Temperature, make_temperature
from infomax.scores.precision import normalized, products
from infomax.statistics.gaussian import fit_gaussian


class _ScaledLinear(nn.Linear):
    """A linear layer whose initial parameters are scaled by ``gain``."""

    def __init__(self, in_dim: int, out_dim: int, gain: float) -> None:
        self.gain = gain
        super().__init__(in_dim, out_dim)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new initial parameters."""
        super().reset_parameters()
        for parameter in self.parameters():
            parameter.mul_(self.gain)


class MLP(nn.Sequential):
    """Linear layers with SiLU between them; the last layer's initial parameters are scaled by ``last_gain``.

    >>> MLP(3, (16, 16), 2)(torch.ones(4, 3)).shape
    torch.Size([4, 2])
    """

    def __init__(self, in_dim: int, hidden: Sequence[int], out_dim: int, *, last_gain: float = 1.0) -> None:
        *hidden_layers, (last, out) = pairwise([in_dim, *hidden, out_dim])
        layers: list[nn.Module] = []
        for a, b in hidden_layers:
            layers += [nn.Linear(a, b), nn.SiLU()]
        super().__init__(*layers, _ScaledLinear(last, out, last_gain))


class _InnerProduct(nn.Module, abc.ABC):
    """A critic whose scores are the inner products of two embeddings."""

    @abc.abstractmethod
    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings, ``(N, D)`` and ``(M, D)``."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return products(*self.embed(x, y))


class ScaledInnerProduct(nn.Module, abc.ABC):
    """A critic whose scores are the inner products of two embeddings, divided by a temperature."""

    temperature: Temperature

    @abc.abstractmethod
    def _sides(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings before the division, ``(N, D)`` and ``(M, D)``."""

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings, ``(N, D)`` and ``(M, D)``; that of x is divided by the temperature."""
        a, b = self._sides(x, y)
        return self.temperature(a), b

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self._sides(x, y)
        scores: Tensor = self.temperature(products(a, b))
        return scores

    def largest_score(self) -> Tensor | None:
        """The largest absolute score, 0-d, or ``None`` if there is no limit."""
        return None


class Separable(_InnerProduct):
    r""":math:`f(x, y) = g(x)^\top h(y)` with two multi-layer perceptrons: N + M network passes for N × M scores.

    Args:
        x_dim, y_dim: dimensions of x and y.
        embed_dim: dimension of the two embeddings. hidden: widths of the hidden layers.
        last_gain: scale of the initial last layer of h (small: the scores start near zero).

    >>> critic, x, y = Separable(2, 3, embed_dim=8), torch.ones(4, 2), torch.ones(6, 3)
    >>> critic(x, y).shape, [tuple(side.shape) for side in critic.embed(x, y)]
    (torch.Size([4, 6]), [(4, 8), (6, 8)])
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        embed_dim: int = 32,
        hidden: Sequence[int] = (128, 128),
        last_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.g = MLP(x_dim, hidden, embed_dim)
        self.h = MLP(y_dim, hidden, embed_dim, last_gain=last_gain)

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """g(x) and h(y)."""
        return self.g(x), self.h(y)


class Bilinear(_InnerProduct):
    r""":math:`f(x, y) = x^\top W y`: the cheapest critic, sufficient if x or y are learned features.

    >>> Bilinear(2, 3)(torch.ones(4, 2), torch.ones(6, 3)).shape
    torch.Size([4, 6])
    """

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(x_dim, y_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.weight.numel()))

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """``x @ weight`` and y."""
        return x @ self.weight, y


class Cosine(ScaledInnerProduct):
    r""":math:`f(x, y) = \cos(Ax, By) / T`. The scores lie within ±1/T: training is stable, and values have a ceiling.

    Args:
        x_dim, y_dim: dimensions of x and y. embed_dim: dimension of the two projections.
        temperature: initial T. learn_temperature: whether T is learned. temperature_limits: see :class:`Temperature`.

    >>> critic = Cosine(2, 3, temperature=0.1)
    >>> bool(critic(torch.ones(4, 2), torch.ones(6, 3)).abs().max() <= 10.01)  # 1 / T
    True
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        embed_dim: int = 32,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        temperature_limits: tuple[float, float] = TEMPERATURES,
    ) -> None:
        super().__init__()
        self.project_x = nn.Linear(x_dim, embed_dim)
        self.project_y = nn.Linear(y_dim, embed_dim)
        self.temperature = Temperature(temperature, learn=learn_temperature, limits=temperature_limits)

    def _sides(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return normalized(self.project_x(x)), normalized(self.project_y(y))

    def largest_score(self) -> Tensor | None:
        return self.temperature.inverse()


class Concat(nn.Module):
    """A multi-layer perceptron of every pair (x_i, y_j): the most flexible critic, with N × M network passes.

    The first layer is applied to x and to y separately and the results are added, so that no copy of shape
    (N·M, Dx + Dy) is made. The other layers and their gradients are computed tile by tile
    (:func:`infomax.critics.score_pairs`).

    Args:
        x_dim, y_dim: dimensions of x and y. hidden: widths of the hidden layers.
        tile: number of pairs whose hidden layers are in memory at a time; the default suits the device. With N·M or
            more, plain autograd keeps the hidden layers of all pairs, and second derivatives are available.

    Raises:
        ValueError: without hidden layers, or for a tile that is not positive.
        torch.cuda.OutOfMemoryError: when called, on any device, if a tile or the scores do not fit into memory.

    >>> Concat(2, 3, hidden=(16,))(torch.ones(4, 2), torch.ones(6, 3)).shape
    torch.Size([4, 6])
    """

    def __init__(self, x_dim: int, y_dim: int, *, hidden: Sequence[int] = (128, 128), tile: int | None = None) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden must name at least one layer; got none")
        if tile is not None and tile < 1:
            raise ValueError(f"tile must be at least 1; got {tile}")
        self.tile = tile
        self.first_x = nn.Linear(x_dim, hidden[0])
        self.first_y = nn.Linear(y_dim, hidden[0], bias=False)
        self.rest = nn.Sequential(nn.SiLU(), MLP(hidden[0], hidden[1:], 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        linear = [layer for layer in self.rest.modules() if isinstance(layer, nn.Linear)]
        weights, biases = [layer.weight for layer in linear], [layer.bias for layer in linear]
        return score_pairs(self.first_x(x), self.first_y(y), weights, biases, tile=self.tile)


class GaussianResidual(nn.Module):
    r"""The log-ratio of a fitted Gaussian plus a trainable critic for the residual.

    :meth:`warm_start` fits the Gaussian to samples in closed form (:func:`infomax.statistics.fit_gaussian`). Before
    that call the Gaussian part is zero, and the critic equals its residual. The Gaussian part is a buffer and is not
    trained.

    Args:
        x_dim, y_dim: dimensions of x and y.
        residual: the trainable critic; by default a :class:`Separable` that starts near zero.

    >>> x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    >>> critic = GaussianResidual(1, 1)
    >>> critic.warm_start(x, x + 1)
    >>> bool(critic(x, x + 1).diagonal().mean() > 1)
    True
    """

    mean_x: Tensor
    mean_y: Tensor
    project_x: Tensor
    project_y: Tensor
    correlations: Tensor
    offset: Tensor

    def __init__(self, x_dim: int, y_dim: int, *, residual: nn.Module | None = None) -> None:
        super().__init__()
        self.residual = Separable(x_dim, y_dim, last_gain=0.01) if residual is None else residual
        rank = min(x_dim, y_dim)
        self.register_buffer("mean_x", torch.zeros(x_dim))
        self.register_buffer("mean_y", torch.zeros(y_dim))
        self.register_buffer("project_x", torch.zeros(x_dim, rank))
        self.register_buffer("project_y", torch.zeros(y_dim, rank))
        self.register_buffer("correlations", torch.zeros(rank))
        self.register_buffer("offset", torch.zeros(()))

    def reset_parameters(self) -> None:
        """Set the Gaussian part to zero."""
        for _, buffer in self.named_buffers(recurse=False):
            buffer.zero_()

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Set the Gaussian part from samples ``x (N, Dx)``, ``y (N, Dy)``."""
        fit = fit_gaussian(x.double(), y.double())
        gain = (fit.correlations / (1 - fit.correlations.square())).sqrt()
        self.mean_x.copy_(fit.mean_x)
        self.mean_y.copy_(fit.mean_y)
        self.project_x.copy_(fit.directions_x * gain)
        self.project_y.copy_(fit.directions_y * gain)
        self.correlations.copy_(fit.correlations)
        self.offset.copy_(fit.mutual_information())

    def embed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """The embeddings of the Gaussian and of the residual, concatenated; ``None`` if the residual has none."""
        residual = embedding(self.residual, x, y)
        if residual is None:
            return None
        u, v, rows, columns = self._gaussian(x, y)
        a = torch.cat([u, -rows, torch.ones_like(rows), residual[0]], 1)
        return a, torch.cat([v, torch.ones_like(columns), self.offset - columns, residual[1]], 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        u, v, rows, columns = self._gaussian(x, y)
        scores: Tensor = products(u, v) - rows + (self.offset - columns.T) + self.residual(x, y)
        return scores

    def _gaussian(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The factors of the term in x and y, and the terms in x and in y alone, ``(N, 1)`` and ``(M, 1)``."""
        u, v = (x - self.mean_x) @ self.project_x, (y - self.mean_y) @ self.project_y
        half = 0.5 * self.correlations[:, None]
        return u, v, u.square() @ half, v.square() @ half


class Predictor(ScaledInnerProduct):
    r""":math:`f(x, y) = x^\top G(y)`, the critic of CPC: G predicts x from y.

    Args:
        x_dim, y_dim: dimensions of x and y. hidden: widths of the hidden layers of G; without any, G is linear.
        normalize: score by the cosine of x and G(y).
        temperature: divisor of the scores; a positive number, or "learned" (initially 0.1).
        temperature_limits: see :class:`Temperature`.

    >>> Predictor(2, 3, normalize=True)(torch.ones(4, 2), torch.ones(6, 3)).shape
    torch.Size([4, 6])
    """

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        hidden: Sequence[int] = (),
        normalize: bool = False,
        temperature: float | str = 1.0,
        temperature_limits: tuple[float, float] = TEMPERATURES,
    ) -> None:
        super().__init__()
        self.predict = MLP(y_dim, hidden, x_dim)
        self.normalize = normalize
        self.temperature = make_temperature(temperature, temperature_limits)

    def _sides(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        predicted = self.predict(y)
        return (normalized(x), normalized(predicted)) if self.normalize else (x, predicted)

    def largest_score(self) -> Tensor | None:
        return self.temperature.inverse() if self.normalize else None


def check_dimensions(**dimensions: Any) -> None:
    """Raise ValueError unless all are whole numbers of at least 1."""
    for argument, value in dimensions.items():
        if not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{argument} must be a whole number of at least 1; got {value!r}")


def largest_score(critic: nn.Module) -> Tensor | None:
    """The largest absolute score of a critic, 0-d, or ``None`` if it has no method ``largest_score`` or no limit.

    >>> largest = largest_score(Cosine(2, 3, temperature=0.1))
    >>> round(float(largest.detach()), 2), largest_score(Bilinear(2, 3))
    (10.0, None)
    """
    method = getattr(critic, "largest_score", None)
    largest: Tensor | None = method() if callable(method) else None
    return largest


def embedding(critic: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """``critic.embed(x, y)`` if the critic's scores are the inner products of these embeddings, otherwise ``None``.

    It is ``None`` if a subclass or an instance overrides ``forward`` but not ``embed``, or if a hook could change the
    result of ``forward``.

    Raises:
        ValueError: if ``embed`` does not return two matrices of one width, with the rows of x and of y.

    >>> a, b = embedding(Bilinear(2, 3), torch.ones(4, 2), torch.ones(6, 3))
    >>> len(a), len(b), embedding(Concat(2, 3), torch.ones(4, 2), torch.ones(6, 3))
    (4, 6, None)
    """
    if not callable(getattr(type(critic), "embed", None)) or "forward" in vars(critic):
        return None
    if critic._forward_hooks or critic._forward_pre_hooks:
        return None
    for cls in type(critic).__mro__:
        if "embed" in vars(cls):
            break
        if "forward" in vars(cls):
            return None
    sides = critic.embed(x, y)  # type: ignore[operator]
    if sides is None:
        return None
    shapes = [tuple(side.shape) if isinstance(side, Tensor) else type(side).__name__ for side in sides]
    if (
        len(shapes) != 2
        or any(len(shape) != 2 for shape in shapes)
        or shapes != [(len(x), shapes[0][1]), (len(y), shapes[0][1])]
    ):
        raise ValueError(f"embed must return shapes ({len(x)}, D) and ({len(y)}, D) with one D; got {shapes}")
    return sides[0], sides[1]
