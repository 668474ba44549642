"""Estimates of another kind, towards which that of a model moves where they are clearly larger."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from infomax.estimators.base import Measurement
from infomax.estimators.candidates.base import Side
from infomax.estimators.nearest_neighbours import FAR, NEAR, by_neighbours
from infomax.statistics.labels import Integers
from infomax.statistics.marginals import Floats, normal_scores
from infomax.statistics.neighbours import tie_breaker
from infomax.statistics.residuals import SHARED_NOISE, residual_terms

#: Most columns, of both sides together, in which nearest neighbours are near whatever the number of rows is.
NEAR_DIMENSIONS = 6
#: By how many standard errors another estimate must exceed that of the model.
_CLEARLY = 3.0
#: Distance between rows of different labels: more than between any two normal scores.
_APART = 32.0
#: An estimate by residuals that reaches this share of the value confirms it.
_CONFIRMED = 0.9


def with_neighbours(found: Measurement, u: Floats, v: Floats) -> Measurement:
    """The estimate moved towards the KSG estimate where that is clearly larger.

    Args:
        found: the estimate. u: ``(N, Du)``. v: ``(N, Dv)``, samples without ties, such as normal scores with noise.
    """
    from scipy.special import polygamma  # noqa: PLC0415 - loaded on first use

    before = found.local
    if before is None:
        return found
    shares = by_neighbours(u, v)
    missed = min(shares.gap, value := float(shares.local.mean()))  # in many columns the comparison is unbounded
    clearly = max(
        _clearly(shares.local - before, float(polygamma(1, NEAR))),
        _clearly(shares.far - before[shares.rows], float(polygamma(1, min(FAR, len(before) - 1)))),
    )
    return _moved(found, before, Measurement(value, shares.stderr, missed, shares.local), clearly)


def with_neighbours_of_labels(found: Measurement, labels: Integers, x: Floats, rng: np.random.Generator) -> Measurement:
    """The same for a label and a few columns: neighbours are rows of the same label.

    Args:
        found: the estimate. labels: ``(N,)``. x: ``(N, D)``. rng: of the noise that breaks ties.

    Source: Ross, "Mutual information between discrete and continuous data sets", 2014,
    doi:10.1371/journal.pone.0087357.
    """
    u, v = normal_scores(x), _APART * labels[:, None]
    return with_neighbours(found, u + tie_breaker(u.shape, rng), v + tie_breaker(v.shape, rng))


def with_residuals(found: Measurement, sides: tuple[Side, Side], rng: np.random.Generator) -> tuple[Measurement, bool]:
    """The estimate moved towards that by residuals of regressions where that is clearly larger.

    Also returns whether that estimate, which does not saturate, is about as large.
    """
    before = found.local
    terms = None if before is None else residual_terms(sides[0].values.numpy(), sides[1].values.numpy(), rng)
    if before is None or terms is None:
        return found, False
    stderr = math.sqrt((float(terms.var()) + SHARED_NOISE) / len(terms))
    other = Measurement(float(terms.mean()), stderr, found.gap, terms)
    moved = _moved(found, before, other, _clearly(terms - before, SHARED_NOISE))
    return moved, other.value > _CONFIRMED * moved.value


def at_most(found: Measurement, limit: float) -> Measurement:
    """The estimate, or ``limit`` where it is larger; with the shares of the pairs."""
    value = min(found.value, limit)
    local = None if found.local is None else found.local + (value - found.value)
    return replace(found, value=value, local=local)


def _clearly(differences: Floats, noise: float) -> float:
    """The mean of these differences in standard errors; ``noise`` is the variance of what neighbours share."""
    return float(differences.mean()) / math.sqrt((float(differences.var()) + noise) / len(differences))


def _moved(found: Measurement, before: Floats, other: Measurement, clearly: float) -> Measurement:
    """The estimate moved towards a larger one, by the share of the difference that is not noise."""
    more = other.value - float(before.mean())
    if other.local is None or more <= 0 or clearly <= _CLEARLY:
        return found
    trust = 1 - (_CLEARLY / clearly) ** 2
    local = before + trust * (other.local - before)
    return replace(
        found,
        value=float(local.mean()),
        local=local,
        stderr=(1 - trust) * found.stderr + trust * other.stderr,
        gap=(1 - trust) * (found.gap + more) + trust * other.gap,
    )
