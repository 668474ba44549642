"""Bounds from a density of y given x and the entropy of y."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from infomax.bounds.base import Bound, Kind, register
from infomax.densities.conditional import ConditionalGaussian
from infomax.densities.memory import EntropyName, GaussianMixtureMemory
from infomax.scores.precision import widened


class Variational(Bound):
    """A density q(y|x), fitted by maximum likelihood. Subclasses define the value.

    ``loss`` fits q. The gradient of ``bound(x, y)`` is the training signal for the encoders of x and y.

    Args:
        x_dim, y_dim: dimensions of x and y.
        density: module with ``log_prob(y, x) -> (N,)``, nats; by default :class:`~infomax.ConditionalGaussian`.

    Raises:
        ValueError: for wrong shapes of x, y or the log-densities.
    """

    density_of_y = True

    def __init__(self, x_dim: int, y_dim: int, *, density: nn.Module | None = None) -> None:
        super().__init__(x_dim, y_dim)
        self.density = ConditionalGaussian(x_dim, y_dim) if density is None else density

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, density=ConditionalGaussian(x_dim, y_dim, correlated=True))

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Call ``warm_start(x, y)`` of the density, if it has that method: it fits the linear part in closed form."""
        warm_start = getattr(self.density, "warm_start", None)
        if callable(warm_start):
            warm_start(x, y)

    def log_prob(self, x: Tensor, y: Tensor) -> Tensor:
        """Log q(y_i | x_i), ``(N,)``, in nats."""
        self.check_pair(x, y)
        log_prob: Tensor = self.in_range(self.density.log_prob, y, x)  # type: ignore[arg-type]
        if log_prob.shape != (len(x),):
            raise ValueError(f"density.log_prob must return shape ({len(x)},); got {tuple(log_prob.shape)}")
        return widened(log_prob)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative mean log-likelihood of y given x, 0-d."""
        return -self.log_prob(x, y).mean()


@register("ba", "barber_agakov")
class BA(Variational):
    r"""Barber-Agakov: the mean log-density of y given x, plus the entropy of y.

    .. math:: E[\log q(y|x)] + H(y) \le I(x; y)

    A lower bound on MI for every q, *if H(y) is exact*. If the entropy is known, pass it as a number; ``kind`` is then
    "lower". Otherwise a Gaussian-mixture memory estimates H(y). Its estimate is too large for data that do not follow
    the mixture, and the value can then exceed MI: ``kind`` is "estimate".

    ``loss`` fits q by maximum likelihood. The gradient of ``bound(x, y)`` is the training signal for the encoders of x
    and y.

    Args:
        x_dim, y_dim: dimensions of x and y.
        density: module with ``log_prob(y, x) -> (N,)``, nats; by default :class:`~infomax.ConditionalGaussian`.
        components, capacity, weights: options of the :class:`~infomax.GaussianMixtureMemory`. With several components,
            every call of the bound needs ``labels``.
        entropy: the estimate of H(y): "monte_carlo", "lower" or "upper" (see the memory), or a number in nats.

    Raises:
        ValueError: for wrong shapes, missing labels, and as the memory.

    Source: Barber and Agakov, "The IM Algorithm", 2003; the memory: Han et al., 2021, arXiv 2109.00412.

    >>> import torch
    >>> x = torch.randn(256, 2)
    >>> ba = BA(2, 1)
    >>> ba.loss(x, x[:, :1]).ndim, ba(x, x[:, :1]).ndim
    (0, 0)
    """

    kind: Kind = "estimate"
    reference = "Barber, Agakov 2003; memory: Han et al. 2021, arXiv 2109.00412"
    cost = "N log-densities, D³ for the entropy"
    use_when = "continuous y, nearly Gaussian given x; large MI; small batches"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        density: nn.Module | None = None,
        components: int = 1,
        capacity: int = 1024,
        weights: Literal["empirical"] | Sequence[float] = "empirical",
        entropy: EntropyName | float = "monte_carlo",
    ) -> None:
        super().__init__(x_dim, y_dim, density=density)
        self.memory: GaussianMixtureMemory | None = None
        self.known_entropy = math.nan
        if isinstance(entropy, str):
            self.memory = GaussianMixtureMemory(y_dim, components, capacity, weights=weights, entropy=entropy)
        else:
            self.known_entropy, self.kind = float(entropy), "lower"
            if not math.isfinite(self.known_entropy):
                raise ValueError(f"entropy must be finite; got {entropy}")

    def fixed_units(self) -> bool:
        """True if the entropy was passed as a number."""
        return self.memory is None

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, density=ConditionalGaussian(x_dim, y_dim, correlated=True), capacity=n)

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Fit the linear part of q in closed form, and fill a memory of one component with ``y``."""
        super().warm_start(x, y)
        if self.memory is not None and self.memory.components == 1:
            self.memory.reset_parameters()
            self.memory.update(y)

    def forward(self, x: Tensor, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """E log q(y|x) + H(y), 0-d, in nats. In training mode the memory then stores ``y`` (under ``labels``)."""
        log_prob = self.log_prob(x, y).mean()
        value: Tensor = log_prob + (self.known_entropy if self.memory is None else self.memory(y, labels))
        return value

    def pointwise(self, x: Tensor, y: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log q(y_i|x_i) − log m(y_i), with the mixture m of the memory (or plus the known entropy): ``(N,)``, nats."""
        log_prob = self.log_prob(x, y)
        if self.memory is None:
            return log_prob + self.known_entropy
        return log_prob - self.memory.log_prob(y, labels)


def barber_agakov(
    bounds: Sequence[BA], pairs: Sequence[tuple[Tensor, Tensor]], labels: Tensor | None = None
) -> list[Tensor]:
    """``bound(x, y, labels)`` of each bound and its pair of ``x (N, Dx)`` and ``y (N, Dy)``: 0-d, in nats.

    Raises:
        ValueError: if the numbers of pairs and bounds differ, and as each bound.

    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> [value.ndim for value in barber_agakov([BA(3, 1), BA(3, 2)], [(x, x[:, :1]), (x, x[:, 1:])])]
    [0, 0]
    """
    if len(pairs) != len(bounds):
        raise ValueError(f"pairs must be as many as bounds; got {len(pairs)} and {len(bounds)}")
    return [bound(x, y, labels) for bound, (x, y) in zip(bounds, pairs, strict=True)]
