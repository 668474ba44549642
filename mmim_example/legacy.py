"""The objective of the paper's published code, including its errors, for comparison with the correct one.

None of its terms measures information; see each class. Only ``Config(legacy=True)`` uses them. Shapes and parameter
names follow the published code, so that :mod:`mmim_example.published_weights` can copy its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmim_example.loss import Objective, Pair

#: The published code adds the entropy to its loss after this many batches of each epoch.
_ENTROPY_AFTER = 2


class OfficialPair(nn.Module):
    """The published input-level term: a likelihood without its normaliser, plus the entropy of another variable.

    The "likelihood" lacks −½ log σ², so σ → ∞ maximises it. The entropy is that of tanh(W y) in a quarter of the
    dimensions, with a random W that is never trained. It lacks the constants, uses the current and the previous batch
    only, ignores rows with label 0, and is NaN if a class has too few rows.
    """

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__()
        if y_dim < 4:
            raise ValueError(f"y_dim must be at least 4 for the published entropy; got {y_dim}")
        self.mlp_mu = nn.Sequential(nn.Linear(x_dim, y_dim), nn.ReLU(), nn.Linear(y_dim, y_dim))
        self.mlp_logvar = nn.Sequential(nn.Linear(x_dim, y_dim), nn.ReLU(), nn.Linear(y_dim, y_dim))
        self.entropy_prj = nn.Sequential(nn.Linear(y_dim, y_dim // 4), nn.Tanh())
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forget the previous batch, as the published code does in each epoch."""
        self._last: tuple[Tensor, Tensor] | None = None
        self._batches = 0

    def ceiling(self, n: int) -> None:
        """None: this is not a bound."""

    def likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """−Σ (y − μ)² / 2σ², mean over rows."""
        mean, log_variance = self.mlp_mu(x), self.mlp_logvar(x)
        likelihood: Tensor = -((mean - y).square() / 2 / log_variance.exp()).sum(1).mean()
        return likelihood

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """What stage 0 minimises."""
        return -self.likelihood(x, y)

    def entropy(self, y: Tensor, labels: Tensor) -> Tensor | None:
        """¼ (log det Σ₊ + log det Σ₋) of this batch and the previous one; ``None`` if there is no previous one."""
        projected = self.entropy_prj(y)
        classes = projected[labels > 0], projected[labels < 0]
        value = None
        if self._last is not None:
            both = (torch.cat([old, new]) for old, new in zip(self._last, classes, strict=True))
            value = 0.25 * sum((torch.logdet(_covariance(rows)) for rows in both), y.new_zeros(()))
        if self.training:
            self._last = (classes[0].detach(), classes[1].detach())
        return value

    def forward(self, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        """The value that the published loss subtracts, times β."""
        likelihood, entropy = self.likelihood(x, y), self.entropy(y, labels)
        if self.training:
            self._batches += 1
        return likelihood if entropy is None or self._batches <= _ENTROPY_AFTER else likelihood + entropy


class OfficialCPC(nn.Module):
    """The published fusion-level term: InfoNCE minus log N, over the fusions for a given modality.

    Args:
        layers: number of linear layers of G. As in the published code, only the first is followed by a tanh.
    """

    def __init__(self, x_dim: int, y_dim: int, layers: int = 1) -> None:
        super().__init__()
        later = [nn.Linear(x_dim, x_dim) for _ in range(layers - 1)]
        first = nn.Linear(y_dim, x_dim)
        self.net = nn.Sequential(first, nn.Tanh(), *later) if later else first

    def ceiling(self, n: int) -> None:
        """None: this is not a bound."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean over i of cos(x_i, G(y_i)) − log Σ_j exp cos(x_i, G(y_j))."""
        predicted = self.net(y)
        cosine = (x / x.norm(dim=1, keepdim=True)) @ (predicted / predicted.norm(dim=1, keepdim=True)).T
        value: Tensor = (cosine.diagonal() - cosine.logsumexp(1)).mean()
        return value


def _covariance(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(0)
    return centred.T @ centred / len(rows)


class LegacyPair(Pair):
    """The published term of a pair, which needs the labels and forgets the previous batch in each epoch."""

    bound: OfficialPair

    def value(self, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.bound(x, y, labels)
        return value

    def start(self, x: Tensor, y: Tensor, labels: Tensor) -> None:
        """Nothing: the published stage 0 continues with the weights of the epoch before."""

    def start_epoch(self) -> None:
        self.bound.start_epoch()


class Legacy(Objective):
    """Makes the published terms."""

    def pair(self, x_dim: int, y_dim: int) -> Pair:
        return LegacyPair(OfficialPair(x_dim, y_dim), self.config)

    def fusion(self, dim: int) -> nn.Module:
        layers = (self.config.fusion_options or {}).get("layers", 1)
        if type(layers) is not int or layers < 1:
            raise ValueError(f"fusion_options.layers must be a positive integer; got {layers!r}")
        return OfficialCPC(dim, self.config.fusion, layers)
