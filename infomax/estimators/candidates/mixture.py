"""A Gaussian mixture of both sides together; the log-ratio follows from its own marginals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.densities.mixtures import Mixture, mixture_log_prob
from infomax.estimators.candidates.base import Candidate, LogRatio, Side, register
from infomax.statistics.gaussian import soft_threshold

#: Numbers of components that are compared, by the number of columns of both sides.
_COMPONENTS = ((6, (4, 12)), (20, (6,)), (160, (5,)))
#: Fewest rows, and fewest rows for each column.
_LEAST_ROWS, _ROWS_PER_COLUMN = 400, 5
#: Rows on which the number of components is chosen, of which every fifth is held out.
_COMPARED = 2_500
_ITERATIONS, _CONVERGED = 40, 3e-5
#: From this precision on, densities are differences of much larger squares, for which float32 is too coarse.
_NARROW = 1e3
#: Components of fewer rows than this disappear. Variance that is added to each column. The largest correlation.
_LEAST_WEIGHT, _FLOOR, _STRONGEST = 10.0, 1e-6, 1 - 1e-8


#: Intensities are multiplied by the first of these with which the covariances of a component are consistent.
_FACTORS = (1.0, 0.5, 0.25, 0.1, 0.01, 0.0)


@dataclass(frozen=True)
class FittedMixture(LogRatio):
    """The log-ratio of a Gaussian mixture of (x, y) with these marginals."""

    joint: Mixture
    of_x: Mixture
    of_y: Mixture

    def embed(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        """For each component the whitened coordinates and the log-density terms of this side; then the marginal."""
        dim = self.of_x.means.shape[1]
        precision = torch.linalg.inv(self.joint.covariances)
        half_log_det = 0.5 * torch.linalg.slogdet(self.joint.covariances)[1]
        constant = self.joint.log_weights - half_log_det - 0.5 * precision.shape[1] * math.log(2 * math.pi)
        a = x.scores - self.of_x.means[:, None]
        b = y.scores - self.of_y.means[:, None]
        of_a = constant[:, None] - 0.5 * ((a @ precision[:, :dim, :dim]) * a).sum(2)
        of_b = -0.5 * ((b @ precision[:, dim:, dim:]) * b).sum(2)
        cross = -(a @ precision[:, :dim, dim:])
        marginals = mixture_log_prob(self.of_x, x.scores), mixture_log_prob(self.of_y, y.scores)
        u = torch.cat([cross.permute(1, 0, 2).flatten(1), of_a.T, marginals[0][:, None]], 1)
        v = torch.cat([b.permute(1, 0, 2).flatten(1), of_b.T, marginals[1][:, None]], 1)
        narrow = float(precision.abs().max()) >= _NARROW
        return (u, v) if narrow else (u.float(), v.float())

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        components, dim = len(self.joint.log_weights), self.of_y.means.shape[1]
        size = components * dim
        left, right = (side[:, :size].view(len(side), components, dim).transpose(0, 1) for side in (x, y))
        offsets = x[:, size:-1].T[:, :, None] + y[:, size:-1].T[:, None]
        dense: Tensor = torch.baddbmm(offsets, left, right.transpose(1, 2)).logsumexp(0)
        return dense - x[:, -1, None] - y[None, :, -1]


def fit_mixture(z: Tensor, components: int, x_dim: int, generator: torch.Generator) -> Mixture:
    """A Gaussian mixture of the rows of ``z (N, D)`` by expectation maximisation with shrunk covariances.

    The covariances of a component within x (the first ``x_dim`` columns) and within y are shrunk by the rule of Ledoit
    and Wolf, the covariance between them by soft thresholds, as in :func:`infomax.statistics.couple`.
    """
    share = _clusters(z, components, generator)
    before = -math.inf
    for _ in range(_ITERATIONS):
        weights = share.sum(0)
        share = share[:, (weights > _LEAST_WEIGHT) | (weights == weights.max())]
        fitted = [_component(z, each, x_dim) for each in share.T]
        log_weights = share.sum(0).log()
        mixture = Mixture(
            log_weights - log_weights.logsumexp(0),
            torch.stack([mean for mean, _ in fitted]),
            torch.stack([covariance for _, covariance in fitted]),
        )
        dense = _log_densities(mixture, z)
        total = dense.logsumexp(1)
        share = (dense - total[:, None]).exp()
        now = float(total.mean())
        if abs(now - before) < _CONVERGED * z.shape[1]:
            break
        before = now
    return mixture


def _clusters(z: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """Shares of k-means, with far apart starting points (Arthur and Vassilvitskii 2007): ``(N, K)``, 0 or 1."""
    centres = z[torch.randint(len(z), (1,), generator=generator)]
    while len(centres) < components:
        distance = torch.cdist(z, centres).amin(1).square()
        centres = torch.cat([centres, z[torch.multinomial(distance + 1e-12, 1, generator=generator)]])
    for _ in range(10):
        share = F.one_hot(torch.cdist(z, centres).argmin(1), components).to(z)
        centres = (share.T @ z) / share.sum(0).clamp_min(1.0)[:, None]
    return share


def _component(z: Tensor, share: Tensor, x_dim: int) -> tuple[Tensor, Tensor]:
    """Mean and shrunk covariance of the rows ``z (N, D)`` with these shares ``(N,)``."""
    weights = share / share.sum()
    mean = weights @ z
    centred = z - mean
    sides = centred[:, :x_dim], centred[:, x_dim:]
    samples = [(side * weights[:, None]).T @ side for side in sides]
    intensities = [_intensity(*each, weights) for each in zip(sides, samples, strict=True)]
    between = (sides[0] * weights[:, None]).T @ sides[1]
    for factor in _FACTORS:
        # Shrunk covariances within x and within y can be inconsistent with the covariance between them.
        within = [_shrunk(sample, factor * own) for sample, own in zip(samples, intensities, strict=True)]
        roots = [torch.linalg.cholesky(covariance) for covariance in within]
        white = torch.linalg.solve_triangular(roots[0], between, upper=False)
        white = torch.linalg.solve_triangular(roots[1], white.T, upper=False).T
        if float(torch.linalg.matrix_norm(white, 2)) < 1:
            break
    white = soft_threshold(white, float(weights.square().sum().sqrt()))
    u, s, vt = torch.linalg.svd(white, full_matrices=False)
    cross = roots[0] @ (u * s.clamp_max(_STRONGEST)) @ vt @ roots[1].T
    return mean, torch.cat([torch.cat([within[0], cross], 1), torch.cat([cross.T, within[1]], 1)])


def _intensity(centred: Tensor, sample: Tensor, weights: Tensor) -> Tensor:
    """The shrinkage intensity of :func:`infomax.statistics.gaussian.ledoit_wolf` for weighted rows with mean zero."""
    spread = (sample - sample.diagonal().mean() * torch.eye(len(sample), dtype=sample.dtype)).square().sum()
    fourth = weights @ centred.square().sum(1).square()
    noise = (fourth - sample.square().sum()) * weights.square().sum()
    return (noise / spread.clamp_min(torch.finfo(sample.dtype).tiny)).clamp(0.0, 1.0)


def _shrunk(sample: Tensor, intensity: Tensor) -> Tensor:
    """The covariance, shrunk towards a multiple of the identity."""
    identity = torch.eye(len(sample), dtype=sample.dtype)
    return (1 - intensity) * sample + (intensity * sample.diagonal().mean() + _FLOOR) * identity


def _log_densities(mixture: Mixture, z: Tensor) -> Tensor:
    """Weighted log-density of each component: ``(N, K)``."""
    factors = torch.linalg.cholesky(mixture.covariances)
    white = torch.linalg.solve_triangular(factors, (z - mixture.means[:, None]).mT, upper=False)
    constants = mixture.log_weights - factors.diagonal(dim1=1, dim2=2).log().sum(1)
    dense: Tensor = (constants[:, None] - 0.5 * white.square().sum(1)).T - 0.5 * z.shape[1] * math.log(2 * math.pi)
    return dense


@register("mixture")
class GaussianMixture(Candidate):
    """A Gaussian mixture of the normal scores of both sides; the number of components has the best held-out density."""

    assumes = "rows fall into clusters, within each of which x and y are jointly normal"
    cost = "50 K N D²"
    reference = "shrinkage: Ledoit, Wolf 2004, doi:10.1016/S0047-259X(03)00096-4; Donoho, Johnstone 1995"
    complexity = 2

    def suits(self, x: Side, y: Side) -> bool:
        columns = x.dim + y.dim
        continuous = not (x.discrete or y.discrete)
        return continuous and columns <= _COMPONENTS[-1][0] and len(x) >= max(_LEAST_ROWS, _ROWS_PER_COLUMN * columns)

    def fit(self, x: Side, y: Side, generator: torch.Generator) -> LogRatio:
        z = torch.cat([x.scores, y.scores], 1)
        numbers = next(numbers for most, numbers in _COMPONENTS if z.shape[1] <= most)
        best, greatest = numbers[0], -math.inf
        some = z[:_COMPARED]
        held_out = torch.arange(len(some)) % 5 == 4
        for number in numbers if len(numbers) > 1 else ():
            trial = fit_mixture(some[~held_out], number, x.dim, generator)
            density = float(mixture_log_prob(trial, some[held_out]).mean())
            if density > greatest:
                best, greatest = number, density
        joint = fit_mixture(z, best, x.dim, generator)
        sides = slice(0, x.dim), slice(x.dim, None)
        return FittedMixture(
            joint, *(Mixture(joint.log_weights, joint.means[:, s], joint.covariances[:, s, s]) for s in sides)
        )
