"""k-nearest neighbours: the estimate of Kraskov, Stögbauer and Grassberger (KSG)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infomax.estimators.base import Estimator, Measurement, register
from infomax.estimators.problem import Problem
from infomax.exceptions import InfomaxWarning
from infomax.progress import no_progress
from infomax.statistics.labels import Booleans
from infomax.statistics.marginals import Floats, Margins, fit_margins
from infomax.statistics.neighbours import NO_ORDERS, Orders, ksg_terms, near_and_far_terms, tie_breaker
from infomax.statistics.ordering import in_order

#: Neighbours of the estimate, and of the one that it is compared with; rows that are compared where there are many.
NEAR, FAR, _COMPARED = 3, 12, 1 << 13
#: A column with fewer values than this is one of labels, which have no scale.
_LABELS = 20


@dataclass(frozen=True, eq=False)
class NeighbourShares:
    """The estimates with k and with another number of neighbours, in nats.

    Attributes:
        local: each pair's share with k, ``(N,)``; their mean is the estimate.
        stderr: its standard error. gap: its bias, at most, as the comparison shows it.
        far: shares with the other number, ``(M,)``, of the rows ``rows (M,)``.
    """

    local: Floats
    stderr: float
    gap: float
    far: Floats
    rows: NDArray[np.int64]


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

    >>> x, noise = np.random.default_rng(0).normal(size=(2, 5000, 1))
    >>> shares = ksg(x, x + noise / 2)  # log(5) / 2 = 0.80 nats
    >>> shares.shape, round(shares.mean(), 1)
    ((5000,), np.float64(0.8))
    """
    if not 1 <= neighbours < len(x):
        raise ValueError(f"neighbours must lie in 1..{len(x) - 1}; got {neighbours}")
    if not in_order(x, y):  # as `estimate` does, so that both give the same bits
        x, y = y, x
    u, v = _scores_without_ties(x, y, seed=seed)
    return ksg_terms(u, v, neighbours, workers=workers)


def _scores_without_ties(
    *sides: Floats, seed: int, margins: Margins = "normal", nominal: Sequence[Booleans] | None = None
) -> list[Floats]:
    """The columns with a little noise: normal scores, or on their own scale, where different labels are far apart.

    Args:
        nominal: which columns of each side are nominal: their categories are far apart on every scale.
    """
    rng = np.random.default_rng(seed)
    scores = [fit_margins(values, margins)(values) for values in sides]
    if margins != "normal":
        scores = _with_labels_apart(scores)
    if nominal is not None:
        scores = categories_apart(scores, sides, nominal)
    spreads = [_spread(values) if margins == "none" else 1.0 for values in scores]
    return [values + spread * tie_breaker(values.shape, rng) for values, spread in zip(scores, spreads, strict=True)]


def categories_apart(scores: Sequence[Floats], sides: Sequence[Floats], nominal: Sequence[Booleans]) -> list[Floats]:
    """Codes of nominal columns in steps larger than any distance in the other columns (Ross 2014).

    Args:
        scores: the columns as they are measured. sides: the codes. nominal: which columns are nominal.
    """
    others = [values[:, ~flags] for values, flags in zip(scores, nominal, strict=True)]
    step = 4 * max((float(np.abs(values).max()) for values in others if values.size), default=1.0)
    return [np.where(flags, step * codes, values) for values, codes, flags in zip(scores, sides, nominal, strict=True)]


def _with_labels_apart(sides: Sequence[Floats]) -> list[Floats]:
    """In a unit in which no value exceeds 1; columns of few values are codes that differ by more than all others."""
    _, power = np.frexp(max(float(np.abs(values).max()) for values in sides))
    scaled = [np.ldexp(values, -power) for values in sides]
    for values in scaled:
        for column in values.T:
            codes, counts = np.unique(column, return_inverse=True, return_counts=True)[1:]
            if len(counts) < min(_LABELS, len(column) / 5):
                column[:] = 4 * codes
    return scaled


def _spread(values: Floats) -> Floats:
    """The median distance of each column from its median, without rows that equal it, ``(D,)``."""
    apart = np.abs(values - np.median(values, axis=0))
    return np.array([np.median(column[column > 0]) if column.any() else 0.0 for column in apart.T])


