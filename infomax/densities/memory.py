"""Entropy of a representation from a Gaussian mixture that remembers recent batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.densities.components import Moments, fit_components
from infomax.densities.mixtures import Mixture, mixture_entropy_lower, mixture_entropy_upper, mixture_log_prob
from infomax.densities.moments import BlockMoments

EntropyName = Literal["lower", "upper", "monte_carlo"]

#: Slots of a block whose rows' moments are kept. Of wide rows as many as columns, or moments would outgrow the rows.
_BLOCK = 256
#: Remembered numbers from which on keeping moments is faster than computing them anew.
_WORTH_KEEPING = 200_000


class GaussianMixtureMemory(nn.Module):
    r"""Entropy of ``y`` in nats, from a Gaussian mixture over the current batch and a bounded history of earlier ones.

    One Gaussian for each class label; its mean and covariance come from the rows of the batch and those remembered,
    and the covariance, in units of the coordinates' pooled deviations, is shrunk (Ledoit and Wolf 2004,
    :func:`infomax.statistics.ledoit_wolf`) and floored, so that components that are empty, of one sample, constant or
    rank-deficient give a finite, differentiable value. An empty component takes the pooled mean and variances.
    Shrinkage raises the entropy of strongly correlated coordinates where rows are few. The history is module state: it
    moves with ``.to()`` and is saved in ``state_dict``. Of a long one the moments are kept as well: the rows determine
    them, and they take at most three times the memory of rows in float32.

    Three entropies by name. None of them bounds the entropy of the *data* unless these follow the mixture:

    - ``"monte_carlo"``: :math:`-\frac1N \sum_i \log m(y_i)` over the batch: the cross-entropy from data to mixture,
      which is at least H(y) in expectation when the mixture has not seen the batch (evaluation mode). Its gradient is
      not diluted by a long history, and a rare outlier weighs in.
    - ``"lower"``, ``"upper"``: closed-form bounds on the entropy of the mixture itself.

    In training mode the mixture is that of history and batch together, and the batch is then remembered. In evaluation
    mode it is that of the history alone (of the batch, if nothing is remembered), and nothing changes.

    Args:
        dim: dimension of ``y``.
        components: number of classes; with more than one, ``labels`` are needed at every call.
        capacity: rows remembered for each component; the oldest make room.
        weights: ``"empirical"`` (share of rows) or a sequence of ``components`` probabilities.
        entropy: ``"monte_carlo"``, ``"lower"`` or ``"upper"``.

    Raises:
        RuntimeError: for a gradient in training mode that is to be differentiated again.
        ValueError: for sizes that are not positive, weights that are not probabilities, an unknown entropy, labels out
            of range or missing, and rows of another dimension or with values that are not finite.

    Source: the history follows Han, Chen and Poria, "Improving Multimodal Fusion with Hierarchical Mutual Information
    Maximization", 2021, arXiv 2109.00412.

    >>> import torch
    >>> memory = GaussianMixtureMemory(2)
    >>> y = torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))
    >>> round(float(memory(y)), 1)  # exact: log(2 pi e) = 2.84
    2.8
    """

    samples: Tensor
    counts: Tensor
    cursors: Tensor
    weights: Tensor | None

    def __init__(
        self,
        dim: int,
        components: int = 1,
        capacity: int = 1024,
        *,
        weights: Literal["empirical"] | Sequence[float] = "empirical",
        entropy: EntropyName = "monte_carlo",
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("components", components), ("capacity", capacity)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        if entropy not in get_args(EntropyName):
            raise ValueError(f"entropy must be one of {', '.join(get_args(EntropyName))}; got {entropy!r}")
        self.dim, self.components, self.capacity, self.entropy = dim, components, capacity, entropy
        self.register_buffer("samples", torch.zeros(components, capacity, dim))
        self.register_buffer("counts", torch.zeros(components, dtype=torch.long))
        self.register_buffer("cursors", torch.zeros(components, dtype=torch.long))
        fixed = None if isinstance(weights, str) else torch.tensor(weights, dtype=torch.float64)
        if isinstance(weights, str) and weights != "empirical":
            raise ValueError(f"weights must be 'empirical' or a sequence of probabilities; got {weights!r}")
        if fixed is not None and not (
            fixed.shape == (components,) and bool((fixed >= 0).all()) and abs(float(fixed.sum()) - 1) < 1e-6
        ):
            raise ValueError(f"weights must be {components} probabilities that sum to 1; got {weights}")
        self.register_buffer("weights", fixed)
        self._blocks = BlockMoments(max(_BLOCK, dim))

    def extra_repr(self) -> str:
        return f"{self.dim}, components={self.components}, capacity={self.capacity}, entropy={self.entropy!r}"

    def _check(self, y: Tensor) -> None:
        if y.ndim != 2 or y.shape[1] != self.dim:
            raise ValueError(f"y must have shape (N, {self.dim}); got {tuple(y.shape)}")
        if not math.isfinite(y.detach().sum().item()) and not bool(y.isfinite().all()):  # a sum may overflow
            raise ValueError(f"y must be finite; got NaN or infinity in {int((~y.isfinite()).any(1).sum())} rows")

    def _placed(self, y: Tensor, labels: Tensor | None) -> _Places:
        if labels is None:
            if self.components > 1:
                raise ValueError(f"labels must be given when components > 1; got None for {self.components} components")
            labels = torch.zeros(len(y), dtype=torch.long, device=y.device)
        elif labels.shape != (len(y),) or labels.is_floating_point():
            raise ValueError(
                f"labels must be integers of shape ({len(y)},); got {tuple(labels.shape)} of {labels.dtype}"
            )
        elif len(y):
            least, largest = map(int, labels.aminmax())
            if not 0 <= least <= largest < self.components:
                raise ValueError(f"labels must lie in 0..{self.components - 1}; got {least}..{largest}")
        return _places(labels, self.components)

    def reset_parameters(self) -> None:
        """Forget all samples."""
        self._blocks.clear()
        self.counts.zero_()
        self.cursors.zero_()

    @torch.no_grad()
    def update(self, y: Tensor, labels: Tensor | None = None) -> None:
        """Remember the rows of ``y`` ``(N, D)``, each under its label ``(N,)``; the oldest are forgotten."""
        self._check(y)
        self._remember(y, self._placed(y, labels))

    def _remember(self, y: Tensor, placed: _Places) -> None:
        if not len(y):
            return
        labels, place, arrived = placed.labels, placed.place, placed.arrived
        if len(y) > self.capacity:  # the first rows of a class that alone is too large are not kept
            surplus = (arrived - self.capacity).clamp_min(0)
            place, arrived = place - surplus[labels], arrived - surplus
            kept = place >= 0
            y, labels, place = y[kept], labels[kept], place[kept]
        slots = (self.cursors[labels] + place) % self.capacity
        known = self._blocks.are_of(self.samples, self.counts)
        self.samples[labels, slots] = y.detach().to(self.samples)
        self.cursors.add_(arrived).remainder_(self.capacity)
        self.counts.add_(arrived).clamp_max_(self.capacity)
        if known:
            self._blocks.forget(self.samples, self.counts, slots)

    def mixture(self, y: Tensor, labels: Tensor | None = None) -> Mixture:
        """The mixture that this call would use (see the class), in float64, differentiable in ``y``."""
        self._check(y)
        return _mixture([self], y[None].to(_wide_type(y)), self._placed(y, labels))

    def log_prob(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log-density of each row of ``y`` under the mixture, ``(N,)``, in nats."""
        mixture = self.mixture(y, labels)
        return mixture_log_prob(mixture, y.to(mixture.means)).to(y.dtype)

    def forward(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Entropy of ``y`` ``(N, D)`` in nats, a 0-d tensor, by the name given to the constructor."""
        return entropies([self], [y], labels)[0]


def entropies(
    memories: Sequence[GaussianMixtureMemory], ys: Sequence[Tensor], labels: Tensor | None = None
) -> list[Tensor]:
    """Entropies of several representations of the same samples, each from a memory of its own, in nats.

    What each memory would find alone, to rounding; those of the same sizes and options are read in one pass, which
    takes little more time than one of them. They share a graph: take gradients of their sum, or keep it.

    Args:
        memories: in training mode each remembers its rows. ys: ``(N, D)`` for each. labels: of all, ``(N,)``.

    Raises:
        ValueError: for another number of representations than memories, the same memory twice, and for what a memory
            refuses.

    >>> import torch
    >>> first, second = GaussianMixtureMemory(2), GaussianMixtureMemory(2)
    >>> y = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> a, b = entropies([first, second], [y, 2 * y])
    >>> round(float(b - a), 3)  # 2 log 2
    1.386
    """
    if len(memories) != len(ys):
        raise ValueError(f"ys must be as many as memories; got {len(ys)} and {len(memories)}")
    if len({id(memory) for memory in memories}) < len(memories):
        raise ValueError("memories must be different ones; got one twice")
    if not memories:
        return []
    for memory, y in zip(memories, ys, strict=True):
        memory._check(y)
        if not len(y):
            raise ValueError("y must have at least one row; got 0")
    if _alike(memories, ys):
        return _entropies(memories, ys, memories[0]._placed(ys[0], labels))
    placed = [memory._placed(y, labels) for memory, y in zip(memories, ys, strict=True)]
    return [_entropies([memory], [y], own)[0] for memory, y, own in zip(memories, ys, placed, strict=True)]


def _alike(memories: Sequence[GaussianMixtureMemory], ys: Sequence[Tensor]) -> bool:
    """Whether they can be read in one pass."""
    facts = {
        (m.dim, m.components, m.capacity, m.entropy, m.weights is None, m.samples.dtype, y.dtype, y.device, len(y))
        for m, y in zip(memories, ys, strict=True)
    }
    return len(facts) == 1 and all(memory.training for memory in memories)


@dataclass(frozen=True)
class _Places:
    """Labels of rows ``(N,)``, the place of each among those of its label ``(N,)``, and how many each has ``(C,)``."""

    labels: Tensor
    place: Tensor
    arrived: Tensor


def _places(labels: Tensor, components: int) -> _Places:
    if components == 1:
        place = torch.arange(len(labels), device=labels.device)
        return _Places(labels, place, torch.full((1,), len(labels), device=labels.device))
    members = labels == torch.arange(components, device=labels.device)[:, None]
    return _Places(labels, members.cumsum(1).gather(0, labels[None])[0] - 1, members.sum(1))


def _entropies(memories: Sequence[GaussianMixtureMemory], ys: Sequence[Tensor], placed: _Places) -> list[Tensor]:
    """Of memories that are alike."""
    wide = _stack(ys).to(_wide_type(ys[0]))
    mixture = _mixture(memories, wide, placed)
    values: Sequence[Tensor]
    if memories[0].entropy == "monte_carlo":
        means = mixture_log_prob(mixture, wide).mean(1).neg().to(ys[0].dtype)
        values = [means[i] for i in range(len(memories))]  # not unbind: what it returns may not be changed in place
    else:
        bound = {"lower": mixture_entropy_lower, "upper": mixture_entropy_upper}[memories[0].entropy]
        parts = (part.chunk(len(memories)) for part in (mixture.log_weights, mixture.means, mixture.covariances))
        values = [bound(Mixture(*own)).to(ys[0].dtype) for own in zip(*parts, strict=True)]
    for memory, y in zip(memories, ys, strict=True):
        if memory.training:
            memory._remember(y, placed)
    return list(values)


def _mixture(memories: Sequence[GaussianMixtureMemory], y: Tensor, placed: _Places) -> Mixture:
    """Of memories that are alike, one mixture's components after the other's; y: ``(G, N, D)``, in float64."""
    first, groups = memories[0], len(memories)
    counts = _joined([memory.counts for memory in memories])
    most = int(counts.max())
    old = _joined([memory.samples[:, :most] for memory in memories])
    is_old = torch.arange(most, device=y.device) < counts[:, None]
    if first.training or not most:
        new, is_new = _by_component(y, placed)
    else:
        new, is_new = old[:, :0].to(y), is_old[:, :0]
    rows = first._blocks.rows  # of fewer than three blocks, keeping moments saves little and takes much memory
    known = None
    if first.capacity >= 3 * rows and most > rows and old.numel() > groups * _WORTH_KEEPING:
        kept = [memory._blocks.of(memory.samples, memory.counts, most, y.dtype) for memory in memories]
        known = Moments(*(_joined([getattr(one, name) for one in kept]) for name in ("counts", "means", "scatter")))
    share, means, covariances = fit_components(new, is_new, old, is_old, known, groups=groups)
    if first.weights is not None:
        share = _joined([memory.weights for memory in memories if memory.weights is not None]).to(y)
    return Mixture(share.log(), means, covariances)


def _by_component(y: Tensor, placed: _Places) -> tuple[Tensor, Tensor]:
    """Rows of each component, ``(G C, M, D)``, and which of them there are, ``(G C, M)``; y: ``(G, N, D)``."""
    groups, n, dim = y.shape
    components = len(placed.arrived)
    if components == 1:
        return y, torch.ones(groups, n, dtype=torch.bool, device=y.device)
    most = int(placed.arrived.max())
    rows = y.new_zeros(groups, components * most, dim).index_copy(1, placed.labels * most + placed.place, y)
    is_row = torch.arange(most, device=y.device) < placed.arrived[:, None]
    return rows.view(groups * components, most, dim), is_row.repeat(groups, 1) if groups > 1 else is_row


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]


def _wide_type(y: Tensor) -> torch.dtype:
    return torch.float32 if y.device.type == "mps" else torch.float64
