"""A conditional mutual information as a difference that can be estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infomax.estimators.nearest_neighbours import ksg
from infomax.io.columns import Columns
from infomax.io.samples import Floats
from infomax.isolation import isolated
from infomax.statistics.relations import determined_columns

#: Names of the variables on either side of a mutual information.
Sides = tuple[tuple[str, ...], tuple[str, ...]]
#: A signed sum of mutual informations: 1 or -1 for each.
Terms = dict[Sides, int]

#: By how many nats the information that one side shares with the condition must exceed that of the other, for the other
#: to be subtracted; number of rows for this comparison.
_CLEARLY_MORE, _COMPARED = 1.0, 1_000


@dataclass(frozen=True, eq=False)
class Summed:
    """The terms of a sum of mutual informations, in particular of a conditional one.

    Attributes:
        terms: their signed sum. groups: the columns of each variable. lost: what to say about variables of which
            columns were left out. sides: of a conditional mutual information, the names of L, R and Z.
    """

    terms: Terms
    groups: Mapping[str, Columns]
    lost: Mapping[str, str] = field(default_factory=dict)
    sides: tuple[str, str, str] | None = None


@isolated()
def condition(groups: Mapping[str, Columns], left: str, right: str, given: str) -> Summed:
    r"""The terms of :math:`I(L; R \mid Z) = I(L; (R, Z)) - I(L; Z)`.

    Two things make the difference fail, and are avoided. Columns of L or R that Z determines add nothing to it, but the
    terms can be infinite: they are left out, which changes nothing (the chain rule; if none remain, the value is
    exactly 0). And where L follows Z closely, both terms are large and uncertain: then the sides change places, if R
    has clearly less information about Z. This is judged by nearest neighbours in the first 1,000 rows.

    Args:
        groups: ``(N, D)`` for each name, complete and without constant columns; D may be 0.
        left, right, given: names of L, R and Z.
    """
    sides = left, right, given
    kept, lost = dict(groups), {}
    for name in (left, right):
        determined = determined_columns(groups[name].samples, groups[given].samples)
        if determined.all() and len(determined):
            lost[name] = f"{name} is an exact function of {given}: the conditional mutual information is 0"
        elif determined.any():
            lost[name] = (
                f"{int(determined.sum())} of {len(determined)} columns of {name} are exact functions of {given}: they "
                f"add nothing to it and were dropped"
            )
        kept[name] = groups[name].of_columns(~determined)
    shared = {name: _shared(kept[name].samples, groups[given].samples) for name in (left, right)}
    if shared[left] > shared[right] + _CLEARLY_MORE:
        left, right = right, left
    terms: Terms = {((left,), (right, given)): 1, ((left,), (given,)): -1}
    return Summed(terms, kept, lost, sides)


def _shared(x: Floats, z: Floats) -> float:
    """The mutual information by nearest neighbours, from some rows; 0 without columns."""
    return float(ksg(x[:_COMPARED], z[:_COMPARED]).mean()) if x.shape[1] and z.shape[1] else 0.0