def compared_with(neighbours: int, n: int) -> int:
    """The number of neighbours whose estimate shows the bias of that with ``neighbours``: four times as many.

    A fourth as many where ``n`` rows are too few.

    >>> compared_with(3, 1000), compared_with(300, 1000)
    (12, 75)
    """
    ratio = FAR // NEAR
    return ratio * neighbours if ratio * neighbours < n else max(1, neighbours // ratio)


def by_neighbours(
    u: Floats,
    v: Floats,
    *,
    given: Floats | None = None,
    neighbours: int = NEAR,
    seed: int = 0,
    orders: Orders = NO_ORDERS,
) -> NeighbourShares:
    r""":func:`ksg` of samples without ties, such as normal scores with noise, with standard error and bias.

    The interval accounts for two effects. The variance of a pair's local value is raised by :math:`\psi'(k)`, since
    neighbours share the noise of their counts. The bias is extrapolated: the estimator assumes a constant density
    within the distance of the k-th neighbour, and the loss from that grows with the distance, like
    :math:`(k / N)^{1 / D}` at edges and more steeply elsewhere, in D = Dx + Dy dimensions. So the loss with 4 k
    neighbours is at least :math:`4^{1 / D}` times that with k, and the loss with k is at most the difference of the two
    estimates divided by :math:`4^{1 / D} - 1`. With more than a fourth of the rows as neighbours, k is compared with
    k / 4 in the same way.

    Args:
        u: ``(N, Du)``. v: ``(N, Dv)``. given: ``(N, Dw)``, for the conditional mutual information given w
            (:func:`infomax.statistics.neighbours.near_and_far_terms`). neighbours: k, in 1..N-1. seed: of the rows that
            are compared, where there are many. orders: as for :func:`infomax.statistics.ksg_terms`.

    >>> x, noise = np.random.default_rng(0).normal(size=(2, 5000, 1))
    >>> found = by_neighbours(x, x + noise / 2)  # log(5) / 2 = 0.80 nats
    >>> abs(found.local.mean() - 0.80) < 3 * found.stderr + found.gap
    np.True_
    """
    from scipy.special import polygamma  # noqa: PLC0415 - loaded on first use

    n, dim = len(u), u.shape[1] + v.shape[1] + (0 if given is None else given.shape[1])
    other = compared_with(neighbours, n)
    rows = np.arange(n)
    if n > 2 * _COMPARED:
        rows = np.sort(np.random.default_rng(seed).choice(n, _COMPARED, replace=False))
    local, compared = near_and_far_terms(u, v, neighbours, other, rows, given=given, orders=orders)
    stderr = math.sqrt((float(local.var(ddof=1)) + float(polygamma(1, neighbours))) / n)
    lost = float((local[rows] - compared).mean()) / ((other / neighbours) ** (1 / dim) - 1)
    return NeighbourShares(local, stderr, max(0.0, lost), far=compared, rows=rows)


@register("ksg")
class KSG(Estimator):
    """:func:`by_neighbours` of the samples' normal scores, or of the samples on the scale of ``margins``.

    On normal scores it does not depend on units and outliers, but a gap between two ranges of values is closed. With
    ``margins="standard"`` (as scikit-learn) or ``"none"`` distances are those of the samples; rows with different
    values of a column of fewer than 20 values are then no neighbours (Ross 2014, doi:10.1371/journal.pone.0087357).
    """

    reference = "Kraskov et al. 2004, arXiv cond-mat/0305641"
    cost = "N log N, in few dimensions"
    use_when = "a reference: up to about 5 dimensions, discrete columns"
    counts_neighbours = True
    conditional = True
    takes_codes = True

    def check(self, problem: Problem) -> None:
        n, neighbours = len(problem.x), problem.n_neighbors
        if neighbours is not None and neighbours >= n:
            raise ValueError(f"n_neighbors must lie in 1..{n - 1}, as there are {n} rows; got {neighbours}")

    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        neighbours = problem.n_neighbors or NEAR
        given = () if problem.given is None else (problem.given,)
        sides = (problem.x, problem.y, *given)
        u, v, *w = _scores_without_ties(*sides, seed=0, margins=problem.margins, nominal=problem.nominal)
        shares = by_neighbours(u, v, given=w[0] if w else None, neighbours=neighbours)
        dim = sum(side.shape[1] for side in (u, v, *w))
        value = float(shares.local.mean())
        remarks: tuple[InfomaxWarning, ...] = ()
        if shares.gap > max(0.1, 0.2 * abs(value)):
            near, far = sorted([neighbours, compared_with(neighbours, len(problem.x))])
            text = (
                f"the estimate with k = {far} is far below that with k = {near}: KSG is biased low here, and the upper "
                f"limit unreliable"
            )
            remarks = (InfomaxWarning(text),)
        elif dim > 6:
            # Information that is lost even with the fewest neighbours does not show in the comparison.
            text = f"nearest neighbours are far away in {dim} dimensions: KSG may miss most of the mutual information"
            remarks = (InfomaxWarning(text),)
        return Measurement(value, shares.stderr, shares.gap, shares.local, remarks=remarks)
