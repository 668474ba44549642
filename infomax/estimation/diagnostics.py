"""What a reader should know before believing a number."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from infomax.io.samples import Floats, InfomaxWarning
from infomax.results.estimate import Estimate
from infomax.statistics.counts import copied_rows
from infomax.statistics.relations import follow_exactly

#: A column with fewer distinct values than this counts as discrete.
_DISCRETE = 20
#: Nats below zero that independent samples do not explain.
_FAR_BELOW = 0.05


class SaturationWarning(InfomaxWarning):
    """The estimate is so large that this many rows cannot support it, or its ceiling hides the rest."""


class TrainingWarning(InfomaxWarning):
    """Training diverged, or the bound says something else of the rows that trained it than of others."""


class SubsampleWarning(InfomaxWarning):
    """Not all rows were used, or measured, but some of them, drawn at random."""


def judge_samples(x: Floats, y: Floats, density_of_x: bool, density_of_y: bool) -> Iterator[InfomaxWarning]:
    """What the samples alone say against an estimate that describes x, or y, by a density."""
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
        yield InfomaxWarning(
            f"{copied} rows repeat others exactly: if they are copies, which stand on both sides of the split, the "
            f"value may be far too large, so remove them; if values are codes of categories, whose order says nothing, "
            f"it may be far too small, so compare with 'plugin'"
        )
    if follow_exactly(x, y):
        yield SaturationWarning(
            "a column follows exactly from the other side, as far as these rows show: the mutual information of "
            "continuous columns is then infinite, and the value says only how much of it so many rows can show"
        )


def judge_training(trained: bool, what: str) -> Iterator[InfomaxWarning]:
    """What is said where rows were too few to train on; ``what`` is in the value all the same."""
    if not trained:
        yield TrainingWarning(
            f"no network was trained: the rows are too few to say when to stop one; the value and its interval know of "
            f"no more than {what}"
        )


def judge_result(result: Estimate, measured: int) -> Iterator[InfomaxWarning]:
    """What an estimate in nats says against itself; ``measured`` rows were measured at a time."""
    if result.near_ceiling:
        yield SaturationWarning(
            f"near its ceiling ({measured} rows measured at a time): it needs many more than exp(2 MI) rows to be "
            f"tight, and the truth may be much larger; compare with 'ba' or 'nwj', or use more rows"
        )
    elif result.ceiling is None and result.kind != "upper" and result.mi > math.log(measured):
        yield SaturationWarning(
            f"larger than log n ({measured} rows measured at a time): no such value can be certified without "
            f"assumptions about the distribution (McAllester and Stratos 2020)"
        )
    if result.limit is not None and result.kind != "upper" and result.mi > result.limit:
        yield SaturationWarning(
            f"larger than the entropy of a discrete side ({result.limit:.3f} nats, sampling error included), which no "
            f"mutual information is; compare with other estimators"
        )
    if result.kind != "upper" and result.mi < -max(_FAR_BELOW, 3 * result.stderr):
        reason = "what was learned misleads on rows that did not train it" if result.history else "too few rows"
        yield TrainingWarning(
            f"far below 0, which no mutual information is: {reason}, and the value says nothing; use more rows, or "
            f"compare with other estimators"
        )
    large = max(0.1, 0.2 * abs(result.mi))
    if result.gap > large:
        yield TrainingWarning(
            "a large gap: training rows give much more than others; too few rows for this many columns, or for this "
            "many nats by this bound"
        )
    if -result.gap > large:
        yield TrainingWarning("a negative gap: training rows give much less than others; a few pairs dominate")
    if any(fold.diverged for fold in result.history):
        yield TrainingWarning("training of some models diverged, which were measured as they stood before")
