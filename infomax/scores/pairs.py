"""Which entries of a matrix of scores count, and as what; for a whole matrix, or tile by tile without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Elements of matrices that are held at a time while pairs are counted.
_COUNTED_ELEMENTS, _DEVICE_ELEMENTS = 1 << 18, 1 << 26
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Positives and negatives among the scores ``(N, K)`` of N rows with K candidates. All tensors are constants.

    A candidate of a row is a positive, a negative, or does not count. The positives of a row are its own partner,
    unless ``labels`` or ``positives`` say which candidates are. All others are negatives, unless ``mask`` leaves them
    out. Positives count once, whatever ``mask`` and ``weights`` are.

    Attributes:
        shape: (N, K).
        start: the column of the partner of row 0. step: by how many columns that of the next row is further: 1, or 0
            if the first column has the scores of all partners.
        labels: numbers of classes, at least 0, of the rows ``(N,)`` and of the columns ``(K,)``; a column without a
            class has a negative number, and every row's class is also that of its partner. Candidates of the row's
            class are positives.
        positives: which candidates are positives, boolean ``(N, K)``.
        mask: which candidates are no negatives, boolean ``(N, K)``.
        weights: how often each negative counts, ``(N, K)``.
        exclude_self: whether the partner [i, start + i] does not count: it is the row itself.
        skipped: the number of first columns that are no negatives, of any row: as a mask, without a matrix. Only if
            the partner is the one positive.
    """

    shape: tuple[int, int]
    device: torch.device
    start: int = 0
    step: int = 1
    labels: tuple[Tensor, Tensor] | None = None
    positives: Tensor | None = None
    mask: Tensor | None = None
    weights: Tensor | None = None
    exclude_self: bool = False
    skipped: int = 0

    def of(self, rows: slice) -> Pairs:
        """The pairs of some rows with all candidates."""
        first, last, _ = rows.indices(self.shape[0])
        labels = None if self.labels is None else (self.labels[0][rows], self.labels[1])
        positives, mask, weights = (
            None if matrix is None else matrix[rows] for matrix in (self.positives, self.mask, self.weights)
        )
        return replace(
            self,
            shape=(last - first, self.shape[1]),
            start=self.start + first * self.step,
            labels=labels,
            positives=positives,
            mask=mask,
            weights=weights,
        )

    def beyond(self, first: int) -> Pairs:
        """The pairs of all rows with the candidates from one on."""
        positives, mask, weights = (
            None if matrix is None else matrix[:, first:] for matrix in (self.positives, self.mask, self.weights)
        )
        return replace(
            self,
            shape=(self.shape[0], self.shape[1] - first),
            start=self.start - first,
            labels=None if self.labels is None else (self.labels[0], self.labels[1][first:]),
            positives=positives,
            mask=mask,
            weights=weights,
            skipped=max(0, self.skipped - first),
        )

    @property
    def matrices(self) -> bool:
        """Whether a mask or weights change scores."""
        return self.mask is not None or self.weights is not None

    def gathered(self) -> Pairs:
        """The pairs without the skipped columns: the scores of partners, and then those beyond the skipped columns."""
        return replace(self, shape=(self.shape[0], 1 + self.shape[1] - self.skipped), start=0, step=0, skipped=0)

    def partner_columns(self) -> Tensor:
        """The column of each row's partner, ``(N,)``."""
        if not self.step:
            return torch.full((self.shape[0],), self.start, device=self.device)
        return torch.arange(self.start, self.start + self.shape[0], device=self.device)

    @property
    def all_alike(self) -> bool:
        """Whether every candidate counts once, as positive or as negative."""
        return self.mask is None and self.weights is None and not self.exclude_self and not self.skipped

    @property
    def own_partner_alone(self) -> bool:
        """Whether each row has one positive, its partner."""
        return self.labels is None and self.positives is None

    def positive(self, rows: slice = _ALL, columns: slice = _ALL) -> Tensor:
        """Which candidates are positives, boolean, of some rows and columns."""
        if self.positives is not None:
            positive = self.positives[rows, columns].clone() if self.exclude_self else self.positives[rows, columns]
        elif self.labels is not None:
            positive = self.labels[0][rows, None] == self.labels[1][columns]
        else:
            sizes = (len(range(*part.indices(size))) for part, size in zip((rows, columns), self.shape, strict=True))
            positive = torch.zeros(*sizes, dtype=torch.bool, device=self.device)
            self.partners(positive, rows, columns).fill_(True)
        if self.exclude_self:
            self.partners(positive, rows, columns).fill_(False)
        return positive

    def partners(self, values: Tensor, rows: slice = _ALL, columns: slice = _ALL) -> Tensor:
        """The entries [i, start + i] of a tile: a view of ``values``."""
        if not self.step:
            return values[:, self.start - (columns.start or 0)]
        return values.diagonal((rows.start or 0) + self.start - (columns.start or 0))

    def log_weights(self, dtype: torch.dtype, columns: slice = _ALL, *, of_positives: float | None = None) -> Tensor:
        """Log-weights of the negatives, ``(N, K)``; very low, but finite, for candidates that are no negatives.

        ``of_positives``: the log-weight of positives; ``None`` for as low.
        """
        low = lowest(dtype)
        if self.weights is not None:
            values = self.weights[:, columns].to(dtype).log().clamp_min_(low)
            if self.mask is not None:
                values.add_(_numbers(self.mask[:, columns], dtype), alpha=low).clamp_min_(low)
        elif self.mask is not None:
            values = _numbers(self.mask[:, columns], dtype).mul_(low)
        else:
            width = len(range(*columns.indices(self.shape[1])))
            values = torch.zeros(self.shape[0], width, dtype=dtype, device=self.device)
        if self.skipped:
            values[:, : max(0, self.skipped - (columns.start or 0))] = low
        if self.own_partner_alone:
            self.partners(values, columns=columns).fill_(low if of_positives is None else of_positives)
            return values
        if of_positives is None:
            values.add_(_numbers(self.positive(columns=columns), dtype), alpha=low).clamp_min_(low)
        elif of_positives or self.matrices:
            values.masked_fill_(self.positive(columns=columns), of_positives)
        if self.exclude_self:
            self.partners(values, columns=columns).fill_(low)
        return values

    def positive_numbers(self, dtype: torch.dtype) -> Tensor:
        """1 for positives, and 0 for other candidates, ``(N, K)``."""
        return _numbers(self.positive(), dtype)

    def log_positives(self, dtype: torch.dtype) -> Tensor:
        """0 for positives, and very low for other candidates, ``(N, K)``."""
        return _numbers(~self.positive(), dtype).mul_(lowest(dtype))

    def counts(self) -> tuple[Tensor, Tensor]:
        """The number of positives of each row, and the sum of the weights of its negatives, ``(N,)`` each."""
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        positive = self._number_of_positives(wide)
        if self.mask is None and self.weights is None:
            if self.skipped:
                return positive, torch.full_like(positive, self.shape[1] - self.skipped)
            return positive, self.shape[1] - self.exclude_self - positive
        if self.own_partner_alone and self.weights is None and self.mask is not None:
            masked = _count(self.mask) - _numbers(self.partners(self.mask), torch.float32)
            return positive, self.shape[1] - positive - masked
        narrow = torch.float32 if self.weights is None else torch.promote_types(self.weights.dtype, torch.float32)
        if self.own_partner_alone and self.weights is not None and self.mask is None:
            sums = self.weights.sum(1, dtype=narrow) - self.partners(self.weights)
            return positive, sums.to(wide)
        blocks = (self.of(rows) for rows in _blocks(*self.shape, self.device))
        return positive, torch.cat([block.log_weights(narrow).exp_().sum(1) for block in blocks]).to(wide)

    def _number_of_positives(self, dtype: torch.dtype) -> Tensor:
        if self.positives is not None:
            found = _count(self.positives)
            if self.exclude_self:
                found = found - _numbers(self.partners(self.positives), found.dtype)
            return found.to(dtype)
        if self.labels is None:
            return torch.ones(self.shape[0], dtype=dtype, device=self.device)
        of_rows, of_columns = self.labels
        sizes = torch.bincount(of_columns[of_columns >= 0])
        return sizes[of_rows].to(dtype) - int(self.exclude_self)

    def mean_of_positives(self, a: Tensor, b: Tensor) -> Tensor:
        r"""The mean score :math:`a_i^\top b_p` of each row with its positives, ``(N,)``; 0 without positives.

        In O((N + K) D), unless the positives are a matrix. ``a (N, D)`` and ``b (K', D)`` are the factors of the scores
        of the first K' columns; the others have no positives.
        """
        if self.positives is not None:
            blocks = [(self.of(rows), a[rows]) for rows in _blocks(*self.shape, self.device)]
            return torch.cat(
                [
                    checkpoint(_mean_of_block, pairs, own, b, use_reentrant=False, preserve_rng_state=False)
                    for pairs, own in blocks
                ]
            )
        own = b[self.start : self.start + len(a)]
        if self.labels is None:
            return (a * own).sum(1)
        of_rows, of_columns = self.labels[0], self.labels[1][: len(b)]
        known = of_columns.clamp_min(0)
        has_class = (of_columns >= 0).to(b.dtype)[:, None]
        sums = b.new_zeros(int(known.max()) + 1, b.shape[1]).index_add(0, known, b * has_class)[of_rows]
        if self.exclude_self:
            sums = sums - own
        return (a * sums).sum(1) / self._number_of_positives(b.dtype).clamp_min(1)

    # --- Tiles that are changed in place ------------------------------------------------------------------------------

    def leave_out(self, scores: Tensor, rows: slice, columns: slice, scratch: Tensor) -> None:
        """Set the scores of a tile so low that their exponentials are 0 where a candidate does not count.

        ``scratch``: memory for as many elements.
        """
        if self.mask is not None:
            low = torch.finfo(scores.dtype).min
            masked = self.mask[rows, columns]
            if not self.own_partner_alone:
                masked = masked & ~self.positive(rows, columns)
            partners = self.partners(scores, rows, columns)
            kept = partners.clone()
            # Faster than a selection, and bytes are converted faster than booleans.
            numbers = scratch[: scores.numel()].view_as(scores).copy_(masked.view(torch.uint8))
            scores.add_(numbers, alpha=low)
            if self.own_partner_alone:
                partners.copy_(kept)
        if self.exclude_self:
            self.partners(scores, rows, columns).fill_(-torch.inf)

    def adjust(self, scores: Tensor, rows: slice, columns: slice, scratch: Tensor) -> None:
        """:meth:`leave_out`, and add the logs of the weights to scores in powers of two; partners are −inf."""
        self.leave_out(scores, rows, columns, scratch)
        if self.weights is None:
            return
        logs = scratch[: scores.numel()].view_as(scores).copy_(self.weights[rows, columns])
        logs.log2_().clamp_min_(lowest(scores.dtype))
        if not self.own_partner_alone:
            logs.masked_fill_(self.positive(rows, columns), 0.0)
        scores.add_(logs)

    def weigh(self, exponentials: Tensor, rows: slice, columns: slice) -> None:
        """Multiply the exponentials of a tile by the weights of the negatives."""
        if self.weights is None:
            return
        weights = self.weights[rows, columns]
        if self.own_partner_alone:
            partners = self.partners(exponentials, rows, columns)
            kept = partners.clone()
            exponentials.mul_(weights)
            partners.copy_(kept)
        else:
            exponentials.mul_(torch.where(self.positive(rows, columns), 1.0, weights.to(exponentials.dtype)))


