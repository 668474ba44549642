"""The values of all bounds a second time: numpy in float64, from the scores or log-densities that a bound computed.

Each function returns the value and its sensitivity: by how much it moves, at most, if no score moves by more than one.
"""

import math

import mpmath
import numpy as np
from scipy.special import log_expit, logsumexp


def tangent_exp(exponent):
    """exp, continued by its tangent above 30, and its slope."""
    inside = min(exponent, 30.0)
    return math.exp(inside) * (1 + exponent - inside), math.exp(inside)


def without_each(scores):
    """[i, k]: log-sum-exp of row i without entry k, from the sums before and after k."""
    n = len(scores)
    empty = np.full((n, 1), -np.inf)
    before = np.hstack([empty, np.logaddexp.accumulate(scores, 1)[:, :-1]])
    after = np.hstack([np.logaddexp.accumulate(scores[:, ::-1], 1)[:, -2::-1], empty])
    return np.logaddexp(before, after)


def off_diagonal(values):
    return values[~np.eye(len(values), dtype=bool)]


def log_mean_off(scores):
    n = len(scores)
    return logsumexp(off_diagonal(scores)) - math.log(n * (n - 1))


def infonce(scores):
    return np.mean(np.diag(scores) - logsumexp(scores, 1)) + math.log(len(scores)), 2.0


def infonce_both(scores):
    return (infonce(scores)[0] + infonce(scores.T)[0]) / 2, 2.0


def nwj(scores):
    value, slope = tangent_exp(log_mean_off(scores))
    return np.diag(scores).mean() - value + 1, 1 + slope


def donsker_varadhan(scores):
    return np.diag(scores).mean() - log_mean_off(scores), 2.0


def jensen_shannon(scores):
    joint, product = -log_expit(np.diag(scores)).mean(), -log_expit(-off_diagonal(scores)).mean()
    return math.log(2) - (joint + product) / 2, 1.0


def pairwise_sigmoid(scores):
    joint, product = -log_expit(np.diag(scores)).mean(), -log_expit(-off_diagonal(scores)).mean()
    return -joint - (len(scores) - 1) * product, float(len(scores))


def squared_hellinger(scores):
    joint, first = tangent_exp(logsumexp(-0.5 * np.diag(scores)) - math.log(len(scores)))
    product, second = tangent_exp(log_mean_off(0.5 * scores))
    return 2 - joint - product, first + second


def smile(scores, tau):
    return np.diag(scores).mean() - log_mean_off(np.clip(scores, -tau, tau)), 2.0


def mean_score(scores):
    return np.diag(scores).mean(), 1.0


def interpolated(scores, alpha):
    n = len(scores)
    log_mean = without_each(scores) - math.log(n - 1)
    with np.errstate(divide="ignore"):
        log_a = np.logaddexp(log_mean + np.log(alpha), np.log(1 - alpha))
    partition, slope = tangent_exp(logsumexp(np.diag(log_mean - log_a)) - math.log(n))
    return np.diag(scores).mean() - off_diagonal(log_a).mean() - partition + 1, 2 + 2 * slope


def anchored_classification(scores, anchor):
    k = len(scores) - 1
    log_total = np.logaddexp(without_each(scores), math.log(anchor))
    positive = np.diag(scores).mean() - off_diagonal(log_total).mean()
    return (k * positive + anchor * (math.log(anchor) - np.diag(log_total).mean())) / (k + anchor), 2.0


def jsd_lower_bound(scores, k):
    """Tangent at k of the inverse of J(k) = log 2 - (k q + (1 + q) log(1 + q)) / 2 with q = e^-k."""
    with mpmath.workdps(60):
        softplus = mpmath.log1p(mpmath.exp(k))  # log(1 + q) + k
        slope = 2 * mpmath.exp(k) / softplus
        jsd = mpmath.log(2) - ((1 + mpmath.exp(-k)) * softplus - k) / 2
        return float(k + slope * (jensen_shannon(scores)[0] - jsd)), float(slope)


def club(log_probs):
    return np.diag(log_probs).mean() - off_diagonal(log_probs).mean(), 2.0


def l1out(log_probs):
    n = len(log_probs)
    others = np.where(np.eye(n, dtype=bool), -np.inf, log_probs)
    return np.mean(np.diag(log_probs) - logsumexp(others, 0)) + math.log(n - 1), 2.0


def gaussian_log_prob(y, mean, log_variance, regression=None):
    """Log-densities; [i, j] of y_j given the i-th mean if ``mean`` is (N, 1, D)."""
    log_variance = np.clip(log_variance, -14, 14)
    residual = (y - mean) * np.exp(-0.5 * log_variance)
    if regression is not None:
        residual = residual + residual @ np.tril(regression, -1).T
    return -0.5 * (residual**2 + log_variance + math.log(2 * math.pi)).sum(-1)


DIVERGENCES = {"gan": jensen_shannon, "kl": nwj, "hellinger": squared_hellinger}


def value_of(bound, scores):
    """The value of a contrastive bound, or of CLUB and leave-one-out, given its scores or log-densities."""
    return {
        "infonce": lambda: infonce_both(scores) if bound.symmetric else infonce(scores),
        "cpc": lambda: infonce_both(scores) if bound.symmetric else infonce(scores.T),
        "infonce_anchor": lambda: mean_score(scores),
        "dv": lambda: donsker_varadhan(scores),
        "mine": lambda: donsker_varadhan(scores),
        "js": lambda: nwj(scores),
        "siglip": lambda: infonce(scores),
        "smile": lambda: smile(scores, bound.tau),
        "fdime": lambda: mean_score(scores),
        "jsd_lb": lambda: jsd_lower_bound(scores, bound.tangent.item()),
        "interpolated": lambda: interpolated(scores, bound.alpha),
        "club": lambda: club(scores),
        "l1out": lambda: l1out(scores),
    }.get(bound.name, lambda: nwj(scores))()


def prior_of_pairs(bound, n):
    """What SigLIP subtracts besides its bias: nothing for scores with a largest one."""
    bounded = hasattr(bound.critic, "largest_score") and bound.critic.largest_score() is not None
    return 0.0 if bounded else math.log(n - 1)


def loss_of(bound, scores):
    """The loss of a contrastive bound, given its scores."""
    fitted = {
        "infonce_anchor": lambda: anchored_classification(scores, bound.anchor or len(scores) - 1),
        "js": lambda: jensen_shannon(scores),
        "siglip": lambda: pairwise_sigmoid(scores + bound.bias.item() - prior_of_pairs(bound, len(scores))),
        "smile": lambda: jensen_shannon(scores),
        "fdime": lambda: DIVERGENCES[bound.divergence](scores),
    }.get(bound.name, lambda: value_of(bound, scores))
    value, sensitivity = fitted()
    return -value, sensitivity
