"""Folds, permutations and standard errors of rows that depend on each other."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from series import autoregression

from infomax.estimators.default.label_test import labels_pvalue
from infomax.statistics import RowStructure, block_length, independence_pvalue, normal_scores
from infomax.statistics.labels import as_labels

GROUPS = RowStructure.of_groups(np.array(["b", "a", "b", "c", "c", "a", "d", "d", "d", "e"] * 6))
BLOCKS = RowStructure.of_blocks(60, 7)
INDEPENDENT = RowStructure.independent(60)


@pytest.mark.parametrize("structure", [GROUPS, BLOCKS, INDEPENDENT])
def test_parts_hold_every_row_once(structure):
    parts = structure.parts(3, np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(60))
    assert min(map(len, parts)) >= 12


def test_groups_are_held_out_and_validated_together():
    rng = np.random.default_rng(1)
    for part in GROUPS.parts(3, rng):
        others = GROUPS.others(part)
        assert not set(GROUPS.unit[part]) & set(GROUPS.unit[others])
        assert len(part) + len(others) == 60
        few, rest = GROUPS.divided(others, 6, rng)
        assert sorted(np.concatenate([few, rest])) == sorted(others)
        assert not set(GROUPS.unit[few]) & set(GROUPS.unit[rest])
        assert len(few) >= 6
        assert len(rest) >= 6


def test_blocks_leave_a_gap():
    first, middle, last = BLOCKS.parts(3, np.random.default_rng(0))
    np.testing.assert_array_equal(BLOCKS.others(middle), [*range(13), *range(47, 60)])
    np.testing.assert_array_equal(BLOCKS.others(first), np.arange(27, 60))
    np.testing.assert_array_equal(BLOCKS.others(last), np.arange(33))


def test_independent_rows_are_split_as_by_numpy():
    """So that nothing changes where rows are independent."""
    order = np.random.default_rng(3).permutation(60)
    for part, expected in zip(INDEPENDENT.parts(3, np.random.default_rng(3)), np.array_split(order, 3), strict=True):
        np.testing.assert_array_equal(part, expected)
    few, rest = INDEPENDENT.divided(np.arange(60), 10, np.random.default_rng(3))
    np.testing.assert_array_equal(np.concatenate([few, rest]), order)
    np.testing.assert_array_equal(INDEPENDENT.permutation(np.random.default_rng(3)), order)


@pytest.mark.parametrize("structure", [GROUPS, BLOCKS, INDEPENDENT])
def test_permutations_are_permutations(structure):
    found = structure.permutation(np.random.default_rng(0))
    assert sorted(found) == list(range(60))


def test_a_block_stays_in_the_order_of_time():
    """Nine of ten rows are paired with the row after the one that the row before is paired with."""
    structure = RowStructure.of_blocks(1000, 50)
    found = structure.permutation(np.random.default_rng(0))
    assert (np.diff(found) == 1).mean() > 0.97
    assert (found == np.arange(1000)).mean() < 0.3


def test_groups_of_equal_size_are_exchanged_whole():
    unit = np.tile(np.arange(12), 5)  # rows of a group are not next to each other
    structure = RowStructure.of_groups(unit)
    found = structure.permutation(np.random.default_rng(0))
    for group in range(12):
        assert len(set(unit[found[unit == group]])) == 1


def test_the_error_of_a_mean_of_independent_rows():
    local = np.random.default_rng(0).normal(size=60)
    assert INDEPENDENT.mean_error(local) == pytest.approx(local.std(ddof=1) / math.sqrt(60), rel=1e-12)


def test_the_error_of_a_mean_of_groups_is_that_of_their_means():
    """With groups of equal size; wider by Student's distribution of 11 degrees of freedom, 2.201 / 1.96."""
    structure = RowStructure.of_groups(np.repeat(np.arange(12), 5))
    local = np.random.default_rng(0).normal(size=12)[np.repeat(np.arange(12), 5)]
    means = local.reshape(12, 5).mean(1)
    expected = means.std(ddof=1) / math.sqrt(12) * 2.200985 / 1.959964
    assert structure.mean_error(local) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_blocks_cover_the_mean_of_a_series(phi):
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        local = autoregression(600, phi, rng)
        length = block_length(local[:, None], local[:, None])
        hits += abs(local.mean()) < 1.96 * RowStructure.of_blocks(600, length).mean_error(local)
    assert 0.85 < hits / 200 < 0.99  # 20 % and 40 % of them with independent rows


def test_block_length_is_one_and_a_half_times_that_of_politis_and_white():
    """Which is, of an autoregression, (6 φ² / (1 - φ²)²)^(1/3) N^(1/3)."""
    rng = np.random.default_rng(6)
    for phi in (0.3, 0.7):
        expected = 1.5 * (6 * phi**2 / (1 - phi**2) ** 2 * 20_000) ** (1 / 3)
        series = [autoregression(20_000, phi, rng)[:, None] for _ in range(8)]
        found = np.median([block_length(one, one) for one in series])
        assert found == pytest.approx(expected, rel=0.25)


