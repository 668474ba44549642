"""The test of one series' past telling about another beyond that one's own past."""

import numpy as np
import pytest
from series import autoregression

from infomax.statistics import RowStructure, block_length, surrogate_pvalue


def pvalue(source, target, seed, *, lag=1, structure=None):
    x, y, past = source[:-lag, None], target[lag:, None], target[lag - 1 : -1, None]
    structure = structure or RowStructure.of_blocks(len(x), block_length(np.hstack([x, y])))
    rng = np.random.default_rng([seed, 1])
    return surrogate_pvalue(x, y, past, draws=39, rng=rng, structure=structure)


def driven(seed, strength, n=300):
    """A series, and one that follows it with a delay of one step."""
    rng = np.random.default_rng(seed)
    source = autoregression(n, 0.8, rng)
    noise, target = rng.normal(size=n), np.zeros(n)
    for t in range(1, n):
        target[t] = 0.5 * target[t - 1] + strength * source[t - 1] + noise[t]
    return source, target


def common_volatility(seed, n=300):
    """The target's past decides the spread of both, and the source tells nothing more."""
    rng = np.random.default_rng(seed)
    noise, found = rng.normal(size=(2, n)), np.zeros((2, n))
    for t in range(1, n):
        found[:, t] = np.sqrt(0.2 + 0.7 * found[0, t - 1] ** 2) * noise[:, t]
    return found[1], found[0]


def independent(seed):
    rng = np.random.default_rng(seed)
    return autoregression(300, 0.9, rng), autoregression(300, 0.9, rng)


@pytest.mark.parametrize(
    "draw",
    [independent, lambda seed: driven(seed, 0.5)[::-1], common_volatility],
    ids=["independent", "back", "spread"],
)
def test_a_source_that_tells_nothing(draw):
    """40 draws at a level of 10 %: more than 9 rejections have a probability of 0.5 % if the level holds."""
    assert sum(pvalue(*draw(seed), seed) <= 0.1 for seed in range(40)) <= 9


def test_a_source_that_tells():
    assert all(pvalue(*driven(seed, 0.4), seed) <= 0.05 for seed in range(5))
    rng = np.random.default_rng(0)
    source, noise = rng.normal(size=(2, 600))
    assert pvalue(source, np.abs(np.roll(source, 7)) + 0.5 * noise, 0, lag=7) == 1 / 40


def test_groups_change_places():
    """Sources of subjects that differ in their means: only whole subjects are exchanged."""
    labels = np.repeat(np.arange(30), 10)
    rng = np.random.default_rng(1)
    source, target = (rng.normal(size=30)[labels] + 0.1 * rng.normal(size=300) for _ in range(2))
    structure = RowStructure.of_groups(labels[1:])
    past = rng.normal(size=(299, 1))
    rng = np.random.default_rng(2)
    given = {"draws": 39, "rng": rng}
    assert surrogate_pvalue(source[1:, None], target[1:, None], past, structure=structure, **given) > 0.05
    free = RowStructure.independent(299)
    assert surrogate_pvalue(source[1:, None], target[1:, None], past[:, :0], structure=free, **given) == 1 / 40


def test_without_a_past_and_with_ties():
    x = np.repeat([0.0, 1.0], 50)[:, None]
    structure = RowStructure.independent(100)
    rng = np.random.default_rng(0)
    assert surrogate_pvalue(x, 1 - x, np.empty((100, 0)), draws=19, rng=rng, structure=structure) == 0.05
    assert surrogate_pvalue(x, np.ones_like(x), x, draws=19, rng=rng, structure=structure) == 1.0
