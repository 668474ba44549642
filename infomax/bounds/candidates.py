"""The candidates that each row is compared with: the batch and further negatives, of one process or of all ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from infomax.bounds.comparisons import Comparison, Rule
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.options import CeilingOptions, Given, checked
from infomax.critics import networks as critics
from infomax.scores.gradients import Tiling
from infomax.scores.inner_products import InnerProducts
from infomax.scores.pairs import Pairs
from infomax.scores.precision import products, widened, without_autocast

#: Elements of a matrix of scores of few rows with many negatives; with more, tiles are faster.
_MATRIX_ELEMENTS = 1 << 19


class Comparing(Contrastive):
    """A critic whose scores are compared row by row.

    Attributes:
        symmetric: whether columns are also compared. rule: how positives and negatives make a value.
    """

    symmetric: bool = False
    rule: Rule = Rule()


class Batch:
    """The rows of a batch in one process. Ranks have the same methods, which then need all ranks."""

    #: The place of the first own row among the rows of all ranks.
    start: int = 0

    def rows(self, own: Tensor) -> Tensor:
        """A number, vector or row of each pair, of all ranks, from that of the own pairs."""
        return own

    def further(self, own: Tensor) -> Tensor:
        """The same of the negatives that are not in the batch."""
        return own


@dataclass(frozen=True)
class Sides:
    """What is scored: embeddings, whose inner products are the scores, or the inputs themselves.

    Attributes:
        rows, columns: of the own pairs, ``(n, …)``. shared: of the negatives for all rows, ``(M, …)``.
        more: the scores of each row with negatives of its own, ``(n, M)``.
    """

    rows: Tensor
    columns: Tensor
    shared: Tensor | None
    more: Tensor | None
    embedded: bool

    def all_columns(self) -> Tensor:
        """The candidates of all rows: of the own pairs, and then the negatives for all rows."""
        return self.columns if self.shared is None else torch.cat([self.columns, self.shared])


def sides(bound: Contrastive, x: Tensor, y: Tensor, given: Given, *, tiled: bool) -> Sides:
    """Embed the own rows if ``tiled`` and if the critic can, and score their own negatives."""
    rows, columns = (y, x) if bound.of_x else (x, y)
    for further in (given.shared, given.each):
        if further is not None:
            bound.check_dtypes(negatives=further)
    found = _all_embedded(bound, rows, columns, given.shared) if tiled else None
    more = None if given.each is None else _scores_of_each(bound, rows, given.each)
    if found is None:
        return Sides(rows, columns, given.shared, more, embedded=False)
    return Sides(*found, more, embedded=True)


def _all_embedded(
    bound: Contrastive, rows: Tensor, columns: Tensor, shared: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The embeddings of rows, of their partners and of the negatives for all rows, if the critic has them.

    Negatives are embedded by themselves, so that it is known whether they need gradients, unless statistics of the
    batch enter.
    """
    if shared is None or any(isinstance(part, _BatchNorm) for part in bound.critic.modules()):
        found = _embedded(bound, rows, columns if shared is None else torch.cat([columns, shared]))
        if found is None:
            return None
        a, b = found
        return a, b[: len(rows)], None if shared is None else b[len(rows) :]
    found, of_shared = _embedded(bound, rows, columns), _embedded(bound, rows[:1], shared)
    return None if found is None or of_shared is None else (*found, of_shared[1])


def _embedded(bound: Contrastive, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor] | None:
    """The embeddings of rows and of columns, if the critic has them."""
    x, y = (columns, rows) if bound.of_x else (rows, columns)
    found = bound.in_range(partial(critics.embedding, bound.critic), x, y)
    if found is None or not bound.of_x:
        return found
    return found[1], found[0]


def scored(bound: Contrastive, rows: Tensor, columns: Tensor, *, of_x: bool) -> Tensor:
    """The critic's scores ``(n, K)`` of rows with columns, which are xs or ys."""
    x, y = (columns, rows) if of_x else (rows, columns)
    scores: Tensor = bound.in_range(bound.critic, x, y)
    if not isinstance(scores, Tensor) or scores.shape != (len(x), len(y)):
        came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"critic must return scores of shape {(len(x), len(y))}; got {came}")
    return widened(scores.T if of_x else scores)


