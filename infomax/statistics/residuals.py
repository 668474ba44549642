r"""Mutual information of few columns that nearly determine each other, by regression and entropies of residuals.

Where pairs have many nats, networks and numbers of neighbours saturate near :math:`\log N`. A regression does not: the
spread of its residuals tells how close y is to a function of x, at any scale.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Neighbours of the entropies, and of those that show their bias.
_NEAR, _FAR = 4, 16
#: The variance that neighbours have in common in the terms of two entropies: 2 ψ'(4).
SHARED_NOISE = 2 * 0.28382295573711525
#: Residuals below this share of the standard deviation are rounding.
_ROUNDING = 1e-10
#: Largest bias of the entropies that is accepted, in nats.
_MOST_BIAS = 0.25
#: Neighbours of the local regression and of the local scales.
_LOCAL = 30
#: Centres of the kernel regression, widths in standard deviations, and penalties.
_CENTRES, _WIDTHS, _PENALTIES = 500, (1.0, 2.0), 10.0 ** np.arange(-8.0, 2.0)
#: Relative size of an eigenvalue, and of a penalty of local slopes, that is negligible.
_NEGLIGIBLE, _RIDGE = 1e-12, 1e-6
#: Rows whose neighbours are compared at a time.
_ROWS = 2_000


def residual_terms(x: Floats, y: Floats, rng: np.random.Generator) -> Floats | None:
    r"""Local values of :math:`h(y) - h(y | x)`, by residuals of regressions of y on x; or of x on y.

    A regression m and a local scale s, both computed without the row itself, turn y into
    :math:`r = (y - m(x)) / s(x)`. For any functions m and s

    .. math:: I(x; y) \ge h(y) - \mathbb E \log s(x) - h(r),

    with equality where r and x are independent: noise of any shape, whose scale may depend on x. The entropies are
    those of Kozachenko and Leonenko. Of several m and s, and of both directions, the largest value is returned.

    An entropy from neighbours exceeds the truth where columns have structure at a smaller scale than the distance of
    neighbours. It then grows with the number of neighbours, so that the bias is extrapolated as in
    :func:`infomax.estimators.by_neighbours` and subtracted. A direction with more than 0.25 nats of it is not used.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``. Without constant columns; N is at least 100. rng: of the centres of the kernel
            regression.

    Returns:
        ``(N,)``, in nats; their mean is the estimate. ``None`` if columns have ties, or if no direction can be used.

    Source: Kozachenko and Leonenko 1987, as in Kraskov et al. 2004, arXiv cond-mat/0305641; leave-one-out residuals:
    Allen 1974, doi:10.1080/00401706.1974.10489157; local regression: Cleveland 1979,
    doi:10.1080/01621459.1979.10481038; kernels with few centres: Williams and Seeger 2000.
    """
    if any(len(np.unique(column)) < len(column) for side in (x, y) for column in side.T):
        return None
    u, v = ((side - side.mean(0)) / side.std(0) for side in (x, y))
    both = [terms for terms in (_one_way(u, v, rng), _one_way(v, u, rng)) if terms is not None]
    return max(both, key=lambda terms: float(terms.mean()), default=None)


def _one_way(x: Floats, y: Floats, rng: np.random.Generator) -> Floats | None:
    """:func:`residual_terms` by regressions of y on x."""
    near, far = log_densities(y, _NEAR), log_densities(y, _FAR)
    rows = neighbour_rows(x, _LOCAL)
    smooth = kernel_residuals(x, y, rng)
    best, bias = None, 0.0
    for residuals in (smooth, smooth - local_linear(x, smooth, rows)):
        if np.median(np.abs(residuals), axis=0).min() < _ROUNDING:
            return None
        for scale in (np.ones_like(y), local_scales(residuals, rows)):
            standard, change = residuals / scale, np.log(scale).sum(1) + near
            terms = log_densities(standard, _NEAR) - change
            if best is None or terms.mean() > best.mean():
                lost = (near - far).mean() - (terms + change - log_densities(standard, _FAR)).mean()
                best, bias = terms, max(0.0, float(lost)) / ((_FAR / _NEAR) ** (1 / y.shape[1]) - 1)
    return None if best is None or bias > _MOST_BIAS else best - bias


def log_densities(points: Floats, neighbours: int) -> Floats:
    """Logarithms of the density at ``points (N, D)``, by the distance to the k-th neighbour: ``(N,)``.

    Their mean has no bias where the density is constant within that distance.

    Source: Kozachenko and Leonenko 1987; Kraskov et al. 2004, arXiv cond-mat/0305641, eq. 20.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - loaded on first use
    from scipy.special import digamma, gammaln  # noqa: PLC0415

    n, dim = points.shape
    distance = KDTree(points).query(points, k=[neighbours + 1])[0][:, 0]
    ball = dim / 2 * math.log(math.pi) - gammaln(dim / 2 + 1)
    found: Floats = digamma(neighbours) - digamma(n) - ball - dim * np.log(distance)
    return found


