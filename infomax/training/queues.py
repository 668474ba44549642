"""A queue of earlier embeddings as negatives, for batches that are too small for a contrastive bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.bounds import Bound
from infomax.bounds.nce import InfoNCE
from infomax.bounds.options import FILLINGS
from infomax.distributed.global_batch import GlobalBatch
from infomax.distributed.ranks import gather, rank, world_size
from infomax.scores.gradients import not_compiled

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from infomax.bounds.options import CeilingOptions, PairOptions


class Queue(Bound):
    r"""InfoNCE or CPC with the last ``size`` ys of earlier calls as further negatives, as in MoCo.

    Called as the bound. In training mode the ys of a call (for :class:`~infomax.CPC`, its xs) enter the queue after its
    value is computed, and replace the oldest ones. In evaluation mode, and by :meth:`pointwise`, the queue is used but
    not changed. No gradient reaches what it holds. It takes O(N + size) memory, and the time of ``negatives=``.

    **What it does to the bound.** The ceiling is the log of what a row is compared with now: log(N + held). The ys in
    the queue are made by older encoders than those of the batch. They do not represent the present distribution of y,
    so that the value is no longer a lower bound: it is too high where they are easy to tell from the ys of the batch.
    A slowly moving second encoder of y, as in MoCo, keeps the difference small; without it, training can fail. If the
    encoder of y is fixed and pairs are independent, the value is a lower bound in expectation. Networks inside of the
    critic are always those of now.

    Several processes: wrap :class:`~infomax.GlobalBatch`, ``Queue(GlobalBatch(bound), size)``. The queue has the last
    ``size`` ys of all ranks, equal on all ranks, so that the state of one rank is that of all. A rank passes only its
    share of them on, because ``negatives`` of all ranks count together. The value is that of one process.

    Args:
        bound: :class:`~infomax.InfoNCE`, :class:`~infomax.CPC`, or a :class:`~infomax.GlobalBatch` of one of them.
        size: the number of ys that are kept, at least that of the ranks.

    **Options of a call** are those of :class:`~infomax.InfoNCE` without ``negatives``. ``labels`` are kept with the ys:
    ys in the queue with the label of a row are positives of that row. Matrices are about the pairs of the batch: with
    ``mask=torch.ones(N, N, dtype=torch.bool)`` and a queue that is not empty, a row is compared with its own pair and
    with the queue alone, as in MoCo.

    Attributes:
        memory: the ys, ``(size, Dy)``, with the type and the device of the bound. They are in ``state_dict``, with
            their labels and number. A y that is not finite makes values NaN until it is replaced.
        held: the number of ys in the queue.

    Raises:
        TypeError: for another bound.
        ValueError: for a size below 1; for ``negatives``; for labels in some calls, but not in others.

    Source: He, Fan, Wu, Xie and Girshick, 2020, arXiv 1911.05722.

    >>> import torch
    >>> from infomax import InfoNCE
    >>> bound = Queue(InfoNCE(3, 3, critic="cosine", temperature=0.1), size=4096)
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> bound.loss(x, x).backward()
    >>> bound.held, bound(x, x).ndim
    (64, 0)
    """

    kind = "estimate"
    ceiling_formula = "log(N + held)"
    reference = "He, Fan, Wu, Xie, Girshick 2020, arXiv 1911.05722"
    cost = "N (N + size) scores"
    use_when = "small batches and a slowly changing encoder of y"
    memory: Tensor
    labels: Tensor

    def __init__(self, bound: Bound, size: int) -> None:
        inner = bound.bound if isinstance(bound, GlobalBatch) else bound
        if not isinstance(inner, InfoNCE):
            raise TypeError(f"bound must be InfoNCE, CPC, or GlobalBatch of one of them; got {type(inner).__name__}")
        if isinstance(bound, GlobalBatch) and bound.exchange == "ring":
            raise ValueError("exchange must be 'gather' with a queue, whose ys are negatives of a call; got 'ring'")
        if not hasattr(size, "__index__") or size < 1:
            raise ValueError(f"size must be a whole number of at least 1; got {size!r}")
        super().__init__(bound.x_dim, bound.y_dim)
        self.bound, self.size = bound, int(size)
        like = next((p for p in inner.parameters() if p.is_floating_point()), torch.empty(0)).detach()
        self.register_buffer("memory", like.new_zeros(self.size, inner.x_dim if inner.of_x else inner.y_dim))
        self.register_buffer("labels", like.new_zeros(self.size, dtype=torch.long))
        # Numbers, not tensors: to read them from a GPU would wait for it.
        self.held, self._next, self._labelled = 0, 0, False

    def extra_repr(self) -> str:
        return f"size={self.size}, held={self.held}"

    def forward(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """The bound with the ys of the queue as further negatives, 0-d, in nats. In training mode they change after."""
        value: Tensor = self.bound(x, y, **self._with_memory(len(x), options))
        if self.training:
            self._enter(x if self._compared.of_x else y, options.get("labels"))
        return value

    def loss(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """Minus the value, 0-d; also enters the ys in training mode."""
        loss: Tensor = -self(x, y, **options)
        return loss

    def pointwise(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        """The log-ratio of each pair, ``(N,)``, in nats. The queue does not change."""
        bound = cast("InfoNCE", self.bound)  # a GlobalBatch takes the same
        return bound.pointwise(x, y, **self._with_memory(len(x), options))

    def ceiling(self, n: int, **options: Unpack[CeilingOptions]) -> float | None:
        """The largest value of n pairs, of each rank, with what the queue holds now; options as of a call."""
        pairs = self._world() * n
        if self._held():
            extended = self._with_memory(n, cast("PairOptions", options), share=False)
            options = cast("CeilingOptions", extended)
        return self._compared.ceiling(pairs, **options)

    def fixed_units(self) -> bool:
        return self.bound.fixed_units()

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        self.bound.warm_start(x, y)

    def clear(self) -> None:
        """Empty the queue."""
        self.held, self._next, self._labelled = 0, 0, False

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.held, self._next, self._labelled])

    def set_extra_state(self, state: Tensor) -> None:
        held, place, labelled = state.tolist()
        self.held, self._next, self._labelled = held, place, bool(labelled)

    @property
    def _compared(self) -> InfoNCE:
        """The bound that compares."""
        return cast("InfoNCE", self.bound.bound if isinstance(self.bound, GlobalBatch) else self.bound)

    def _world(self) -> int:
        return world_size(self.bound.group) if isinstance(self.bound, GlobalBatch) else 1

    def _held(self) -> int:
        """The number of ys that are compared: none if they are too few for a share of each rank."""
        world = self._world()
        if self.size < world:
            raise ValueError(f"size must be at least the number of ranks, {world}; got {self.size}")
        return self.held if self.held >= world else 0

    @not_compiled
    def _with_memory(self, n: int, options: PairOptions, *, share: bool = True) -> PairOptions:
        """The options of a call of the bound, with what the queue holds, or with the share of this rank."""
        if options.get("negatives") is not None:
            raise ValueError("negatives must not be given: those of a Queue are what it holds")
        held, labels = self._held(), options.get("labels")
        if self.held and (labels is not None) != self._labelled:
            calls = "had labels; got none" if self._labelled else "had none; got labels"
            raise ValueError(f"labels must be given in every call of a Queue, or in none; earlier calls {calls}")
        if not held:
            return options
        found = options.copy()
        of_ranks = self._world() if share else 1
        own = rank(self.bound.group) if of_ranks > 1 and isinstance(self.bound, GlobalBatch) else 0
        # A copy, because entering ys changes the memory before the backward pass reads it.
        found["negatives"] = self.memory[:held].tensor_split(of_ranks)[own].clone()
        if isinstance(labels, Tensor) and len(labels) == n:
            kept = self.labels[:held].tensor_split(of_ranks)[own]
            found["labels"] = torch.cat([labels, kept.to(labels.device)])
        for name, filling in FILLINGS.items():
            matrix = options.get(name)
            # A matrix about the own pairs alone keeps the width that says so, unless it could be that of the queue.
            if (
                isinstance(matrix, Tensor)
                and matrix.ndim == 2
                and (matrix.shape[1] != n or (held == n and of_ranks == 1))
            ):
                found[name] = F.pad(matrix, (0, held), value=filling)  # type: ignore[literal-required]
        return found

    @not_compiled
    @torch.no_grad()
    def _enter(self, rows: Tensor, labels: Tensor | None) -> None:
        """Replace the oldest rows by those of all ranks."""
        rows = rows.detach()
        if isinstance(self.bound, GlobalBatch):
            rows = gather(rows, self.bound.group)
            labels = None if labels is None else gather(labels.long(), self.bound.group)
        places = (self._next + torch.arange(len(rows), device=self.memory.device)[-self.size :]) % self.size
        self.memory.index_copy_(0, places, rows[-self.size :].to(self.memory))
        if labels is not None:
            self.labels.index_copy_(0, places, labels[-self.size :].to(self.labels))
        self._labelled = labels is not None
        self._next = (self._next + len(rows)) % self.size
        self.held = min(self.held + len(rows), self.size)
