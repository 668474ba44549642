"""Metrics of sentiment regression and of classification, and bootstrap confidence intervals.

They equal those of scikit-learn, which check their input in each call: 2,000 resamples of MOSI's test split would take
25 s instead of 0.7 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmim_example.reading.files import Array

#: Labels this far beyond a limit are at it: 0.7 in float32 is not 0.7 in float64.
_TOLERANCE = 1e-6
#: Names of metrics in tables.
LABELS = {
    "mae": "MAE",
    "corr": "Corr",
    "acc7": "Acc-7",
    "acc5": "Acc-5",
    "acc3": "Acc-3",
    "acc2_zero": "Acc-2, with zeros",
    "f1_zero": "F1, with zeros",
    "acc2": "Acc-2, no zeros",
    "f1": "F1, no zeros",
    "acc2_sims": "Acc-2",
    "f1_sims": "F1",
    "accuracy": "Accuracy",
    "f1_macro": "F1, macro",
    "f1_weighted": "F1, weighted",
    "cross_entropy": "Cross-entropy",
}


def regression(predictions: Array, labels: Array) -> dict[str, float]:
    """The metrics in MOSI and MOSEI tables.

    More than one convention is in use. These are ours:

    - Acc-7 clips predictions and labels to [-3, 3], and Acc-5 to [-2, 2]. Both then round half to even: 0.5 becomes 0,
      and 1.5 becomes 2.
    - "With zeros" compares negative with non-negative on all rows. A 0 is non-negative, predicted or true.
    - "No zeros" compares negative with positive, without rows whose label is 0. A prediction of 0 counts as negative.
    - F1 is the mean of both classes' F1, weighted by the *true* frequency of each class.

    Args:
        predictions: ``(N,)``.
        labels: ``(N,)``.

    Returns:
        ``mae``; ``corr`` (Pearson; NaN if either side is constant); ``acc7``, ``acc5``; ``acc2_zero``, ``f1_zero`` with
        zeros; ``acc2``, ``f1`` without (NaN if every label is 0). Accuracies and F1 lie in [0, 1].

    Raises:
        ValueError: if shapes differ, there are no rows, or values are not finite.

    >>> found = regression(np.array([0.4, -1.2, 2.6, 0.1]), np.array([1.0, -1.0, 3.0, 0.0]))
    >>> round(found["mae"], 3), found["acc7"], found["acc2_zero"]
    (0.325, 0.75, 1.0)
    """
    x, y = _numbers("predictions", predictions, 1), _numbers("labels", labels, 1)
    _same_rows(x, y)
    acc2_zero, f1_zero = _binary(x >= 0, y >= 0)
    kept = y != 0
    acc2, f1 = _binary(x[kept] > 0, y[kept] > 0)
    return {
        "mae": float(np.abs(x - y).mean()),
        "corr": _pearson(x, y),
        "acc7": _rounded_accuracy(x, y, 3),
        "acc5": _rounded_accuracy(x, y, 2),
        "acc2_zero": acc2_zero,
        "f1_zero": f1_zero,
        "acc2": acc2,
        "f1": f1,
    }


#: The upper limits of all classes but the last in CH-SIMS, for its accuracies of 2, 3 and 5 classes.
_SIMS = {"acc2_sims": (0.0,), "acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}


def sims(predictions: Array, labels: Array) -> dict[str, float]:
    """The metrics in CH-SIMS tables, whose labels lie in [-1, 1]. Predictions are clipped to this range first.

    Classes are intervals that are open below and closed above: Acc-2 has [-1, 0] and (0, 1]; Acc-3 [-1, -0.1],
    (-0.1, 0.1] and (0.1, 1]; Acc-5 [-1, -0.7], (-0.7, -0.1], (-0.1, 0.1], (0.1, 0.7] and (0.7, 1]. Both limits of a
    class are compared with a tolerance of 1e-6, because labels are stored in float32.

    Args:
        predictions: ``(N,)``.
        labels: ``(N,)``.

    Returns:
        ``mae``, ``corr``, ``acc5``, ``acc3``, ``acc2_sims``, and ``f1_sims``: the F1 of the two classes of Acc-2,
        weighted by true frequency.

    Raises:
        ValueError: as :func:`regression`, and for labels beyond [-1, 1].

    Source: Yu et al., "CH-SIMS", ACL 2020, with the intervals of ``thuiar/MMSA``.
    """
    x, y = _numbers("predictions", predictions, 1).clip(-1, 1), _numbers("labels", labels, 1)
    _same_rows(x, y)
    if np.abs(y).max() > 1 + _TOLERANCE:
        raise ValueError(f"labels must lie in -1..1 for the metrics of CH-SIMS; got {y[np.abs(y).argmax()]:g}")
    found = {"mae": float(np.abs(x - y).mean()), "corr": _pearson(x, y)}
    for name, limits in reversed(_SIMS.items()):
        classes = [np.searchsorted(np.array(limits) + _TOLERANCE, side) for side in (x, y)]
        found[name] = float((classes[0] == classes[1]).mean())
    return found | {"f1_sims": _binary(x > _TOLERANCE, y > _TOLERANCE)[1]}


def classification(scores: Array, labels: Array) -> dict[str, float]:
    """Accuracy, F1 and cross-entropy of class scores.

    Args:
        scores: ``(N, C)``, unnormalised log-probabilities. The prediction is the largest, and the first of equal ones.
        labels: ``(N,)``, integers from 0 to C - 1.

    Returns:
        ``accuracy``; ``f1_macro``, the mean over classes that occur as prediction or label; ``f1_weighted``, the mean
        weighted by true frequency; ``cross_entropy`` in nats.

    Raises:
        ValueError: if shapes differ, there are no rows, values are not finite, or a label is not a class.
    """
    s, y = class_scores(scores, labels)
    table = confusion(s.argmax(1), y, s.shape[1])
    macro, weighted = _f1(table)
    top = s.max(1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(s - top).sum(1))
    return {
        "accuracy": float(np.trace(table) / len(y)),
        "f1_macro": macro,
        "f1_weighted": weighted,
        "cross_entropy": float((log_total - s[np.arange(len(y)), y]).mean()),
    }


def class_scores(scores: Array, labels: Array) -> tuple[Array, Array]:
    """Scores as float64, and labels as integers.

    Raises:
        ValueError: as :func:`classification`.
    """
    s, y = _numbers("scores", scores, 2), _numbers("labels", labels, 1)
    _same_rows(s, y, "scores")
    classes = s.shape[1]
    wrong = y[(y != np.floor(y)) | (y < 0) | (y >= classes)]
    if wrong.size:
        raise ValueError(f"labels must be integers from 0 to {classes - 1}; got {wrong[0]:g}")
    return s, y.astype(np.int64)


def confusion(guesses: Array, labels: Array, classes: int) -> Array:
    """Confusion matrix ``(classes, classes)``: the number of rows of class i that are predicted as class j."""
    return np.bincount(labels * classes + guesses, minlength=classes**2).reshape(classes, classes)


def bootstrap(
    metric_function: Callable[[Array, Array], Mapping[str, float]],
    predictions: Array,
    labels: Array,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
    groups: Sequence[Any] | Array | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of each metric, by resampling rows, or groups of rows, with replacement.

    Utterances of one video are not independent: without ``groups`` their intervals are too narrow. With few groups
    (below about 30), percentile intervals are too narrow in any case. They describe how the metrics of *this* model
    vary with the test data, not how training varies with the seed.

    Args:
        metric_function: :func:`regression`, :func:`classification`, or a similar function.
        predictions: ``(N,)`` or ``(N, C)``.
        labels: ``(N,)``.
        level: nominal coverage.
        resamples: number of resamples.
        seed: random seed.
        groups: ``(N,)``, the group of each row, for example its video. Groups are resampled as a whole.

    Returns:
        Metric → (low, high). Resamples in which a metric is NaN are ignored. Both ends are NaN if none is left, or if
        there is only one row or group.

    Raises:
        ValueError: if lengths differ, there are no rows, a value is NaN, or ``level`` or ``resamples`` is out of range.
    """
    x, y = np.asarray(predictions), np.asarray(labels)
    _same_rows(x, y)
    if not len(y):
        raise ValueError("labels must have at least one row; got none")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; got {resamples}")
    units = _units(groups, len(y))
    if len(units) == 1:
        return dict.fromkeys(metric_function(x, y), (np.nan, np.nan))
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        picked = rng.integers(len(units), size=len(units))
        rows = picked if groups is None else np.concatenate([units[i] for i in picked])
        for name, value in metric_function(x[rows], y[rows]).items():
            drawn.setdefault(name, []).append(value)
    return {name: _interval(np.array(values), level) for name, values in drawn.items()}


