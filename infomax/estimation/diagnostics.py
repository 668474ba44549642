"""Diagnostics: reasons to treat an estimate with caution."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from infomax.exceptions import DependenceWarning, InfomaxWarning, SaturationWarning, TrainingWarning
from infomax.results.estimate import Estimate
from infomax.statistics.counts import copied_rows
from infomax.statistics.marginals import Floats
from infomax.statistics.relations import follow_exactly

#: A column with fewer distinct values than this counts as discrete.
_DISCRETE = 20
#: Nats below zero that independent samples do not explain.
_FAR_BELOW = 0.05
#: The largest p-value that shows dependence, and the smallest that shows none, where the value says otherwise.
_DEPENDENT, _INDEPENDENT = 0.01, 0.05
#: Standard errors of a value that no sampling error of independent samples explains.
_CLEARLY_ABOVE = 3.0


def judge_samples(x: Floats, y: Floats, density_of_x: bool, density_of_y: bool) -> Iterator[InfomaxWarning]:
    """Warnings from the samples alone, for an estimator that describes x, or y, by a density."""
    sides = [side for side, by_density in ((x, density_of_x), (y, density_of_y)) if by_density]
    described = [len(np.unique(column)) for side in sides for column in side.T]
    discrete = sum(count < min(_DISCRETE, len(x) // 2) for count in described)
    if discrete:
        yield InfomaxWarning(
            f"{discrete} of {len(described)} columns have fewer than {_DISCRETE} distinct values and so no density: "
            f"the value may exceed the truth; compare with 'infonce' or 'ksg'"
        )
    copied = copied_rows(x, y)
    if copied:
        yield DependenceWarning(
            f"{copied} rows are exact duplicates of others. If they are copies, they appear in training and in "
            f"held-out rows, and the value may be far too large: remove them, or pass groups=, a label for each row. "
            f"If the values are codes of categories without an order, it may be far too small: compare with 'plugin'"
        )
    if follow_exactly(x, y):
        yield SaturationWarning(
            "a column appears to be a deterministic function of the other side: the mutual information of continuous "
            "columns is then infinite, and the value shows only what this many rows can resolve"
        )


def judge_result(result: Estimate, measured: int) -> Iterator[InfomaxWarning]:
    """Warnings from an estimate in nats whose ``gap`` is its overfitting; ``measured`` rows were measured at a time."""
    if result.near_ceiling:
        yield SaturationWarning(
            f"near its ceiling ({measured} rows measured at a time): the bound is tight only with many more than "
            f"exp(2 MI) rows, and the truth may be much larger; compare with 'ba' or 'nwj', or use more rows"
        )
    elif result.ceiling is None and result.kind != "upper" and result.mi > math.log(measured):
        yield SaturationWarning(
            f"larger than log n ({measured} rows measured at a time): no method can certify such a value without "
            f"assumptions about the distribution (McAllester and Stratos 2020)"
        )
    if result.limit is not None and result.kind != "upper" and result.mi > result.limit:
        yield SaturationWarning(
            f"exceeds the entropy of a discrete variable ({result.limit:.3f} nats, sampling error included), which is "
            f"impossible; compare with other estimators"
        )
    if result.kind != "upper" and result.mi < -max(_FAR_BELOW, 3 * result.stderr):
        reason = "the fitted model does not generalise to held-out rows" if result.history else "too few rows"
        yield TrainingWarning(
            f"far below 0, which is impossible for mutual information: {reason}, and the value is not informative; use "
            f"more rows, or compare with other estimators"
        )
    yield from _judge_pvalue(result)
    large = max(0.1, 0.2 * abs(result.mi))
    if result.gap > large:
        yield TrainingWarning(
            "overfitting: much higher on training rows than on held-out rows; too few rows for this many columns, or "
            "for this many nats with this bound"
        )
    if -result.gap > large:
        yield TrainingWarning("a negative gap: much lower on training rows than on held-out rows; a few pairs dominate")
    if not math.isfinite(result.mi):
        yield TrainingWarning("the value is not finite: the bound gave NaN or infinity on held-out rows")
    elif any(fold.diverged for fold in result.history):
        yield TrainingWarning("training of some models diverged; they were measured at their last finite state")


def _judge_pvalue(result: Estimate) -> Iterator[InfomaxWarning]:
    """Warnings where the value and the test of independence contradict each other."""
    if result.pvalue is None:
        return
    if result.pvalue <= _DEPENDENT and result.mi <= result.stderr:
        in_blocks = result.structure is not None and result.structure.block_length is not None
        advice = "the test is approximate for time series" if in_blocks else "the truth is above 0"
        yield InfomaxWarning(
            f"the test of independence finds a dependence (p = {result.pvalue:.3g}) that the value does not show: the "
            f"model misses it, or it is weak; {advice}; use more rows, or compare with 'ksg'"
        )
    if result.pvalue > _INDEPENDENT and result.mi > _CLEARLY_ABOVE * result.stderr:
        yield InfomaxWarning(
            f"the interval excludes 0, but the test of independence finds no dependence (p = {result.pvalue:.3g}): the "
            f"value may be too large, or the test may not see this form of dependence; estimate again with the rows of "
            f"y in random order, which should give 0"
        )
