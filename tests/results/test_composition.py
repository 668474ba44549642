import itertools

import pytest

from infomax import Composition, Estimate, Term
from infomax.results.composition import combined_kind, negated_kind

KINDS = ("lower", "upper", "estimate")
SIGNED = list(itertools.product((1, -1), KINDS))


def part(mi, stderr=0.0, kind="lower", gap=0.0, **facts):
    return Estimate(mi, stderr, gap, kind, facts.pop("bound", "infonce"), facts.pop("n", 100), **facts)


def composed(*terms, **facts):
    return Composition("it", tuple(Term(sign, f"I{i}", estimate) for i, (sign, estimate) in enumerate(terms)), **facts)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SIGNED, repeat=2)))
def test_kinds_add_up(first, second):
    """A number that is off to one side only: is a signed sum of two still?"""
    errors = {"lower": (-1, 0), "upper": (0, 1), "estimate": (-1, 1)}
    low = high = 0
    for sign, kind in (first, second):
        low += min(sign * error for error in errors[kind])
        high += max(sign * error for error in errors[kind])
    expected = "estimate" if low < 0 < high else "lower" if low < 0 else "upper"
    assert combined_kind([first, second]) == combined_kind([second, first]) == expected
    assert composed((first[0], part(1.0, kind=first[1])), (second[0], part(1.0, kind=second[1]))).kind == expected


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_one_term(kind):
    assert combined_kind([(1, kind)]) == kind
    assert combined_kind([(-1, kind)]) == negated_kind(kind)
    assert negated_kind(negated_kind(kind)) == kind


def test_errors_add_up_and_gaps_move_the_end_that_they_concern():
    difference = composed((1, part(0.9, 0.02, gap=0.1)), (-1, part(0.4, 0.01, gap=0.3)))
    assert difference.mi == pytest.approx(0.5)
    assert difference.stderr == pytest.approx(0.03)
    half = 1.959964 * 0.03
    assert difference.confidence_interval() == pytest.approx((0.5 - half - 0.3, 0.5 + half + 0.1), abs=1e-6)
    total = composed((1, part(0.9, 0.02, gap=0.1)), (1, part(0.4, 0.01, gap=0.3)))
    assert total.confidence_interval() == pytest.approx((1.3 - half, 1.3 + half + 0.4), abs=1e-6)
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\); got 95"):
        difference.confidence_interval(95)


def test_upper_end_is_never_negative_unless_the_quantity_may_be():
    terms = (1, part(0.1, 0.01)), (-1, part(0.5, 0.01))
    assert composed(*terms).confidence_interval()[1] == 0.0
    assert composed(*terms, nonnegative=False).confidence_interval()[1] == pytest.approx(-0.4 + 1.96 * 0.02, abs=1e-4)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "terms must be at least one; got none"),
        ([(1, part(1.0)), (1, part(1.0, n=99))], "terms must be of the same number of rows; got 100, 99"),
        ([(1, part(1.0)), (1, part(1.0).bits)], "terms must be in one unit; got nats, bits"),
        ([(2, part(1.0))], "sign must be 1 or -1; got 2"),
    ],
)
def test_what_does_not_add_up_is_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        composed(*terms)
    if not terms:
        with pytest.raises(ValueError, match=message):
            combined_kind([])


def test_terms_of_different_bounds_are_named():
    result = composed((1, part(1.0)), (-1, part(0.5, kind="upper", bound="l1out")), (1, part(0.1)))
    assert (result.bound, result.kind) == ("infonce, l1out", "lower")


def test_a_sum_of_added_terms_is_tested_as_a_whole():
    tested = [part(0.1, pvalue=p, permutations=199) for p in (0.02, 0.4, 0.3)]
    total = composed(*((1, one) for one in tested))
    assert total.pvalue == pytest.approx(0.06)
    assert "p = 0.06 for independence" in repr(total)
    assert composed((1, tested[1]), (1, tested[1]), (1, tested[2])).pvalue == pytest.approx(0.9)
    assert composed((1, tested[1]), (1, part(0.1, pvalue=0.7, permutations=199))).pvalue == pytest.approx(0.8)
    assert composed(*((1, part(0.1, pvalue=0.9, permutations=199)) for _ in range(3))).pvalue == 1.0
    least = composed((1, part(0.1, pvalue=1 / 200, permutations=199)), (1, tested[0]))
    assert "p ≤ 0.01 for independence" in repr(least)
    assert least.to_dict()["pvalue"] == pytest.approx(0.01)


def test_what_permuting_rows_cannot_test_has_no_pvalue():
    tested, untested = part(0.1, pvalue=0.005, permutations=199), part(0.1)
    assert composed((1, tested), (-1, tested)).pvalue is None  # conditional independence
    assert composed((1, tested), (1, untested)).pvalue is None
    assert "for independence" not in repr(composed((1, tested), (-1, tested)))


def test_the_table_of_a_notebook_has_the_pvalue():
    found = composed((1, part(0.3)), (-1, part(0.1)), tested=(0.005, 199))
    assert "p ≤ 0.005" in found._repr_html_()
