"""Estimators with nothing to train: the Gaussian copula in closed form, nearest neighbours, and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from infomax.counting import codes, plugin, plugin_stderr
from infomax.gaussian import couple
from infomax.margins import normal_scores
from infomax.neighbours import ksg_terms

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassicalEstimator:
    """A closed-form or neighbour estimator: ``measure(x, y)`` gives ``(N,)`` nats whose mean is the estimate."""

    name: str
    measure: Callable[[Floats, Floats], Floats]
    reference: str
    cost: str
    use_when: str
    #: What to say of samples x and y before the number is believed; empty: nothing.
    caution: Callable[[Floats, Floats], str]
    #: Of the estimate, in nats; where there is none, that of a mean over rows.
    stderr: Callable[[Floats, Floats], float] | None = None
    kind = "estimate"
    ceiling_formula = "none"


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


def ksg(x: Floats, y: Floats, *, neighbours: int = 3, seed: int = 0, workers: int = 1) -> Floats:
    r"""Nearest-neighbour estimate (Kraskov, Stögbauer and Grassberger's first), on normal scores of the columns.

    :math:`\psi(k) + \psi(N) - \psi(n_x + 1) - \psi(n_y + 1)`, where n_x counts the points nearer in x than the k-th
    neighbour is in (x, y), by the maximum norm. The normal scores get uniform noise of 1e-6, as the authors advise:
    without it, points at equal distances (discrete and rounded columns) make the counts ill-defined. Accurate in few
    dimensions; in many it underestimates strongly.

    Args:
        x: ``(N, Dx)``. y: ``(N, Dy)``. neighbours: k. seed: of the noise. workers: threads, see
            :func:`infomax.neighbours.ksg_terms`.

    Returns:
        each pair's share of the estimate, ``(N,)``, in nats.

    Raises:
        ValueError: if ``neighbours`` is not in 1..N-1.

    Source: Kraskov, Stögbauer and Grassberger, 2004, arXiv cond-mat/0305641.
    """
    if not 1 <= neighbours < len(x):
        raise ValueError(f"neighbours must lie in 1..{len(x) - 1}; got {neighbours}")
    rng = np.random.default_rng(seed)
    u, v = (normal_scores(values) + rng.uniform(-5e-7, 5e-7, values.shape) for values in (x, y))
    return ksg_terms(u, v, neighbours, workers=workers)


def _gaussian_caution(x: Floats, y: Floats) -> str:
    bias = 0.5 * x.shape[1] * y.shape[1] / len(x)
    if bias < 0.1:
        return ""
    return f"{bias:.2f} nats of bias were subtracted: exact for Gaussian columns, else the rest of it may be large"


def _plugin_caution(x: Floats, y: Floats) -> str:
    distinct = len(codes(np.hstack([x, y]))[1])
    if distinct <= len(x) / 5:
        return ""
    return (
        f"{distinct} combinations of values in {len(x)} rows: too few rows to count each, and the value is far too "
        f"large for columns that are not discrete"
    )


def _ksg_caution(x: Floats, y: Floats) -> str:
    x_dim, y_dim = x.shape[1], y.shape[1]
    if x_dim + y_dim <= 6:
        return ""
    return (
        f"neighbours in {x_dim} + {y_dim} dimensions are far away: the value is too small, and its interval too narrow"
    )


ESTIMATORS: dict[str, ClassicalEstimator] = {
    estimator.name: estimator
    for estimator in (
        ClassicalEstimator(
            "gaussian",
            gaussian_copula,
            "Ince et al. 2017, doi:10.1002/hbm.23471",
            "D³",
            "a reference: monotone relations, any dimension",
            _gaussian_caution,
        ),
        ClassicalEstimator(
            "plugin",
            plugin,
            "jackknifed: Zahl 1977, doi:10.2307/1936227",
            "N log N",
            "discrete columns on both sides, with many rows for each combination of values",
            _plugin_caution,
            plugin_stderr,
        ),
        ClassicalEstimator(
            "ksg",
            ksg,
            "Kraskov et al. 2004, arXiv cond-mat/0305641",
            "N log N, in few dimensions",
            "a reference: up to about 5 dimensions, discrete columns",
            _ksg_caution,
        ),
    )
}
