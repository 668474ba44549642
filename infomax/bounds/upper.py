"""Upper bounds if q(y|x) is known: log-densities of each y given its own x, compared with those given other xs."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import Kind, register
from infomax.bounds.variational import Variational
from infomax.densities.conditional import log_prob_matrix


class Exchanged(Variational):
    """Log-densities of each y given every x of the batch. Subclasses define the terms as a function of them.

    Args:
        x_dim, y_dim: dimensions of x and y.
        density: module with ``log_prob(y, x) -> (N,)``, nats; by default :class:`~infomax.ConditionalGaussian`.
        exact: whether ``density`` is the true p(y|x), without trainable parameters. Then ``kind`` is "upper". A learned
            density can err in either direction; ``kind`` is then "estimate".

    Raises:
        ValueError: for ``exact`` without a density or with one that has trainable parameters, and as
            :class:`~infomax.bounds.variational.Variational`.
    """

    kind: Kind = "estimate"
    cost = "N² log-densities"

    def __init__(self, x_dim: int, y_dim: int, *, density: nn.Module | None = None, exact: bool = False) -> None:
        super().__init__(x_dim, y_dim, density=density)
        if exact and density is None:
            raise ValueError("density must be given when exact=True; got None")
        learned = sum(parameter.requires_grad for parameter in self.density.parameters())
        if exact and learned:
            raise ValueError(f"density must have no trainable parameters when exact=True; got {learned}")
        self.exact = exact
        if exact:
            self.kind = "upper"

    @abc.abstractmethod
    def pointwise_objective(self, log_probs: Tensor) -> Tensor:
        """The terms ``(N,)``, in nats, as a function of ``log_probs[i, j]`` = log q(y_j | x_i)."""

    def fixed_units(self) -> bool:
        """True with an exact density."""
        return self.exact

    def warm_start(self, x: Tensor, y: Tensor) -> None:
        """Fit the linear part of q in closed form; an exact density is not changed."""
        if not self.exact:
            super().warm_start(x, y)

    def log_probs(self, x: Tensor, y: Tensor) -> Tensor:
        """``(N, N)``, in nats; entry [i, j] is log q(y_j | x_i)."""
        self.check_pair(x, y, least=2)
        return self.in_range(partial(log_prob_matrix, self.density), y, x)

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pointwise_objective(self.log_probs(x, y))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pointwise(x, y).mean()

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        """The bound as a function of the rows that are kept; all log-densities are computed only once."""
        log_probs = self.log_probs(x, y)
        return lambda kept: self.pointwise_objective(log_probs[kept][:, kept]).mean()


@register("club")
class CLUB(Exchanged):
    r"""Contrastive log-ratio upper bound: the log-likelihood of y given its own x, minus that given another x.

    .. math:: E_p[\log q(y|x)] - E_q[\log q(y|x)]

    An upper bound in expectation *if q is the true conditional* (``exact``), designed to be minimised. It is not tight:
    it exceeds MI by the divergence from the product to the joint, which is large if MI is (2.5 nats for five Gaussian
    columns with 1 nat). With a learned q the value can be below MI. q is fitted by its full log-likelihood, including
    the log of the variance.

    With the default density, and any other one that has a method ``log_prob_and_mean(y, x)``, the second mean is
    computed in closed form, in O(N D) instead of N² log-densities.

    Args:
        x_dim, y_dim, density, exact: see :class:`Exchanged`.

    Source: Cheng et al., "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", 2020, arXiv 2006.12013.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = CLUB(1, 1)
    >>> bound.warm_start(x, y)  # q(y|x) by least squares
    >>> round(float(bound(x, y).detach()))  # 4 nats in expectation with the true p(y|x): far above
    4
    >>> bound.loss(x, y).backward()  # fits q(y|x); to remove the dependence, minimise bound(x, y) as well
    """

    tight = False
    reference = "Cheng et al. 2020, arXiv 2006.12013"
    cost = "2 N log-densities"
    use_when = "a penalty on dependence, to be minimised; not tight"

    def pointwise(self, x: Tensor, y: Tensor) -> Tensor:
        log_prob_and_mean = getattr(self.density, "log_prob_and_mean", None)
        if not callable(log_prob_and_mean):
            return super().pointwise(x, y)
        self.check_pair(x, y, least=2)
        own, mean = self.in_range(log_prob_and_mean, y, x)
        terms: Tensor = (own - mean) * (len(x) / (len(x) - 1))  # the mean without its own pair
        return terms

    def value_of_rows(self, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
        if callable(getattr(self.density, "log_prob_and_mean", None)):
            return Variational.value_of_rows(self, x, y)
        return super().value_of_rows(x, y)

    def pointwise_objective(self, log_probs: Tensor) -> Tensor:
        return objectives.club_pointwise(log_probs)


@register("l1out", "leave_one_out")
class L1Out(Exchanged):
    r"""Leave-one-out: the marginal of y is estimated by the mean of q(y|x') over the other xs of the batch.

    .. math:: \frac1N \sum_i \log \frac{q(y_i|x_i)}{\frac{1}{N-1} \sum_{j \ne i} q(y_i|x_j)}

    An upper bound in expectation for every number of pairs *if q is the true conditional* (``exact``), and tight with
    many pairs. With a learned q it is no bound. Some of the other xs must be able to explain y_i: with far fewer than
    e^MI pairs the value is far too large.

    Args:
        x_dim, y_dim, density, exact: see :class:`Exchanged`.

    Source: Poole et al., "On Variational Bounds of Mutual Information", 2019, arXiv 1905.06922.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = L1Out(1, 1)
    >>> bound.warm_start(x, y)  # q(y|x) by least squares
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    """

    reference = "Poole et al. 2019, arXiv 1905.06922"
    use_when = "an upper bound if p(y given x) is known, as for a noisy encoder"

    def pointwise_objective(self, log_probs: Tensor) -> Tensor:
        return objectives.l1out_pointwise(log_probs)
