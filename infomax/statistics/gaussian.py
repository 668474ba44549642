"""Closed forms for Gaussian x and y, fitted with shrinkage. Learned estimators start from them.

All functions are pure. Rows are samples. The computations are done in the dtype of the arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

#: Canonical correlations are at most ``sqrt(1 - MIN_RESIDUAL)``, so that deterministic relations give finite values.
MIN_RESIDUAL = 1e-6
#: Number of rows per column from which unshrunk sample covariances are reliable.
_ENOUGH = 10
#: How to shrink the covariance between x and y, see :func:`couple`.
Shrinkage = Literal["none", "sparse", "low-rank", "adjusted"]
_SHRINKAGES: tuple[Shrinkage, ...] = ("sparse", "low-rank")


def sample_covariance(x: Tensor) -> Tensor:
    """Maximum-likelihood covariance of the rows of ``x``, ``(D, D)``.

    >>> sample_covariance(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)


def ledoit_wolf(x: Tensor, *, floor: float | Tensor = 0.0) -> Tensor:
    r"""Covariance of the rows of ``x``, shrunk towards a multiple of the identity.

    The intensity is the consistent estimate of the one that minimises the expected squared Frobenius distance to the
    true covariance (Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004,
    doi:10.1016/S0047-259X(03)00096-4). With one row, or with equal rows, the sample covariance is zero.

    Args:
        x: samples, ``(N, D)``.
        floor: variance that is added in every direction, in the squared unit of ``x``.

    Returns:
        ``(D, D)``, positive definite when ``floor`` is positive.

    >>> x = torch.randn(10, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> bool(torch.linalg.eigvalsh(ledoit_wolf(x))[0] > 0)  # invertible, with fewer rows than columns
    True
    """
    n, dim = x.shape
    centred = x - x.mean(0)
    sample = sample_covariance(x)
    scale = sample.diagonal().mean()
    identity = torch.eye(dim, dtype=x.dtype, device=x.device)
    spread = (sample - scale * identity).square().sum()
    noise = (centred.square().sum(1).square().mean() - sample.square().sum()) / n
    noise = torch.minimum(noise.clamp_min(0.0), spread)
    smallest = torch.finfo(x.dtype).tiny
    intensity = torch.where(spread > smallest, noise / spread.clamp_min(smallest), torch.ones_like(spread))
    return (1 - intensity) * sample + (intensity * scale + floor) * identity


def soft_threshold(coefficients: Tensor, noise: float) -> Tensor:
    r"""Shrink coefficients towards zero by the threshold that minimises Stein's unbiased risk estimate.

    The coefficients have independent noise of standard deviation ``noise``. If most of them are zero, the threshold is
    large; if none is, it vanishes (Donoho and Johnstone, "Adapting to unknown smoothness via wavelet
    shrinkage", 1995, doi:10.1080/01621459.1995.10476626).

    >>> soft_threshold(torch.tensor([[0.9, 0.01]]), 0.01).shape
    torch.Size([1, 2])
    """
    z = coefficients.abs() / noise
    thresholds = torch.linspace(0.0, math.sqrt(2 * math.log(max(z.numel(), 2))), 64, dtype=z.dtype, device=z.device)
    # The risk is the sum of min(z, t)² - 2 [z <= t]; of sorted coefficients, the first ones are below t.
    ordered = z.flatten().sort().values
    below = torch.searchsorted(ordered, thresholds, right=True)
    squares = torch.cat([z.new_zeros(1), ordered.square().cumsum(0)])
    risk = squares[below] + (z.numel() - below) * thresholds.square() - 2.0 * below
    best = thresholds[risk.argmin()]
    return coefficients.sign() * (z - best).clamp_min(0.0) * noise


def adjust_correlations(correlations: Tensor, n: int, columns: int) -> Tensor:
    r"""Canonical correlations corrected for what ``columns`` variables explain of ``n`` rows by chance: adjusted R².

    :math:`1 - r^2` is multiplied by :math:`(n - 1) / (n - \text{columns})`; negative results become zero (Theil 1961).
    """
    unexplained = (1 - correlations.square()) * (n - 1) / max(n - columns, 1)
    return (1 - unexplained).clamp_min(0.0).sqrt()


