"""Options of a call for bounds with a mean over joint pairs and one over pairs of independent samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from infomax.bounds.candidates import Batch, pairs_of, readable, row_weights, scored, sides
from infomax.bounds.chosen import ChosenScores
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.objectives import Scores
from infomax.bounds.options import Given, checked, given_names, untaken
from infomax.scores.gradients import Tiling

if TYPE_CHECKING:
    from infomax.bounds.options import PairOptions


class ProductPairs(Contrastive):
    r"""A bound with a mean E_p over joint pairs and a mean E_q over pairs of independent samples.

    **Options of a call**, also of :meth:`loss` and :meth:`pointwise`; matrices have a row for each pair and a column
    for each candidate, as those of :class:`~infomax.InfoNCE`: (N, N) about the batch, (N, M) about ``negatives``, or
    (N, N + M).

    - ``negatives``: further ys, ``(M, Dy)`` for all rows or ``(N, M, Dy)`` for each: x_i with each of them counts in
      E_q as x_i with the other ys of the batch. A lower bound stays one if they are independent draws from the
      distribution of y, and its variance falls. Draws that depend on x, or that are made by an older encoder, have no
      such guarantee.
    - ``mask``: true for pairs that do not count in E_q. The kind of the bound does not change if the mask does not
      depend on the values (padding). If it does, as for false negatives, E_q is no longer the mean over independent
      samples: no bound, the value can exceed MI.
    - ``weights``: at least 0, constants. ``(N,)``: the weights of the rows in both means (0 for padding, with a mask of
      the column). A matrix: the weights of pairs in E_q. Both means are divided by the sums of their weights. The kind
      of the bound does not change if the weights do not depend on the values.

    There are no ``labels``, ``positives`` and ``exclude_self``: E_p is the mean over the pairs themselves.

    Raises:
        TypeError: for other options, and for values that are no tensors of the type above.
        ValueError: for shapes that do not fit, weights that are negative, and if no pair of independent samples is
            left.
    """

    #: The options of a call.
    takes: ClassVar[tuple[str, ...]] = ("negatives", "mask", "weights")

    def chosen_scores(self, x: Tensor, y: Tensor, options: PairOptions) -> Scores:
        if not set(given_names(options)) <= set(self.takes):
            raise TypeError(untaken(type(self).__name__, options, self.takes))
        self.check_pair(x, y, least=1 if options.get("negatives") is not None else 2)
        found = checked(len(x), self.y_dim, **options)
        return choose(self, x, y, found, every_row=False)


def choose(bound: Contrastive, x: Tensor, y: Tensor, given: Given, *, every_row: bool) -> ChosenScores:
    """The scores of the joint pairs and of the pairs of independent samples that count.

    Args:
        every_row: whether each row must have a pair of independent samples.

    Raises:
        ValueError: for weights that are not finite or negative, and if nothing is left of a mean.
    """
    tiled = given.places.columns >= bound.tiled_from and not x.is_meta
    parts = sides(bound, x, y, given, tiled=tiled)
    columns, learned = parts.all_columns(), None
    if parts.shared is not None and not parts.shared.requires_grad:
        learned = len(parts.columns)
    pairs = pairs_of(given, Batch(), parts.rows.device, symmetric=False)
    counts = pairs.counts()
    weights = row_weights(given, pairs, counts, every_row=every_row)
    if readable(pairs.device) and not float((weights * counts[1]).sum()) > 0:
        raise ValueError("mask and weights must leave a pair of independent samples; got none")
    scores = (parts.rows, columns) if parts.embedded else scored(bound, parts.rows, columns, of_x=bound.of_x)
    alike, tiling = given.row_weights is None, Tiling(bound.tile, bound.narrow)
    return ChosenScores(scores, parts.more, pairs, counts, weights, alike, tiling, learned)
