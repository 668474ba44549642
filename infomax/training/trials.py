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
    """

    name: str
    assumes: str
    score: float
    stderr: float
    rows: int
    chosen: bool = False