def test_blocks_of_a_series_that_oscillates_are_as_long_as_its_memory():
    """Their signed autocovariances cancel: a length of 1 had been found in one of ten."""
    rng = np.random.default_rng(8)
    for radius, period in ((0.95, 25), (0.9, 2)):
        steps = rng.normal(size=(20, 800))
        poles = radius * np.exp(2j * np.pi / period * np.array([1, -1]))
        series = lfilter([1.0], np.poly(poles).real if period > 2 else [1, radius], steps)[:, 300:, None]
        assert min(block_length(one, one) for one in series) > 15


def test_blocks_of_a_series_whose_size_lasts_longer_than_its_sign():
    """A length of 3 had been found, with which 18 % of independent pairs were rejected."""
    rng = np.random.default_rng(9)
    sizes = [np.exp(autoregression(1000, 0.95, rng) / 3) for _ in range(10)]
    assert np.median([block_length((size * rng.normal(size=1000))[:, None]) for size in sizes]) > 40


def test_no_blocks_where_a_side_is_independent_and_no_more_than_an_eighth():
    rng = np.random.default_rng(7)
    series, noise = autoregression(800, 0.95, rng)[:, None], rng.normal(size=(800, 1))
    assert block_length(series, noise) < 8
    slow = autoregression(100, 0.99, rng)[:, None]
    assert block_length(slow, slow) == 12


SIZES = [1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 14, 18, 25, 40]


def test_units_of_equal_size_keep_all_rows():
    equal = RowStructure.of_groups(np.tile(np.arange(12), 5))
    np.testing.assert_array_equal(equal.balanced(np.random.default_rng(0)), np.arange(60))
    np.testing.assert_array_equal(INDEPENDENT.balanced(np.random.default_rng(0)), np.arange(60))


def test_equally_many_rows_of_units_of_other_sizes():
    """Of these sixteen, nine tenths have one row or more; twenty rows in all need two of each that has them."""
    unit = np.repeat(np.arange(16), SIZES)
    structure = RowStructure.of_groups(unit)
    kept = [structure.balanced(np.random.default_rng(seed)) for seed in range(300)]
    counts = np.bincount(unit[kept[0]], minlength=16)
    np.testing.assert_array_equal(counts, [0, 0, 0, *[2] * 13])
    assert set(np.concatenate(kept)) == set(range(3, len(unit)))  # each is drawn sometimes
    blocks = RowStructure.of_blocks(60, 7)  # the last one has four rows
    np.testing.assert_array_equal(blocks.balanced(np.random.default_rng(0)), np.arange(60)[np.arange(60) % 7 < 4])


@pytest.mark.parametrize("kind", ["numbers", "label"])
def test_the_level_with_groups_of_very_different_sizes(kind):
    """With the ends of groups paired with the beginnings of others, 62 % and 35 % of the p-values were at most .05."""
    group, found = np.repeat(np.arange(16), SIZES), []
    structure = RowStructure.of_groups(group)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, y = (rng.normal(size=16)[group] + 0.1 * rng.normal(size=len(group)) for _ in range(2))
        if kind == "numbers":
            sides = [torch.from_numpy(normal_scores(side[:, None])) for side in (x, y)]
            found.append(independence_pvalue(*sides, 19, rng, structure))
        else:
            labels = as_labels(rng.integers(2, size=16)[group][:, None].astype(float))
            found.append(1.0 if labels is None else labels_pvalue(labels, x[:, None], 19, rng, structure))
    assert sum(p <= 0.05 for p in found) <= 13  # of 5 expected; 1 in 1,000 beyond


def test_the_power_with_groups_of_very_different_sizes():
    group, hits = np.repeat(np.arange(32), 2 * SIZES), 0
    structure = RowStructure.of_groups(group)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=32)[group]
        sides = [torch.from_numpy(normal_scores((x + 0.1 * rng.normal(size=len(group)))[:, None])) for _ in range(2)]
        hits += independence_pvalue(*sides, 19, rng, structure) == 0.05
    assert hits >= 19


def test_the_worth_of_groups_of_unequal_size():
    assert RowStructure.of_groups([0] * 5 + [1] * 5 + [2] * 5).effective_units == pytest.approx(3)
    large = RowStructure.of_groups([0] * 90 + list(range(1, 11)))
    assert large.effective_units == pytest.approx(100**2 / (90**2 + 10))
    assert large.mean_error(np.arange(100.0)) > 6 * RowStructure.independent(100).mean_error(np.arange(100.0))
