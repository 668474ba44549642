"""Entropy of a representation from a Gaussian mixture that remembers recent batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.components import fit_components
from infomax.mixtures import Mixture, mixture_entropy_lower, mixture_entropy_upper, mixture_log_prob
from infomax.remembered import BlockMoments

EntropyName = Literal["lower", "upper", "monte_carlo"]

#: Slots of a block whose rows' moments are kept. Of wide rows as many as columns, or moments would outgrow the rows.
_BLOCK = 256


class GaussianMixtureMemory(nn.Module):
    r"""Entropy of ``y`` in nats, from a Gaussian mixture over the current batch and a bounded history of earlier ones.

    One Gaussian for each class label; its mean and covariance come from the rows of the batch and those remembered,
    and the covariance, in units of the coordinates' pooled deviations, is shrunk (Ledoit and Wolf 2004,
    :func:`infomax.gaussian.ledoit_wolf`) and floored, so that components that are empty, of one sample, constant or
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

    def _check(self, y: Tensor, labels: Tensor | None) -> Tensor:
        if y.ndim != 2 or y.shape[1] != self.dim:
            raise ValueError(f"y must have shape (N, {self.dim}); got {tuple(y.shape)}")
        if not bool(y.isfinite().all()):
            raise ValueError(f"y must be finite; got NaN or infinity in {int((~y.isfinite()).any(1).sum())} rows")
        if labels is None:
            if self.components > 1:
                raise ValueError(f"labels must be given when components > 1; got None for {self.components} components")
            return torch.zeros(len(y), dtype=torch.long, device=y.device)
        if labels.shape != (len(y),) or labels.is_floating_point():
            raise ValueError(
                f"labels must be integers of shape ({len(y)},); got {tuple(labels.shape)} of {labels.dtype}"
            )
        if len(y) and not 0 <= int(labels.min()) <= int(labels.max()) < self.components:
            raise ValueError(
                f"labels must lie in 0..{self.components - 1}; got {int(labels.min())}..{int(labels.max())}"
            )
        return labels

    def reset_parameters(self) -> None:
        """Forget all samples."""
        self._blocks.clear()
        self.counts.zero_()
        self.cursors.zero_()

    @torch.no_grad()
    def update(self, y: Tensor, labels: Tensor | None = None) -> None:
        """Remember the rows of ``y`` ``(N, D)``, each under its label ``(N,)``; the oldest are forgotten."""
        self._remember(y, self._check(y, labels))

    def _remember(self, y: Tensor, labels: Tensor) -> None:
        if not len(y):
            return
        place = self._members(labels).cumsum(1)  # 1, 2, … along the rows of a class
        arrived = place[:, -1]
        surplus = (arrived - self.capacity).clamp_min(0)  # the first rows of a class that alone is too large
        place = place[labels, torch.arange(len(y), device=y.device)] - 1 - surplus[labels]
        slots = (self.cursors[labels] + place) % self.capacity
        if len(y) > self.capacity:
            kept = place >= 0
            y, labels, slots = y[kept], labels[kept], slots[kept]
        known = self._blocks.are_of(self.samples, self.counts)
        self.samples[labels, slots] = y.detach().to(self.samples)
        self.cursors.copy_((self.cursors + arrived - surplus) % self.capacity)
        self.counts.copy_((self.counts + arrived).clamp_max(self.capacity))
        if known:
            self._blocks.forget(self.samples, self.counts, slots)

    def _members(self, labels: Tensor) -> Tensor:
        """Which rows are of which component, ``(C, N)`` bool."""
        return labels == torch.arange(self.components, device=labels.device)[:, None]

    def mixture(self, y: Tensor, labels: Tensor | None = None) -> Mixture:
        """The mixture that this call would use (see the class), in float64, differentiable in ``y``."""
        return self._mixture(y, self._check(y, labels))

    def _mixture(self, y: Tensor, labels: Tensor) -> Mixture:
        wide = torch.float32 if y.device.type == "mps" else torch.float64
        most = int(self.counts.max())
        old = self.samples[:, :most]
        is_old = torch.arange(most, device=y.device) < self.counts[:, None]
        if self.training or not most:
            new, is_new = self._by_component(y.to(wide), labels)
        else:
            new, is_new = old[:, :0].to(wide), is_old[:, :0]
        rows = self._blocks.rows  # of fewer than three blocks, keeping moments saves little and takes much memory
        kept = self.capacity >= 3 * rows and most > rows
        known = self._blocks.of(self.samples, self.counts, most, wide) if kept else None
        share, means, covariances = fit_components(new, is_new, old, is_old, known)
        if self.weights is not None:
            share = self.weights.to(wide)
        return Mixture(share.log(), means, covariances)

    def _by_component(self, y: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of each component, ``(C, M, D)``, and which of them there are, ``(C, M)``."""
        if self.components == 1:
            return y[None], torch.ones(1, len(y), dtype=torch.bool, device=y.device)
        place = self._members(labels).cumsum(1)
        arrived = place[:, -1:] if len(y) else place.new_zeros(self.components, 1)
        most = int(arrived.max())
        rows = y.new_zeros(self.components, most, self.dim)
        if len(y):
            rows = rows.index_put((labels, place.gather(0, labels[None])[0] - 1), y)
        return rows, torch.arange(most, device=y.device) < arrived

    def log_prob(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log-density of each row of ``y`` under the mixture, ``(N,)``, in nats."""
        mixture = self.mixture(y, labels)
        return mixture_log_prob(mixture, y.to(mixture.means)).to(y.dtype)

    def forward(self, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Entropy of ``y`` ``(N, D)`` in nats, a 0-d tensor, by the name given to the constructor."""
        if not len(y):
            raise ValueError("y must have at least one row; got 0")
        labels = self._check(y, labels)
        mixture = self._mixture(y, labels)
        if self.entropy == "monte_carlo":
            value = -mixture_log_prob(mixture, y.to(mixture.means)).mean()
        else:
            value = {"lower": mixture_entropy_lower, "upper": mixture_entropy_upper}[self.entropy](mixture)
        if self.training:
            self._remember(y, labels)
        return value.to(y.dtype)
