r"""Objectives: pure functions of a score matrix ``scores[i, j] = f(x_i, y_j)``; the true pairs are on the diagonal.

Values are in nats. Half-precision scores are widened to float32. Off-diagonal means exclude the diagonal. Scores are a
tensor or :class:`~infomax.InnerProducts`; for these no matrix is built if only sums are needed. Objectives of two means
also take :class:`~infomax.bounds.chosen.ChosenScores`. Scores that are not a dense tensor of floating-point numbers
raise ``TypeError``. Scores that are not ``(N, N)``, with two pairs or more (one
for InfoNCE), raise ``ValueError``.
"""

from __future__ import annotations

import math
from typing import TypeAlias, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from infomax.bounds.chosen import ChosenScores
from infomax.scores.inner_products import InnerProducts
from infomax.scores.precision import check_real, widened
from infomax.scores.statistics import LogSums

Scores: TypeAlias = Tensor | InnerProducts | ChosenScores

#: Exponent above which exp is continued by its tangent, so that extreme scores give a large but finite penalty.
_EXPONENT_LIMIT = 30.0


@overload
def widen(scores: Tensor) -> Tensor: ...
@overload
def widen(scores: InnerProducts) -> InnerProducts: ...
@overload
def widen(scores: ChosenScores) -> ChosenScores: ...
def widen(scores: Scores) -> Scores:
    """``scores`` in float32 if they have half precision; inner products are widened when they are summed."""
    return widened(scores) if isinstance(scores, Tensor) else scores


def checked_means(scores: Scores) -> Scores:
    """:func:`checked`, for objectives that also take :class:`~infomax.bounds.chosen.ChosenScores`."""
    return scores if isinstance(scores, ChosenScores) else checked(scores)


@overload
def checked(scores: Tensor, name: str = ..., *, least: int = ...) -> Tensor: ...
@overload
def checked(scores: Scores, name: str = ..., *, least: int = ...) -> Tensor | InnerProducts: ...
def checked(scores: Scores, name: str = "scores", *, least: int = 2) -> Tensor | InnerProducts:
    """``scores`` of at least so many pairs, widened; raises the errors of this module."""
    if isinstance(scores, ChosenScores):
        raise TypeError(f"{name} of chosen pairs have means, and no rows and columns to compare; got {name} (N, K)")
    if isinstance(scores, InnerProducts):
        shape = scores.shape
    else:
        check_real(scores, name)
        shape, scores = scores.shape, widened(scores)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < least:
        raise ValueError(f"{name} must have shape (N, N) with N at least {least}; got {tuple(shape)}")
    return scores


def matrix(scores: Scores) -> Tensor:
    """The scores as a tensor ``(N, N)``, widened, for objectives that need more than sums."""
    scores = checked(scores)
    return scores.dense() if isinstance(scores, InnerProducts) else scores


def tangent_exp(exponent: Tensor) -> Tensor:
    """exp, continued by its tangent above 30."""
    inside = exponent.clamp_max(_EXPONENT_LIMIT)
    return torch.exp(inside) * (1 + exponent - inside)


def log_sum_exp(values: Tensor, dim: int) -> Tensor:
    """``torch.logsumexp`` whose gradients sum to 1 also if values are too large to hold the log of the sum."""
    top = values.detach().amax(dim, keepdim=True)
    return (values - top).exp().sum(dim).log() + top.squeeze(dim)


def log_mean_exp_marginal(scores: Scores, limit: float = math.inf) -> Tensor:
    r""":math:`\log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)}`, 0-d; f clipped to ±limit first."""
    n = len(scores)
    if isinstance(scores, ChosenScores):
        return scores.log_mean_exp(limit)
    if isinstance(scores, InnerProducts):
        return scores.log_sum_off_diagonal(limit) - math.log(n * (n - 1))
    if limit < math.inf:
        scores = scores.clamp(-limit, limit)
    diagonal = torch.eye(n, dtype=torch.bool, device=scores.device)
    return log_sum_exp(scores.masked_fill(diagonal, -torch.inf).flatten(), 0) - math.log(n * (n - 1))


def mean_softplus_marginal(scores: Scores) -> Tensor:
    r""":math:`\frac{1}{N(N-1)} \sum_{i \ne j} \log(1 + e^{f(x_i, y_j)})`, 0-d."""
    if isinstance(scores, ChosenScores):
        return scores.mean_softplus()
    if isinstance(scores, InnerProducts):
        return scores.softplus_sum_off_diagonal() / (len(scores) * (len(scores) - 1))
    return off_diagonal_mean(F.softplus(scores))


def joint_mean(scores: Scores, values: Tensor) -> Tensor:
    """The mean of a number of each joint pair, ``(N,)``, with the weights of chosen scores: 0-d."""
    return scores.mean(values) if isinstance(scores, ChosenScores) else values.mean()


