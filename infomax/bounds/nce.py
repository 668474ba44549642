"""Bounds by classification of the true partner among candidates: InfoNCE, CPC and InfoNCE with an anchor class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from infomax.bounds import objectives
from infomax.bounds.base import Kind, register
from infomax.bounds.candidates import Batch, Comparing, ceiling, check_rows, comparisons, of_square, sides
from infomax.bounds.comparisons import Comparison, Placement, Rule, mean_of
from infomax.bounds.contrastive import Discriminative
from infomax.bounds.objectives import Scores
from infomax.bounds.options import checked, given
from infomax.critics import networks as critics
from infomax.critics.temperature import TEMPERATURES, make_temperature
from infomax.critics.tempered import with_temperature
from infomax.scores.statistics import LogSums, Statistic

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from infomax.bounds.options import CeilingOptions, PairOptions


@register("infonce", "info_nce")
class InfoNCE(Comparing):
    r"""InfoNCE: classify which of N ys belongs to an x. A lower bound with low variance that cannot exceed log N.

    .. math:: \frac1N \sum_i \log \frac{e^{f(x_i, y_i)}}{\frac1N \sum_j e^{f(x_i, y_j)}}

    A lower bound in expectation for every critic and every N. It needs about e^{2 MI} pairs to be tight. A value near
    log N (:meth:`ceiling`) says only that MI is at least that large.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        symmetric: average over both directions, classification of y given x and of x given y.
        temperature: divisor of the scores: a positive number, or "learned" (0.1 at first); ``None`` for the critic as
            it is. A lower bound for every temperature.
        temperature_limits: the smallest and the largest temperature that is learned.
        placement: where the mean over several positives is: "out" of the logarithm or "in" it, as in L_out and L_in of
            Khosla et al. The value of "in" is never below that of "out".
        hardness: β ≥ 0. Negatives count in proportion to e^{β f}, without a change of their number. The value is never
            above that without, so that it is still a lower bound, but a looser one.
        debias: τ in [0, 1), the share of the negatives that are positives in truth. Their expected part is subtracted
            from the negatives. No bound: the value can exceed MI. Only for scores with a smallest value, as of cosines.

    **Options of a call**, also of :meth:`loss`, :meth:`pointwise` and :meth:`ceiling`. In row i the positives and the
    sum of the negatives' weights are K_i numbers; the ceiling is the mean of log(K_i / positives). A matrix has a row
    for each pair and a column for each candidate: (N, N) about the batch, (N, M) about ``negatives``, or (N, N + M).

    - ``negatives``: further ys, ``(M, Dy)`` for all rows or ``(N, M, Dy)`` for each. A lower bound with ceiling
      log(N + M) if they are independent draws from the distribution of y. Draws that depend on x, or that are made by
      an older encoder, have no such guarantee.
    - ``mask``: true for pairs that are no negatives. A lower bound if it does not depend on the values (padding). If it
      does, as for false negatives, the negatives no longer represent the distribution of y: no bound, the value can
      exceed MI.
    - ``labels``: integers, ``(N,)`` or ``(N + M,)``. All candidates with the label of the row are positives. A lower
      bound on the information between x and (y, label); the ceiling is the entropy of the labels in the batch.
    - ``positives``: boolean matrix, the positives of each row in place of its own pair. A lower bound on the
      information between x and all its positives together, if the matrix does not depend on the values. Rows without
      any are left out of the mean.
    - ``weights``: at least 0, constants. ``(N,)``: the weights of the rows in the mean. A lower bound if they do not
      depend on the values (0 for padding). Importance weights do, and leave the negatives as they are: no bound on MI
      of the weighted population. A matrix: how often each negative counts. A lower bound if the weights do not depend
      on the values and none exceeds 1; it can be exceeded by the log of the largest weight.
    - ``exclude_self``: for x and y with the same rows, as in SimCLR and SupCon: row i is not compared with itself. With
      two views of each image in the same batch, the value exceeds a lower bound by less than log 2.

    Raises:
        TypeError: for options that are no tensors of the type above.
        ValueError: for shapes that do not fit, a row without any negative by ``mask`` or ``weights`` (named), and
            weights that are negative.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748; Poole et al., 2019, arXiv 1905.06922; labels: Khosla
    et al., 2020, arXiv 2004.11362; hardness: Robinson et al., 2021, arXiv 2010.04592; debias: Chuang et al., 2020,
    arXiv 2007.00224.

    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> bound = InfoNCE(3, 3, critic="bilinear")
    >>> bool(bound(x, x) <= bound.ceiling(64))
    True
    >>> more = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1))
    >>> bound(x, x, negatives=more).ndim, round(bound.ceiling(64, negatives=more), 2)
    (0, 6.97)
    """

    kind: Kind = "lower"
    ceiling_formula = "log N"
    reference = "van den Oord, Li, Vinyals 2018, arXiv 1807.03748"
    use_when = "a lower bound of low variance; MI well below log N"

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "separable",
        symmetric: bool = False,
        temperature: float | str | None = None,
        temperature_limits: tuple[float, float] = TEMPERATURES,
        placement: Placement = "out",
        hardness: float = 0.0,
        debias: float = 0.0,
    ) -> None:
        super().__init__(x_dim, y_dim, critic=with_temperature(critic, x_dim, y_dim, temperature, temperature_limits))
        self.symmetric, self.rule = symmetric, Rule(placement, hardness, debias)
        if debias:
            self.kind = "estimate"
            if critics.largest_score(self.critic) is None:
                raise ValueError(
                    "debias needs scores with a smallest value, as of critic='cosine' or CPC(normalize=True); "
                    f"got {type(self.critic).__name__}"
                )

    def forward(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        if not given(options):
            return self.objective(self.scores(x, y))
        return mean_of(self.compared(x, y, options))

    def pointwise(self, x: Tensor, y: Tensor, **options: Unpack[PairOptions]) -> Tensor:
        if not given(options):
            return self.pointwise_objective(self.scores(x, y))
        return _mean([comparison.log_ratios() for comparison in self.compared(x, y, options)])

    def compared(self, x: Tensor, y: Tensor, options: PairOptions) -> list[Comparison]:
        """The comparison of each row with its candidates, and that of the other direction if symmetric."""
        self.check_pair(x, y, least=1 if options.get("negatives") is not None else 2)
        found = checked(len(x), self.x_dim if self.of_x else self.y_dim, **options)
        tiled = found.places.columns >= self.tiled_from and not x.is_meta
        result = comparisons(self, sides(self, x, y, found, tiled=tiled), found, Batch())
        check_rows([comparison.row_weights.sum() for comparison in result])
        return result

    def objective(self, scores: Scores) -> Tensor:
        if not self.rule.plain:
            return mean_of(self._square(scores))
        return objectives.infonce_both(scores) if self.symmetric else objectives.infonce(scores)

    def statistics(self) -> tuple[Statistic, ...]:
        if not self.rule.plain:
            return ()
        return (LogSums(), LogSums(by_column=True)) if self.symmetric else (LogSums(),)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        if not self.rule.plain:
            return _mean([comparison.log_ratios() for comparison in self._square(scores)])
        if self.symmetric:
            scores = objectives.checked(scores, least=1)
            return 0.5 * (objectives.infonce_pointwise(scores) + objectives.infonce_pointwise(scores.T))
        return objectives.infonce_pointwise(scores)

    def _square(self, scores: Scores) -> list[Comparison]:
        """The comparisons of a square matrix: rows with all columns and, if symmetric, columns with all rows."""
        scores = objectives.checked(scores, least=1)
        both = (scores, scores.T) if self.symmetric else (scores,)
        return [of_square(each, self.rule, critics.largest_score(self.critic)) for each in both]

    def ceiling(self, n: int, **options: Unpack[CeilingOptions]) -> float | None:
        """Log n; for cosine scores less, depending on their temperature. With the options of a call as well.

        ``negatives`` may also be a number of negatives.
        """
        limit = critics.largest_score(self.critic)
        return ceiling(n, options, None if limit is None else float(limit.detach()), symmetric=self.symmetric)


@register("cpc")
class CPC(InfoNCE):
    r"""Contrastive predictive coding: G predicts x from y; classify which of N xs was predicted.

    .. math:: \frac1N \sum_i \log \frac{e^{x_i^\top G(y_i)}}{\frac1N \sum_j e^{x_j^\top G(y_i)}}

    InfoNCE with the inner product of x and its prediction as the score, and the other xs as negatives. A lower bound
    in expectation. It is loose if :math:`x^\top G(y)` cannot represent the log-ratio (it has no term in x alone).
    :func:`infomax.estimate` therefore uses the critic of the other bounds if this bound is given by name.

    The options of a call are those of :class:`InfoNCE`, with x and y exchanged: ``negatives`` are further xs, and row i
    of a matrix is about y_i and all xs.

    Args:
        x_dim, y_dim: dimensions of x and y.
        critic: replaces the predictor; a name or a module. The next two options are those of the predictor.
        hidden: widths of the hidden layers of G; without any, G is linear.
        normalize: score by the cosine of x and G(y), as MMIM does (Han et al. 2021, arXiv 2109.00412).
        temperature: divisor of the scores; a positive number, or "learned". With ``normalize`` the value cannot exceed
            log N − log(1 + (N − 1) e^{−2/T}): 1.82 nats at T = 1 and N = 32 (:meth:`ceiling`).
        temperature_limits: the smallest and the largest temperature that is learned.
        symmetric: average over both directions, classification of x given y and of y given x.
        placement, hardness, debias: see :class:`InfoNCE`.

    Source: van den Oord, Li and Vinyals, 2018, arXiv 1807.03748.

    >>> import torch
    >>> z, x = torch.randn(32, 8), torch.randn(32, 5)
    >>> cpc = CPC(8, 5, normalize=True)
    >>> cpc(z, x).ndim, round(cpc.ceiling(32), 2)
    (0, 1.82)
    """

    use_when = "a training loss between representations (the fusion term of MMIM)"
    of_x = True

    def __init__(
        self,
        x_dim: int,
        y_dim: int,
        *,
        critic: str | nn.Module = "predictor",
        hidden: Sequence[int] = (),
        normalize: bool = False,
        temperature: float | str | None = None,
        temperature_limits: tuple[float, float] = TEMPERATURES,
        symmetric: bool = False,
        placement: Placement = "out",
        hardness: float = 0.0,
        debias: float = 0.0,
    ) -> None:
        if critic == "predictor":
            critic = critics.Predictor(x_dim, y_dim, hidden=hidden, normalize=normalize)
            critic.temperature = make_temperature(1.0 if temperature is None else temperature, temperature_limits)
            temperature = None
        elif hidden or normalize:
            raise ValueError("hidden and normalize belong to the predictor; got them with critic=")
        super().__init__(
            x_dim,
            y_dim,
            critic=critic,
            symmetric=symmetric,
            temperature=temperature,
            temperature_limits=temperature_limits,
            placement=placement,
            hardness=hardness,
            debias=debias,
        )

    def statistics(self) -> tuple[Statistic, ...]:
        return tuple(statistic.transposed() for statistic in super().statistics())

    def objective(self, scores: Scores) -> Tensor:
        return super().objective(objectives.checked(scores, least=1).T)

    def pointwise_objective(self, scores: Scores) -> Tensor:
        return super().pointwise_objective(objectives.checked(scores, least=1).T)


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)


@register("infonce_anchor")
class InfoNCEAnchor(Discriminative):
    r"""InfoNCE with an anchor class, "none of these": the critic learns the log-ratio including its constant.

    The critic is trained with :func:`~infomax.bounds.objectives.anchored_classification`; the value is :math:`E_p[f]`,
    which has no ceiling of log N. It is neither a lower nor an upper bound: errors of the critic move it in either
    direction.

    Args:
        x_dim, y_dim, critic: see :class:`~infomax.bounds.contrastive.Contrastive`.
        anchor: prior weight ν of the anchor class; each of the N − 1 candidates has weight 1. The limit ν → 0 is
            InfoNCE, whose critic has a free term in x. ``None`` for N − 1: half of the sets have no true pair.

    Source: Ryu, Yeddanapudi, Xu and Wornell, "Contrastive Predictive Coding Done Right for Mutual Information
    Estimation", 2025, arXiv 2510.25983.

    >>> import torch
    >>> x, noise = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(3))
    >>> y = x + noise / 2  # log(5) / 2 = 0.80 nats
    >>> bound = InfoNCEAnchor(1, 1, critic="gaussian_residual")
    >>> bound.warm_start(x, y)  # the log-ratio of a normal pair
    >>> round(float(bound(x, y).detach()), 1)
    0.8
    >>> bound.ceiling(500)  # None: no ceiling
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
