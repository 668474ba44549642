"""Bounds that score every pair of a batch with a critic: (x, y) → N × N scores → nats."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from infomax import critics
from infomax.bounds import objectives
from infomax.bounds.base import Bound, register


class Contrastive(Bound):
    """A critic and an objective of its scores. Subclasses give the objective and its pointwise log-ratio.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: a name (see :func:`infomax.critics.names`) or a module that maps ``(N, Dx), (N, Dy)`` to ``(N, N)``.

    Raises:
        ValueError: for an unknown critic, a critic that returns another shape, fewer than two pairs.
    """

    cost = "N² scores"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim)
        self.critic = critics.make(critic, x_dim, y_dim)

    @abc.abstractmethod
    def objective(self, scores: Tensor) -> Tensor:
        """The bound as a function of the scores ``(N, N)``: 0-d, nats."""

    @abc.abstractmethod
    def pointwise_objective(self, scores: Tensor) -> Tensor:
        """Each true pair's log-ratio as a function of the scores: ``(N,)``, nats."""

    def scores(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, N)``; entry [i, j] scores the pair (x_i, y_j)."""
        self.check_pair(x, y, least=2)
        scores: Tensor = self.critic(x, y)
        if not isinstance(scores, Tensor) or scores.shape != (len(x), len(x)):
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"critic must return scores of shape {(len(x), len(x))}; got {came}")
        return scores

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.objective(self.scores(x, y))

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pointwise_objective(self.scores(x, y))

    @classmethod
    def for_estimation(cls, x_dim: int, y_dim: int, n: int) -> Bound:
        return cls(x_dim, y_dim, critic="anchored")

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Passed on to the critic, if that has a ``warm_start(x, y)`` of its own."""
        warm_start = getattr(self.critic, "warm_start", None)
        if callable(warm_start):
            warm_start(x, y)

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The bound as a function of which rows to keep; all pairs are scored once."""
        scores = self.scores(x, y)
        return lambda kept: self.objective(scores[kept][:, kept])


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
    use_when = "the default: stable; MI well below log N"

    def __init__(
        self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", symmetric: bool = False
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        self.symmetric = symmetric

    def objective(self, scores: Tensor) -> Tensor:
        return self.pointwise_objective(scores).mean()

    def pointwise_objective(self, scores: Tensor) -> Tensor:
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

    def pointwise_objective(self, scores: Tensor) -> Tensor:
        return super().pointwise_objective(scores.T)

    def ceiling(self, n: int) -> float | None:
        """Log n; lower for cosine scores, by their temperature."""
        if isinstance(self.critic, critics.Predictor) and self.critic.normalize:
            gap = 2 * math.exp(-self.critic.temperature.log_temperature.item())
            return math.log(n) - math.log1p((n - 1) * math.exp(-gap))
        return super().ceiling(n)


@register("nwj", "mine_f")
class NWJ(Contrastive):
    r"""Nguyen-Wainwright-Jordan: an unbiased lower bound without a ceiling, at the price of variance.

    .. math:: E_p[f] - E_q[e^{f}] + 1

    with the joint p and the product of the marginals q; tight when f is the log-ratio. The variance of the second term
    grows like e^{MI}: above about 5 nats it needs very many pairs, and its training can diverge.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.

    Source: Nguyen, Wainwright and Jordan, 2010, arXiv 0809.0853; Poole et al., 2019, arXiv 1905.06922.
    """

    kind = "lower"
    reference = "Nguyen, Wainwright, Jordan 2010, arXiv 0809.0853"
    use_when = "no ceiling wanted; MI below about 5 nats"

    def objective(self, scores: Tensor) -> Tensor:
        return objectives.nwj(scores)

    def pointwise_objective(self, scores: Tensor) -> Tensor:
        return objectives.widen(scores).diagonal()


@register("dv", "donsker_varadhan")
class DonskerVaradhan(Contrastive):
    r"""Donsker-Varadhan: tight where NWJ is, and blind to a constant shift of the critic.

    .. math:: E_p[f] - \log E_q[e^{f}]

    A lower bound with the expectations themselves; with batch means it is not, because the log of a mean is biased
    (Jensen), upwards for the value: hence ``kind = "estimate"``. The bias falls with the number of pairs and grows like
    e^{MI}.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.

    Source: Donsker and Varadhan, 1983, doi:10.1002/cpa.3160360204; Belghazi et al., 2018, arXiv 1801.04062.
    """

    kind = "estimate"
    reference = "Donsker, Varadhan 1983; Belghazi et al. 2018, arXiv 1801.04062"
    use_when = "measuring with many pairs; a critic of unknown offset"

    def objective(self, scores: Tensor) -> Tensor:
        return objectives.donsker_varadhan(scores)

    def pointwise_objective(self, scores: Tensor) -> Tensor:
        return objectives.donsker_varadhan_pointwise(scores)


@register("mine")
class MINE(DonskerVaradhan):
    r"""MINE: the Donsker-Varadhan value, trained with a bias-corrected gradient.

    In training mode the gradient of the second term is divided by a moving average of :math:`E_q[e^f]` over batches
    instead of the batch's own mean; the value stays the batch's estimate. In evaluation mode it is Donsker-Varadhan.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        decay: share of the moving average that is kept at each batch, in [0, 1).

    Source: Belghazi et al., "Mutual Information Neural Estimation", 2018, arXiv 1801.04062.
    """

    reference = "Belghazi et al. 2018, arXiv 1801.04062"
    use_when = "as dv, with small training batches"

    log_average: Tensor

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", decay: float = 0.99) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1); got {decay}")
        self.decay = decay
        self.register_buffer("log_average", torch.tensor(torch.nan))

    def reset_parameters(self) -> None:
        """Forget the moving average."""
        self.log_average.fill_(torch.nan)

    def objective(self, scores: Tensor) -> Tensor:
        if not self.training:
            return super().objective(scores)
        with torch.no_grad():
            # In float32 at least, whatever the module was cast to: a narrow average would stall.
            now = objectives.log_mean_exp_marginal(objectives.widen(scores))
            average = objectives.widen(self.log_average).to(now)
            kept = average + math.log(self.decay) if self.decay else torch.full_like(now, -torch.inf)
            moved = torch.logaddexp(kept, now + math.log1p(-self.decay))
            self.log_average = torch.where(average.isnan(), now, moved)
        return objectives.mine(scores, self.log_average)
