"""`groups=` and `block_length=`: rows that depend on each other."""

import inspect
from functools import partial

import numpy as np
import pandas as pd
import pytest
from default_runs import QUICK
from series import autoregression

from infomax import DependenceWarning, conditional, estimate, pairwise, transfer_entropy
from infomax.estimation.dependence import _HANDED_ON

pytestmark = pytest.mark.filterwarnings("ignore::infomax.InfomaxWarning")

LABELS = np.repeat(np.arange(40), 10)


def subjects(seed, *, noise=0.02, dependent=False, dim=1):
    """40 subjects with 10 nearly equal rows each; the subjects' values are independent, or the same with noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2, 40, dim))
    if dependent:
        centres[1] = centres[0] + 0.5 * centres[1]
    return (centre[LABELS] + noise * rng.normal(size=(400, dim)) for centre in centres)


def covers(result, truth):
    low, high = result.confidence_interval()
    return low <= truth <= high


class TestGroups:
    def test_independent_subjects(self):
        for seed in range(3):
            result = estimate(*subjects(seed), groups=LABELS, **QUICK)
            assert covers(result, 0)
            assert result.pvalue > 0.01
            assert result.structure.units == 40

    def test_without_groups_the_same_rows_seem_related(self):
        with pytest.warns(DependenceWarning, match="pass groups="):
            result = estimate(*subjects(0), **QUICK)
        assert not covers(result, 0)

    def test_dependent_subjects(self):
        result = estimate(*subjects(1, dependent=True), groups=LABELS, **QUICK)
        assert covers(result, 0.5 * np.log(5))
        assert result.pvalue <= 0.05

    def test_labels_may_be_text_and_rows_in_any_order(self):
        x, y = subjects(2)
        names = np.array([f"subject {label}" for label in LABELS])
        order = np.random.default_rng(0).permutation(400)
        numbers = estimate(x, y, groups=LABELS[order], **QUICK)
        for labels in (names[order], list(names[order]), pd.Series(names[order], dtype="category")):
            found = estimate(x, y, groups=labels, **QUICK)
            assert found.structure.units == 40
        assert covers(estimate(x[order], y[order], groups=names[order], **QUICK), 0)
        assert numbers.structure.units == 40

    def test_groups_follow_the_rows_that_are_kept(self):
        """Rows of two groups lack a value; the others stay with their own labels."""
        x, y = (side.copy() for side in subjects(8))
        x[:20] = np.nan
        y[[30, 399]] = np.nan
        found = estimate(x, y, groups=LABELS, missing="drop", **QUICK)
        assert (found.n, found.structure.units) == (378, 38)
        expected = np.delete(LABELS, [*range(20), 30, 399]) - 2
        np.testing.assert_array_equal(found.structure.unit, expected)
        series = estimate(x, y, block_length=50, missing="drop", **QUICK)
        assert (series.structure.units, np.bincount(series.structure.unit)[0]) == (8, 29)

    def test_both_directions_give_the_same_bits(self):
        x, y = subjects(3)
        assert estimate(x, y, groups=LABELS, **QUICK).mi == estimate(y, x, groups=LABELS, **QUICK).mi

    @pytest.mark.parametrize("both", [False, True])
    def test_a_label_of_each_subject(self, both):
        rng = np.random.default_rng(4)
        x, _ = subjects(4)
        label = rng.integers(0, 2, 40)[LABELS]
        other = rng.integers(0, 3, 40)[LABELS] if both else x
        result = estimate(other, label, groups=LABELS, **QUICK)
        assert covers(result, 0)
        assert result.pvalue > 0.01

    def test_a_label_that_depends_on_the_columns(self):
        rng = np.random.default_rng(5)
        x = rng.normal(size=(800, 2))
        result = estimate(x, x[:, 0] > 0, groups=np.repeat(np.arange(80), 10), **QUICK)
        assert 0.4 < result.mi <= np.log(2) + 0.01

    def test_a_composition_has_errors_by_group(self):
        x, y = subjects(6)
        z = x + 0.5 * np.random.default_rng(7).normal(size=x.shape)
        by_group = conditional(x, y, z, groups=LABELS, **QUICK)
        assert covers(by_group, 0)
        assert by_group.stderr > 0.01


class TestBlocks:
    def test_independent_autoregressions(self):
        for seed in range(3):
            rng = np.random.default_rng(seed)
            series = (autoregression(500, 0.95, rng) for _ in range(2))
            result = estimate(*series, block_length="auto", **QUICK)
            assert covers(result, 0)
            assert result.pvalue > 0.05
            assert 15 < result.structure.block_length <= 62

    def test_dependent_autoregressions(self):
        rng = np.random.default_rng(3)
        x, noise = (autoregression(1500, 0.8, rng) for _ in range(2))
        result = estimate(x, x + noise, block_length="auto", **QUICK)
        assert covers(result, 0.5 * np.log(2))
        assert result.pvalue <= 0.02

    def test_a_length_of_one_says_that_rows_are_independent(self):
        rng = np.random.default_rng(4)
        x, y = (autoregression(400, 0.9, rng) for _ in range(2))
        with pytest.warns(DependenceWarning, match="block_length='auto'"):
            plain = estimate(x, y, **QUICK)
        assert estimate(x, y, block_length=1, **QUICK).mi == plain.mi

    def test_transfer_entropy_uses_blocks(self):
        rng = np.random.default_rng(5)
        source, target = (autoregression(600, 0.9, rng) for _ in range(2))
        found = transfer_entropy(source, target, **QUICK)
        assert {term.estimate.structure.block_length for term in found.terms} != {None}
        assert len({term.estimate.structure.block_length for term in found.terms}) == 1
        assert covers(found, 0)


def test_lags_may_be_a_list():
    """An effect of |x| after 20 steps: ½ log(1 + var |x| / .25) nats if |x| were normal, .46 by quadrature."""
    rng = np.random.default_rng(6)
    source, noise = rng.normal(size=(2, 1000))
    target = np.abs(np.roll(source, 20)) + 0.5 * noise
    found = transfer_entropy(source, target, lags=[20], target_lags=[1], **QUICK)
    assert covers(found, 0.46)
    assert found.mi > 0.3
    assert transfer_entropy(source, target, lags=[19], target_lags=[1], **QUICK).mi < 0.05


def test_information_flow_has_a_pvalue_by_surrogates():
    rng = np.random.default_rng(8)
    source, noise = rng.normal(size=(2, 500))
    target = 0.5 * np.roll(source, 1) + noise
    forward = transfer_entropy(source, target, bound="gaussian")
    assert forward.pvalue == forward.least_pvalue == 1 / 200
    assert "p ≤ 0.005 for a value of 0" in repr(forward)
    assert transfer_entropy(target, source, bound="gaussian").pvalue > 0.05


def test_series_of_several_groups_one_after_the_other():
    """At a border between series the last values of one are not the past of the next."""
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(25), 20)
    source, noise = rng.normal(size=(2, 500))
    target = np.roll(source, 1) + noise
    first = labels != np.roll(labels, 1)
    target[first] += 50 * np.roll(source, 1)[first]  # only across borders, which must not be seen
    found = transfer_entropy(source, target, lags=np.array([1]), groups=labels, **QUICK)
    assert (found.n, found.terms[0].estimate.structure.units) == (475, 25)
    assert covers(found, 0.5 * np.log(2))
    with pytest.raises(ValueError, match="groups must leave at least 20 steps with the 1 steps before them in one"):
        transfer_entropy(source, target, groups=np.arange(500), **QUICK)


def test_random_walks_in_blocks_are_warned_of():
    walks = np.random.default_rng(0).normal(size=(2, 500)).cumsum(1)
    with pytest.warns(DependenceWarning, match="may wander without a fixed mean"):
        result = estimate(*walks, block_length="auto", **QUICK)
    assert any("numpy.diff" in text for text in result.warnings)


def test_trends_are_warned_of():
    rng = np.random.default_rng(3)
    x, y = (np.arange(400) + 20 * rng.normal(size=400) for _ in range(2))
    with pytest.warns(DependenceWarning, match="consecutive rows are similar on both sides"):
        estimate(x, y, bound="gaussian")
    with pytest.warns(DependenceWarning, match="in 2 columns consecutive rows are similar"):
        pairwise(np.column_stack([x, y]), progress=False)
    season = np.sin(np.arange(400) / 2)
    with pytest.warns(DependenceWarning, match="may wander without a fixed mean"):
        estimate(0.01 * x + season, 0.01 * y + season[::-1], block_length="auto", **QUICK)


def test_skipped_lags_of_the_target_are_conditioned_on():
    """y is AR(2) and drives x: given all lags of y up to the source's, x adds nothing."""
    rng = np.random.default_rng(4)
    y = np.zeros(2000)
    for t in range(2, 2000):
        y[t] = 1.6 * y[t - 1] - 0.9 * y[t - 2] + rng.normal()
    x = np.roll(y, 1) + 0.1 * rng.normal(size=2000)
    assert transfer_entropy(x, y, lags=[2], target_lags=[2], bound="gaussian").mi > 0.3
    found = transfer_entropy(x, y, lags=[2], bound="gaussian")
    assert covers(found, 0)
    assert found.mi < 0.01