def shrink_singular_values(matrix: Tensor, noise: float) -> Tensor:
    """Shrink the singular values of a low-rank matrix with white noise, optimally in Frobenius norm.

    ``noise`` is the standard deviation of each entry (Gavish and Donoho, "Optimal shrinkage of singular values", 2017,
    arXiv 1405.7511).
    """
    rows, columns = matrix.shape
    long, ratio = max(rows, columns), min(rows, columns) / max(rows, columns)
    u, s, vt = torch.linalg.svd(matrix / (noise * math.sqrt(long)), full_matrices=False)
    inner = (s.square() - ratio - 1).square() - 4 * ratio
    kept = torch.where(s > 1 + math.sqrt(ratio), inner.clamp_min(0.0).sqrt() / s.clamp_min(1.0), torch.zeros_like(s))
    shrunk: Tensor = (u * kept) @ vt * (noise * math.sqrt(long))
    return shrunk


@dataclass(frozen=True)
class GaussianCoupling:
    r"""A joint Gaussian of x and y in canonical form: means, whitening roots and the SVD of the cross-correlation.

    With :math:`u = U^\top \Sigma_x^{-1/2}(x - \mu_x)` and :math:`v` likewise, the pairs :math:`(u_k, v_k)` are
    independent of each other, with correlations :math:`s_k`.
    """

    mean_x: Tensor  # (Dx,)
    mean_y: Tensor  # (Dy,)
    directions_x: Tensor  # (Dx, K): x -> u
    directions_y: Tensor  # (Dy, K): y -> v
    correlations: Tensor  # (K,) in [0, 1)

    def mutual_information(self) -> Tensor:
        r""":math:`-\tfrac12 \sum_k \log(1 - s_k^2)`, in nats."""
        total: Tensor = -0.5 * torch.log1p(-self.correlations.square()).sum()
        return total

    def log_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Pointwise mutual information :math:`\log p(x, y) / p(x)p(y)` of each pair, ``(N,)``, in nats."""
        u = (x - self.mean_x) @ self.directions_x
        v = (y - self.mean_y) @ self.directions_y
        s, residual = self.correlations, 1 - self.correlations.square()
        return ((s * u * v - 0.5 * s.square() * (u.square() + v.square())) / residual).sum(
            1
        ) + self.mutual_information()


def _inverse_root(covariance: Tensor) -> Tensor:
    """Symmetric inverse square root; directions without variance are set to zero."""
    values, vectors = torch.linalg.eigh(covariance)
    floor = values[-1].clamp_min(torch.finfo(values.dtype).tiny) * 1e-10
    inverse = torch.where(values > floor, values.clamp_min(floor).rsqrt(), torch.zeros_like(values))
    root: Tensor = (vectors * inverse) @ vectors.T
    return root


@dataclass(frozen=True)
class Whitened:
    """Means, inverse roots of the covariances within x and within y, and the covariance between whitened x and y."""

    mean_x: Tensor
    mean_y: Tensor
    root_x: Tensor
    root_y: Tensor
    cross: Tensor
    n: int

    def canonical(self, shrink: Shrinkage, residual: float = MIN_RESIDUAL) -> GaussianCoupling:
        """The coupling with these canonical correlations, shrunk as ``shrink`` says, and at most √(1 − residual)."""
        noise, cross = self.n**-0.5, self.cross
        if shrink == "sparse":
            cross = soft_threshold(cross, noise)
        elif shrink == "low-rank":
            cross = shrink_singular_values(cross, noise)
        u, s, vt = torch.linalg.svd(cross, full_matrices=False)
        if shrink == "adjusted":
            kept = torch.linalg.svdvals(shrink_singular_values(cross, noise)) > noise * 1e-6
            s = torch.where(kept, adjust_correlations(s, self.n, sum(cross.shape)), torch.zeros_like(s))
        s = s.clamp_max(math.sqrt(1 - residual))
        return GaussianCoupling(self.mean_x, self.mean_y, self.root_x @ u, self.root_y @ vt.T, s)

    def consistent(
        self, shrink: Shrinkage, x: Tensor, y: Tensor, residual: float = MIN_RESIDUAL
    ) -> tuple[GaussianCoupling, Whitened]:
        """:meth:`canonical`; or the same with unshrunk covariances within x and y, if the shrunk ones are inconsistent.

        Shrinkage of the covariances within x and within y does not reduce the noise of the covariance between them. If
        x and y nearly determine each other, the three can become inconsistent: a correlation approaches or would exceed
        1, and the mutual information of a few columns is nats too large. They count as inconsistent if there are ten
        rows or more per column, and if the residual variance of the largest correlation is less than half of that of
        the sample covariances, whose largest correlation is itself too large.
        """
        found = self.canonical(shrink, residual)
        left = 1 - found.correlations.max().square()
        if left >= 0.5 or len(x) < _ENOUGH * sum(self.cross.shape):  # half of another one is at most 0.5
            return found, self
        exact = whiten(x, y, sample_covariance)
        greatest = exact.canonical("none", residual).correlations.max()
        if left >= 0.5 * (1 - greatest.square()):
            return found, self
        return exact.canonical(shrink, residual), exact


def whiten(x: Tensor, y: Tensor, within: Callable[[Tensor], Tensor] = ledoit_wolf) -> Whitened:
    """Whiten x and y, each with the inverse root of the covariance that ``within`` computes.

    >>> x, y = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> white = whiten(x, y)
    >>> bool(torch.allclose(sample_covariance((x - white.mean_x) @ white.root_x), torch.eye(3).double(), atol=0.1))
    True
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    root_x, root_y = _inverse_root(within(x)), _inverse_root(within(y))
    cross = root_x @ ((x - mean_x).T @ (y - mean_y) / len(x)) @ root_y
    return Whitened(mean_x, mean_y, root_x, root_y, cross, len(x))


