"""What the options of a call say about the pairs of a batch: shapes, errors, and the places of the candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.io.naming import unknown
from infomax.scores.precision import check_real


class PairOptions(TypedDict, total=False):
    """Options of a call, see :class:`infomax.InfoNCE`."""

    negatives: Tensor | None
    mask: Tensor | None
    labels: Tensor | None
    positives: Tensor | None
    weights: Tensor | None
    exclude_self: bool


_NAMES = tuple(PairOptions.__annotations__)


class CeilingOptions(TypedDict, total=False):
    """The same, of a ceiling; ``negatives`` may be a number."""

    negatives: Tensor | int | None
    mask: Tensor | None
    labels: Tensor | None
    positives: Tensor | None
    weights: Tensor | None
    exclude_self: bool


#: By name of a matrix: what its missing columns count as.
FILLINGS = {"mask": 0.0, "positives": 0.0, "weights": 1.0}


def given(options: PairOptions | CeilingOptions) -> bool:
    """Whether an option was given.

    Raises:
        TypeError: for an option that no bound has.
    """
    for name in options:
        if name not in _NAMES:
            raise TypeError(unknown("option", name, list(_NAMES)))
    return bool(given_names(options))


def given_names(options: PairOptions | CeilingOptions) -> list[str]:
    """The names of the options that were given."""
    return [name for name, value in options.items() if value is not None and value is not False]


def untaken(bound: str, options: PairOptions, takes: Sequence[str] = ()) -> str:
    """The message for options that a bound of scores does not take: which ones, and which bounds do."""
    names = [name for name in given_names(options) if name not in takes]
    own = f"no options but {', '.join(takes)}" if takes else "no options"
    others = ["InfoNCE, CPC and SigLIP take all"]
    if set(names) <= {"negatives", "mask", "weights"}:
        others.append("bounds with a mean over independent samples, such as NWJ and DonskerVaradhan, take these")
    return f"{bound} takes {own}; got {', '.join(names)}: {'; '.join(others)}"


@dataclass(frozen=True)
class Places:
    """Where the candidates of a process's rows are: the other sides of all pairs, and then further negatives.

    Attributes:
        rows: the number of rows. pairs: the number of pairs of all ranks. start: the first row's place among them.
        shared: the number of negatives for all rows. each: the number of each row's own negatives.
    """

    rows: int
    pairs: int
    start: int = 0
    shared: int = 0
    each: int = 0

    @property
    def further(self) -> int:
        """The number of negatives that are not in the batch."""
        return self.shared + self.each

    @property
    def columns(self) -> int:
        """The number of candidates."""
        return self.pairs + self.further

    def spread(self, matrix: Tensor, name: str) -> Tensor:
        """A matrix about the own pairs, the pairs of all ranks, the negatives or all, as one about all: ``(n, K)``."""
        width = matrix.shape[1]
        starts = {self.columns: 0, self.rows: self.start, self.pairs: 0}
        if self.further == width and width in (self.rows, self.pairs):
            raise ValueError(
                f"{name} must have {self.columns} columns, for the batch and then for the negatives, because both have "
                f"{width}; got {width}"
            )
        if width == self.columns:
            return matrix
        first = starts.get(width, self.pairs)
        return F.pad(matrix, (first, self.columns - first - width), value=FILLINGS[name])


@dataclass(frozen=True)
class Given:
    """The options of a call, with valid types and shapes."""

    shared: Tensor | None = None
    each: Tensor | None = None
    mask: Tensor | None = None
    labels: Tensor | None = None
    further_labels: Tensor | None = None
    positives: Tensor | None = None
    weights: Tensor | None = None
    row_weights: Tensor | None = None
    exclude_self: bool = False
    #: Where the candidates are, in one process.
    places: Places = field(default_factory=lambda: Places(0, 0))


def checked(
    n: int,
    dim: int,
    *,
    negatives: Tensor | None = None,
    mask: Tensor | None = None,
    labels: Tensor | None = None,
    positives: Tensor | None = None,
    weights: Tensor | None = None,
    exclude_self: bool = False,
    pairs: int | None = None,
    further: int | None = None,
    start: int = 0,
) -> Given:
    """The options of a call with n pairs and candidates of this dimension.

    Args:
        pairs, further: the numbers of pairs and of further negatives of all ranks; by default those of this process.
        start: the place of the first own pair among those of all ranks.

    Raises:
        TypeError, ValueError: as :class:`infomax.InfoNCE` says.
    """
    shared = each = None
    if negatives is not None:
        check_real(negatives, "negatives")
        shape = tuple(negatives.shape)
        if len(shape) not in (2, 3) or shape[-1] != dim or (len(shape) == 3 and shape[0] != n):
            raise ValueError(f"negatives must have shape (M, {dim}) or ({n}, M, {dim}); got {shape}")
        shared, each = (negatives, None) if len(shape) == 2 else (None, negatives)
    own = 0 if shared is None else len(shared)
    places = Places(
        n,
        n if pairs is None else pairs,
        start=start,
        shared=own if further is None else further,
        each=0 if each is None else each.shape[1],
    )
    if labels is not None and positives is not None:
        raise ValueError("labels and positives must not both be given: each says which candidates are positives")
    if exclude_self and labels is None and positives is None:
        raise ValueError("exclude_self needs labels= or positives=: without its own pair a row has no positive")
    further_labels = None
    if labels is not None:
        _check_type(labels, "labels", "integers", lambda dtype: not (dtype.is_floating_point or dtype.is_complex))
        if labels.ndim != 1 or len(labels) not in (n, n + own):
            with_negatives = f" or ({n + own},), with those of the negatives" if own else ""
            raise ValueError(f"labels must have shape ({n},){with_negatives}; got {tuple(labels.shape)}")
        further_labels = labels[n:] if own and len(labels) == n + own else None
        labels = labels[:n]
    for name, matrix in (("mask", mask), ("positives", positives)):
        if matrix is not None:
            _check_type(matrix, name, "booleans", lambda dtype: dtype is torch.bool)
            _check_matrix(matrix, name, places)
    row_weights = None
    if weights is not None:
        check_real(weights, "weights")
        weights = weights.detach()
        if weights.shape == (n,):
            weights, row_weights = None, weights
        else:
            _check_matrix(weights, "weights", places, f"({n},) or ")
    return Given(shared, each, mask, labels, further_labels, positives, weights, row_weights, exclude_self, places)


def _check_type(value: Tensor, name: str, wanted: str, right: Callable[[torch.dtype], bool]) -> None:
    if not isinstance(value, Tensor) or not right(value.dtype):
        came = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a tensor of {wanted}; got {came}")


def _check_matrix(matrix: Tensor, name: str, places: Places, before: str = "") -> None:
    widths = sorted({places.rows, places.pairs, places.columns} | ({places.further} if places.further else set()))
    if matrix.ndim != 2 or len(matrix) != places.rows or matrix.shape[1] not in widths:
        shapes = " or ".join(f"({places.rows}, {width})" for width in widths)
        raise ValueError(f"{name} must have shape {before}{shapes}; got {tuple(matrix.shape)}")
