"""Critics that learn to tell joint from product, and what can be read off them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.bounds import divergences, objectives
from infomax.bounds.base import register
from infomax.bounds.contrastive import Contrastive, Discriminative
from infomax.bounds.objectives import Scores
from infomax.scores.statistics import LogSums, SoftplusSums, Statistic

DivergenceName = Literal["gan", "kl", "hellinger"]

_DIVERGENCES: dict[str, Callable[[Scores], Tensor]] = {
    "gan": objectives.jensen_shannon,
    "kl": objectives.nwj,
    "hellinger": objectives.squared_hellinger,
}

#: Rows whose Jensen-Shannon divergence sets the tangent of :class:`JSDLowerBound` before training.
_WARM_ROWS = 1024


@register("js", "jensen_shannon")
class JensenShannon(Discriminative):
    r"""Fitted as a classifier, read as NWJ: the steady training of a GAN's discriminator, and still a lower bound.

    The critic is fitted by :func:`~infomax.bounds.objectives.jensen_shannon`, whose softplus keeps gradients bounded;
    its optimum is the log-ratio. The value is :func:`~infomax.bounds.objectives.nwj` of the same scores: a lower bound
    in expectation for every critic and every number of pairs, with NWJ's variance. The fit does not mind a few pairs
    of the product with far too large scores, for which NWJ pays their exponential: on data that are far from normal the
    value can be far below MI. To measure, prefer NWJ, or SMILE.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.

    Source: Nowozin, Cseke and Tomioka, 2016, arXiv 1606.00709; Hjelm et al., 2019, arXiv 1808.06670; read as NWJ: Poole
    et al., 2019, arXiv 1905.06922.
    """

    kind = "lower"
    reference = "Nowozin et al. 2016, arXiv 1606.00709; Poole et al. 2019, arXiv 1905.06922"
    use_when = "a steady training loss; to measure, rather nwj or smile"

    def statistics(self) -> tuple[Statistic, ...]:
        return SoftplusSums(), LogSums()

    def fitted(self, scores: Scores) -> Tensor:
        return objectives.jensen_shannon(scores)

    def read(self, scores: Scores) -> Tensor:
        return objectives.nwj(scores)

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative value: the greatest lower bound is the best one, whatever led to it."""
        return -self.read(self.scores(x, y))


@register("smile")
class SMILE(Discriminative):
    r"""Fitted as a classifier, read as Donsker-Varadhan with clipped ratios: less variance, at the price of a bias.

    .. math:: E_p[f] - \log E_q[\mathrm{clip}(e^f, e^{-\tau}, e^{\tau})]

    Neither a lower nor an upper bound: clipping can only lower the partition of ratios above :math:`e^\tau`, and so
    raise the value, by an amount that nothing limits.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        tau: where the scores are clipped in the second term, in nats; positive, ``inf`` for not at all.

    Source: Song and Ermon, "Understanding the Limitations of Variational Mutual Information Estimators", 2020, arXiv
    1910.06222.
    """

    kind = "estimate"
    reference = "Song, Ermon 2020, arXiv 1910.06222"
    use_when = "many nats; no side guaranteed"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable", tau: float = 5.0) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if not tau > 0:
            raise ValueError(f"tau must be positive; got {tau}")
        self.tau = tau

    def statistics(self) -> tuple[Statistic, ...]:
        return SoftplusSums(), LogSums(limit=self.tau)

    def fitted(self, scores: Scores) -> Tensor:
        return objectives.jensen_shannon(scores)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.smile_pointwise(scores, self.tau)


@register("fdime", "f_dime")
class FDIME(Discriminative):
    r"""f-DIME: a critic fitted by an f-divergence with deranged pairs as negatives, read as the mean log-ratio.

    The value is :math:`E_p[f]`, with no partition to estimate: little variance, but neither a lower nor an upper bound,
    as an error of the critic moves it to either side. A random permutation would leave some true pairs among the
    negatives and cap the value at log N; a derangement leaves none. The mean over all derangements is that over all
    pairs off the diagonal, which is what is taken here.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.
        divergence: what fits the critic: "gan" (:func:`~infomax.bounds.objectives.jensen_shannon`), "kl"
            (:func:`~infomax.bounds.objectives.nwj`) or "hellinger"
            (:func:`~infomax.bounds.objectives.squared_hellinger`). All have the log-ratio as their optimum.

    Source: Letizia, Novello and Tonello, "Mutual Information Estimation via f-Divergence and Data Derangements", 2024,
    arXiv 2305.20025.
    """

    kind = "estimate"
    reference = "Letizia, Novello, Tonello 2024, arXiv 2305.20025"
    use_when = "many nats, small batches; no side guaranteed"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "separable",
        divergence: DivergenceName = "gan",
    ) -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        if divergence not in get_args(DivergenceName):
            raise ValueError(f"divergence must be one of {', '.join(get_args(DivergenceName))}; got {divergence!r}")
        self.divergence = divergence

    def statistics(self) -> tuple[Statistic, ...]:
        return {"gan": (SoftplusSums(),), "kl": (LogSums(),)}.get(self.divergence, ())

    def fitted(self, scores: Scores) -> Tensor:
        return _DIVERGENCES[self.divergence](scores)


@register("jsd_lb", "jsd_lower_bound")
class JSDLowerBound(Contrastive):
    r"""The least MI that goes with a Jensen-Shannon divergence: a lower bound of low variance, but not a tight one.

    .. math:: I \ge \Xi(JS) \ge k + \Xi'(J(k)) \, (\widehat{JS} - J(k))

    :math:`\Xi = J^{-1}` is the least KL divergence of any two distributions with that Jensen-Shannon divergence
    (:func:`~infomax.bounds.divergences.least_kl`, exact), and :math:`\widehat{JS}` the classifier's bound on that.
    :math:`\Xi` is convex, so that at a batch's :math:`\widehat{JS}` it would be too large in the mean; its tangent at a
    learned k is linear in it. Hence a lower bound in expectation for every critic, every k and every number of pairs.

    Not tight: with the exact log-ratio the value is :math:`\Xi(JS)`, which falls short of MI by the shape of the
    distribution: by up to 28 % for weak dependence, 31 % for five normal columns that share 1 nat.

    Args:
        x_dim, y_dim, critic: see :class:`Contrastive`.

    Source: Dorent, Golland and Wells, "Connecting Jensen-Shannon and Kullback-Leibler Divergences: A New Bound for
    Representation Learning", 2025, arXiv 2510.20644, for :math:`I \ge \Xi(JS)`.
    """

    kind = "lower"
    tight = False
    reference = "Dorent, Golland, Wells 2025, arXiv 2510.20644"
    use_when = "a steady training loss, and a cautious lower bound"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        self.tangent = nn.Parameter(torch.zeros(()))

    def statistics(self) -> tuple[Statistic, ...]:
        return (SoftplusSums(),)

    def reset_parameters(self) -> None:
        """Take the tangent at 0 again."""
        nn.init.zeros_(self.tangent)

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Passed on to the critic; then the tangent is taken where its scores of some rows lie."""
        super().warm_start(x, y)
        jsd = objectives.jensen_shannon(self.scores(x[:_WARM_ROWS], y[:_WARM_ROWS]))
        self.tangent.copy_(divergences.least_kl(jsd))

    def objective(self, scores: Scores) -> Tensor:
        k = objectives.widen(self.tangent)
        slack = objectives.jensen_shannon(scores) - divergences.greatest_jsd(k)
        return k + divergences.least_kl_slope(k) * slack

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.widen(scores).diagonal()
