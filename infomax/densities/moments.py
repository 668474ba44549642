"""Moments of remembered rows, block by block, of which only those of blocks that changed are computed again."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from infomax.densities.components import Moments, block_moments


class BlockMoments:
    """What is kept of ``samples (C, K, D)``, the first ``counts (C,)`` of which are there, in blocks of ``rows``.

    Kept moments are what computing all of them anew would give, to the last bit: nothing is added to a sum or taken
    away. That tensors are still those, with the values that they had, is told from their versions, which count writes,
    and from a sum of all bits, as some writes are not counted: of collectives, through numpy, through ``.data``.
    Copies and pickles start without any.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._tensors: tuple[weakref.ref[Tensor], weakref.ref[Tensor]] | None = None
        self._state: tuple[int, ...] = ()
        #: By the first slot of a block.
        self._kept: dict[int, Moments] = {}

    def __reduce__(self) -> tuple[type[BlockMoments], tuple[int]]:
        return BlockMoments, (self.rows,)

    def are_of(self, samples: Tensor, counts: Tensor) -> bool:
        """Whether what is kept belongs to these tensors as they are."""
        if self._tensors is None or self._tensors[0]() is not samples or self._tensors[1]() is not counts:
            return False
        return self._state == _state(samples, counts)

    def forget(self, samples: Tensor, counts: Tensor, slots: Tensor) -> None:
        """The moments of these slots, which were the only ones to be written."""
        for block in torch.unique(slots // self.rows).tolist():
            self._kept.pop(block * self.rows, None)
        self._state = _state(samples, counts)

    def clear(self) -> None:
        """Forget everything."""
        self._tensors, self._kept = None, {}

    def of(self, samples: Tensor, counts: Tensor, most: int, dtype: torch.dtype) -> Moments:
        """Of the first ``most`` slots, in ``dtype``."""
        if not self.are_of(samples, counts):
            self.clear()
            if not samples.is_inference() and not counts.is_inference():  # writes to these are not counted
                self._tensors, self._state = (weakref.ref(samples), weakref.ref(counts)), _state(samples, counts)
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


def _state(samples: Tensor, counts: Tensor) -> tuple[int, ...]:
    """Versions, the sum of all bits, and counts: what a write changes."""
    words = samples.detach().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[samples.element_size()])
    total = words.sum(dtype=torch.int64 if samples.element_size() == 8 else torch.int32)
    return samples._version, counts._version, int(total), *counts.tolist()
