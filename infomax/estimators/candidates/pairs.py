"""Columns of x and columns of y that are related one to one, in any way: densities of two variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infomax.estimators.candidates.base import Candidate, LogRatio, Side, register
from infomax.estimators.candidates.components import Unmixed
from infomax.statistics.counts import copied_rows

#: Fewest rows; most columns of a side; fewest rows for each column if independent components are tried.
_LEAST_ROWS, _MOST_COLUMNS, _ROWS_PER_COLUMN = 400, 128, 10
#: Densities are tabulated at so many values of each column, which are normal scores up to this size.
_GRID, _EDGE = 128, 4.0
_STEP = 2 * _EDGE / (_GRID - 1)
#: Standard deviations of the kernels, in normal scores.
_KERNELS = (0.4, 0.25, 0.15, 0.1, 0.06)
#: Iterations that find the weights of densities.
_ITERATIONS = 100
#: Columns are matched by tables with so many rows and columns; all pairs are kept that a test of independence rejects,
#: with this probability of any error among all tables.
_BINS, _LEVEL = 16, 0.01
#: Where the product of the margins is smaller, the table has no information. The smallest ratio of densities.
_EMPTY, _LEAST = 1e-12, 1e-30


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of both sides as normal scores: columns, or independent components."""

    of_x: Unmixed | None = None
    of_y: Unmixed | None = None

    def __call__(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        """``(N, Dx)``, ``(M, Dy)``."""
        return (
            x.scores if self.of_x is None else self.of_x(x.values),
            y.scores if self.of_y is None else self.of_y(y.values),
        )


@dataclass(frozen=True)
class PairsRatio(LogRatio):
    """The sum over pairs of columns of a tabulated log-ratio.

    Attributes:
        coordinates: of which these are columns. of_x, of_y: the columns of each pair, ``(P,)``.
        tables: log-ratios on a grid of normal scores, ``(P, G, G)``, float32.
    """

    coordinates: Coordinates
    of_x: Tensor
    of_y: Tensor
    tables: Tensor

    def embed(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        u, v = self.coordinates(x, y)
        return u[:, self.of_x], v[:, self.of_y]

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(len(x), len(y), dtype=torch.float32)
        for table, u, v in zip(self.tables, x.T, y.T, strict=True):
            total.addmm_(_shares(u) @ table, _shares(v).T)
        return total.to(x.dtype)


def _places(values: Tensor) -> tuple[Tensor, Tensor]:
    """The knot below each of these normal scores, and the distance from it in steps: ``(N,)`` each."""
    steps = (values.clamp(-_EDGE, _EDGE) + _EDGE) / _STEP
    below = steps.floor().clamp(max=_GRID - 2)
    return below.long(), steps - below


def _shares(values: Tensor) -> Tensor:
    """Weights of linear interpolation on the grid, ``(N, G)``, float32."""
    below, distance = _places(values)
    found = torch.zeros(len(values), _GRID, dtype=torch.float32)
    found.scatter_(1, below[:, None], 1 - distance[:, None].float())
    return found.scatter_(1, below[:, None] + 1, distance[:, None].float())


def matched(u: Tensor, v: Tensor) -> list[tuple[int, int]]:
    """Pairs of columns of ``u (N, Dx)`` and ``v (N, Dy)``, each used once, that share information clearly.

    The sum of the information in tables of equally frequent intervals is the largest possible. A single pair is kept.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - loaded on first use
    from scipy.special import chdtri  # noqa: PLC0415

    n = len(u)
    bins = max(4, min(_BINS, math.isqrt(n // 5)))
    counts = torch.einsum("nia,njb->ijab", _intervals(u, bins), _intervals(v, bins)).double()
    information: NDArray[np.float64] = (torch.xlogy(counts, counts * bins**2 / n).sum((2, 3)) / n).numpy()
    least = chdtri((bins - 1) ** 2, _LEVEL / information.size) / (2 * n)  # the likelihood-ratio test
    places = zip(*linear_sum_assignment(information, maximize=True), strict=True)
    alone = information.size == 1
    return [(int(i), int(j)) for i, j in places if alone or information[i, j] > least]


def _intervals(values: Tensor, bins: int) -> Tensor:
    """Indicators of the interval of each value, ``(N, D, bins)``, float32; intervals are equally frequent."""
    member = values.argsort(0).argsort(0) * bins // len(values)
    return torch.nn.functional.one_hot(member, bins).float()


def densities(u: Tensor, v: Tensor) -> Tensor:
    """Ratios of densities of two variables to the product of their margins, on the grid: ``(K, G, G)``.

    Independence, the normal copula with the correlation of the rows ``u (N,)``, ``v (N,)``, and kernel densities.
    """
    grid = torch.linspace(-_EDGE, _EDGE, _GRID, dtype=torch.float64)
    r = float((u @ v / (u.norm() * v.norm())).clamp(-0.999, 0.999))
    normal = r * grid[:, None] * grid - 0.5 * r**2 * (grid[:, None].square() + grid.square())
    found = [torch.ones(_GRID, _GRID), ((normal / (1 - r**2)).exp() / math.sqrt(1 - r**2)).float()]
    cells, shares = _corners(u, v)
    histogram = torch.zeros(_GRID**2).index_add_(0, cells.flatten(), shares.flatten()).view(_GRID, _GRID)
    for width in _KERNELS:
        kernel = torch.exp(-0.5 * ((grid[:, None] - grid) / width).square()).float()
        smooth = kernel @ histogram @ kernel
        smooth /= smooth.sum()
        product = smooth.sum(1)[:, None] * smooth.sum(0)
        found.append(torch.where(product > _EMPTY, smooth / product.clamp_min(_EMPTY), 1.0))
    return torch.stack(found)


def weights_of(likelihoods: Tensor) -> Tensor:
    """Weights ``(K,)`` of densities with the largest likelihood of rows that they have not seen ``(K, N)``.

    Source: Smyth and Wolpert, "Linearly combining density estimators via stacking", 1999,
    doi:10.1023/A:1007511322260.
    """
    weights = torch.full((len(likelihoods), 1), 1 / len(likelihoods), dtype=likelihoods.dtype)
    for _ in range(_ITERATIONS):
        weights = (weights * likelihoods / (weights * likelihoods).sum(0)).mean(1, keepdim=True)
    return weights[:, 0]


def _corners(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each pair of values in a flat table, and their weights: ``(4, N)`` each."""
    (i, right), (j, above) = _places(u), _places(v)
    first = i * _GRID + j
    cells = torch.stack([first, first + 1, first + _GRID, first + _GRID + 1])
    shares = torch.stack([(1 - right) * (1 - above), (1 - right) * above, right * (1 - above), right * above])
    return cells, shares.float()


def _at(tables: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Interpolated tables ``(K, G, G)`` at these pairs of values: ``(K, N)``."""
    cells, shares = _corners(u, v)
    return (tables.flatten(1)[:, cells] * shares).sum(1).clamp_min(_LEAST)


@dataclass(frozen=True)
class Stacked:
    """Matched columns, the weights of the densities of each pair, and the log-ratio of rows that they have not seen."""

    coordinates: Coordinates
    pairs: list[tuple[int, int]]
    weights: list[Tensor]
    value: float

    @staticmethod
    def of(x: Side, y: Side, coordinates: Coordinates) -> Stacked:
        """The weights are those of every fifth row."""
        u, v = coordinates(x, y)
        held_out = torch.arange(len(u)) % 5 == 4
        pairs, weights, value = matched(u, v), [], 0.0
        for i, j in pairs:
            found = densities(u[~held_out, i], v[~held_out, j])
            likelihoods = _at(found, u[held_out, i], v[held_out, j])
            weights.append(weights_of(likelihoods))
            value += float((weights[-1] @ likelihoods).log().mean())
        return Stacked(coordinates, pairs, weights, value)

    def fit(self, x: Side, y: Side) -> PairsRatio:
        """The densities of all rows with these weights."""
        u, v = self.coordinates(x, y)
        tables = torch.zeros(len(self.pairs), _GRID, _GRID)
        for table, (i, j), weights in zip(tables, self.pairs, self.weights, strict=True):
            mixed = torch.tensordot(weights, densities(u[:, i], v[:, j]), 1)
            table.copy_(mixed.clamp_min(_LEAST).log())
        of_x, of_y = (torch.tensor([pair[side] for pair in self.pairs], dtype=torch.long) for side in (0, 1))
        return PairsRatio(self.coordinates, of_x, of_y, tables)


@register("pairs")
class Pairs(Candidate):
    """Columns, or independent components, matched one to one; each pair has stacked kernel and normal densities."""

    assumes = "each column of x, or independent component, is related to one of y, in any way"
    cost = "N (Dx Dy + D G), D G³; G = 128"
    reference = "kernel copulas: Geenens, Charpentier, Paindaveine 2017; stacking: Smyth, Wolpert 1999"
    complexity = 3

    def suits(self, x: Side, y: Side) -> bool:
        """For continuous columns without copied rows, which narrow kernels would find in held-out rows again."""
        fits = max(x.dim, y.dim) <= _MOST_COLUMNS and len(x) >= _LEAST_ROWS
        return fits and not (x.discrete or y.discrete) and not copied_rows(x.values.numpy(), y.values.numpy())

    def fit(self, x: Side, y: Side, generator: torch.Generator) -> LogRatio:
        of_x, of_y = ([None, *_unmixed(side, generator)] for side in (x, y))
        tried = [Coordinates(own_x, own_y) for own_x in of_x for own_y in of_y]
        stacked = [Stacked.of(x, y, coordinates) for coordinates in tried]
        return max(stacked, key=lambda one: one.value).fit(x, y)


def _unmixed(side: Side, generator: torch.Generator) -> list[Unmixed]:
    """Independent components of a side of several columns with enough rows."""
    suits = side.dim > 1 and len(side) >= _ROWS_PER_COLUMN * side.dim
    return [Unmixed.of(side.values, generator)] if suits else []
