"""Unnormalised bounds: Nguyen-Wainwright-Jordan, and what lowers its variance or learns its constant."""

from __future__ import annotations

from torch import Tensor

from infomax.bounds import objectives
from infomax.bounds.base import register
from infomax.bounds.contrastive import Contrastive


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
