"""Bounds by classification of the true partner among candidates: InfoNCE, CPC and InfoNCE with an anchor class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import register
from infomax.bounds.contrastive import Contrastive, Discriminative
from infomax.bounds.objectives import Scores
from infomax.critics import networks as critics
from infomax.scores.statistics import LogSums, Statistic


@register("infonce", "info_nce")
class InfoNCE(Contrastive):
    r"""InfoNCE: classify which of N ys belongs to an x. A lower bound with low variance that cannot exceed log N.

    .. math:: \frac1N \sum_i \log \frac{e^{f(x_i, y_i)}}{\frac1N \sum_j e^{f(x_i, y_j)}}

    A lower bound in expectation for every critic and every N. It needs about e^{2 MI} pairs to be tight. A value near
    log N (:meth:`ceiling`) says only that MI is at least that large.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        symmetric: average over both directions, classification of y given x and of x given y.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748; Poole et al., 2019, arXiv 1905.06922.

    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> bound = InfoNCE(3, 3, critic="bilinear")
    >>> bool(bound(x, x) <= bound.ceiling(64))
    True
    """

    kind = "lower"
    ceiling_formula = "log N"
    reference = "van den Oord, Li, Vinyals 2018, arXiv 1807.03748"
    use_when = "a lower bound of low variance; MI well below log N"

    def __init__(
        self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", symmetric: bool = False
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        self.symmetric = symmetric

    def objective(self, scores: Scores) -> Tensor:
        return objectives.infonce_both(scores) if self.symmetric else objectives.infonce(scores)

    def statistics(self) -> tuple[Statistic, ...]:
        return (LogSums(), LogSums(by_column=True)) if self.symmetric else (LogSums(),)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        if self.symmetric:
            return 0.5 * (objectives.infonce_pointwise(scores) + objectives.infonce_pointwise(scores.T))
        return objectives.infonce_pointwise(scores)

    def ceiling(self, n: int) -> float | None:
        """Log n."""
        return math.log(n)


@register("cpc")
class CPC(InfoNCE):
    r"""Contrastive predictive coding: G predicts x from y; classify which of N xs was predicted.

    .. math:: \frac1N \sum_i \log \frac{e^{x_i^\top G(y_i)}}{\frac1N \sum_j e^{x_j^\top G(y_i)}}

    InfoNCE with the inner product of x and its prediction as the score, and the other xs as negatives. A lower bound
    in expectation. It is loose if :math:`x^\top G(y)` cannot represent the log-ratio (it has no term in x alone).
    :func:`infomax.estimate` therefore uses the critic of the other bounds if this bound is given by name.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: replaces the predictor; a name or a module. The next three options are those of the predictor.
        hidden: widths of the hidden layers of G; without any, G is linear.
        normalize: score by the cosine of x and G(y), as MMIM does (Han et al. 2021, arXiv 2109.00412).
        temperature: divisor of the scores; a positive number, or "learned". With ``normalize`` the value cannot exceed
            log N − log(1 + (N − 1) e^{−2/T}): 1.82 nats at T = 1 and N = 32 (:meth:`ceiling`).
        symmetric: average over both directions, classification of x given y and of y given x.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748.

    >>> import torch
    >>> z, x = torch.randn(32, 8), torch.randn(32, 5)
    >>> cpc = CPC(8, 5, normalize=True)
    >>> cpc(z, x).ndim, round(cpc.ceiling(32), 2)
    (0, 1.82)
    """

    use_when = "a training loss between representations (the fusion term of MMIM)"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "predictor",
        hidden: Sequence[int] = (),
        normalize: bool = False,
        temperature: float | str = 1.0,
        symmetric: bool = False,
    ) -> None:
        if critic == "predictor":
            critic = critics.Predictor(x_dim, y_dim, hidden=hidden, normalize=normalize, temperature=temperature)
        elif hidden or normalize or temperature != 1.0:
            raise ValueError("hidden, normalize and temperature belong to the predictor; got them with critic=")
        super().__init__(x_dim, y_dim, critic=critic, symmetric=symmetric)

    def statistics(self) -> tuple[Statistic, ...]:
        return tuple(statistic.transposed() for statistic in super().statistics())

    def objective(self, scores: Scores) -> Tensor:
        return super().objective(scores.T)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return super().pointwise_objective(scores.T)

    def ceiling(self, n: int) -> float | None:
        """Log n; for cosine scores less, depending on their temperature."""
        if isinstance(self.critic, critics.Predictor) and self.critic.normalize:
            gap = 2 * math.exp(-self.critic.temperature.log_temperature.item())
            return math.log(n) - math.log1p((n - 1) * math.exp(-gap))
        return super().ceiling(n)


@register("infonce_anchor")
class InfoNCEAnchor(Discriminative):
    r"""InfoNCE with an anchor class, "none of these": the critic learns the log-ratio including its constant.

    The critic is trained with :func:`~infomax.bounds.objectives.anchored_classification`; the value is :math:`E_p[f]`,
    which has no ceiling of log N. It is neither a lower nor an upper bound: errors of the critic move it in either
    direction.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        anchor: prior weight ν of the anchor class; each of the N − 1 candidates has weight 1. The limit ν → 0 is
            InfoNCE, whose critic has a free term in x. ``None`` for N − 1: half of the sets have no true pair.

    Source: Ryu, Yeddanapudi, Xu and Wornell, "Contrastive Predictive Coding Done Right for Mutual Information
    Estimation", 2025, arXiv 2510.25983.
    """

    kind = "estimate"
    reference = "Ryu, Yeddanapudi, Xu, Wornell 2025, arXiv 2510.25983"
    use_when = "as infonce, without its ceiling; not a bound"

    def __init__(
        self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", anchor: float | None = None
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if anchor is not None and not 0 < anchor < math.inf:
            raise ValueError(f"anchor must be positive, or None; got {anchor}")
        self.anchor = anchor

    def fitted(self, scores: Scores) -> Tensor:
        return objectives.anchored_classification(scores, self.anchor or len(scores) - 1)