def of_rows(scores: Scores, kept: Tensor) -> Scores:
    """The scores of some pairs with each other; ``kept`` are their indices, or a boolean tensor ``(N,)``."""
    scores = checked(scores, least=0)
    if isinstance(scores, InnerProducts):
        return scores.rows(kept)
    return scores[kept][:, kept]


def infonce_pointwise(scores: Scores) -> Tensor:
    r""":math:`f(x_i, y_i) - \log \frac1N \sum_j e^{f(x_i, y_j)}`, ``(N,)``: the terms of InfoNCE."""
    scores, n = checked(scores, least=1), len(scores)
    if isinstance(scores, InnerProducts):
        return scores.diagonal() - scores.log_sums() + math.log(n)
    return math.log(n) - F.cross_entropy(scores, torch.arange(n, device=scores.device), reduction="none")


def infonce(scores: Scores) -> Tensor:
    r"""Mean of :func:`infonce_pointwise`: a lower bound on MI that cannot exceed log N.

    van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, arXiv 1807.03748;
    with the log N as in Poole et al., 2019, arXiv 1905.06922, eq. 10.

    >>> round(infonce(99 * torch.eye(8)).item(), 3)  # log 8, the most that eight pairs can show
    2.079
    """
    scores = checked(scores, least=1)
    if isinstance(scores, InnerProducts):
        return scores.diagonal().mean() - scores.mean_log_sum() + math.log(len(scores))
    return infonce_pointwise(scores).mean()


def infonce_both(scores: Scores) -> Tensor:
    """The mean of :func:`infonce` over the scores and their transpose."""
    scores = checked(scores, least=1)
    if isinstance(scores, InnerProducts):
        scores = scores.sharing([LogSums(), LogSums(by_column=True)])
    return 0.5 * (infonce(scores) + infonce(scores.T))


def nwj(scores: Scores) -> Tensor:
    r"""Unbiased lower bound :math:`\frac1N \sum_i f(x_i, y_i) - \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)} + 1`.

    The usual form has :math:`e^{f - 1}`. Here f is shifted by one, so that the optimal f is the log-ratio (Nguyen,
    Wainwright and Jordan, 2010, arXiv 0809.0853).

    >>> nwj(torch.zeros(4, 4)).item()  # the log-ratio of independent pairs is 0
    0.0
    """
    scores = checked_means(scores)
    return joint_mean(scores, scores.diagonal()) - tangent_exp(log_mean_exp_marginal(scores)) + 1


def donsker_varadhan(scores: Scores) -> Tensor:
    r""":math:`\frac1N \sum_i f(x_i, y_i) - \log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f(x_i, y_j)}`.

    Donsker and Varadhan, 1983, doi:10.1002/cpa.3160360204; as an MI estimate: Belghazi et al., 2018, arXiv 1801.04062.

    >>> donsker_varadhan(5 + torch.zeros(4, 4)).item()  # a constant changes nothing
    0.0
    """
    scores = checked_means(scores)
    return joint_mean(scores, scores.diagonal()) - log_mean_exp_marginal(scores)


def donsker_varadhan_pointwise(scores: Scores) -> Tensor:
    r""":math:`f(x_i, y_i) - \log \frac{1}{N(N-1)} \sum_{i \ne j} e^{f}`, ``(N,)``: the terms of Donsker-Varadhan."""
    scores = checked_means(scores)
    return scores.diagonal() - log_mean_exp_marginal(scores)


def mine(scores: Scores, log_average: Tensor) -> Tensor:
    r"""The Donsker-Varadhan value; the gradient of its second term is divided by a moving average.

    The gradient of :math:`\log \bar{e^f}` over a batch is a ratio of two batch means and therefore biased. Division by
    :math:`e^{\text{log\_average}}`, a moving average over many batches, removes the bias in the limit (Belghazi et al.,
    2018, arXiv 1801.04062, section 3.2).

    Args:
        scores: ``(N, N)``. log_average: log of the moving average of the mean of e^f, 0-d.
    """
    scores = checked_means(scores)
    log_mean = log_mean_exp_marginal(scores)
    surrogate = tangent_exp(log_mean - log_average.detach())
    return joint_mean(scores, scores.diagonal()) - (surrogate - surrogate.detach() + log_mean.detach())


def _row_mean_off_diagonal(values: Tensor) -> Tensor:
    diagonal = torch.eye(len(values), dtype=torch.bool, device=values.device)
    return values.masked_fill(diagonal, 0.0).sum(1) / (len(values) - 1)


