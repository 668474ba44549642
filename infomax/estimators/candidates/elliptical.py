"""An elliptical copula of the columns: normal or Student's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infomax.estimators.candidates.base import Candidate, LogRatio, Side, register
from infomax.estimators.candidates.copulas import EllipticalCopula, fit_copula


@dataclass(frozen=True)
class CopulaRatio(LogRatio):
    """The log-ratio of an elliptical copula of some coordinates of each side; here, of the normal scores."""

    copula: EllipticalCopula

    def coordinates(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        """Coordinates of each side in which the copula is elliptical, as normal scores: ``(N, Dx)``, ``(M, Dy)``."""
        return x.scores, y.scores

    def embed(self, x: Side, y: Side) -> tuple[Tensor, Tensor]:
        return self.copula.rounded(*self.copula.embed(*self.coordinates(x, y)))

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        return self.copula.scores(x, y)


@register("elliptical")
class Elliptical(Candidate):
    """:func:`infomax.estimators.candidates.copulas.fit_copula` of the normal scores."""

    assumes = "columns are increasing maps of jointly normal or Student variables"
    cost = "N D², D³"
    reference = "Ince et al. 2017, doi:10.1002/hbm.23471; Student: Kotz, Nadarajah 2004"
    complexity = 0

    def fit(self, x: Side, y: Side, generator: torch.Generator) -> LogRatio:
        best, _ = fit_copula(x.scores, y.scores)
        return CopulaRatio(best)