def test_a_group_with_most_rows_is_warned_of():
    x, y = np.random.default_rng(1).normal(size=(2, 400))
    with pytest.warns(DependenceWarning, match=r"the largest of 41 groups has 360 of 400 rows.* worth 1.2 groups"):
        estimate(x, y, groups=np.maximum(np.arange(400) - 359, 0), **QUICK)


def test_labels_in_another_order_than_the_rows():
    x, y = (pd.Series(side[:, 0]) for side in subjects(0))
    groups = pd.Series(LABELS)[::-1]
    for call in (estimate, lambda x, y, **options: conditional(x, y, np.arange(400.0), **options)):
        with pytest.raises(ValueError, match="groups must have its rows in the order of x"):
            call(x, y, groups=groups, **QUICK)
    with pytest.raises(ValueError, match="groups must have its rows in the order of x"):
        pairwise(pd.DataFrame({"x": x, "y": y}), groups=groups, progress=False)


@pytest.mark.parametrize("lags", [0, [], [0], [2, 2], [1.5], "20", True, [-1]])
def test_lags_that_are_none(lags):
    with pytest.raises(ValueError, match="lags must be a whole number of at least 1"):
        transfer_entropy(np.arange(100.0), np.arange(100.0), lags=lags)


def test_pairwise_warns_of_series_and_copies():
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(300, 3)).cumsum(0)
    with pytest.warns(DependenceWarning, match="in 3 columns consecutive rows are similar"):
        result = pairwise(walks, progress=False)
    assert any("consecutive rows" in text for text in result.warnings)
    rows = rng.integers(0, 150, 300)
    with pytest.warns(DependenceWarning, match="exact duplicates"):
        pairwise(rng.normal(size=(150, 2))[rows], progress=False)


