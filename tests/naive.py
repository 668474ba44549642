"""Every formula a second time: plain loops, straight from the papers."""

import math


def infonce(scores):
    n = len(scores)
    total = 0.0
    for i in range(n):
        total += math.log(math.exp(scores[i][i]) / (sum(math.exp(scores[i][j]) for j in range(n)) / n))
    return total / n


def negatives(scores):
    n = len(scores)
    return [scores[i][j] for i in range(n) for j in range(n) if i != j]


def joint_mean(scores):
    return sum(scores[i][i] for i in range(len(scores))) / len(scores)


def nwj(scores):
    # Nguyen et al.: E_p[g] - E_q[exp(g - 1)] with g = f + 1.
    off = negatives(scores)
    return joint_mean(scores) + 1 - sum(math.exp(s) for s in off) / len(off)


def donsker_varadhan(scores):
    off = negatives(scores)
    return joint_mean(scores) - math.log(sum(math.exp(s) for s in off) / len(off))


def gaussian_log_prob(y, mean, variance):
    return sum(
        -0.5 * math.log(2 * math.pi * v) - (a - m) ** 2 / (2 * v) for a, m, v in zip(y, mean, variance, strict=True)
    )