def neighbour_rows(points: Floats, neighbours: int) -> Rows:
    """The nearest other rows of each row of ``points (N, D)``: ``(N, neighbours)``."""
    from scipy.spatial import KDTree  # noqa: PLC0415

    found: Rows = KDTree(points).query(points, k=neighbours + 1)[1][:, 1:]
    return found


def local_linear(x: Floats, y: Floats, rows: Rows) -> Floats:
    """Predictions of ``y (N, Dy)``, each by a linear regression on ``x (N, Dx)`` in other ``rows (N, K)``."""
    predicted = np.empty_like(y)
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        near, targets = x[rows[part]] - x[part, None], y[rows[part]]
        centre, mean = near.mean(1, keepdims=True), targets.mean(1, keepdims=True)
        near -= centre
        gram = near.transpose(0, 2, 1) @ near
        penalty = _RIDGE * np.trace(gram, axis1=1, axis2=2) + np.finfo(float).tiny
        gram += penalty[:, None, None] * np.eye(x.shape[1])
        slope = np.linalg.solve(gram, near.transpose(0, 2, 1) @ (targets - mean))
        predicted[part] = (mean - centre @ slope)[:, 0]
    return predicted


def local_scales(residuals: Floats, rows: Rows) -> Floats:
    """The mean size of the residuals ``(N, D)`` in other ``rows (N, K)``: ``(N, D)``."""
    scales: Floats = np.abs(residuals)[rows].mean(1)
    return scales


def kernel_residuals(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Leave-one-out residuals ``(N, Dy)`` of a kernel ridge regression of y on x.

    The features are normal kernels at some of the rows, the columns of x, and a constant. The width and the penalty are
    those with the smallest residuals.
    """
    centres = x[rng.choice(len(x), min(_CENTRES, len(x) // 4), replace=False)]
    found = np.concatenate([_of_width(x, y, centres, width) for width in _WIDTHS], axis=1)
    sizes = np.log(np.maximum(np.abs(found), np.finfo(float).tiny)).mean((0, 2))
    best: Floats = found[:, sizes.argmin()]
    return best


def _of_width(x: Floats, y: Floats, centres: Floats, width: float) -> Floats:
    """Leave-one-out residuals with kernels of this width and with each penalty: ``(N, penalties, Dy)``."""
    n, size, linear = len(x), len(centres), x.shape[1] + 1
    whitening = _inverse_root(_normal_kernel(centres, centres, width))[0]
    root = np.zeros((size + linear, whitening.shape[1] + linear))
    root[:size, : whitening.shape[1]], root[size:, whitening.shape[1] :] = whitening, np.eye(linear)
    parts = [slice(start, start + _ROWS) for start in range(0, n, _ROWS)]

    def features(part: slice) -> Floats:
        return np.hstack([_normal_kernel(x[part], centres, width), x[part], np.ones((len(x[part]), 1))])

    gram, along = np.zeros((root.shape[1],) * 2), np.zeros((root.shape[1], y.shape[1]))
    for part in parts:
        white = features(part) @ root
        gram += white.T @ white
        along += white.T @ y[part]
    inverse_root, variances = _inverse_root(gram)
    shares = variances[:, None] / (variances[:, None] + _PENALTIES)
    slopes = (shares[:, :, None] * (inverse_root.T @ along)[:, None]).reshape(len(variances), -1)
    root, residuals = root @ inverse_root, np.empty((n, len(_PENALTIES), y.shape[1]))
    for part in parts:
        axes = features(part) @ root
        errors = y[part, None] - (axes @ slopes).reshape(-1, *residuals.shape[1:])
        residuals[part] = errors / (1 - axes**2 @ shares)[:, :, None]
    return residuals


def _normal_kernel(a: Floats, b: Floats, width: float) -> Floats:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    kernel: Floats = np.exp(np.maximum(squares, 0) / (-2 * width**2))
    return kernel


def _inverse_root(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvectors ``(D, K)`` of a positive matrix, divided by the roots of their eigenvalues ``(K,)``.

    Only the eigenvalues that are not negligible.
    """
    values, vectors = np.linalg.eigh(matrix)
    kept = values > _NEGLIGIBLE * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept]), values[kept]