def _units(groups: Sequence[Any] | Array | None, n: int) -> Sequence[Array]:
    """The rows of each group; single rows without groups."""
    if groups is None:
        return np.arange(n)[:, None]  # type: ignore[return-value]
    if len(groups) != n:
        raise ValueError(f"groups must have as many rows as labels; got {len(groups)} and {n}")
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])


def _interval(values: Array, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pearson(x: Array, y: Array) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def _rounded_accuracy(x: Array, y: Array, limit: int) -> float:
    return float((np.round(x.clip(-limit, limit)) == np.round(y.clip(-limit, limit))).mean())


def _binary(guesses: Array, labels: Array) -> tuple[float, float]:
    """Accuracy and weighted F1; NaN if there are no rows."""
    if not labels.size:
        return float("nan"), float("nan")
    table = confusion(guesses.astype(np.int64), labels.astype(np.int64), 2)
    return float(np.trace(table) / len(labels)), _f1(table)[1]


def _f1(table: Array) -> tuple[float, float]:
    """Macro and weighted F1 of a confusion matrix."""
    true, guessed, right = table.sum(1), table.sum(0), np.diag(table)
    seen = true + guessed > 0
    f1 = 2 * right[seen] / (true + guessed)[seen]
    return float(f1.mean()), float(f1 @ true[seen] / true.sum())


def _numbers(name: str, values: Array, dimensions: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must be of shape {'(N,)' if dimensions == 1 else '(N, C)'}; got {array.shape}")
    if not array.size:
        raise ValueError(f"{name} must have at least one row; got {'none' if dimensions == 1 else array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        raise ValueError(f"{name} must be finite; got {np.count_nonzero(~finite)} values that are not")
    return array


def _same_rows(x: Array, y: Array, name: str = "predictions") -> None:
    if len(x) != len(y):
        raise ValueError(f"{name} must have as many rows as labels; got {len(x)} and {len(y)}")
