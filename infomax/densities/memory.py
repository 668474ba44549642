"""Entropy of a representation from a Gaussian mixture over the batch and a memory of recent batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.densities.components import fit_components
from infomax.densities.mixtures import Mixture, mixture_entropy_lower, mixture_entropy_upper, mixture_log_prob
from infomax.scores.precision import check_real, widened

EntropyName = Literal["lower", "upper", "monte_carlo"]


class GaussianMixtureMemory(nn.Module):
    r"""Entropy of ``y`` in nats, from a Gaussian mixture over the current batch and a bounded history of earlier ones.

    There is one Gaussian for each class label. Its mean and covariance are those of its rows in the batch and in the
    memory. The covariance, in units of the coordinates' pooled deviations, is shrunk (Ledoit and Wolf 2004,
    :func:`infomax.statistics.ledoit_wolf`) and floored. So components that are empty, of one sample, constant or
    rank-deficient have a finite, differentiable value. An empty component has the pooled mean and variances.
    Shrinkage raises the entropy of strongly correlated coordinates if there are few rows. The memory is module state:
    it moves with ``.to()`` and is saved in ``state_dict``.

    Three entropies by name. None of them bounds the entropy of the *data* unless these follow the mixture:

    - ``"monte_carlo"``: :math:`-\frac1N \sum_i \log m(y_i)` over the batch: the cross-entropy from data to mixture,
      which is at least H(y) in expectation if the mixture was not fitted to the batch (evaluation mode). Its gradient
      is not diluted by a long history, and it is sensitive to rare outliers.
    - ``"lower"``, ``"upper"``: closed-form bounds on the entropy of the mixture itself.

    In training mode the mixture is fitted to memory and batch together, and the batch is then stored. In evaluation
    mode it is fitted to the memory alone (to the batch, if the memory is empty), and nothing is stored. Inside
    transforms of ``torch.func`` and on the meta device nothing is stored, and values are not checked.

    Args:
        dim: dimension of ``y``.
        components: number of classes; with more than one, ``labels`` are needed at every call.
        capacity: rows stored for each component; new rows replace the oldest.
        weights: ``"empirical"`` (shares of the rows) or a sequence of ``components`` probabilities.
        entropy: ``"monte_carlo"``, ``"lower"`` or ``"upper"``.

    Raises:
        TypeError: for a ``y`` that is no dense tensor of floating-point numbers, and labels that are no tensor.
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

    def extra_repr(self) -> str:
        return f"{self.dim}, components={self.components}, capacity={self.capacity}, entropy={self.entropy!r}"

    def _members(self, y: Tensor, labels: Tensor | None) -> Tensor:
        """Which rows belong to each component, ``(C, N)``; raises the errors of the class."""
        check_real(y, "y")
        if y.ndim != 2 or y.shape[1] != self.dim:
            raise ValueError(f"y must have shape (N, {self.dim}); got {tuple(y.shape)}")
        readable = _readable(y)
        if readable and not math.isfinite(y.sum().item()) and not bool(y.isfinite().all()):  # a sum may overflow
            raise ValueError(f"y must be finite; got NaN or infinity in {int((~y.isfinite()).any(1).sum())} rows")
        if labels is None:
            if self.components > 1:
                raise ValueError(f"labels must be given when components > 1; got None for {self.components} components")
            return torch.ones(1, len(y), dtype=torch.bool, device=y.device)
        if not isinstance(labels, Tensor):
            raise TypeError(f"labels must be a torch.Tensor; got {type(labels).__name__}")
        if labels.shape != (len(y),) or labels.is_floating_point() or labels.is_complex():
            raise ValueError(
                f"labels must be integers of shape ({len(y)},); got {tuple(labels.shape)} of {labels.dtype}"
            )
        if readable and len(y):
            least, largest = map(int, labels.aminmax())
            if not 0 <= least <= largest < self.components:
                raise ValueError(f"labels must lie in 0..{self.components - 1}; got {least}..{largest}")
        return labels == torch.arange(self.components, device=y.device)[:, None]

    def _some_members(self, y: Tensor, labels: Tensor | None) -> Tensor:
        """:meth:`_members` of at least one row."""
        check_real(y, "y")
        if not len(y):
            raise ValueError("y must have at least one row; got 0")
        return self._members(y, labels)

    def reset_parameters(self) -> None:
        """Empty the memory."""
        self.counts.zero_()
        self.cursors.zero_()

    @torch.no_grad()
    def update(self, y: Tensor, labels: Tensor | None = None) -> None:
        """Store the rows of ``y`` ``(N, D)``, each under its label ``(N,)``, in place of the oldest."""
        self._remember(y, self._members(y, labels))

    @torch.no_grad()
    def _remember(self, y: Tensor, members: Tensor) -> None:
        if not _readable(y):
            return
        arrived = members.sum(1)
        # If a class has more rows than fit, its first rows are not stored.
        order = members.cumsum(1) - 1 - (arrived - self.capacity).clamp_min(0)[:, None]
        labels, rows = torch.nonzero(members & (order >= 0), as_tuple=True)
        slots = (self.cursors[labels] + order[labels, rows]) % self.capacity
        self.samples[labels, slots] = y[rows].to(self.samples)
        arrived.clamp_max_(self.capacity)
        self.cursors.add_(arrived).remainder_(self.capacity)
        self.counts.add_(arrived).clamp_max_(self.capacity)

    def _mixture(self, y: Tensor, members: Tensor) -> Mixture:
        there = torch.arange(self.capacity, device=y.device) < self.counts[:, None]
        if not self.training:  # the batch only if the memory is empty
            members = members & (self.counts.sum() == 0)
        share, means, covariances = fit_components(y[None], members, self.samples, there)
        return Mixture((share if self.weights is None else self.weights.to(y)).log(), means, covariances)

    def mixture(self, y: Tensor, labels: Tensor | None = None) -> Mixture:
        """The mixture that a call uses (see the class), in float64, differentiable in ``y``."""
        members = self._members(y, labels)
        return self._mixture(y.to(_wide_type(y)), members)

    def log_prob(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log-density of each row of ``y`` under the mixture, ``(N,)``, in nats."""
        mixture = self.mixture(y, labels)
        return mixture_log_prob(mixture, y.to(mixture.means)).to(widened(y).dtype)

    def forward(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Entropy of ``y`` ``(N, D)`` in nats, a 0-d tensor; ``entropy`` of the constructor says which one."""
        members = self._some_members(y, labels)
        wide = y.to(_wide_type(y))
        mixture = self._mixture(wide, members)
        if self.entropy == "monte_carlo":
            value = -mixture_log_prob(mixture, wide).mean()
        else:
            value = {"lower": mixture_entropy_lower, "upper": mixture_entropy_upper}[self.entropy](mixture)
        if self.training:
            self._remember(y, members)
        return value.to(widened(y).dtype)


def entropies(
    memories: Sequence[GaussianMixtureMemory], ys: Sequence[Tensor], labels: Tensor | None = None
) -> list[Tensor]:
    """Entropies of several representations of the same samples, each from a memory of its own, in nats.

    Equal to one call for each memory, but nothing is stored unless all of them accept their rows.

    Args:
        memories: in training mode each stores its rows. ys: ``(N, D)`` for each. labels: of all, ``(N,)``.

    Raises:
        ValueError: if there are more or fewer representations than memories, for the same memory twice, and as a
            memory raises.

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
    for memory, y in zip(memories, ys, strict=True):
        memory._some_members(y, labels)
    return [memory(y, labels) for memory, y in zip(memories, ys, strict=True)]


def _readable(y: Tensor) -> bool:
    """Whether values can be read and state be written: not on the meta device, nor inside ``torch.func``."""
    return not (y.is_meta or torch._C._are_functorch_transforms_active())


def _wide_type(y: Tensor) -> torch.dtype:
    return torch.float32 if y.device.type == "mps" else torch.float64