def couple(x: Tensor, y: Tensor, shrink: Shrinkage = "none") -> GaussianCoupling:
    """Canonical form of the sample covariance (``"none"``) or of a shrunk covariance.

    Covariances within x and within y are shrunk by :func:`ledoit_wolf`. The covariance between them is shrunk by
    :func:`soft_threshold` (``"sparse"``), by :func:`shrink_singular_values` (``"low-rank"``), or by
    :func:`adjust_correlations` of the correlations that the low-rank shrinkage keeps (``"adjusted"``). Low-rank
    shrinkage reduces correlations near 1 too much, because their noise is small.

    >>> x, noise = torch.randn(2, 5000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> round(float(couple(x, x + noise).mutual_information()), 1)  # log(2) / 2 = 0.35 nats
    0.3
    """
    if shrink == "none":
        return whiten(x, y, sample_covariance).canonical(shrink)
    return whiten(x, y).consistent(shrink, x, y)[0]


def fit_gaussian(x: Tensor, y: Tensor) -> GaussianCoupling:
    """Fit a joint Gaussian to pairs, with a shrunk cross-correlation.

    Sparse and low-rank shrinkage are compared by the mean log-ratio on held-out rows (every fifth row). The better one
    is then fitted on all rows. With fewer than 20 rows sparse shrinkage is used.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``; row i of ``x`` is paired with row i of ``y``.

    >>> x, noise = torch.randn(2, 5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> fit = fit_gaussian(x, x + noise / 2)  # 2 log(5) / 2 = 1.6 nats
    >>> round(float(fit.mutual_information()), 1), fit.log_ratio(x, x + noise / 2).shape
    (1.6, torch.Size([5000]))
    """
    if len(x) < 20:
        return couple(x, y, "sparse")
    held_out = torch.arange(len(x), device=x.device) % 5 == 4
    train = x[~held_out], y[~held_out]
    whitened = whiten(*train)
    fits = (whitened.consistent(shrink, *train)[0] for shrink in _SHRINKAGES)
    sparse, low_rank = (fit.log_ratio(x[held_out], y[held_out]).mean() for fit in fits)
    return couple(x, y, _SHRINKAGES[int(low_rank > sparse)])