def off_diagonal_mean(values: Tensor) -> Tensor:
    r""":math:`\frac{1}{N(N-1)} \sum_{i \ne j} v_{ij}`, 0-d: the mean over all derangements of the pairs."""
    return _row_mean_off_diagonal(values).mean()


def leave_one_out_logsumexp(scores: Tensor) -> Tensor:
    r""":math:`\log \sum_{j \ne k} e^{f(x_i, y_j)}` in entry [i, k], ``(N, N)``: each row without its entry k.

    Without the largest entry of a row, the others are summed directly. Any other entry is at most half of the sum, and
    can be subtracted from it without loss of precision. This is done relative to the largest entry, because the log of
    a sum of large exponentials is rounded by more than log 2.
    """
    top = scores.argmax(1, keepdim=True)
    without_top = log_sum_exp(scores.scatter(1, top, -torch.inf), 1)[:, None]
    greatest = scores.detach().gather(1, top)
    exponentials = torch.exp(scores - greatest)
    total = exponentials.sum(1, keepdim=True)
    share = (exponentials / total).scatter(1, top, 0.0)
    is_top = torch.zeros_like(scores, dtype=torch.bool).scatter(1, top, True)
    return torch.where(is_top, without_top, greatest + (total.log() + torch.log1p(-share)))


