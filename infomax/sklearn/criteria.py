"""Greedy criteria of feature selection: which feature to add to those that are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from infomax.statistics.marginals import Floats

Method = Literal["jmi", "cmim", "mrmr", "univariate"]
#: The mutual information of a feature, given its number and that of a chosen one.
Term = Callable[[int, int], float]
#: Applies a function to pairs of arguments, possibly in parallel, and returns the results in order.
Apply = Callable[[Term, Sequence[tuple[int, int]]], list[float]]

#: Features that :func:`cmim` examines at a time.
_AT_A_TIME = 8


@dataclass(frozen=True, eq=False)
class Selection:
    """Features in the order in which they were chosen, ``(k,)``, and the criterion's value of each then, ``(k,)``."""

    order: NDArray[np.int64]
    values: Floats


def univariate(relevance: Floats, k: int) -> Selection:
    """The features of the largest I(x_j; y)."""
    order = np.argsort(-relevance, kind="stable")[:k]
    return Selection(order, relevance[order])


def jmi(relevance: Floats, joint: Term, k: int, apply: Apply) -> Selection:
    r"""Joint mutual information: the mean over the chosen features x_s of :math:`I(x_j, x_s; y)`.

    Args:
        relevance: I(x_j; y) of each feature, ``(D,)``, which decides the first one; -inf for features to add last.
        joint: I(x_j, x_s; y). k: how many to choose.

    Source: Yang and Moody, "Data visualization and feature selection", 1999 (NIPS 12); Brown et al., "Conditional
    likelihood maximisation", 2012, JMLR 13:27-66, which finds it the best compromise among such criteria.
    """
    total = np.zeros(len(relevance))

    def criterion(chosen: list[int], left: list[int]) -> Floats:
        total[left] += apply(joint, [(j, chosen[-1]) for j in left])
        return np.asarray(total[left] / len(chosen))

    return _greedy(relevance, k, criterion)


def mrmr(relevance: Floats, redundancy: Term, k: int, apply: Apply) -> Selection:
    r"""Maximum relevance, minimum redundancy: :math:`I(x_j; y)` less the mean over the chosen x_s of I(x_j; x_s).

    It does not see interactions, such as an exclusive-or.

    Source: Peng, Long and Ding, "Feature selection based on mutual information", 2005, doi:10.1109/TPAMI.2005.159.
    """
    total = np.zeros(len(relevance))

    def criterion(chosen: list[int], left: list[int]) -> Floats:
        total[left] += apply(redundancy, [(j, chosen[-1]) for j in left])
        return np.asarray(relevance[left] - total[left] / len(chosen))

    return _greedy(relevance, k, criterion)


def cmim(relevance: Floats, joint: Term, k: int, apply: Apply) -> Selection:
    r"""Conditional mutual information maximisation: the minimum over the chosen x_s of :math:`I(x_j; y \mid x_s)`.

    :math:`I(x_j; y \mid x_s) = I(x_j, x_s; y) - I(x_s; y)`. The value of a feature only decreases as features are
    chosen, so terms of features that cannot be the next one are not computed.

    Source: Fleuret, "Fast binary feature selection with conditional mutual information", 2004, JMLR 5:1531-1555.
    """
    least, seen = np.full(len(relevance), np.inf), np.zeros(len(relevance), dtype=np.int64)

    def criterion(chosen: list[int], left: list[int]) -> Floats:
        places = np.array(left)
        while True:
            done = seen[places] == len(chosen)
            best = least[places[done]].max(initial=-np.inf)
            open_ones = places[~done & (least[places] >= best)]
            if not len(open_ones):
                return np.where(done, least[places], -np.inf)
            some = open_ones[np.argsort(-least[open_ones], kind="stable")[:_AT_A_TIME]].tolist()
            found = apply(joint, [(j, chosen[seen[j]]) for j in some])
            for j, value in zip(some, found, strict=True):
                least[j] = min(least[j], value - relevance[chosen[seen[j]]])
                seen[j] += 1

    return _greedy(relevance, k, criterion)


def _greedy(relevance: Floats, k: int, criterion: Callable[[list[int], list[int]], Floats]) -> Selection:
    """Start with the most relevant feature, then add the one of the largest criterion; the first of equal ones."""
    usable = np.isfinite(relevance)
    order = [int(relevance.argmax())]
    values = [float(relevance[order[0]])]
    while len(order) < min(k, int(usable.sum())):
        left = [j for j in np.flatnonzero(usable).tolist() if j not in order]
        found = criterion(order, left)
        order.append(left[int(found.argmax())])
        values.append(float(found.max()))
    rest = [j for j in range(len(relevance)) if j not in order][: k - len(order)]
    return Selection(np.array(order + rest), np.array(values + [0.0] * len(rest)))
