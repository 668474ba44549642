"""`MutualInfoSelector`: features that are informative together, as a transformer of scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from infomax.exceptions import InfomaxWarning
from infomax.io.columns import Nominal
from infomax.io.containers import table_names
from infomax.io.samples import Missing, check_indexes
from infomax.seeds import seed_of
from infomax.sklearn.criteria import Method, Selection, cmim, jmi, mrmr, univariate
from infomax.sklearn.score_function import applied, relevance
from infomax.sklearn.terms import LEAST_ROWS, Terms


class MutualInfoSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    r"""Select k features by mutual information with the target, and with each other.

    Scores of single features choose copies of each other, and miss features that are informative only together. The
    criteria here start with the feature of the largest :math:`I(x_j; y)`, then add one feature at a time, given the
    chosen ones S:

    - ``"jmi"``: largest mean over S of :math:`I(x_j, x_s; y)`;
    - ``"cmim"``: largest minimum over S of :math:`I(x_j; y \mid x_s)`: no redundant features;
    - ``"mrmr"``: largest :math:`I(x_j; y)` less the mean over S of :math:`I(x_j; x_s)`: fast, but without interactions;
    - ``"univariate"``: largest :math:`I(x_j; y)`.

    Terms are measured by k-nearest neighbours on normal scores, with classes and categories apart, or by counts where
    all columns are discrete. D features take D k terms ("jmi"; "cmim" at most), of some milliseconds for a thousand
    rows.

    Args:
        k: number of features to select, or "all" to rank them all.
        method: the criterion.
        nominal_x, nominal_y, missing, random_state, n_jobs: as for :func:`mutual_info`. With ``missing="drop"`` each
            term uses the rows in which its columns have values; ``transform`` passes missing values on.

    Attributes:
        scores_: :math:`I(x_j; y)` of each feature, ``(D,)``, in nats.
        order_: the selected features in the order of selection, ``(k,)``.
        criterion_: the criterion's value of each when it was selected, ``(k,)``, in nats.
        ranking_: the place of each feature in that order, from 1, ``(D,)``; k + 1 for features that are not selected.
        n_features_in_, feature_names_in_: as in scikit-learn.

    ``fit`` raises ValueError and TypeError as :func:`mutual_info`, and ValueError for an unknown method and a k that is
    not at least 1. A k above the number of features selects all, with a warning.

    Source: Brown et al., "Conditional likelihood maximisation: a unifying framework for information theoretic feature
    selection", 2012, JMLR 13:27-66; Yang and Moody 1999 (JMI), Fleuret 2004 (CMIM), Peng et al. 2005 (mRMR).

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 4))
    >>> X[:, 3] = X[:, 0] + 0.01 * rng.normal(size=500)  # nearly a copy
    >>> y = X[:, 0] + 0.5 * X[:, 1]
    >>> MutualInfoSelector(2).fit(X, y).get_support(indices=True).tolist()
    [0, 1]
    """

    def __init__(
        self,
        k: int | Literal["all"] = 10,
        *,
        method: Method = "jmi",
        nominal_x: Nominal = "auto",
        nominal_y: bool | Literal["auto"] = "auto",
        missing: Missing = "raise",
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.k = k
        self.method = method
        self.nominal_x = nominal_x
        self.nominal_y = nominal_y
        self.missing = missing
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any) -> MutualInfoSelector:
        """Select features of ``X (N, D)`` for the target ``y (N,)``."""
        if self.method not in get_args(Method):
            raise ValueError(f"method must be one of {', '.join(get_args(Method))}; got {self.method!r}")
        X, y = self._validated(X, y)
        terms = Terms.of(
            X,
            y,
            nominal_x=self.nominal_x,
            nominal_y=self.nominal_y,
            missing=self.missing,
            seed=seed_of(random_state=self.random_state),
        )
        k = self._number()
        self.scores_ = relevance(terms, self.n_jobs)
        found = self._selected(terms, k)
        self.order_, self.criterion_ = found.order, found.values
        self.ranking_ = np.full(self.n_features_in_, k + 1)
        self.ranking_[self.order_] = np.arange(1, k + 1)
        return self

    def _validated(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Arrays as scikit-learn checks them; data frames, whose columns may be of any kind, as they are."""
        if y is None or table_names(X) is None:
            finite: bool | str = "allow-nan" if self.missing == "drop" else True
            found: tuple[Any, Any] = validate_data(self, X, y, ensure_all_finite=finite, ensure_min_samples=LEAST_ROWS)
            return found
        validate_data(self, X, skip_check_array=True)
        check_indexes({"X": X, "y": y}, stacklevel=4)
        return X, y if table_names(y) is not None else column_or_1d(y, warn=True)

    def _number(self) -> int:
        features, k = int(self.n_features_in_), self.k
        if k == "all":
            return features
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k must be 'all' or a whole number of at least 1; got {k!r}")
        if k > features:
            text = f"k is {k}, but X has {features} features: all are selected"
            warnings.warn(text, InfomaxWarning, stacklevel=3)
        return min(int(k), features)

    def _selected(self, terms: Terms, k: int) -> Selection:
        apply = applied(self.n_jobs)
        useful = np.where(terms.constant, -np.inf, self.scores_)  # constant features last
        if self.method == "univariate" or terms.constant.all():
            return univariate(self.scores_, k)
        if self.method == "mrmr":
            return mrmr(useful, terms.redundancy, k, apply)
        return (jmi if self.method == "jmi" else cmim)(useful, terms.joint, k, apply)

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return np.asarray(self.ranking_ <= len(self.order_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = self.missing == "drop"
        return tags
