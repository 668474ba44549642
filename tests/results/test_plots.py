"""What figures show: limits, marks and labels, of results made up for it."""

import pytest

from infomax import Composition, Estimate, Term, Trial
from infomax.training.fit import History


def trained(*folds, **facts):
    history = tuple(History(steps, values, best) for steps, values, best in folds)
    return Estimate(0.9, 0.05, 0.0, "estimate", "b", 100, history=history, **facts)


def test_what_comes_after_the_kept_step_does_not_decide_the_axes():
    steps = [0, 10, 20, 30, 40, 400]
    result = trained((steps, [0.5, 0.9, 1.0, -3.0, -7.0, -80.0], 20), (steps, [0.7, 0.2, 0.0, -1.0, -2.0, -50.0], 0))
    (ax,) = result.plot().axes
    low, high = ax.get_ylim()
    assert 0.3 < low < 0.5
    assert 1.0 < high < 1.3
    assert 40 <= ax.get_xlim()[1] < 60
    kept = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert kept == [[[20, 1.0]], [[0, 0.7]]]
    dark = [line.get_xydata()[:, 1].tolist() for line in ax.lines if line.get_marker() == "."]
    assert dark == [[0.5, 0.9, 1.0], [0.7]]
    pale = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_color() == "0.75"]
    assert pale == [[20, 1.0], [0, 0.7]]  # both parts meet at the kept step


def test_values_that_are_not_finite_and_folds_of_one_step_can_be_drawn():
    for folds in ([([0, 10], [0.5, float("-inf")], 10)], [([0], [0.5], 0)]):
        result = trained(*folds)
        (ax,) = result.plot().axes
        assert ax.get_ylim()[0] < result.confidence_interval()[0]


def test_a_ceiling_nearby_is_in_the_figure():
    (ax,) = trained(([0, 10], [0.8, 0.9], 10), ceiling=2.0).plot().axes
    assert ax.get_ylim()[1] > 2.0


def overlapping(figure):
    """Pairs of texts that overlap in the drawn figure, without numbers at ticks; and the smallest size of a font."""
    figure.draw_without_rendering()
    texts = []
    for ax in figure.axes:
        named = [label for label in ax.get_yticklabels() if label.get_text()[:1].isalpha()]
        of_legend = ax.get_legend().get_texts() if ax.get_legend() else []
        texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts, *named, *of_legend]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    pairs = [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[:i] if box.overlaps(other)]
    ticks = [label for ax in figure.axes for label in ax.get_xticklabels() + ax.get_yticklabels()]
    return pairs, min(text.get_fontsize() for text in texts + ticks)


@pytest.mark.parametrize("count", [1, 6])
def test_candidates_are_shown_with_the_chosen_one_marked(count):
    names = ["elliptical", "components", "mixture", "mixture + directions", "mixture + network", "mixture + additive"]
    trials = tuple(Trial(names[i], "", 0.5 + 0.1 * i, 0.02, 2000, i == count - 1) for i in range(count))
    figure = trained(([0, 10, 20], [0.5, 0.9, 1.0], 20), candidates=trials).plot()
    ax = figure.axes[1]
    assert ax.get_title(loc="left") == "candidates compared on 2000 held-out rows"
    assert [label.get_text() for label in ax.get_yticklabels()] == names[:count]
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [trial.score for trial in trials]
    assert [line.get_markerfacecolor() == "white" for line in points] == [not trial.chosen for trial in trials]
    bars = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() != "o"]
    assert bars[0] == pytest.approx([0.46, 0.54])
    assert [text.get_text() for text in ax.texts][-1] == f"{trials[-1].score:.3f}, chosen"
    pairs, smallest = overlapping(figure)
    assert not pairs
    assert smallest >= 9


def test_a_composition_shows_itself_and_its_terms():
    parts = [Estimate(mi, 0.01, 0.0, "estimate", "gaussian", 100) for mi in (0.9, 0.4)]
    terms = (Term(1, "I(x; y, z)", parts[0]), Term(-1, "I(x; z)", parts[1]))
    (ax,) = Composition("I(x; y | z)", terms).plot().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["I(x; y | z)", "+ I(x; y, z)", "− I(x; z)"]
    drawn = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx([0.5, 0.9, 0.4])
