"""What data frames and tables say of their rows and columns, beside the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Columns:
    """Samples ``(N, D)`` that know what their columns are called."""

    names: tuple[str, ...]
    samples: NDArray[np.float64]


class Mismatch(NamedTuple):
    """Two samples whose rows carry different labels; ``reordered``: the same labels in another order."""

    first: str
    second: str
    reordered: bool


def column_labels(data: Any) -> list[str] | None:
    """What the columns are called, as messages show it; None where they have numbers only.

    >>> column_labels(Columns(("age", "income"), np.zeros((3, 2))))
    ["'age'", "'income'"]
    """
    if isinstance(getattr(data, "names", None), tuple):  # Columns, and those of a file
        return [repr(name) for name in data.names]
    if hasattr(data, "dtypes") and hasattr(data, "columns"):
        return [repr(column) for column in data.columns]
    name = getattr(data, "name", None)
    return [repr(name)] if hasattr(data, "to_numpy") and name is not None else None


def differing_indexes(samples: Mapping[str, Any]) -> Iterator[Mismatch]:
    """Neighbours among the samples that carry an index (pandas' frames and series), where the two indexes differ."""
    indexes = [(name, data.index) for name, data in samples.items() if hasattr(getattr(data, "index", None), "equals")]
    for (first, one), (second, other) in itertools.pairwise(indexes):
        if not one.equals(other):
            yield Mismatch(first, second, sorted(map(repr, one)) == sorted(map(repr, other)))