BAD = [
    ({"groups": LABELS[:-1]}, ValueError, r"one label for each of the 400 rows; got shape \(399,\)"),
    ({"groups": "subject"}, TypeError, "the labels of the rows and not the name of a column; got 'subject'"),
    ({"groups": np.arange(400)}, ValueError, "groups must have several rows each; got 400 groups of 400 rows"),
    ({"groups": np.zeros(400)}, ValueError, "groups must be at least 4.*got 1"),
    ({"groups": np.where(np.arange(400) == 7, np.nan, 1.0)}, ValueError, "a label in every row; got .*nan.* in row 7"),
    ({"groups": [None, *"abcd" * 99, "a", "b", "c"]}, ValueError, "a label in every row; got None in row 0"),
    ({"groups": LABELS, "block_length": 5}, ValueError, "must not both be given"),
    ({"groups": LABELS, "bound": "ksg"}, ValueError, "groups must be None unless the bound is 'default'; got it with"),
    ({"block_length": 101}, ValueError, "at most a quarter of the 400 rows.*got 101"),
    ({"block_length": 0}, ValueError, "'auto' or a whole number of at least 1; got 0"),
    ({"block_length": "long"}, ValueError, "'auto' or a whole number of at least 1; got 'long'"),
    ({"block_length": True}, ValueError, "got True"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        estimate(*subjects(0), **{**QUICK, **options})


@pytest.mark.parametrize(("options", "error", "message"), [one for one in BAD if one[0].get("groups") is not None])
def test_bad_groups_of_pairs_are_told_before_any_pair(options, error, message):
    x, y = subjects(0)
    with pytest.raises(error, match=message) as caught:
        pairwise(x, y, **{**QUICK, **options})
    assert options.keys() > {"groups"} or "columns '" not in str(caught.value)


def test_keywords_that_estimate_does_not_have():
    named = ["x", "y", "nominal_x", "nominal_y", "missing"]
    assert {*_HANDED_ON, *named} == set(inspect.signature(estimate).parameters)
    x, y = subjects(0)
    z = np.random.default_rng(0).normal(size=(400, 1))
    for call in (partial(pairwise, x, y, bound="ksg"), partial(conditional, x, y, z), partial(transfer_entropy, x, y)):
        with pytest.raises(TypeError, match="keyword 'n_neighbours' is not known; did you mean 'n_neighbors'"):
            call(n_neighbours=3)
        for internal in ("checked", "codes", "kept"):
            with pytest.raises(TypeError, match=f"keyword '{internal}' is not known"):
                call(**{internal: True})


def test_labels_that_only_one_group_has_carry_no_information():
    """Rows of a held-out subject are unlike all others; that its label is unlike all others says nothing."""
    rng = np.random.default_rng(0)
    age, score = rng.normal(size=(2, 40))[:, LABELS]
    names = np.array([f"subject {label}" for label in LABELS])
    for x, y in ((age, score), (names, score + 0.01 * rng.normal(size=400))):
        result = estimate(x, y, groups=LABELS, **QUICK)
        assert covers(result, 0)
        assert abs(result.mi) < 0.05
        assert result.pvalue > 0.01


def test_numbers_that_repeat_only_within_groups_are_numbers():
    x, y = subjects(1, noise=0, dependent=True)
    result = estimate(x, y, groups=LABELS, **QUICK)
    assert covers(result, 0.5 * np.log(5))
    assert result.mi > 0.3
    assert result.pvalue < 0.05


def test_what_groups_are_called_does_not_matter():
    x, y = subjects(0)
    first = estimate(x, y, groups=LABELS, **QUICK)
    for labels in (
        [f"subject {label * 7919 % 101}" for label in LABELS],
        [(int(label) // 8, int(label) % 8) for label in LABELS],
        [int(label) if label % 2 else str(label) for label in LABELS],
    ):
        assert estimate(x, y, groups=labels, **QUICK).mi == first.mi


def test_numbers_beside_text_are_other_groups():
    labels = [1, "1", 2, "2"] * 10
    assert estimate(*np.random.default_rng(0).normal(size=(2, 40)), groups=labels, **QUICK).structure.units == 4


@pytest.mark.parametrize(
    "labels",
    [
        [float("nan")] * 10 + [f"subject {label}" for label in LABELS[10:]],
        pd.Series(["a"] * 10 + [f"subject {label}" for label in LABELS[10:]], dtype="string").replace("a", pd.NA),
        np.ma.masked_equal(LABELS, 0),
    ],
)
def test_missing_labels(labels):
    with pytest.raises(ValueError, match=r"groups must have a label in every row; got .* in row 0"):
        estimate(*subjects(0), groups=labels, **QUICK)


def test_labels_of_rows_that_are_left_out_may_be_missing():
    x, y = (side.copy() for side in subjects(0))
    x[:10] = np.nan
    labels = [None] * 10 + LABELS[10:].tolist()
    assert estimate(x, y, groups=labels, missing="drop", **QUICK).structure.units == 39
    with pytest.raises(ValueError, match="got None in row 0"):
        estimate(np.nan_to_num(x), y, groups=labels, missing="drop", **QUICK)


def test_labels_that_cannot_be_compared():
    with pytest.raises(TypeError, match="groups must have labels that can be compared"):
        estimate(*subjects(0), groups=[[label] for label in LABELS], **QUICK)


def test_one_large_group_and_long_blocks():
    x, y = np.random.default_rng(0).normal(size=(2, 200))
    y += x
    large = np.maximum(np.arange(200) - 180, 0)
    with pytest.raises(ValueError, match=r"groups must leave at least 10 rows .* got 3 of 200 rows"):
        estimate(x, y, groups=np.maximum(np.arange(200) - 196, 0), **QUICK)
    assert covers(estimate(x, y, groups=large, **QUICK), 0.5 * np.log(2))
    assert covers(estimate(x, y, block_length=50, **QUICK), 0.5 * np.log(2))
    with pytest.raises(ValueError, match=r"block_length must leave at least 10 rows .* got 5 of 20 rows"):
        estimate(x[:20], y[:20], block_length=5, **QUICK)
    with pytest.raises(ValueError, match=r"groups must leave at least 10 rows .* got 8 of 20 rows"):
        estimate(x[:20], y[:20], groups=np.arange(20) // 4, **QUICK)


def test_pvalues_of_pairs_go_by_group():
    columns = np.hstack(list(subjects(0, dim=2)))
    result = pairwise(columns[:, 1:], groups=LABELS, **QUICK)
    assert result.bound == "default"
    alone = estimate(columns[:, 1], columns[:, 2], groups=LABELS, **QUICK)
    assert result.pvalue[0, 1] == alone.pvalue
    assert np.nanmin(result.pvalue) > 0.01


def test_groups_of_pairs_with_gaps():
    table = pd.DataFrame(np.hstack(list(subjects(0))), columns=["a", "b"])
    table.loc[::7, "a"] = np.nan
    result = pairwise(table, bound="default", groups=LABELS, missing="drop", **QUICK)
    alone = estimate(table["a"], table["b"], groups=LABELS, missing="drop", **QUICK)
    assert result.mi[0, 1] == alone.mi
    assert result.pvalue[0, 1] == alone.pvalue


def test_blocks_of_pairs_with_gaps_are_those_of_all_rows():
    rng = np.random.default_rng(5)
    table = pd.DataFrame(np.column_stack([autoregression(300, 0.8, rng) for _ in range(2)]), columns=["a", "b"])
    table.loc[np.arange(300) % 7 < 3, "a"] = np.nan
    result = pairwise(table, block_length=20, missing="drop", **QUICK)
    alone = estimate(table["a"], table["b"], block_length=20, missing="drop", **QUICK)
    assert (result.mi[0, 1], result.pvalue[0, 1], result.stderr[0, 1]) == (alone.mi, alone.pvalue, alone.stderr)


def test_one_row_of_each_block():
    x, y = np.random.default_rng(0).normal(size=(2, 400))
    y += x
    x[np.arange(400) % 5 > 0] = np.nan
    result = estimate(x, y, block_length=5, missing="drop", **QUICK)
    assert result.dropped == 320
    assert covers(result, 0.5 * np.log(2))


def test_pairs_of_rows_whose_order_means_nothing(recwarn):
    walks = np.random.default_rng(0).normal(size=(300, 2)).cumsum(0)
    result = pairwise(walks, block_length=1, progress=False)
    assert result.bound == "neighbours and counts"
    assert not [one for one in recwarn if issubclass(one.category, DependenceWarning)]
    with pytest.raises(TypeError, match="without a bound there are no further keywords; got quick"):
        pairwise(walks, quick=True)
