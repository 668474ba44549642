"""`mutual_info`: scores of features, for `SelectKBest` and its like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from infomax.io.columns import Nominal
from infomax.io.samples import Missing, check_indexes
from infomax.isolation import isolated
from infomax.seeds import seed_of
from infomax.sklearn.terms import Terms
from infomax.statistics.marginals import Floats
from infomax.statistics.rank_tests import enough_draws


@overload
def mutual_info(
    X: Any,
    y: Any,
    *,
    nominal_x: Nominal = ...,
    nominal_y: bool | Literal["auto"] = ...,
    missing: Missing = ...,
    pvalues: Literal[False] = ...,
    random_state: Any = ...,
    n_jobs: int | None = ...,
) -> Floats: ...
@overload
def mutual_info(
    X: Any,
    y: Any,
    *,
    nominal_x: Nominal = ...,
    nominal_y: bool | Literal["auto"] = ...,
    missing: Missing = ...,
    pvalues: Literal[True],
    random_state: Any = ...,
    n_jobs: int | None = ...,
) -> tuple[Floats, Floats]: ...
def mutual_info(
    X: Any,
    y: Any,
    *,
    nominal_x: Nominal = "auto",
    nominal_y: bool | Literal["auto"] = "auto",
    missing: Missing = "raise",
    pvalues: bool = False,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Floats | tuple[Floats, Floats]:
    """Mutual information of each feature and the target, in nats: a ``score_func`` for ``SelectKBest``.

    It replaces both ``mutual_info_classif`` and ``mutual_info_regression``. The values are those of
    :func:`infomax.pairwise`: k-nearest neighbours on normal scores, with classes apart; counts where both columns are
    discrete. They are not clipped: without dependence they scatter around zero.

    Args:
        X: features, ``(N, D)``: an array, or a data frame with columns of any kind, as for :func:`infomax.estimate`.
        y: target, ``(N,)``: numbers, or classes of any kind.
        nominal_x: which features are names without an order: "auto" (text, and categories unless they are ordered), a
            bool, or their names or numbers.
        nominal_y: whether y holds classes. "auto": text, categories, and numbers each of which occurs five times or
            more on average, as the default of :func:`infomax.estimate` decides.
        missing: "raise", or "drop" to leave out, for each feature, the rows in which it or y lacks a value.
        pvalues: whether to return p-values, too, for ``SelectFdr``, ``SelectFpr`` and ``SelectFwe``: those of
            :func:`infomax.pairwise`, at least 1e-4.
        random_state: of the noise that breaks ties, and of permutations: an int, a ``numpy.random.Generator`` or a
            ``numpy.random.RandomState``. None: the same numbers each time.
        n_jobs: threads, as in scikit-learn; the numbers do not depend on it.

    Returns:
        scores, ``(D,)``, in nats; with ``pvalues``, a tuple of scores and p-values, ``(D,)`` each.

    Raises:
        ValueError: for different numbers of rows, fewer than 5 rows, missing values unless they are dropped, infinite
            values, several targets, indexes in another order, and an unknown column or option.
        TypeError: for sparse matrices, and columns of values of several kinds.

    >>> from functools import partial
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.feature_selection import SelectFdr, SelectKBest
    >>> X, y = load_iris(return_X_y=True)
    >>> SelectKBest(mutual_info, k=2).fit(X, y).get_support(indices=True).tolist()
    [2, 3]
    >>> SelectFdr(partial(mutual_info, pvalues=True)).fit(X, y).get_support().tolist()
    [True, True, True, True]
    """
    check_indexes({"X": X, "y": y}, stacklevel=3)
    terms = Terms.of(
        X, y, nominal_x=nominal_x, nominal_y=nominal_y, missing=missing, seed=seed_of(random_state=random_state)
    )
    scores = relevance(terms, n_jobs)
    if not pvalues:
        return scores
    with isolated():
        return scores, terms.pvalue(enough_draws(len(scores)))


def relevance(terms: Terms, n_jobs: int | None) -> Floats:
    """I(x_j; y) of each feature, ``(D,)``."""
    return np.array(applied(n_jobs)(lambda j, _: terms.relevance(j), [(j, 0) for j in range(terms.x.shape[1])]))


def applied(n_jobs: int | None) -> Callable[[Callable[[int, int], float], Sequence[tuple[int, int]]], list[float]]:
    """A function that applies a term to pairs of arguments, in threads: trees and sorts release Python's lock."""

    def apply(term: Callable[[int, int], float], arguments: Sequence[tuple[int, int]]) -> list[float]:
        with isolated():
            return list(Parallel(n_jobs=n_jobs, prefer="threads")(delayed(term)(*pair) for pair in arguments))

    return apply
