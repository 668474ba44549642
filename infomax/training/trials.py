"""A model that an estimator has tried, and how it compared with others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """A candidate of the default estimator on held-out rows.

    Attributes:
        name: of the candidate, or of the candidate and the network that learns its residual.
        assumes: the structure of the dependence that it can express, in a few words.
        score: the held-out value by which candidates are compared, in nats.
        stderr: its standard error. rows: held-out rows of the comparison.
        chosen: whether the estimate uses it.

    >>> import numpy as np
    >>> from infomax import estimate
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500))
    >>> result = estimate(x, x + noise, quick=True, progress=False)
    >>> [trial.name for trial in result.candidates if trial.chosen]  # the simplest that is as good as any
    ['elliptical']
    """

    name: str
    assumes: str
    score: float
    stderr: float
    rows: int
    chosen: bool = False
