"""Estimators with nothing to train: the Gaussian copula in closed form, nearest neighbours, and counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.statistics.counts import codes, plugin, plugin_stderr
from infomax.statistics.gaussian import couple
from infomax.statistics.marginals import normal_scores
from infomax.statistics.neighbours import ksg_terms, near_and_far_terms, tie_breaker

Floats = NDArray[np.float64]


#: Neighbours of the estimate, and of the one that it is compared with; rows that are compared where there are many.
NEAR, FAR, _COMPARED = 3, 12, 1 << 13


@dataclass(frozen=True, eq=False)
class Shares:
    """What an estimator without training found, in nats.

    Attributes:
        local: each pair's share, ``(N,)``; their mean is the estimate.
        stderr: of the estimate. gap: what it may have missed, by which the upper end of its interval is moved up.
    """

    local: Floats
    stderr: float
    gap: float = 0.0


@dataclass(frozen=True, eq=False)
class NeighbourShares(Shares):
    """By :data:`NEAR` neighbours; and by :data:`FAR`, ``far (M,)``, of some ``rows (M,)``."""

    far: Floats = field(kw_only=True)
    rows: NDArray[np.int64] = field(kw_only=True)


@dataclass(frozen=True)
class ClassicalEstimator:
    """A closed-form or neighbour estimator of samples ``(N, Dx)``, ``(N, Dy)``."""

    name: str
    measure: Callable[[Floats, Floats], Shares]
    reference: str
    cost: str
    use_when: str
    #: What to say of samples x and y, and what was found, before the number is believed; empty: nothing.
    caution: Callable[[Floats, Floats, Shares], str]
    kind = "estimate"
    ceiling_formula = "none"


def gaussian_copula(x: Floats, y: Floats) -> Floats:
    r"""Mutual information of the Gaussian copula: exact where monotone maps of the coordinates make (x, y) Gaussian.

    Every column is replaced by its normal scores; then :math:`-\tfrac12 \sum_k \log(1 - s_k^2)` over the canonical
    correlations, less the exact bias of log-determinants of Gaussian samples. Blind to dependence without correlation.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``.

    Returns:
        each pair's share of the estimate, ``(N,)``, in nats.

    Raises:
        ValueError: unless N exceeds Dx + Dy + 1.

    Source: Ince et al., "A statistical framework for neuroimaging data analysis based on mutual information estimated
    via a Gaussian copula", 2017, doi:10.1002/hbm.23471.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(5000, 1))
    >>> round(float(gaussian_copula(x, x + np.random.default_rng(1).normal(size=(5000, 1))).mean()), 2)
    0.34
    """
    n, dims = len(x), (x.shape[1], y.shape[1])
    if n <= sum(dims) + 1:
        raise ValueError(f"x must have more than Dx + Dy + 1 = {sum(dims) + 1} rows for a Gaussian copula; got {n}")
    u, v = (torch.from_numpy(normal_scores(values)) for values in (x, y))
    coupling = couple(u, v)
    degrees = n - torch.arange(1, sum(dims) + 1, dtype=torch.float64)
    bias = 0.5 * (torch.digamma(degrees / 2) - degrees.new_tensor((n - 1) / 2).log())
    correction = bias[: dims[0]].sum() + bias[: dims[1]].sum() - bias.sum()
    return np.asarray((coupling.log_ratio(u, v) - correction).numpy())


def ksg(x: Floats, y: Floats, *, neighbours: int = 3, seed: int = 0, workers: int = 1) -> Floats:
    r"""Nearest-neighbour estimate (Kraskov, Stögbauer and Grassberger's first), on normal scores of the columns.

    :math:`\psi(k) + \psi(N) - \psi(n_x + 1) - \psi(n_y + 1)`, where n_x counts the points nearer in x than the k-th
    neighbour is in (x, y), by the maximum norm. The normal scores get uniform noise of 1e-6, as the authors advise:
    without it, points at equal distances (discrete and rounded columns) make the counts ill-defined. Accurate in few
    dimensions; in many it underestimates strongly.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``. neighbours: k. seed: of the noise. workers: threads, see
            :func:`infomax.statistics.ksg_terms`.

    Returns:
        each pair's share of the estimate, ``(N,)``, in nats.

    Raises:
        ValueError: if ``neighbours`` is not in 1..N-1.

    Source: Kraskov, Stögbauer and Grassberger, 2004, arXiv cond-mat/0305641.
    """
    if not 1 <= neighbours < len(x):
        raise ValueError(f"neighbours must lie in 1..{len(x) - 1}; got {neighbours}")
    return ksg_terms(*_scores_without_ties(x, y, seed), neighbours, workers=workers)


def _scores_without_ties(x: Floats, y: Floats, seed: int) -> tuple[Floats, Floats]:
    """Normal scores of the columns with a little noise."""
    rng = np.random.default_rng(seed)
    u, v = (normal_scores(values) + tie_breaker(values.shape, rng) for values in (x, y))
    return u, v


def by_neighbours(u: Floats, v: Floats, *, seed: int = 0) -> NeighbourShares:
    r""":func:`ksg` of samples without ties, such as normal scores with noise, and how far it may be off.

    Two things are done for the interval. The variance of a pair's share is raised by :math:`\psi'(k)`, as neighbours
    share the noise of their counts. And what was missed is read off a comparison: within the distance of the k-th
    neighbour the density is taken to be constant, and what that loses grows with the distance, like
    :math:`(k / N)^{1 / D}` at edges and more steeply elsewhere, in D = Dx + Dy dimensions. So 12 neighbours lose
    :math:`4^{1 / D}` times as much as 3, or more, and the loss of 3 is at most what 12 measure less, divided by
    :math:`4^{1 / D} - 1`.
    """
    from scipy.special import polygamma  # noqa: PLC0415 - not needed by those who train

    n, dim = len(u), u.shape[1] + v.shape[1]
    near, far = min(NEAR, n - 1), min(FAR, n - 1)
    some = n if n <= 2 * _COMPARED else _COMPARED
    rows = np.sort(np.random.default_rng(seed).choice(n, some, replace=False))
    local, compared = near_and_far_terms(u, v, near, far, rows)
    stderr = math.sqrt((float(local.var(ddof=1)) + float(polygamma(1, near))) / n)
    lost = max(0.0, float((local[rows] - compared).mean()))
    return NeighbourShares(local, stderr, lost / ((FAR / NEAR) ** (1 / dim) - 1), far=compared, rows=rows)


def _by_gaussian(x: Floats, y: Floats) -> Shares:
    local = gaussian_copula(x, y)
    # Information worth less than one parameter, 1/n nats, cannot be told from none.
    return Shares(local, math.hypot(float(local.std(ddof=1)) / math.sqrt(len(local)), 1 / len(local)))


def _by_counts(x: Floats, y: Floats) -> Shares:
    return Shares(plugin(x, y), plugin_stderr(x, y))


def _by_ksg(x: Floats, y: Floats) -> Shares:
    return by_neighbours(*_scores_without_ties(x, y, 0))


def _gaussian_caution(x: Floats, y: Floats, _: Shares) -> str:
    bias = 0.5 * x.shape[1] * y.shape[1] / len(x)
    if bias < 0.1:
        return ""
    return f"{bias:.2f} nats of bias were subtracted: exact for Gaussian columns, else the rest of it may be large"


def _plugin_caution(x: Floats, y: Floats, _: Shares) -> str:
    distinct = len(codes(np.hstack([x, y]))[1])
    if distinct <= len(x) / 5:
        return ""
    return (
        f"{distinct} combinations of values in {len(x)} rows: too few rows to count each, and the value is far too "
        f"large for columns that are not discrete"
    )


def _ksg_caution(x: Floats, y: Floats, found: Shares) -> str:
    if found.gap <= max(0.1, 0.2 * abs(float(found.local.mean()))):
        # What not even the third neighbour shows, a comparison with the twelfth does not show either.
        many = x.shape[1] + y.shape[1] > 6
        dims = f"{x.shape[1]} + {y.shape[1]}"
        return f"neighbours in {dims} dimensions are far away, and may find nothing" if many else ""
    return (
        f"{FAR} neighbours measure much less than {NEAR}, so that even these are too far away: the value is too small, "
        f"and the upper end of its interval a guess at the loss"
    )


ESTIMATORS: dict[str, ClassicalEstimator] = {
    estimator.name: estimator
    for estimator in (
        ClassicalEstimator(
            "gaussian",
            _by_gaussian,
            "Ince et al. 2017, doi:10.1002/hbm.23471",
            "D³",
            "a reference: monotone relations, any dimension",
            _gaussian_caution,
        ),
        ClassicalEstimator(
            "plugin",
            _by_counts,
            "jackknifed: Zahl 1977, doi:10.2307/1936227",
            "N log N",
            "discrete columns on both sides, with many rows for each combination of values",
            _plugin_caution,
        ),
        ClassicalEstimator(
            "ksg",
            _by_ksg,
            "Kraskov et al. 2004, arXiv cond-mat/0305641",
            "N log N, in few dimensions",
            "a reference: up to about 5 dimensions, discrete columns",
            _ksg_caution,
        ),
    )
}