def _scores_of_each(bound: Contrastive, rows: Tensor, each: Tensor) -> Tensor:
    """The scores of each row with its own negatives ``(n, M, D)``: ``(n, M)``."""
    found = _embedded(bound, rows, each.flatten(0, 1))
    if found is None:
        if not len(rows):
            return widened(rows.new_zeros(each.shape[:2]))
        return torch.cat([scored(bound, rows[i : i + 1], each[i], of_x=bound.of_x) for i in range(len(rows))])
    dtype = torch.promote_types(torch.promote_types(found[0].dtype, found[1].dtype), torch.float32)
    a, b = found[0].to(dtype), found[1].to(dtype)
    with without_autocast(a):
        return torch.einsum("nd,nmd->nm", a, b.view(*each.shape[:2], b.shape[1]))


def comparisons(bound: Comparing, parts: Sides, given: Given, batch: Batch) -> list[Comparison]:
    """The comparison of rows with columns and, of a symmetric bound, also that of columns with the batch's rows.

    Raises:
        ValueError: if no negative is left of a row, and if no row has a positive.
    """
    columns, learned = batch.rows(parts.columns), None
    shared = None if parts.shared is None else batch.further(parts.shared)
    by_matrix = type(batch) is Batch and not parts.embedded
    pairs = pairs_of(given, batch, parts.rows.device, symmetric=bound.symmetric, by_matrix=by_matrix)
    scores: Tensor | tuple[Tensor, Tensor]
    if parts.embedded and shared is not None and _small(bound, pairs):
        scores, pairs = _matrix(parts.rows, columns, shared, pairs)
    else:
        if shared is not None:
            learned = None if shared.requires_grad else len(columns)
            columns = torch.cat([columns, shared])
        scores = (parts.rows, columns) if parts.embedded else scored(bound, parts.rows, columns, of_x=bound.of_x)
    compared = [(scores, parts.more, pairs)]
    if bound.symmetric:
        others = batch.rows(parts.rows)
        turned: Tensor | tuple[Tensor, Tensor] = (parts.columns, others)
        if isinstance(scores, Tensor):
            whole = type(batch) is Batch
            turned = scores[:, : len(others)].T if whole else scored(bound, parts.columns, others, of_x=not bound.of_x)
        compared.append((turned, None, _turned(pairs, given, batch)))
    limit = critics.largest_score(bound.critic)
    found = []
    for scores, more, pairs in compared:
        counts = pairs.counts()
        weights = row_weights(given, pairs, counts)
        least = None if limit is None else -limit
        tiling = Tiling(bound.tile, bound.narrow)
        found.append(Comparison(scores, more, pairs, counts, weights, bound.rule, least, tiling, learned))
    return found


def _small(bound: Comparing, pairs: Pairs) -> bool:
    """Whether a matrix of the scores is faster than tiles although there are many negatives: measured on a CPU."""
    n, columns = pairs.shape
    return n < bound.tiled_from and n * columns <= _MATRIX_ELEMENTS and not bound.symmetric


def _matrix(rows: Tensor, columns: Tensor, shared: Tensor, pairs: Pairs) -> tuple[Tensor, Pairs]:
    """The scores from embeddings. Those of negatives by themselves: they may need no gradients."""
    further = products(rows, shared)
    if not pairs.skipped:
        return torch.cat([products(rows, columns), further], 1), pairs
    partners = (widened(rows) * widened(columns[pairs.start : pairs.start + len(rows)])).sum(1)
    return torch.cat([partners[:, None], further], 1), pairs.gathered()


def pairs_of(given: Given, batch: Batch, device: torch.device, *, symmetric: bool, by_matrix: bool = False) -> Pairs:
    """The pairs of the own rows with all candidates; with ``by_matrix`` labels become a matrix of positives."""
    places, mask, labels, skipped = given.places, given.mask, None, 0
    positives = None if given.positives is None else places.spread(given.positives, "positives")
    if not symmetric and _whole_batch_masked(given, device):
        mask, skipped = None, places.pairs
    if given.labels is not None and by_matrix:
        every = given.labels if given.further_labels is None else torch.cat([given.labels, given.further_labels])
        same = given.labels[:, None] == every
        positives = F.pad(same, (0, places.columns - len(every))) if len(every) < places.columns else same
    elif given.labels is not None:
        known = batch.rows(given.labels.long())
        if given.further_labels is not None:
            known = torch.cat([known, batch.further(given.further_labels.long())])
        numbers = torch.unique(known, return_inverse=True)[1]
        none = numbers.new_full((places.columns - len(numbers),), -1)
        labels = numbers[batch.start : batch.start + places.rows], torch.cat([numbers, none])
    return Pairs(
        shape=(places.rows, places.columns),
        device=device,
        start=batch.start,
        labels=labels,
        positives=positives,
        mask=None if mask is None else places.spread(mask, "mask"),
        weights=None if given.weights is None else places.spread(given.weights, "weights"),
        exclude_self=given.exclude_self,
        skipped=skipped,
    )


