"""Entropy of a representation from a Gaussian mixture that remembers recent batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.components import fit_components

EntropyName = Literal["lower", "upper", "monte_carlo"]


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: ``log_weights (C,)``, ``means (C, D)``, lower Cholesky factors ``(C, D, D)``."""

    log_weights: Tensor
    means: Tensor
    cholesky: Tensor

    def half_log_det(self) -> Tensor:
        half: Tensor = self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return half


def gaussian_entropies(mixture: Mixture) -> Tensor:
    r"""Entropy of each component, :math:`\tfrac12 \log\det(2\pi e \Sigma_c)`, ``(C,)``, in nats."""
    dim = mixture.means.shape[-1]
    return 0.5 * dim * math.log(2 * math.pi * math.e) + mixture.half_log_det()


def component_log_probs(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log N(y_i; \mu_c, \Sigma_c)` for every row and component, ``(N, C)``, in nats."""
    difference = (y[:, None, :] - mixture.means).permute(1, 2, 0)  # (C, D, N)
    white = torch.linalg.solve_triangular(mixture.cholesky, difference, upper=False)
    constant = 0.5 * y.shape[1] * math.log(2 * math.pi) + mixture.half_log_det()
    log_probs: Tensor = -0.5 * white.square().sum(1).T - constant
    return log_probs


def mixture_log_prob(mixture: Mixture, y: Tensor) -> Tensor:
    r""":math:`\log m(y_i) = \log \sum_c w_c N(y_i; \mu_c, \Sigma_c)`, ``(N,)``, in nats."""
    return torch.logsumexp(component_log_probs(mixture, y) + mixture.log_weights, 1)


def _pairwise_entropy(mixture: Mixture, distance: Tensor) -> Tensor:
    weights = mixture.log_weights.exp()
    overlap = torch.logsumexp(mixture.log_weights - distance, 1)
    return (weights * (gaussian_entropies(mixture) - overlap)).sum()


def mixture_entropy_lower(mixture: Mixture) -> Tensor:
    r"""Lower bound on the mixture's entropy, from the Bhattacharyya distances of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-B(c, k)}` (Kolchinsky and Tracey, "Estimating mixture
    entropy with pairwise distances", 2017, arXiv 1706.02419). Exact for one component and for far-apart ones.
    """
    covariance, half = mixture.cholesky @ mixture.cholesky.mT, mixture.half_log_det()
    c, k = torch.triu_indices(len(half), len(half), 1, device=half.device)
    middle = torch.linalg.cholesky(0.5 * (covariance[c] + covariance[k]))
    difference = (mixture.means[c] - mixture.means[k])[..., None]
    mahalanobis = torch.linalg.solve_triangular(middle, difference, upper=False).square().sum((-2, -1))
    log_det = middle.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * (half[c] + half[k])
    distance = torch.zeros_like(covariance[:, 0, :1] * half).index_put((c, k), mahalanobis / 8 + log_det)
    return _pairwise_entropy(mixture, distance + distance.T)


def mixture_entropy_upper(mixture: Mixture) -> Tensor:
    r"""Upper bound on the mixture's entropy, from the Kullback-Leibler divergences of its components, in nats.

    :math:`\sum_c w_c h_c - \sum_c w_c \log \sum_k w_k e^{-KL(c \| k)}` (Kolchinsky and Tracey 2017, arXiv 1706.02419).
    """
    chol = mixture.cholesky
    difference = (mixture.means[:, None] - mixture.means[None])[..., None]
    mahalanobis = torch.linalg.solve_triangular(chol[None], difference, upper=False).square().sum((-2, -1))
    trace = torch.linalg.solve_triangular(chol[None], chol[:, None], upper=False).square().sum((-2, -1))
    half = mixture.half_log_det()
    divergence = 0.5 * (trace + mahalanobis - chol.shape[-1]) + half[None] - half[:, None]
    return _pairwise_entropy(mixture, divergence)


class GaussianMixtureMemory(nn.Module):
    r"""Entropy of ``y`` in nats, from a Gaussian mixture over the current batch and a bounded history of earlier ones.

    One Gaussian for each class label; its mean and covariance come from the rows of the batch and those remembered,
    and the covariance, in units of the coordinates' pooled deviations, is shrunk (Ledoit and Wolf 2004,
    :func:`infomax.gaussian.ledoit_wolf`) and floored, so that components that are empty, of one sample, constant or
    rank-deficient give a finite, differentiable value. An empty component takes the pooled mean and variances.
    Shrinkage raises the entropy of strongly correlated coordinates where rows are few. The history is module state: it
    moves with ``.to()`` and is saved in ``state_dict``.

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
        self.samples[labels, slots] = y.detach().to(self.samples)
        self.cursors.copy_((self.cursors + arrived - surplus) % self.capacity)
        self.counts.copy_((self.counts + arrived).clamp_max(self.capacity))

    def _members(self, labels: Tensor) -> Tensor:
        """Which rows are of which component, ``(C, N)`` bool."""
        return labels == torch.arange(self.components, device=labels.device)[:, None]

    def mixture(self, y: Tensor, labels: Tensor | None = None) -> Mixture:
        """The mixture that this call would use (see the class), in float64, differentiable in ``y``."""
        return self._mixture(y, self._check(y, labels))

    def _mixture(self, y: Tensor, labels: Tensor) -> Mixture:
        wide = y.dtype if y.device.type == "mps" else torch.float64
        most = int(self.counts.max())
        old = self.samples[:, :most]
        is_old = torch.arange(most, device=y.device) < self.counts[:, None]
        if self.training or not most:
            new, is_new = self._by_component(y.to(wide), labels)
        else:
            new, is_new = old[:, :0].to(wide), is_old[:, :0]
        share, means, cholesky = fit_components(new, is_new, old, is_old)
        if self.weights is not None:
            share = self.weights.to(wide)
        return Mixture(share.log(), means, cholesky)

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
