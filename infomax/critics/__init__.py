"""Critics: modules that map ``(x, y)`` to the ``(N, M)`` matrix of scores.

Imports :mod:`infomax.scores` and :mod:`infomax.statistics`.
"""

from typing import Any

from infomax.critics import networks
from infomax.critics.choice import make, names
from infomax.critics.initialisation import reset
from infomax.critics.joint import score_pairs
from infomax.critics.networks import (
    MLP,
    Bilinear,
    Concat,
    Cosine,
    GaussianResidual,
    Predictor,
    Separable,
    embedding,
    largest_score,
)
from infomax.critics.temperature import Temperature, make_temperature
from infomax.critics.tempered import Tempered, with_temperature
from infomax.exceptions import warn_of_new_name

__all__ = [
    "GaussianResidual",
    "Bilinear",
    "Concat",
    "Cosine",
    "MLP",
    "Predictor",
    "Separable",
    "Temperature",
    "Tempered",
    "embedding",
    "largest_score",
    "make",
    "make_temperature",
    "names",
    "reset",
    "score_pairs",
    "with_temperature",
]


def __getattr__(name: str) -> Any:
    if name == "Anchored":
        warn_of_new_name("critic", name, "GaussianResidual")
        return networks.GaussianResidual
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
