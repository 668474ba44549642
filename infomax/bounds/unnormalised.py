"""Unnormalised bounds: NWJ, NWJ with a learned baseline, and the interpolation between NWJ and InfoNCE."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import register
from infomax.bounds.chosen import ChosenScores
from infomax.bounds.contrastive import Contrastive
from infomax.bounds.objectives import Scores
from infomax.bounds.product_pairs import ProductPairs
from infomax.critics.networks import MLP
from infomax.scores.statistics import LogSums, Statistic

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from infomax.bounds.options import PairOptions


@register("nwj", "mine_f")
class NWJ(ProductPairs):
    r"""Nguyen-Wainwright-Jordan: an unbiased lower bound without a ceiling, but with high variance.

    .. math:: E_p[f] - E_q[e^{f}] + 1

    with the joint p and the product of the marginals q. It is tight if f is the log-ratio. The variance of the second
    term grows like e^{MI}: above about 5 nats it needs very many pairs, and training can diverge.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Nguyen, Wainwright and Jordan, 2010, arXiv 0809.0853; Poole et al., 2019, arXiv 1905.06922.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = NWJ(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    >>> bound.kind, bound.ceiling(500)
    ('lower', None)
    """

    kind = "lower"
    reference = "Nguyen, Wainwright, Jordan 2010, arXiv 0809.0853"
    use_when = "a lower bound without a ceiling; MI below about 5 nats"

    def statistics(self) -> tuple[Statistic, ...]:
        return (LogSums(),)

    def objective(self, scores: Scores) -> Tensor:
        return objectives.nwj(scores)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.widen(scores).diagonal()


class Constant(nn.Module):
    """One learned number, initially zero, for all rows: ``(N, D) → (N,)``."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        """Set the number to zero."""
        nn.init.zeros_(self.value)

    def forward(self, y: Tensor) -> Tensor:
        return self.value.expand(len(y))


@register("tuba")
class TUBA(NWJ):
    r"""Tractable unnormalised Barber-Agakov: NWJ with a learned baseline a(y).

    .. math:: E_p[f - \log a(y)] - E_q\Big[\frac{e^{f}}{a(y)}\Big] + 1

    A lower bound for every critic, every a > 0 and every number of pairs, with the variance of NWJ. It is tight if
    :math:`f - \log a` is the log-ratio: log a learns the excess terms of f in y.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        baseline: log a: "network" (a perceptron of y), "constant", or a module from ``(N, Dy)`` to ``(N,)``.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Raises:
        ValueError: for an unknown baseline or one that returns another shape, and as :class:`Contrastive`.

    Source: Poole et al., "On Variational Bounds of Mutual Information", 2019, arXiv 1905.06922, eq. 7.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = TUBA(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    >>> bound.baseline(y).shape  # log a(y), which is trained with the critic
    torch.Size([500])
    """

    reference = "Poole et al. 2019, arXiv 1905.06922"
    use_when = "as nwj, with a critic known up to a term in y"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "separable",
        baseline: str | nn.Module = "network",
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if isinstance(baseline, str):
            if baseline not in ("network", "constant"):
                raise ValueError(f"baseline must be a module, 'network' or 'constant'; got {baseline!r}")
            network = baseline == "network"
            baseline = nn.Sequential(MLP(y_dim, (64,), 1, last_gain=0.01), nn.Flatten(0)) if network else Constant()
        self.baseline = baseline

    def scores(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Scores:
        """``f(x_i, y_j) − log a(y_j)``, ``(N, N)``; with options of a call also of the negatives."""
        scores, log_baseline = super().scores(x, y, **options), self.log_baseline(y)
        if not isinstance(scores, ChosenScores):
            shifted: Scores = objectives.widen(scores) - log_baseline
            return shifted
        negatives = options.get("negatives")
        if negatives is None:
            return scores.minus_columns(log_baseline, None)
        further = self.log_baseline(negatives.flatten(0, -2))
        if negatives.ndim == 3:
            return scores.minus_columns(log_baseline, further.view(negatives.shape[:2]))
        return scores.minus_columns(torch.cat([log_baseline, further]), None)

    def log_baseline(self, y: Tensor) -> Tensor:
        """Log a of each row, ``(N,)``, in float32 or wider."""
        found: Tensor = self.in_range(self.baseline, y)
        if found.shape != (len(y),):
            raise ValueError(f"baseline must return shape ({len(y)},); got {tuple(found.shape)}")
        return objectives.widen(found)


@register("flo")
class FLO(NWJ):
    r"""Contrastive Fenchel-Legendre optimisation: a learned u replaces the log-partition function of each pair.

    .. math:: -E_p\Big[u(x, y) + e^{-u(x, y)} E_{y'}\big[e^{g(x, y') - g(x, y)}\big]\Big] + 1

    A lower bound for every g, every u and every number of pairs, because u is the dual variable of the logarithm and
    the inner mean enters linearly. It is tight if g is the log-ratio up to a term in x, and −u is the log-ratio. Here
    :math:`-u = g + c` with a learned correction c(x, y), initially near zero. With c = 0 it is NWJ.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`; the critic is g.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Guo et al., "Tight Mutual Information Estimation With Contrastive Fenchel-Legendre Optimization", 2021,
    arXiv 2107.01131.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = FLO(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    """

    reference = "Guo et al. 2021, arXiv 2107.01131"
    use_when = "as nwj, with a critic known up to a term in x"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        self.correction = MLP(x_dim + y_dim, (64,), 1, last_gain=0.01)

    def scores(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Scores:
        """``g(x_i, y_j) + c(x_i, y_i)``, ``(N, N)``: −u on the diagonal, the exponents of the means elsewhere."""
        scores = super().scores(x, y, **options)
        correction = self.in_range(self.correction, torch.cat([x, y], 1))
        shifted: Scores = objectives.widen(scores) + objectives.widen(correction)
        return shifted


@register("interpolated", "alpha")
class Interpolated(Contrastive):
    r"""Interpolation between NWJ (α = 0) and InfoNCE (α = 1), which trades bias for variance.

    .. math:: 1 + E\Big[\log \frac{e^{f(x, y_1)}}{a(x, y_{1:K})}\Big] - E\Big[\frac{e^{f(x, y_1)}}{a(x, y_{1:K})}\Big],
        \quad a = \frac{\alpha}{K} \sum_k e^{f(x, y_k)} + 1 - \alpha

    A lower bound in expectation for every critic, every α and every number of pairs. With α > 0 a value cannot exceed
    log ((N − 1)/α) + 1 (:meth:`ceiling`), and the exponential is at most 1/α. See
    :func:`~infomax.bounds.objectives.interpolated`.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        alpha: weight of the candidates' mean in the baseline, in [0, 1].

    Source: Poole et al., "On Variational Bounds of Mutual Information", 2019, arXiv 1905.06922, eq. 15.

    >>> for alpha in (1.0, 0.5, 0.0):  # from InfoNCE to NWJ
    ...     limit = Interpolated(3, 2, alpha=alpha).ceiling(64)
    ...     print(alpha, limit if limit is None else round(limit, 2))
    1.0 4.14
    0.5 5.84
    0.0 None
    """

    kind = "lower"
    ceiling_formula = "log((N − 1)/α) + 1"
    reference = "Poole et al. 2019, arXiv 1905.06922"
    use_when = "a higher ceiling than infonce, less variance than nwj"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", alpha: float = 0.5) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1]; got {alpha}")
        self.alpha = alpha

    def objective(self, scores: Scores) -> Tensor:
        return objectives.interpolated(scores, self.alpha)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.interpolated_pointwise(scores, self.alpha)

    def ceiling(self, n: int) -> float | None:
        """Log ((n − 1)/α) + 1; log (n − 1) at α = 1, where the second mean is 1; ``None`` at α = 0."""
        if n < 2:
            raise ValueError(f"n must be at least 2; got {n}")
        if not self.alpha:
            return None
        return math.log((n - 1) / self.alpha) + (self.alpha < 1)
