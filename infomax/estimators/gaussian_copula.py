"""The Gaussian copula in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from infomax.estimators.base import Estimator, Measurement, register
from infomax.estimators.problem import Problem
from infomax.exceptions import InfomaxWarning
from infomax.isolation import isolated
from infomax.progress import no_progress
from infomax.statistics.gaussian import couple
from infomax.statistics.marginals import Floats, normal_scores


@isolated()
def gaussian_copula(x: Floats, y: Floats) -> Floats:
    r"""Mutual information of the Gaussian copula: exact where monotone maps of the coordinates make (x, y) Gaussian.

    Every column is replaced by its normal scores; then :math:`-\tfrac12 \sum_k \log(1 - s_k^2)` over the canonical
    correlations, less the exact bias of log-determinants of Gaussian samples. Blind to dependence without correlation.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``.

    Returns:
        each pair's share of the estimate, ``(N,)``, in nats.

    Raises:
        ValueError: unless N exceeds Dx + Dy + 1.

    Source: Ince et al., "A statistical framework for neuroimaging data analysis based on mutual information estimated
    via a Gaussian copula", 2017, doi:10.1002/hbm.23471.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(5000, 1))
    >>> round(float(gaussian_copula(x, x + np.random.default_rng(1).normal(size=(5000, 1))).mean()), 2)
    0.34
    """
    n, dims = len(x), (x.shape[1], y.shape[1])
    if n <= sum(dims) + 1:
        raise ValueError(f"x must have more than Dx + Dy + 1 = {sum(dims) + 1} rows for a Gaussian copula; got {n}")
    u, v = (torch.from_numpy(normal_scores(values)) for values in (x, y))
    coupling = couple(u, v)
    degrees = n - torch.arange(1, sum(dims) + 1, dtype=torch.float64)
    bias = 0.5 * (torch.digamma(degrees / 2) - degrees.new_tensor((n - 1) / 2).log())
    correction = bias[: dims[0]].sum() + bias[: dims[1]].sum() - bias.sum()
    return np.asarray((coupling.log_ratio(u, v) - correction).numpy())


@register("gaussian")
class GaussianCopula(Estimator):
    """:func:`gaussian_copula`, with the standard error of the mean of its local values."""

    reference = "Ince et al. 2017, doi:10.1002/hbm.23471"
    cost = "D³"
    use_when = "a reference: monotone relations, any dimension"
    densities = (True, True)

    def measure(self, problem: Problem, tick: Callable[[int], None] = no_progress) -> Measurement:
        local = gaussian_copula(problem.x, problem.y)
        n = len(local)
        # Information below 1/n nats, worth one parameter, is indistinguishable from zero.
        stderr = math.hypot(float(local.std(ddof=1)) / math.sqrt(n), 1 / n)
        bias = 0.5 * math.prod(problem.dims) / n
        remark = InfomaxWarning(
            f"{bias:.2f} nats of bias were subtracted: this is exact for Gaussian columns; for others, much of it may "
            f"remain"
        )
        return Measurement(float(local.mean()), stderr, local=local, remarks=() if bias < 0.1 else (remark,))
