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


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def tuba(scores, baselines):
    # Poole et al. eq. 7: E_p[f - log a(y)] - E_q[e^f / a(y)] + 1.
    n = len(scores)
    joint = mean(scores[i][i] - math.log(baselines[i]) for i in range(n))
    return joint - mean(math.exp(scores[i][j]) / baselines[j] for i in range(n) for j in range(n) if i != j) + 1


def flo(scores, slacks):
    # Guo et al.: -E_p[u + e^-u E_y'[e^(g(x, y') - g(x, y))]] + 1.
    n = len(scores)
    total = 0.0
    for i in range(n):
        inner = mean(math.exp(scores[i][j] - scores[i][i]) for j in range(n) if j != i)
        total += slacks[i] + math.exp(-slacks[i]) * inner
    return 1 - total / n


def interpolated(scores, alpha):
    # Poole et al. eq. 15 with q = 1, for every way to draw the K = n - 1 candidates of each mean.
    n = len(scores)

    def baseline(i, candidates):
        return alpha * mean(math.exp(scores[i][k]) for k in candidates) + 1 - alpha

    first, second = [], []
    for i in range(n):
        for left_out in range(n):
            if left_out != i:
                candidates = [k for k in range(n) if k != left_out]
                first.append(math.log(math.exp(scores[i][i]) / baseline(i, candidates)))
        others = [k for k in range(n) if k != i]
        second += [math.exp(scores[i][j]) / baseline(i, others) for j in others]
    return 1 + mean(first) - mean(second)


def anchored_classification(scores, anchor):
    # Classes 1..K: the y of x stands at that place; class 0: nowhere. Prior 1 : ... : 1 : anchor.
    n = len(scores)
    positive, none = [], []
    for i in range(n):
        for left_out in range(n):
            total = anchor + sum(math.exp(scores[i][k]) for k in range(n) if k != left_out)
            if left_out == i:
                none.append(math.log(anchor / total))
            else:
                positive.append(math.log(math.exp(scores[i][i]) / total))
    return ((n - 1) * mean(positive) + anchor * mean(none)) / (n - 1 + anchor)


def jensen_shannon(scores):
    # Goodfellow et al. with D = sigmoid(f): (E_p[log D] + E_q[log(1 - D)]) / 2 + log 2.
    joint = [1 / (1 + math.exp(-scores[i][i])) for i in range(len(scores))]
    product = [1 / (1 + math.exp(-s)) for s in negatives(scores)]
    return 0.5 * (mean(map(math.log, joint)) + mean(math.log(1 - d) for d in product)) + math.log(2)


def pairwise_sigmoid(scores):
    # Zhai et al., Algorithm 1: log sigmoid of z_ij times the logit, summed over all pairs, divided by N.
    n, total = len(scores), 0.0
    for i in range(n):
        for j in range(n):
            z = 1 if i == j else -1
            total += math.log(1 / (1 + math.exp(-z * scores[i][j])))
    return total / n


def squared_hellinger(scores):
    # Letizia et al.: 2 - E_p[D] - E_q[1 / D] with D = e^(-f/2).
    return (
        2
        - mean(math.exp(-row[i] / 2) for i, row in enumerate(scores))
        - mean(1 / math.exp(-s / 2) for s in negatives(scores))
    )


def smile(scores, tau):
    clipped = [min(max(math.exp(s), math.exp(-tau)), math.exp(tau)) for s in negatives(scores)]
    return joint_mean(scores) - math.log(mean(clipped))


def club(log_probs):
    # Cheng et al., with the negatives' own pair left out.
    return joint_mean(log_probs) - mean(negatives(log_probs))


def l1out(log_probs):
    # Poole et al.: log_probs[i][j] = log q(y_j | x_i); y_i under the other xs.
    n = len(log_probs)
    total = 0.0
    for i in range(n):
        others = mean(math.exp(log_probs[j][i]) for j in range(n) if j != i)
        total += math.log(math.exp(log_probs[i][i]) / others)
    return total / n


def divergences(p, q):
    """Jensen-Shannon and Kullback-Leibler divergence of two lists of probabilities."""

    def kl(a, b):
        return sum(u * math.log(u / v) for u, v in zip(a, b, strict=True) if u > 0)

    middle = [(u + v) / 2 for u, v in zip(p, q, strict=True)]
    return (kl(p, middle) + kl(q, middle)) / 2, kl(p, q)


def logistic(scores):
    # Telling pairs from mixed pairs: E_p[-log D] + E_q[-log(1 - D)] with D = sigmoid(f).
    joint = mean(-math.log(1 / (1 + math.exp(-scores[i][i]))) for i in range(len(scores)))
    return joint + mean(-math.log(1 - 1 / (1 + math.exp(-s))) for s in negatives(scores))


def counted(x, y):
    # Sum over cells of p log(p / p p).
    n, total = len(x), 0.0
    for a, b in set(zip(x, y, strict=True)):
        joint = sum(u == a and v == b for u, v in zip(x, y, strict=True)) / n
        total += joint * math.log(joint / (x.count(a) / n * (y.count(b) / n)))
    return total


def entropy(x):
    return -sum(x.count(a) / len(x) * math.log(x.count(a) / len(x)) for a in set(x))


def jackknife(statistic, *samples):
    # N T - (N - 1) mean(T without row i), and its standard error.
    n = len(samples[0])
    left_out = [statistic(*(side[:i] + side[i + 1 :] for side in samples)) for i in range(n)]
    scatter = (n - 1) / n * sum((value - mean(left_out)) ** 2 for value in left_out)
    return n * statistic(*samples) - (n - 1) * mean(left_out), math.sqrt(scatter)


def compared(scores, positives, weights, *, placement="out", hardness=0.0, debias=0.0, least=0.0):
    # InfoNCE of each row; None without positives. Khosla et al. eq. 2 and 3, Robinson et al. eq. 4 with their code's
    # importance weights, Chuang et al. eq. 8. positives: columns of each row; weights: of all others, 0 for left out.
    values = []
    for row, own, counts in zip(scores, positives, weights, strict=True):
        if not own:
            values.append(None)
            continue
        others = [j for j in range(len(row)) if j not in own]
        number = sum(counts[j] for j in others)
        negatives = sum(counts[j] * math.exp(row[j]) for j in others)
        if hardness:
            tilted = sum(counts[j] * math.exp((1 + hardness) * row[j]) for j in others)
            negatives = number * tilted / sum(counts[j] * math.exp(hardness * row[j]) for j in others)
        if debias:
            positive = mean(math.exp(row[p]) for p in own)
            negatives = (negatives - debias * number * positive) / (1 - debias)
            negatives = max(negatives, number * math.exp(least))
        total = sum(math.exp(row[p]) for p in own) + negatives
        if placement == "out":
            value = mean(math.log(math.exp(row[p]) / total) for p in own)
        else:
            value = math.log(mean(math.exp(row[p]) for p in own) / total)
        values.append(value + math.log(len(own) + number))
    return values