def _interpolated_logs(scores: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Log m and log a = log (α m + 1 − α), ``(N, N)`` each; m is the mean of e^f over row i without column k."""
    log_mean = leave_one_out_logsumexp(scores) - math.log(len(scores) - 1)
    if alpha == 0:
        return log_mean, torch.zeros_like(log_mean)
    log_rest = log_mean.new_full((), math.log1p(-alpha) if alpha < 1 else -torch.inf)
    return log_mean, torch.logaddexp(log_mean + math.log(alpha), log_rest)


def interpolated(scores: Scores, alpha: float) -> Tensor:
    r"""Lower bound between NWJ (α = 0) and InfoNCE (α = 1).

    .. math:: 1 + E\Big[\log \frac{e^{f(x, y_1)}}{a(x, y_{1:K})}\Big] - E\Big[\frac{e^{f(x, y_1)}}{a(x, y_{1:K})}\Big],
        \quad a(x, y_{1:K}) = \frac{\alpha}{K} \sum_k e^{f(x, y_k)} + 1 - \alpha

    In the first mean :math:`y_1` is the partner of x; in the second no candidate is. Both have K = N − 1 candidates: in
    the first mean each of the other ys is left out in turn.

    Poole et al., 2019, arXiv 1905.06922, eq. 15, with x and y exchanged, and q(y) = 1, which the critic absorbs.

    >>> torch.isclose(interpolated(torch.eye(4), 0.0), nwj(torch.eye(4))).item()
    True
    """
    scores = matrix(scores)
    log_mean, log_a = _interpolated_logs(scores, alpha)
    partition = tangent_exp(log_sum_exp((log_mean - log_a).diagonal(), 0) - math.log(len(scores)))
    return scores.diagonal().mean() - off_diagonal_mean(log_a) - partition + 1


def interpolated_pointwise(scores: Scores, alpha: float) -> Tensor:
    r""":math:`f(x_i, y_i) - \log a_i`, ``(N,)``, with the baseline :math:`a` of :func:`interpolated`."""
    scores = matrix(scores)
    return scores.diagonal() - _row_mean_off_diagonal(_interpolated_logs(scores, alpha)[1])


def anchored_classification(scores: Scores, anchor: float) -> Tensor:
    r"""Log-likelihood of the class of a set of K candidates, 0-d: which y is the partner of x, or none of them.

    .. math:: \frac{K}{K + \nu} E\Big[\log \frac{e^{f(x, y_1)}}{\nu + \sum_k e^{f(x, y_k)}}\Big] +
        \frac{\nu}{K + \nu} E\Big[\log \frac{\nu}{\nu + \sum_k e^{f(x, y_k)}}\Big]

    In the first mean :math:`y_1` is the partner of x; in the second no candidate is: the anchor class, of prior weight
    ν. It is a proper scoring rule, maximal if f is the log-ratio including its constant. K = N − 1, as in
    :func:`interpolated`.

    Ryu, Yeddanapudi, Xu and Wornell, 2025, arXiv 2510.25983.

    >>> round(anchored_classification(torch.zeros(3, 3), 2.0).item(), 3)  # weights 1/4, 1/4 and 1/2: the prior's
    -1.04
    """
    scores = matrix(scores)
    k, log_anchor = len(scores) - 1, scores.new_full((), math.log(anchor))
    log_total = torch.logaddexp(leave_one_out_logsumexp(scores), log_anchor)
    positive = scores.diagonal().mean() - off_diagonal_mean(log_total)
    return (k * positive + anchor * (log_anchor - log_total.diagonal().mean())) / (k + anchor)


def jensen_shannon(scores: Scores) -> Tensor:
    r"""Unbiased lower bound on the Jensen-Shannon divergence of joint p and product q, at most log 2.

    .. math:: \log 2 - \tfrac12 E_p[\mathrm{softplus}(-f)] - \tfrac12 E_q[\mathrm{softplus}(f)]

    Tight if f is the log-ratio. It is the log-likelihood of a logistic regression that discriminates p from q.

    Goodfellow et al., 2014, arXiv 1406.2661; Nowozin, Cseke and Tomioka, 2016, arXiv 1606.00709.

    >>> round(jensen_shannon(99 * torch.eye(4) - 50).item(), 3)  # log 2: joint and product do not overlap
    0.693
    """
    scores = checked_means(scores)
    joint = joint_mean(scores, F.softplus(-scores.diagonal()))
    return math.log(2) - 0.5 * (joint + mean_softplus_marginal(scores))


def pairwise_sigmoid(scores: Scores) -> Tensor:
    r"""Log-likelihood of the class of every pair, joint or shuffled, for each row of the scores, 0-d.

    .. math:: -\frac1N \sum_i \Big[\mathrm{softplus}(-f_{ii}) + \sum_{j \ne i} \mathrm{softplus}(f_{ij})\Big]

    Its optimum is the log-ratio less log(N − 1). Zhai, Mustafa, Kolesnikov and Beyer, 2023, arXiv 2303.15343.

    >>> round(pairwise_sigmoid(torch.zeros(4, 4)).item(), 3)  # -4 log 2: a coin for each entry of a row
    -2.773
    """
    scores = checked_means(scores)
    if isinstance(scores, ChosenScores):
        return -scores.sigmoid_loss()
    if isinstance(scores, InnerProducts):
        return -F.softplus(-scores.diagonal()).mean() - scores.softplus_sum_off_diagonal() / len(scores)
    return -F.softplus(torch.diagonal_scatter(scores, -scores.diagonal())).sum() / len(scores)


def squared_hellinger(scores: Scores) -> Tensor:
    r"""Lower bound on :math:`\int (\sqrt p - \sqrt q)^2`: :math:`2 - E_p[e^{-f/2}] - E_q[e^{f/2}]`, at most 2.

    Tight if f is the log-ratio. Letizia, Novello and Tonello, 2023, arXiv 2305.20025, with D = e^{−f/2}.

    >>> squared_hellinger(torch.zeros(4, 4)).item()
    0.0
    """
    scores = checked_means(scores)
    if isinstance(scores, ChosenScores):
        joint = scores.log_mean_exp_joint(-0.5)
    else:
        joint = log_sum_exp(-0.5 * scores.diagonal(), 0) - math.log(len(scores))
    return 2 - tangent_exp(joint) - tangent_exp(log_mean_exp_marginal(0.5 * scores))


def smile_pointwise(scores: Scores, tau: float) -> Tensor:
    r""":math:`f(x_i, y_i) - \log E_q[\mathrm{clip}(e^f, e^{-\tau}, e^\tau)]`, ``(N,)``.

    Song and Ermon, "Understanding the limitations of variational mutual information estimators", 2020, arXiv
    1910.06222.
    """
    scores = checked_means(scores)
    return scores.diagonal() - log_mean_exp_marginal(scores, tau)


def club_pointwise(log_probs: Tensor) -> Tensor:
    r""":math:`\log q(y_i|x_i) - \frac{1}{N-1} \sum_{j \ne i} \log q(y_j|x_i)`, ``(N,)``: the terms of CLUB.

    ``log_probs[i, j]`` is log q(y_j | x_i). Cheng et al., 2020, arXiv 2006.12013, whose sum
    includes the term j = i, which lowers the value by a factor of 1 − 1/N.
    """
    log_probs = checked(log_probs, "log_probs")
    return log_probs.diagonal() - _row_mean_off_diagonal(log_probs)


def l1out_pointwise(log_probs: Tensor) -> Tensor:
    r""":math:`\log q(y_i|x_i) - \log \frac{1}{N-1} \sum_{j \ne i} q(y_i|x_j)`, ``(N,)``: the terms of leave-one-out.

    ``log_probs[i, j]`` is log q(y_j | x_i), so the sum is over a column. Poole et al., 2019, arXiv 1905.06922.
    """
    log_probs = checked(log_probs, "log_probs")
    diagonal = torch.eye(len(log_probs), dtype=torch.bool, device=log_probs.device)
    others = log_sum_exp(log_probs.masked_fill(diagonal, -torch.inf), 0)
    return log_probs.diagonal() - others + math.log(len(log_probs) - 1)
