"""Paired comparison of arms over seeds: differences with intervals, tests, correction for multiple tests, a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from mmim_example.reading.files import Array
from mmim_example.results.metrics import LABELS


@dataclass(frozen=True)
class Paired:
    """The difference between two arms on the same seeds.

    Attributes:
        difference: mean of first − second.
        low, high: t interval of the difference.
        t_pvalue: two-sided, of the paired t test.
        wilcoxon_pvalue: two-sided, of the signed-rank test.
        n: number of seeds.
    """

    difference: float
    low: float
    high: float
    t_pvalue: float
    wilcoxon_pvalue: float
    n: int


def paired(a: Sequence[float] | Array, b: Sequence[float] | Array, *, level: float = 0.95) -> Paired:
    """Compare two arms seed by seed.

    If all differences are equal, the t test is undefined: its p value is then that of the signed-rank test, and the
    interval is a point. If all are 0, both p values are 1.

    Args:
        a: one value for each seed.
        b: one value for each seed, in the same order.
        level: nominal coverage of the interval.

    Raises:
        ValueError: if lengths differ, there are fewer than two seeds, values are not finite, or ``level`` is out of
            range.
    """
    x, y = _finite("a", a), _finite("b", b)
    if len(x) != len(y):
        raise ValueError(f"a must have as many values as b; got {len(x)} and {len(y)}")
    if len(x) < 2:
        raise ValueError(f"a must have at least two values; got {len(x)}")
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
    """P values adjusted by Holm's method, which controls the family-wise error rate under any dependence.

    The i-th smallest of m is multiplied by m − i + 1, and is at least as large as the one before (Holm, "A simple
    sequentially rejective multiple test procedure", 1979).

    Args:
        pvalues: those of all tests, in any order. The result has the same order.

    Raises:
        ValueError: if there are none, or one is outside [0, 1].

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

    Exact for normal differences, by the noncentral t distribution.

    Args:
        sd_of_differences: standard deviation, over seeds, of the difference between the arms.
        n: number of seeds, at least 2.
        power: probability of detecting the difference; larger than ``alpha``.
        alpha: significance level.

    Raises:
        ValueError: if a value is out of range.

    >>> round(detectable(0.016, 20), 4)
    0.0106
    """
    if not 0 <= sd_of_differences < math.inf:
        raise ValueError(f"sd_of_differences must be at least 0 and finite; got {sd_of_differences}")
    if n < 2:
        raise ValueError(f"n must be at least 2; got {n}")
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha and power must satisfy 0 < alpha < power < 1; got {alpha} and {power}")
    critical = stats.t.isf(alpha / 2, n - 1)

    def excess(shift: float) -> float:
        # SciPy returns NaN for negligible lower tails.
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
    """A Markdown table of each arm's metrics, and the difference of its first metric to the baseline.

    P values are those of the paired t test, without and with Holm's correction for the number of arms. They refer to
    the *first* metric, which should be chosen beforehand. A dash marks a metric that an arm does not have, and a value
    that is undefined because a run has NaN or there is only one seed.

    Args:
        results: arm → metric → one value for each seed, in the same order for all arms.
        baseline: the arm to compare with.
        metrics: columns; the first is tested.
        level: nominal coverage of the intervals.

    Raises:
        ValueError: if a baseline or metric is unknown, there are no metrics, or arms have different numbers of seeds.
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


def rows(results: Mapping[str, Mapping[str, Sequence[float]]], seeds: Sequence[int]) -> str:
    """A CSV table with a row for each arm, seed and metric: ``arm, seed, metric, value``; empty for NaN."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["arm", "seed", "metric", "value"])
    for arm, metrics in results.items():
        for metric, values in metrics.items():
            pairs = zip(seeds, values, strict=True)
            table.writerows([arm, seed, metric, "" if math.isnan(value) else value] for seed, value in pairs)
    return text.getvalue()


def _check_results(results: Mapping[str, Mapping[str, Sequence[float]]], baseline: str, metrics: Sequence[str]) -> None:
    if baseline not in results:
        raise ValueError(f"baseline must be one of {', '.join(results)}; got {baseline!r}")
    if not metrics:
        raise ValueError("metrics must name at least one; got none")
    known = list(dict.fromkeys(metric for values in results.values() for metric in values))
    for metric in metrics:
        if metric not in known:
            raise ValueError(f"metrics must be among {', '.join(known)}; got {metric!r}")
        seeds = {arm: len(values[metric]) for arm, values in results.items() if metric in values}
        if len(set(seeds.values())) > 1:
            raise ValueError(f"every arm must have the same number of seeds; got {seeds} for {metric!r}")


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
        raise ValueError(f"{name} must be one-dimensional; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got {array[~np.isfinite(array)][0]}")
    return array
