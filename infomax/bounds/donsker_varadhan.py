"""The Donsker-Varadhan bound, and MINE: the same value with a bias-corrected gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import register
from infomax.bounds.objectives import Scores
from infomax.bounds.product_pairs import ProductPairs
from infomax.scores.statistics import LogSums, Statistic


@register("dv", "donsker_varadhan")
class DonskerVaradhan(ProductPairs):
    r"""Donsker-Varadhan: as tight as NWJ, and invariant to a constant added to the critic.

    .. math:: E_p[f] - \log E_q[e^{f}]

    A lower bound if the expectations are exact. With batch means it is not, because the log of a mean is biased
    (Jensen), which biases the value upwards: hence ``kind = "estimate"``. The bias falls with the number of pairs and
    grows like e^{MI}.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Donsker and Varadhan, 1983, doi:10.1002/cpa.3160360204; Belghazi et al., 2018, arXiv 1801.04062.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = DonskerVaradhan(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    >>> scores = bound.scores(x, y)
    >>> bool(torch.isclose(bound.objective(scores + 3), bound.objective(scores)))
    True
    """

    kind = "estimate"
    reference = "Donsker, Varadhan 1983; Belghazi et al. 2018, arXiv 1801.04062"
    use_when = "estimation with many pairs; a critic known up to a constant"

    def statistics(self) -> tuple[Statistic, ...]:
        return (LogSums(),)

    def objective(self, scores: Scores) -> Tensor:
        return objectives.donsker_varadhan(scores)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.donsker_varadhan_pointwise(scores)


@register("mine")
class MINE(DonskerVaradhan):
    r"""MINE: the Donsker-Varadhan value, trained with a bias-corrected gradient.

    In training mode the gradient of the second term is divided by a moving average of :math:`E_q[e^f]` over batches
    instead of the batch mean; the value is that of the batch. In evaluation mode it is Donsker-Varadhan.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        decay: weight of the previous average in each update, in [0, 1).

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Belghazi et al., "Mutual Information Neural Estimation", 2018, arXiv 1801.04062.

    >>> import torch
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> bound = MINE(2, 2, decay=0.9)
    >>> bound.loss(x, x).backward()  # in training mode, moves the average
    >>> bool(bound.log_average.isfinite())
    True
    """

    reference = "Belghazi et al. 2018, arXiv 1801.04062"
    use_when = "as dv, trained on small batches"

    log_average: Tensor

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", decay: float = 0.99) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1); got {decay}")
        self.decay = decay
        self.register_buffer("log_average", torch.tensor(torch.nan))

    def reset_parameters(self) -> None:
        """Reset the moving average."""
        self.log_average.fill_(torch.nan)

    def objective(self, scores: Scores) -> Tensor:
        if not self.training:
            return super().objective(scores)
        with torch.no_grad():
            # In float32 or wider, whatever the type of the module: in half precision the average would not change.
            now = objectives.log_mean_exp_marginal(objectives.widen(scores))
            average = objectives.widen(self.log_average).to(now)
            kept = average + math.log(self.decay) if self.decay else torch.full_like(now, -torch.inf)
            moved = torch.logaddexp(kept, now + math.log1p(-self.decay))
            self.log_average = torch.where(average.isnan(), now, moved)
        return objectives.mine(scores, self.log_average)
