"""Which of the candidates belongs to this one? Bounds that classify: InfoNCE and its relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from infomax import critics
from infomax.bounds import objectives
from infomax.bounds.base import register
from infomax.bounds.contrastive import Contrastive, Discriminative
from infomax.bounds.objectives import Scores
from infomax.scores.statistics import LogSums, Statistic


@register("infonce", "info_nce")
class InfoNCE(Contrastive):
    r"""InfoNCE: which of the N ys belongs to this x? A lower bound on MI of low variance that cannot pass log N.

    .. math:: \frac1N \sum_i \log \frac{e^{f(x_i, y_i)}}{\frac1N \sum_j e^{f(x_i, y_j)}}

    A lower bound in expectation for every critic and every N. It needs about e^{2 MI} pairs to be tight: near log N it
    says little (:meth:`ceiling`).

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        symmetric: average both directions, ys for a given x and xs for a given y.

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
    use_when = "a steady lower bound; MI well below log N"

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
    r"""Contrastive predictive coding: G predicts x from y; which of the N xs was meant?

    .. math:: \frac1N \sum_i \log \frac{e^{x_i^\top G(y_i)}}{\frac1N \sum_j e^{x_j^\top G(y_i)}}

    InfoNCE with the inner product of x and a prediction of it as the score, and the other xs as negatives. A lower
    bound in expectation; loose where :math:`x^\top G(y)` cannot follow the log-ratio (it has no term in x alone).
    :func:`infomax.estimate` therefore gives it, when asked for by name, the critic of the other bounds.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: replaces the predictor; a name or a module. The four options that follow are the predictor's.
        hidden: widths of G's hidden layers; none: G is linear.
        normalize: score by the cosine of x and G(y), as MMIM does (Han et al. 2021, arXiv 2109.00412).
        temperature: divides the scores; a positive number, or "learned". With ``normalize`` and T = 1 the value cannot
            pass log N − log(1 + (N − 1) e^{−2/T}): 1.82 nats at N = 32 (:meth:`ceiling`).
        symmetric: average with the direction that looks for y among the ys.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748.

    >>> import torch
    >>> z, x = torch.randn(32, 8), torch.randn(32, 5)
    >>> cpc = CPC(8, 5, normalize=True)
    >>> cpc(z, x).ndim, round(cpc.ceiling(32), 2)
    (0, 1.82)
    """

    use_when = "a training loss between representations (MMIM's fusion term)"

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
        """Log n; lower for cosine scores, by their temperature."""
        if isinstance(self.critic, critics.Predictor) and self.critic.normalize:
            gap = 2 * math.exp(-self.critic.temperature.log_temperature.item())
            return math.log(n) - math.log1p((n - 1) * math.exp(-gap))
        return super().ceiling(n)


@register("infonce_anchor")
class InfoNCEAnchor(Discriminative):
    r"""InfoNCE with an anchor class, "none of these": the critic learns the log-ratio with its constant.

    The critic is fitted by :func:`~infomax.bounds.objectives.anchored_classification` and read as :math:`E_p[f]`, which
    no log N limits. Neither a lower nor an upper bound: the value is as good as the critic, and follows its errors to
    both sides.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        anchor: prior weight ν of the anchor class, to which the N − 1 candidates add one each; ν → 0 is InfoNCE, whose
            critic has a free constant in x. ``None``: N − 1, so that half of the sets have no true pair.

    Source: Ryu, Yeddanapudi, Xu and Wornell, "Contrastive Predictive Coding Done Right for Mutual Information
    Estimation", 2025, arXiv 2510.25983.
    """

    kind = "estimate"
    reference = "Ryu, Yeddanapudi, Xu, Wornell 2025, arXiv 2510.25983"
    use_when = "as infonce, without its ceiling; no side guaranteed"

    def __init__(
        self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", anchor: float | None = None
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if anchor is not None and not 0 < anchor < math.inf:
            raise ValueError(f"anchor must be positive, or None; got {anchor}")
        self.anchor = anchor

    def fitted(self, scores: Scores) -> Tensor:
        return objectives.anchored_classification(scores, self.anchor or len(scores) - 1)