def _whole_batch_masked(given: Given, device: torch.device) -> bool:
    """Whether rows are compared with their own pair and further negatives alone, as in MoCo."""
    mask, places = given.mask, given.places
    if mask is None or mask.shape[1] != places.pairs or places.further in (0, places.pairs) or not readable(device):
        return False
    alone = given.labels is None and given.positives is None and given.weights is None
    return alone and len(mask) > 0 and bool(mask.view(torch.uint8).amin())  # bytes are faster than booleans


def _turned(pairs: Pairs, given: Given, batch: Batch) -> Pairs:
    """The pairs of the own columns with the rows of all ranks."""
    n, every = given.places.rows, given.places.pairs
    positives, mask, weights = (
        None if matrix is None else batch.rows(matrix[:, :every])[:, batch.start : batch.start + n].T
        for matrix in (pairs.positives, pairs.mask, pairs.weights)
    )
    labels = None if pairs.labels is None else (pairs.labels[0], pairs.labels[1][:every])
    return replace(pairs, shape=(n, every), labels=labels, positives=positives, mask=mask, weights=weights)


def row_weights(given: Given, pairs: Pairs, counts: tuple[Tensor, Tensor], *, every_row: bool = True) -> Tensor:
    """The weight of each row, ``(n,)``: 0 for rows without positives.

    Raises:
        ValueError: for weights that are not finite or negative, and, if ``every_row``, if ``mask`` or ``weights`` leave
            a row no negative.
    """
    positive, negative = counts
    weights = positive.clamp_max(1)  # 0 or 1
    if given.row_weights is not None:
        weights = weights * given.row_weights.to(positive)
    if not readable(pairs.device):
        return weights
    for each in (given.row_weights, pairs.weights):
        if each is not None and each.numel() and not all(0 <= float(end) < math.inf for end in each.aminmax()):
            raise ValueError("weights must be finite and not negative")
    if every_row and pairs.matrices:
        bare = (negative <= 0) & (weights > 0)
        if bare.any():
            name = "weights" if pairs.mask is None else "mask"
            raise ValueError(f"{name} must leave every row a negative; row {int(bare.nonzero()[0])} has none")
    return weights


def check_rows(totals: Sequence[Tensor]) -> None:
    """Raise ``ValueError`` if the sum of the weights of all rows is 0 in a direction."""
    if readable(totals[0].device) and not all(float(total) > 0 for total in totals):
        raise ValueError("weights and positives must leave a row; got none")


def readable(device: torch.device) -> bool:
    """Whether values can be read: not on the meta device, nor inside ``torch.func``."""
    return not (device.type == "meta" or torch._C._are_functorch_transforms_active())


def of_square(scores: Tensor | InnerProducts, rule: Rule, limit: Tensor | None) -> Comparison:
    """The comparison of each row with all columns of a square matrix; ``limit``: the largest absolute score."""
    pairs = Pairs((len(scores), len(scores)), scores.device)
    counts = pairs.counts()
    return Comparison(
        (scores.a, scores.b) if isinstance(scores, InnerProducts) else scores,
        None,
        pairs,
        counts,
        counts[0],
        rule,
        None if limit is None else -limit,
        scores.tiling if isinstance(scores, InnerProducts) else None,
    )


def ceiling(n: int, options: CeilingOptions, largest: float | None, *, symmetric: bool) -> float:
    """The largest mean value of n rows, in nats, of a bound whose absolute scores are at most ``largest``.

    Raises:
        ValueError: for fewer than one row.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    negatives = options.get("negatives")
    if isinstance(negatives, int):
        negatives = torch.empty(negatives, 1, device="meta")
    dim = 1 if negatives is None else negatives.shape[-1]
    others = {name: value for name, value in options.items() if name != "negatives"}
    found = checked(n, dim, negatives=negatives, **others)  # type: ignore[arg-type]
    tensors = [each for each in options.values() if isinstance(each, Tensor) and not each.is_meta]
    device = tensors[0].device if tensors else torch.device("cpu")
    pairs = pairs_of(found, Batch(), device, symmetric=symmetric)
    values = []
    for each in (pairs, _turned(pairs, found, Batch())) if symmetric else (pairs,):
        positive, negative = counts = each.counts()
        weights = row_weights(found, each, counts)
        least = positive + negative * (0.0 if largest is None else math.exp(-2 * largest))
        of_rows = (positive + negative).clamp_min(1).log() - least.clamp_min(1e-300).log()
        values.append(float((torch.where(weights > 0, weights * of_rows, 0.0)).sum() / weights.sum()))
    return sum(values) / len(values)
