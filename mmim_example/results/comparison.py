"""Paired comparison of arms over seeds: differences with intervals, tests, a correction for their number, a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from mmim_example.results.metrics import LABELS

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Paired:
    """One arm against another, on the same seeds.

    Attributes:
        difference: mean of first − second. low, high: its t interval.
        t_pvalue: of the paired t test. wilcoxon_pvalue: of the signed-rank test. Both two-sided.
        n: seeds.
    """

    difference: float
    low: float
    high: float
    t_pvalue: float
    wilcoxon_pvalue: float
    n: int


def paired(a: Sequence[float] | Array, b: Sequence[float] | Array, *, level: float = 0.95) -> Paired:
    """Compare two arms seed by seed.

    Where all differences are the same number there is no spread, and the t test is undefined: the signed-rank test's
    p value stands in for it, and the interval is a point. If that number is 0, both p values are 1.

    Args:
        a: one value a seed.
        b: one value for each seed of ``a``, in the same order.
        level: of the interval.

    Raises:
        ValueError: for lengths that differ, fewer than two seeds, values that are not finite, and a level out of range.
    """
    x, y = _finite("a", a), _finite("b", b)
    if len(x) != len(y):
        raise ValueError(f"a must have as many values as b; got {len(x)} and {len(y)}")
    if len(x) < 2:
        raise ValueError(f"a must have two values or more; got {len(x)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    differences, n = x - y, len(x)
    difference = float(differences.mean())
    rounding = 1e-12 * max(np.abs(x).max(), np.abs(y).max())
    if np.abs(differences).max() <= rounding:
        return Paired(0.0, 0.0, 0.0, 1.0, 1.0, n)
    if np.ptp(differences) <= rounding:
        pvalue = float(stats.wilcoxon(np.full(n, difference)).pvalue)
        return Paired(difference, difference, difference, pvalue, pvalue, n)
    test = stats.ttest_rel(x, y)
    low, high = test.confidence_interval(level)
    pvalue = float(stats.wilcoxon(differences).pvalue)
    return Paired(difference, float(low), float(high), float(test.pvalue), pvalue, n)


def holm(pvalues: Sequence[float] | Array) -> list[float]:
    """Adjusted p values that keep the chance of *any* false finding among them below the level they are held to.

    The i-th smallest of m is multiplied by m − i + 1, and is no smaller than the one before (Holm, "A simple
    sequentially rejective multiple test procedure", 1979). Valid whatever the dependence between the tests.

    Args:
        pvalues: of all the tests that were made; in any order, which is kept.

    Raises:
        ValueError: for none, and values outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = _finite("pvalues", pvalues)
    if not len(p) or p.min() < 0 or p.max() > 1:
        raise ValueError(f"pvalues must be one or more numbers from 0 to 1; got {list(pvalues)}")
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return [float(value) for value in adjusted]


def detectable(sd_of_differences: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided paired t test on ``n`` seeds detects with this power.

    Exact for normal differences: by the noncentral t distribution.

    Args:
        sd_of_differences: standard deviation, over seeds, of the difference between the arms.
        n: seeds, two or more.
        power: chance that the difference is detected; above ``alpha``.
        alpha: chance that a difference of 0 is "detected".

    Raises:
        ValueError: for values out of range.

    >>> round(detectable(0.016, 20), 4)
    0.0106
    """
    if not 0 <= sd_of_differences < math.inf:
        raise ValueError(f"sd_of_differences must be 0 or more and finite; got {sd_of_differences}")
    if n < 2:
        raise ValueError(f"n must be 2 or more; got {n}")
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha and power must keep 0 < alpha < power < 1; got {alpha} and {power}")
    critical = stats.t.isf(alpha / 2, n - 1)

    def excess(shift: float) -> float:
        # SciPy has NaN for lower tails that are too small to matter.
        below = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
        return float(stats.nct.sf(critical, n - 1, shift) + below - power)

    high = 1.0
    while excess(high) < 0:
        high *= 2
    return float(optimize.brentq(excess, 0, high, xtol=1e-10)) * sd_of_differences / math.sqrt(n)


def table(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    baseline: str,
    metrics: Sequence[str],
    *,
    level: float = 0.95,
) -> str:
    """A Markdown table: each arm's metrics, and its first metric against the baseline's.

    The p values are of the paired t test, raw and corrected by Holm for the number of arms. They cover the *first*
    metric: name the one that was chosen beforehand. A dash stands for what an arm does not have, and for what cannot be
    computed because a run's value is NaN or there is one seed only.

    Args:
        results: arm → metric → one value a seed, in the same order of seeds for all.
        baseline: the arm to compare with.
        metrics: columns, the one to test first.
        level: of the intervals.

    Raises:
        ValueError: for an unknown baseline or metric, no metrics, and arms with different numbers of seeds.
    """
    _check_results(results, baseline, metrics)
    first, against = metrics[0], results[baseline].get(metrics[0], ())
    compared = {
        arm: paired(values[first], against, level=level)
        for arm, values in results.items()
        if arm != baseline and _comparable(values.get(first, ())) and _comparable(against)
    }
    corrected = dict(zip(compared, holm([c.t_pvalue for c in compared.values()]) if compared else [], strict=True))
    difference = f"{_label(first)}: difference to {baseline} [{level * 100:g} %]"
    lines = [["arm", *(_label(metric) for metric in metrics), difference, "p", "p (Holm)"]]
    for arm, values in results.items():
        line = [arm, *(_spread(values.get(metric, ())) for metric in metrics)]
        if arm in compared:
            c = compared[arm]
            interval = f"{_signed(c.difference)} [{_signed(c.low)}, {_signed(c.high)}]"
            line += [interval, _pvalue(c.t_pvalue), _pvalue(corrected[arm])]
        else:
            line += ["–", "–", "–"]
        lines.append(line)
    lines.insert(1, [":---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join(_row(line) for line in lines)


def _check_results(results: Mapping[str, Mapping[str, Sequence[float]]], baseline: str, metrics: Sequence[str]) -> None:
    if baseline not in results:
        raise ValueError(f"baseline must be one of {', '.join(results)}; got {baseline!r}")
    if not metrics:
        raise ValueError("metrics must name one or more; got none")
    known = list(dict.fromkeys(metric for values in results.values() for metric in values))
    for metric in metrics:
        if metric not in known:
            raise ValueError(f"metrics must be among {', '.join(known)}; got {metric!r}")
        seeds = {arm: len(values[metric]) for arm, values in results.items() if metric in values}
        if len(set(seeds.values())) > 1:
            raise ValueError(f"results must have as many seeds in every arm; got {seeds} for {metric!r}")


def _comparable(values: Sequence[float]) -> bool:
    return len(values) > 1 and bool(np.isfinite(values).all())


def _label(metric: str) -> str:
    return LABELS.get(metric, metric)


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if not len(values) or not np.isfinite(values).all():
        return "–"
    mean = f"{np.mean(values):.3f}".replace("-", "−")
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _pvalue(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _finite(name: str, values: Sequence[float] | Array) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a flat list of numbers; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got {array[~np.isfinite(array)][0]}")
    return array
