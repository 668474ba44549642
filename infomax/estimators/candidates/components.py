"""Independent components of each side, then an elliptical copula of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infomax.estimators.candidates.base import Candidate, LogRatio, Side, register
from infomax.estimators.candidates.copulas import fit_copula
from infomax.estimators.candidates.elliptical import CopulaRatio

#: Fewest rows, and for each column; most columns; most rows that the components are computed from.
_LEAST_ROWS, _ROWS_PER_COLUMN, _MOST_COLUMNS, _MOST_ROWS = 500, 10, 128, 5_000
#: Iterations, and the change of a direction at which they stop.
_ITERATIONS, _CONVERGED = 60, 1e-4
#: Directions with less than this share of the largest variance are dropped.
_LEAST_VARIANCE = 1e-10
#: Knots of a map to normal scores are this far apart.
_KNOTS = 0.1


def independent_components(values: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and unmixing matrix ``(D, K)`` of ``values (N, D)``: symmetric FastICA with a tanh.

    Without convergence, as for normal columns, the components are those of the last iteration.

    Source: Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", 1999,
    doi:10.1109/72.761722.
    """
    mean = values.mean(0)
    centred = values - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(values))
    kept = variances > variances[-1] * _LEAST_VARIANCE
    whitening = axes[:, kept] * variances[kept].rsqrt()
    white = (centred @ whitening)[:_MOST_ROWS]
    dim = white.shape[1]
    directions = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=values.dtype))[0]
    for _ in range(_ITERATIONS if dim > 1 else 0):
        squashed = torch.tanh(white @ directions)
        new = white.T @ squashed / len(white) - directions * (1 - squashed.square()).mean(0)
        left, _, right = torch.linalg.svd(new, full_matrices=False)
        previous, directions = directions, left @ right
        if float((1 - (directions * previous).sum(0).abs()).max()) < _CONVERGED:
            break
    return mean, whitening @ directions


@dataclass(frozen=True)
class SmoothScores:
    """A strictly increasing, piecewise linear map of each column to about normal scores.

    Unlike ranks, it keeps differences between neighbouring values, which matter where x and y nearly determine each
    other.

    Attributes:
        knots: ``(K, D)``, increasing. scores: at the knots, ``(K,)``.
    """

    knots: Tensor
    scores: Tensor

    @staticmethod
    def of(values: Tensor) -> SmoothScores:
        """With the means of sorted values ``(N, D)`` in intervals of equal width in the normal score."""
        n = len(values)
        exact = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
        _, member = torch.unique_consecutive((exact / _KNOTS).floor(), return_inverse=True)
        count = torch.bincount(member).double()
        ordered = values.sort(0).values
        sums = torch.zeros(len(count), values.shape[1], dtype=torch.float64).index_add_(0, member, ordered)
        knots = sums / count[:, None]
        scores = torch.zeros(len(count), dtype=torch.float64).index_add_(0, member, exact) / count
        return SmoothScores(knots, scores)

    def __call__(self, values: Tensor) -> Tensor:
        columns = []
        for knots, column in zip(self.knots.T.contiguous(), values.T.contiguous(), strict=True):
            below = torch.searchsorted(knots, column).sub_(1).clamp_(0, len(knots) - 2)
            width = knots[below + 1] - knots[below]
            share = (column - knots[below]) / torch.where(width > 0, width, torch.inf)
            columns.append(torch.lerp(self.scores[below], self.scores[below + 1], share))
        return torch.stack(columns, 1).clamp(-8.0, 8.0)


@dataclass(frozen=True)
class Unmixed:
    """Independent components of one side as about normal scores."""

    mean: Tensor
    unmixing: Tensor
    margins: SmoothScores

    @staticmethod
    def of(values: Tensor, generator: torch.Generator) -> Unmixed:
        mean, unmixing = independent_components(values, generator)
        return Unmixed(mean, unmixing, SmoothScores.of((values - mean) @ unmixing))

    def __call__(self, values: Tensor) -> Tensor:
        return self.margins((values - self.mean) @ self.unmixing)


@dataclass(frozen=True)
class ComponentsRatio(CopulaRatio):
    """The log-ratio of an elliptical copula of independent components."""

    of_x: Unmixed
    of_y: Unmixed

    def coordinates(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        return self.of_x(x.values), self.of_y(y.values)


@register("components")
class Components(Candidate):
    """FastICA of the standardised columns of each side, smooth normal scores, and the elliptical copula of these."""

    assumes = "each side is a linear mixture of independent sources, which an elliptical copula relates"
    cost = "100 N D²"
    reference = "Hyvärinen 1999, doi:10.1109/72.761722"
    complexity = 1

    def suits(self, x: Side, y: Side) -> bool:
        widest = max(x.dim, y.dim)
        continuous = not (x.discrete or y.discrete)
        return continuous and 1 < widest <= _MOST_COLUMNS and len(x) >= max(_LEAST_ROWS, _ROWS_PER_COLUMN * widest)

    def fit(self, x: Side, y: Side, generator: torch.Generator) -> LogRatio:
        of_x, of_y = Unmixed.of(x.values, generator), Unmixed.of(y.values, generator)
        best, _ = fit_copula(of_x(x.values), of_y(y.values))
        return ComponentsRatio(best, of_x, of_y)
