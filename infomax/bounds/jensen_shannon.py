"""Bounds whose critic is trained to discriminate joint from shuffled samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from infomax.bounds import divergences, objectives
from infomax.bounds.base import register
from infomax.bounds.contrastive import Discriminative
from infomax.bounds.objectives import Scores
from infomax.bounds.product_pairs import ProductPairs
from infomax.scores.statistics import LogSums, SoftplusSums, Statistic

DivergenceName = Literal["gan", "kl", "hellinger"]

_DIVERGENCES: dict[str, Callable[[Scores], Tensor]] = {
    "gan": objectives.jensen_shannon,
    "kl": objectives.nwj,
    "hellinger": objectives.squared_hellinger,
}

#: Number of rows from which :class:`JSDLowerBound` sets its tangent before training.
_WARM_ROWS = 1024


@register("js", "jensen_shannon")
class JensenShannon(ProductPairs, Discriminative):
    r"""Trained as a classifier, evaluated as NWJ: stable training, as of a GAN's discriminator, and a lower bound.

    The critic is trained with :func:`~infomax.bounds.objectives.jensen_shannon`. Its softplus bounds the gradients, and
    its optimum is the log-ratio. The value is :func:`~infomax.bounds.objectives.nwj` of the same scores: a lower bound
    in expectation for every critic and every number of pairs, with the variance of NWJ. Training hardly penalises a few
    shuffled pairs with far too large scores, but the value contains their exponentials: it can be far below MI if the
    data are far from Gaussian. For estimation, prefer NWJ or SMILE.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Nowozin, Cseke and Tomioka, 2016, arXiv 1606.00709; Hjelm et al., 2019, arXiv 1808.06670; NWJ: Poole et al.,
    2019, arXiv 1905.06922.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = JensenShannon(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    >>> bound.loss(x, y).shape  # of a classifier; the value above is that of NWJ
    torch.Size([])
    """

    kind = "lower"
    reference = "Nowozin et al. 2016, arXiv 1606.00709; Poole et al. 2019, arXiv 1905.06922"
    use_when = "a stable training loss; for estimation prefer nwj or smile"

    def statistics(self) -> tuple[Statistic, ...]:
        return SoftplusSums(), LogSums()

    def fitted(self, scores: Scores) -> Tensor:
        return objectives.jensen_shannon(scores)

    def read(self, scores: Scores) -> Tensor:
        return objectives.nwj(scores)

    def validation_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative value: the largest lower bound is the best one, whatever the training objective."""
        return -self.read(self.scores(x, y))


@register("smile")
class SMILE(ProductPairs, Discriminative):
    r"""Trained as a classifier, evaluated as Donsker-Varadhan with clipped ratios: less variance, but biased.

    .. math:: E_p[f] - \log E_q[\mathrm{clip}(e^f, e^{-\tau}, e^{\tau})]

    Neither a lower nor an upper bound: clipping ratios above :math:`e^\tau` lowers the partition function and so raises
    the value, by an amount without limit.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        tau: clipping threshold of the scores in the second term, in nats; positive, ``inf`` for no clipping.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Song and Ermon, "Understanding the Limitations of Variational Mutual Information Estimators", 2020, arXiv
    1910.06222.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = SMILE(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    """

    kind = "estimate"
    reference = "Song, Ermon 2020, arXiv 1910.06222"
    use_when = "large MI; not a bound"

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
class FDIME(ProductPairs, Discriminative):
    r"""f-DIME: a critic trained with an f-divergence and deranged pairs as negatives, evaluated as the mean log-ratio.

    The value is :math:`E_p[f]`. There is no partition function to estimate, so the variance is small. It is neither a
    lower nor an upper bound, because errors of the critic move it in either direction. A random permutation would leave
    some true pairs among the negatives and limit the value to log N; a derangement leaves none. The mean over all
    derangements equals the mean over all pairs off the diagonal, which is computed here.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        divergence: the training objective: "gan" (:func:`~infomax.bounds.objectives.jensen_shannon`), "kl"
            (:func:`~infomax.bounds.objectives.nwj`) or "hellinger"
            (:func:`~infomax.bounds.objectives.squared_hellinger`). All have the log-ratio as their optimum.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Letizia, Novello and Tonello, "Mutual Information Estimation via f-Divergence and Data Derangements", 2024,
    arXiv 2305.20025.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = FDIME(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    """

    kind = "estimate"
    reference = "Letizia, Novello, Tonello 2024, arXiv 2305.20025"
    use_when = "large MI, small batches; not a bound"

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
class JSDLowerBound(ProductPairs):
    r"""The smallest MI that is compatible with a Jensen-Shannon divergence: low variance, but not tight.

    .. math:: I \ge \Xi(JS) \ge k + \Xi'(J(k)) \, (\widehat{JS} - J(k))

    :math:`\Xi = J^{-1}` is the smallest KL divergence of any two distributions with that Jensen-Shannon divergence
    (:func:`~infomax.bounds.divergences.least_kl`, exact), and :math:`\widehat{JS}` is the classifier's lower bound on
    it. :math:`\Xi` is convex, so that its mean over batches would be too large (Jensen). Its tangent at a learned k is
    linear instead. The value is therefore a lower bound in expectation for every critic, every k and every number of
    pairs.

    It is not tight: with the exact log-ratio the value is :math:`\Xi(JS)`, which is below MI by an amount that depends
    on the distribution: up to 28 % for weak dependence, 31 % for five Gaussian columns with 1 nat.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.

    Options of a call: see :class:`~infomax.bounds.product_pairs.ProductPairs`.

    Source: Dorent, Golland and Wells, "Connecting Jensen-Shannon and Kullback-Leibler Divergences: A New Bound for
    Representation Learning", 2025, arXiv 2510.20644, for :math:`I \ge \Xi(JS)`.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = JSDLowerBound(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> 0.6 < float(bound(x, y).detach()) < 0.75  # not tight
    True
    """

    kind = "lower"
    tight = False
    reference = "Dorent, Golland, Wells 2025, arXiv 2510.20644"
    use_when = "a stable training loss; a conservative lower bound"

    def __init__(self, x_dim: int, y_dim: int, *, critic: str | nn.Module = "separable") -> None:
        super().__init__(x_dim, y_dim, critic=critic)
        self.tangent = nn.Parameter(torch.zeros(()))

    def statistics(self) -> tuple[Statistic, ...]:
        return (SoftplusSums(),)

    def reset_parameters(self) -> None:
        """Set the tangent point to 0."""
        nn.init.zeros_(self.tangent)

    @torch.no_grad()
    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Warm-start the critic, then set the tangent point from its scores of some rows."""
        super().warm_start(x, y)
        jsd = objectives.jensen_shannon(self.scores(x[:_WARM_ROWS], y[:_WARM_ROWS]))
        self.tangent.copy_(divergences.least_kl(jsd))

    def objective(self, scores: Scores) -> Tensor:
        k = objectives.widen(self.tangent)
        slack = objectives.jensen_shannon(scores) - divergences.greatest_jsd(k)
        return k + divergences.least_kl_slope(k) * slack

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return objectives.widen(scores).diagonal()
