"""Multivariate Student pairs: heavy tails, and dependence without correlation."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln

from infomax.tasks.base import Array, Task, add, check_dim, check_mi, correlation


def tail_information(df: float, x_dim: int, y_dim: int) -> float:
    r"""Mutual information, in nats, of the two parts of an uncorrelated multivariate Student vector.

    :math:`f(\nu) + f(\nu + m + n) - f(\nu + m) - f(\nu + n)` with
    :math:`f(t) = \log \Gamma(t/2) - \tfrac{t}{2} \psi(t/2)`: Arellano-Valle, Contreras-Reyes and Genton 2013,
    "Shannon entropy and mutual information for multivariate skew-elliptical distributions".

    Raises:
        ValueError: for degrees of freedom outside 0.1 to 1e6, or a dimension below 1.
    """
    if not 0.1 <= df <= 1e6:
        raise ValueError(f"df must be from 0.1 to 1e6, the range in which samples and MI are exact; got {df}")
    check_dim(min(x_dim, y_dim))

    def f(t: float) -> float:
        return float(gammaln(t / 2) - t / 2 * digamma(t / 2))

    return f(df) + f(df + x_dim + y_dim) - f(df + x_dim) - f(df + y_dim)


def correlated_student(mi: float | None = None, *, df: float, dim: int = 1) -> Task:
    r"""Multivariate Student x and y with equal correlations of ``dim`` pairs of coordinates.

    :math:`I = -\tfrac{d}{2} \log(1 - \rho^2)` plus :func:`tail_information`, the smallest possible value.

    Args:
        mi: mutual information in nats; by default the smallest possible value, without correlation.
        df: degrees of freedom. dim: dimension of x, and of y.

    Raises:
        ValueError: for an ``mi`` below the smallest possible value, and as :func:`tail_information` does.
    """
    least = tail_information(df, dim, dim)
    mi = least if mi is None else mi
    check_mi(mi, dim)
    if mi < least:
        raise ValueError(f"mi must be at least {least:.6g}, its value without correlation; got {mi}")
    rho, rest = correlation((mi - least) / dim)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        x, noise = rng.standard_normal((n, dim)), rng.standard_normal((n, dim))
        scale = np.sqrt(df / rng.chisquare(df, (n, 1)))
        return scale * x, scale * (rho * x + rest * noise)

    reference = "closed form: Arellano-Valle et al. 2013; Czyż et al. 2023, arXiv 2306.11078"
    return Task(f"student-{dim}d-{df:g}df-{mi:g}", mi, dim, dim, reference, sample, "student")


for _dim, _df, _mi in ((1, 3.0, 1.0), (5, 2.0, 1.0), (5, 5.0, 2.0), (20, 4.0, 2.0)):
    add(correlated_student(_mi, df=_df, dim=_dim))
