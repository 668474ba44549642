"""The criteria against plain loops over all terms, straight from the papers."""

import numpy as np
import pytest

from infomax.sklearn.criteria import cmim, jmi, mrmr, univariate


def apply(term, arguments):
    return [term(*pair) for pair in arguments]


def naive(method, relevance, joint, redundancy, k):
    chosen = [max(range(len(relevance)), key=lambda j: relevance[j])]
    while len(chosen) < k:
        scores = {}
        for j in range(len(relevance)):
            if j in chosen:
                continue
            if method == "jmi":
                scores[j] = sum(joint[j][s] for s in chosen) / len(chosen)
            elif method == "mrmr":
                scores[j] = relevance[j] - sum(redundancy[j][s] for s in chosen) / len(chosen)
            else:
                scores[j] = min(joint[j][s] - relevance[s] for s in chosen)
        chosen.append(max(scores, key=scores.get))
    return chosen


@pytest.fixture(params=range(20))
def terms(request):
    rng = np.random.default_rng(request.param)
    relevance = rng.uniform(0, 1, 12)
    symmetric = rng.uniform(0, 1, (2, 12, 12))
    redundancy, more = symmetric + symmetric.transpose(0, 2, 1)
    return relevance, np.maximum.outer(relevance, relevance) + more, redundancy


def test_jmi(terms):
    relevance, joint, redundancy = terms
    found = jmi(relevance, lambda j, s: joint[j, s], 12, apply)
    assert found.order.tolist() == naive("jmi", relevance, joint, redundancy, 12)
    second = found.order[1]
    assert found.values[:2].tolist() == [relevance.max(), joint[second, found.order[0]]]


def test_mrmr(terms):
    relevance, joint, redundancy = terms
    found = mrmr(relevance, lambda j, s: redundancy[j, s], 12, apply)
    assert found.order.tolist() == naive("mrmr", relevance, joint, redundancy, 12)


def test_cmim_computes_few_terms_and_selects_as_if_it_had_computed_all(terms):
    relevance, joint, redundancy = terms
    asked = []
    found = cmim(relevance, lambda j, s: asked.append((j, s)) or joint[j, s], 5, apply)
    assert found.order.tolist() == naive("cmim", relevance, joint, redundancy, 5)
    assert len(asked) == len(set(asked)) < 12 * 5
    last, before = found.order[4], found.order[:4]
    assert found.values[4] == min(joint[last, s] - relevance[s] for s in before)


def test_univariate_keeps_the_order_of_equal_features():
    assert univariate(np.array([1.0, 2.0, 2.0, 0.0]), 3).order.tolist() == [1, 2, 0]


@pytest.mark.parametrize("criterion", [jmi, mrmr, cmim])
def test_useless_features_come_last(criterion):
    relevance = np.array([-np.inf, 0.2, 0.1])
    assert criterion(relevance, lambda j, s: 0.1, 3, apply).order.tolist() == [1, 2, 0]