def lowest(dtype: torch.dtype) -> float:
    """A finite number in place of −inf, whose differences have gradients."""
    return torch.finfo(dtype).min / 4


def _numbers(flags: Tensor, dtype: torch.dtype) -> Tensor:
    """Booleans as 0 and 1; bytes are converted faster than booleans."""
    return flags.view(torch.uint8).to(dtype)


def _blocks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    elements = _COUNTED_ELEMENTS if device.type == "cpu" else _DEVICE_ELEMENTS
    step = max(1, elements // max(1, columns))
    for start in range(0, max(rows, 1), step):  # an empty block of no rows
        yield slice(start, min(start + step, rows))


def _count(flags: Tensor) -> Tensor:
    """The number of true entries of each row, ``(N,)``, exact up to 2²⁴: a product is faster than a sum of booleans."""
    ones = torch.ones(flags.shape[1], dtype=torch.float32, device=flags.device)
    blocks = [_numbers(flags[rows], torch.float32) @ ones for rows in _blocks(len(flags), flags.shape[1], flags.device)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


def _mean_of_block(pairs: Pairs, a: Tensor, b: Tensor) -> Tensor:
    """The mean score of some rows with their positives."""
    positive = _numbers(pairs.positive(columns=slice(0, len(b))), b.dtype)
    return (a * (positive @ b)).sum(1) / positive.sum(1).clamp_min(1)
