"""The plug-in estimate from counts of discrete values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from infomax.estimators.base import Estimator, Measurement, register
from infomax.estimators.problem import Problem
from infomax.exceptions import InfomaxWarning
from infomax.progress import no_progress
from infomax.statistics.counts import codes, plugin, plugin_stderr


@register("plugin")
class PlugIn(Estimator):
    """:func:`infomax.statistics.plugin`: entropies of the observed frequencies, bias-corrected by the jackknife."""

    reference = "jackknifed: Zahl 1977, doi:10.2307/1936227"
    cost = "N log N"
    use_when = "discrete columns on both sides, with many rows for each combination of values"
    takes_codes = True

    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        x, y = problem.x, problem.y
        local = plugin(x, y)
        distinct = len(codes(np.hstack([x, y]))[1])
        remark = InfomaxWarning(
            f"{distinct} combinations of values in {len(x)} rows: too few rows to count each; for columns that are not "
            f"discrete the value is far too large"
        )
        remarks = () if distinct <= len(x) / 5 else (remark,)
        return Measurement(float(local.mean()), plugin_stderr(x, y), local=local, remarks=remarks)
