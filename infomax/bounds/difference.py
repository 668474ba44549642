"""Difference of entropies: one density models y, another one models y given x."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.bounds.base import register
from infomax.bounds.variational import Variational
from infomax.densities.conditional import Flow, MarginalGaussian
from infomax.scores.precision import widened

DensityName = Literal["gaussian", "flow"]


@register("doe", "difference_of_entropies")
class DoE(Variational):
    r"""Difference of entropies, H(y) − H(y|x), each estimated by a cross-entropy.

    .. math:: -E[\log q(y)] + E[\log q(y|x)]

    Neither a lower nor an upper bound, because it is the difference of two upper bounds: a poor q(y) raises the value,
    a poor q(y|x) lowers it. There is no ceiling of log N, and no N² scores are needed.

    Args:
        x_dim, y_dim: dimensions of x and y.
        densities: the family of both densities: "gaussian", or "flow" (neural spline flow; needs ``infomax[flows]``).
        density: module with ``log_prob(y, x) -> (N,)``, in nats; replaces q(y|x) of the family.
        marginal: module with ``log_prob(y) -> (N,)``, in nats; replaces q(y) of the family.

    Raises:
        ImportError: for flows without the extra.
        ValueError: for an unknown family, a density that returns another shape, and as
            :class:`~infomax.bounds.variational.Variational`.

    Source: McAllester and Stratos, "Formal Limitations on the Measurement of Mutual Information", 2020, arXiv
    1811.04251.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = DoE(1, 1)
    >>> bound.warm_start(x, y)  # both densities in closed form
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    """

    kind = "estimate"
    reference = "McAllester, Stratos 2020, arXiv 1811.04251"
    cost = "2 N log-densities"
    use_when = "as ba, but with flows for non-Gaussian y; large MI"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        densities: DensityName = "gaussian",
        density: nn.Module | None = None,
        marginal: nn.Module | None = None,
    ) -> None:
        if densities not in get_args(DensityName):
            raise ValueError(f"densities must be one of {', '.join(get_args(DensityName))}; got {densities!r}")
        flow = densities == "flow"
        if density is None and flow:
            density = Flow(x_dim, y_dim)
        super().__init__(x_dim, y_dim, density=density)
        if marginal is None:
            marginal = Flow(0, y_dim) if flow else MarginalGaussian(y_dim)
        self.marginal = marginal

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Fit the parts of both densities that have a closed form."""
        super().warm_start(x, y)
        warm_start = getattr(self.marginal, "warm_start", None)
        if callable(warm_start):
            warm_start(y)

    def marginal_log_prob(self, y: Tensor) -> Tensor:
        """Log q(y_i), ``(N,)``, in nats."""
        log_prob: Tensor = self.in_range(self.marginal.log_prob, y)  # type: ignore[arg-type]
        if log_prob.shape != (len(y),):
            raise ValueError(f"marginal.log_prob must return shape ({len(y)},); got {tuple(log_prob.shape)}")
        return widened(log_prob)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of the negative mean log-likelihoods of y given x and of y, 0-d."""
        return -self.log_prob(x, y).mean() - self.marginal_log_prob(y).mean()

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self.log_prob(x, y) - self.marginal_log_prob(y)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pointwise(x, y).mean()
