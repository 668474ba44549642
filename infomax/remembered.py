"""Moments of remembered rows, block by block, of which only those of blocks that changed are computed again."""

from __future__ import annotations

import torch
from torch import Tensor

from infomax.components import Moments, block_moments


class BlockMoments:
    """What is kept of ``samples (C, K, D)``, the first ``counts (C,)`` of which are there, in blocks of ``rows``.

    Kept moments are what computing all of them anew would give, to the last bit: nothing is added to a sum or taken
    away. That tensors are still those, with the values that they had, is told from their versions, which count writes
    (those through ``.data`` excepted). Copies and pickles start without any.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._tensors: tuple[Tensor, Tensor] | None = None
        self._versions = (0, 0)
        #: By the first slot of a block.
        self._kept: dict[int, Moments] = {}

    def __reduce__(self) -> tuple[type[BlockMoments], tuple[int]]:
        return BlockMoments, (self.rows,)

    def are_of(self, samples: Tensor, counts: Tensor) -> bool:
        """Whether what is kept belongs to these tensors as they are."""
        if self._tensors is None or self._tensors[0] is not samples or self._tensors[1] is not counts:
            return False
        return self._versions == (samples._version, counts._version)

    def forget(self, samples: Tensor, counts: Tensor, slots: Tensor) -> None:
        """The moments of these slots, which were the only ones to be written."""
        for block in torch.unique(slots // self.rows).tolist():
            self._kept.pop(block * self.rows, None)
        self._versions = (samples._version, counts._version)

    def of(self, samples: Tensor, counts: Tensor, most: int, dtype: torch.dtype) -> Moments:
        """Of the first ``most`` slots, in ``dtype``."""
        if not self.are_of(samples, counts):
            self._kept = {}
            if samples.is_inference() or counts.is_inference():  # their writes are not counted
                self._tensors = None
            else:
                self._tensors, self._versions = (samples, counts), (samples._version, counts._version)
        kept, starts = self._kept, range(0, most, self.rows)
        for start in starts:
            if start not in kept:
                rows = samples[:, start : min(start + self.rows, most)]
                is_row = torch.arange(start, start + rows.shape[1], device=rows.device) < counts[:, None]
                kept[start] = block_moments(rows.to(dtype), is_row)
        parts = [kept[start] for start in starts]
        scatter = parts[0].scatter.clone()
        for part in parts[1:]:
            scatter += part.scatter
        return Moments(torch.cat([p.counts for p in parts], 1), torch.cat([p.means for p in parts], 1), scatter)
